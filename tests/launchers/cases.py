"""Specs for engines: a small one, what lies over it, and what comes of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import mfc
from mfc.emit.compiled import Compiled

from tests.tables import table

CASES = Path(__file__).parents[1] / "cases" / "launchers.yaml"
TABLE: dict[str, Any] = table(CASES)
# Node counts that every engine's file is made for, of eight GPUs each.
NODES = (1, 2, 3, 5, 8, 17, 32, 64)


def merged(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: merged(base.get(key), value) for key, value in top.items()}}


def compiled(launcher: Any, spec: Any = None, target: str = "llamafactory", out: str | Path = "run/x") -> Compiled:
    """What one target and an engine make of the base, with a spec laid over it."""
    whole = merged(merged(TABLE["base"], spec or {}), {"run": {"launcher": launcher}})
    (made,) = mfc.compile(whole, [target], out=out)
    return made


@cache
def on(engine: str, nodes: int, offload: bool = False) -> Compiled:
    """The base on so many nodes of eight GPUs, the optimizer in host memory or not."""
    machines = {"count": 8, "nodes": nodes, **({"interconnect": {"inter": "400Gbps"}} if nodes > 1 else {})}
    strategy = {"strategy": {"sharding": "zero3", "offload": {"optimizer": "cpu", "parameters": "none"}}}
    setup = TABLE["settings"].get(engine, {})
    return compiled({"engine": engine, **setup}, {"hardware": machines, **(strategy if offload else {})})


def write(made: Compiled, folder: Path) -> Path:
    """The files of a compilation in a folder."""
    for name, text in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
