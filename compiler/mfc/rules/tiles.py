"""MLPs that run in tiles of the sequence: where there is something to tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import require

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture

_TILED = "DeepSpeed runtime/sequence_parallel/ulysses_sp.py, TiledMLP: length / hidden size tiles; arXiv:2506.13996"


@require(_TILED)
def tiles_are_shorter_than_rows(mlp: str, max_length: int, architecture: Architecture) -> str | None:
    """MLPs are tiled where a row is longer than a tile, which is as long as the hidden size."""
    if mlp == "whole" or max_length > architecture.hidden:
        return None
    return f"{max_length} tokens are one tile: tiles are as long as the hidden size, {architecture.hidden}"


@require(_TILED)
def dense_mlps_are_tiled(mlp: str, architecture: Architecture) -> str | None:
    """Experts see few tokens each and are not tiled."""
    return "experts are not tiled, only dense MLPs" if mlp == "tiled" and architecture.moe else None


RULES = (tiles_are_shorter_than_rows, dense_mlps_are_tiled)
