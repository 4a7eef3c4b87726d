"""`mfc models`: the models that mfc knows."""

from __future__ import annotations

import click

from mfc.cli import options
from mfc.errors import SpecError


@click.command()
@click.argument("name", required=False)
@options.as_format
def command(name: str | None, form: str) -> int:
    """List the models that mfc knows, or those whose id contains NAME."""
    from mfc.catalog import models
    from mfc.catalog.parameters import count

    found = [model for model in models.all_models() if name is None or name.lower() in model.id.lower()]
    if name and not found:
        raise SpecError(f"error: no model whose name contains {name!r}; mfc models lists all")
    if form == "json":
        facts = [
            {
                "id": model.id,
                "family": model.architecture.family,
                "parameters": count(model.architecture).total,
                "layers": model.architecture.layers,
                "hidden": model.architecture.hidden,
                "vocab": model.architecture.vocab,
                "max_positions": model.architecture.max_positions,
            }
            for model in found
        ]
        print(options.dump(facts))
        return 0
    rows = [
        (
            model.id,
            model.architecture.family,
            f"{count(model.architecture).total / 1e9:.2f}",
            str(model.architecture.layers),
            str(model.architecture.hidden),
            str(model.architecture.vocab),
        )
        for model in found
    ]
    print(options.table(rows, ("model", "family", "B parameters", "layers", "hidden", "vocabulary")))
    return 0
