"""`mfc gpus`: the GPUs that mfc knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mfc.cli import options
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu


@click.command()
@click.argument("name", required=False)
@options.as_format
def command(name: str | None, form: str) -> int:
    """List the GPUs that mfc knows, or those whose name contains NAME, with where their figures are from."""
    from mfc.catalog import gpus

    found = [gpu for gpu in gpus.all_gpus() if name is None or _plainly(name) in _plainly(gpu.name)]
    if name and not found:
        raise SpecError(f"error: no GPU whose name contains {name!r}; mfc gpus lists all")
    if form == "json":
        print(options.dump([_plain(gpu) for gpu in found]))
        return 0
    rows = [
        (
            gpu.name,
            f"{gpu.memory_bytes / 2**30:.1f}",
            gpu.generation,
            ".".join(map(str, gpu.capability)) if any(gpu.capability) else "-",
            " ".join(kind for kind in ("bf16", "fp16", "fp8") if getattr(gpu, kind)) or "fp32",
            "yes" if gpu.flash_attention else "no",
            gpu.link.kind,
        )
        for gpu in found
    ]
    print(options.table(rows, ("GPU", "GiB", "generation", "compute", "precisions", "flash", "link")))
    if name:
        print()
        print("\n".join(f"{gpu.name}: {gpu.source}" for gpu in found))
    return 0


def _plainly(name: str) -> str:
    """A name as it is compared: RTX4090 is RTX 4090."""
    return "".join(char for char in name.lower() if char.isalnum())


def _plain(gpu: Gpu) -> dict[str, Any]:
    return {**gpu._asdict(), "link": gpu.link._asdict(), "host_link": gpu.host_link._asdict()}
