"""`mfc schema`: the JSON Schemas, for editors and for programs that read plans."""

from __future__ import annotations

from pathlib import Path

import click

from mfc.errors import SpecError


@click.command()
@click.argument("name", default="spec", metavar="[spec|plan|CONTRACT]")
def command(name: str) -> int:
    """Print the JSON Schema of the spec (default), of a plan, or a contract such as deepspeed-0.19.8."""
    import mfc.schemas

    folder = Path(mfc.schemas.__path__[0])
    known = {path.name.removesuffix(".schema.json"): path for path in folder.glob("*.schema.json")}
    known |= {path.stem: path for path in sorted((folder / "contracts").glob("*.json"))}
    if name not in known:
        raise SpecError(f"error: no schema called {name!r}: there are {', '.join(known)}")
    print(known[name].read_text(encoding="utf-8"), end="")
    return 0
