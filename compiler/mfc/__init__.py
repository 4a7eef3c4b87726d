"""mfc, the memory-fit compiler: one small spec in, training configs that fit the hardware out.

>>> import mfc
>>> plan = mfc.plan("spec.yaml", target="deepspeed")
>>> for compiled in mfc.compile("spec.yaml"):
...     print(compiled.target, compiled.plan.memory.upper_bytes, list(compiled.files))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc._version import __version__

if TYPE_CHECKING:
    from mfc.api import compile, load, plan  # noqa: A004
    from mfc.emit.compiled import Compiled
    from mfc.errors import MfcError
    from mfc.planner.plan import Plan
    from mfc.spec.models import Spec

__all__ = ["Compiled", "MfcError", "Plan", "Spec", "__version__", "compile", "load", "plan"]

_HOMES = {
    "Compiled": "mfc.emit.compiled",
    "compile": "mfc.api",
    "load": "mfc.api",
    "plan": "mfc.api",
    "MfcError": "mfc.errors",
    "Plan": "mfc.planner.plan",
    "Spec": "mfc.spec.models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mfc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
