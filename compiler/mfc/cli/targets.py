"""`mfc targets`: the frameworks that mfc writes configs for."""

from __future__ import annotations

import click

from mfc.cli import options


@click.command()
@click.argument("name", required=False)
@options.as_format
def command(name: str | None, form: str) -> int:
    """List the targets, or say what one of them supports."""
    from mfc import target as registry

    found = [registry.get(one) for one in ([name] if name else registry.names())]
    if form == "json":
        facts = [
            {
                "name": target.NAME,
                "title": target.TITLE,
                "versions": list(target.VERSIONS),
                "supports": {
                    key: list(value) for key, value in target.profile(target.VERSIONS[0], {}).supports.items()
                },
            }
            for target in found
        ]
        print(options.dump(facts))
    elif name:
        (target,) = found
        print(f"{target.NAME}: {target.TITLE} {', '.join(target.VERSIONS)}")
        for key, values in target.profile(target.VERSIONS[0], {}).supports.items():
            print(f"  {key:<22} {', '.join(str(value).lower() for value in values)}")
    else:
        rows = [(target.NAME, target.TITLE, ", ".join(target.VERSIONS)) for target in found]
        print(options.table(rows, ("target", "framework", "versions")))
    return 0
