"""`mfc targets`: the frameworks that mfc writes configs for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mfc.cli import options
from mfc.errors import Fault, MfcError
from mfc.fields import ANYTHING, NEUTRAL

if TYPE_CHECKING:
    from mfc.target import Target


@click.command()
@click.argument("name", required=False)
@options.as_format
def command(name: str | None, form: str) -> int:
    """List the targets, or say what one of them supports."""
    from mfc import target as registry

    found: list[Target] = []
    broken: dict[str, MfcError] = {}
    for one in [name] if name else registry.names():
        try:
            found.append(registry.get(one))
        except Fault as error:
            broken[one] = error
    if form == "json":
        facts = [
            {
                "name": target.NAME,
                "title": target.TITLE,
                "versions": list(target.VERSIONS),
                "supports": {name: list(values) or ["any"] for name, values in _supports(target).items()},
            }
            for target in found
        ]
        print(options.dump(facts))
    elif name and found:
        (target,) = found
        print(f"{target.NAME}: {target.TITLE} {', '.join(target.VERSIONS)}")
        for field, values in _supports(target).items():
            print(f"  {field:<22} {', '.join(str(value).lower() for value in values) or 'any'}")
    else:
        rows = [(target.NAME, target.TITLE, ", ".join(target.VERSIONS)) for target in found]
        print(options.table(rows, ("target", "framework", "versions")))
    return options.worst([options.report(error) for error in broken.values()])


def _supports(target: Target) -> dict[str, tuple[Any, ...]]:
    """What the newest version can express of every field that a target is asked for; nothing listed is anything."""
    profile = target.profile(target.VERSIONS[0], {})
    return {name: profile.can(name) for name in NEUTRAL if profile.can(name) or profile.can(name) is ANYTHING}
