"""`mfc ui`: the page of `mfc report`, live."""

from __future__ import annotations

from pathlib import Path

import click

from mfc.cli import options
from mfc.errors import SpecError


@click.command()
@click.argument("spec", metavar="SPEC")
@options.overrides
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1 (default: a free one).")
def command(spec: str, overrides: tuple[str, ...], port: int) -> int:
    """Show the plans of SPEC in the browser, and plan anew as its card, model, method, length or task is changed.

    Only this machine can open it, with the address that is printed. Nothing is written but SPEC, when it is saved.
    Ctrl-C ends it.
    """
    try:
        from mfc.ui.serve import serve
    except ImportError as error:
        if error.name and error.name.partition(".")[0] in ("starlette", "uvicorn"):
            raise SpecError("error: mfc ui needs starlette and uvicorn: pip install 'mfc-compiler[ui]'") from None
        raise
    from mfc.ui.state import Desk

    serve(Desk(Path(spec), overrides), port, lambda address: print(f"{address}\nCtrl-C ends it", flush=True))
    return 0
