"""`mfc schema`: the JSON Schemas, for editors and for programs that read plans."""

from __future__ import annotations

from pathlib import Path

import click

from mfc.cli import streams
from mfc.errors import SpecError


def _version(stem: str) -> tuple[str, list[int]]:
    """A contract's framework and version, in the order of versions."""
    name, _, version = stem.rpartition("-")
    return name, [int(part) for part in version.split(".")]


@click.command()
@click.argument("name", default="spec", metavar="[spec|plan|CONTRACT]")
def command(name: str) -> int:
    """Print the JSON Schema of the spec (default), of a plan, or a contract: deepspeed, or deepspeed-0.18.4."""
    import mfc.schemas

    folder = Path(mfc.schemas.__path__[0])
    known = {path.name.removesuffix(".schema.json"): path for path in folder.glob("*.schema.json")}
    contracts = {path.stem: path for path in (folder / "contracts").glob("*.json")}
    ordered = sorted(contracts, key=_version)
    known |= {stem: contracts[stem] for stem in ordered}
    newest = {stem.rpartition("-")[0]: contracts[stem] for stem in ordered}
    if name not in known and name not in newest:
        near = [stem for stem in known if name in stem] or known
        raise SpecError(f"error: no schema called {name!r}: there are {', '.join(near)}")
    streams.exact((known | newest)[name].read_text(encoding="utf-8"))
    return 0
