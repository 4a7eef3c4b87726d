"""Liger: which of its functions fuse head and loss for which families, by release.

`liger.json` holds, for each release that changed something, what it does by default: of each function
`apply_liger_kernel_to_<name>` the model types that lead to it, under `fuses` where the loss needs no whole logits. It
is extracted from Liger itself (targets/contract/liger.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mfc.rules.packages import EXAMPLES, LIGER
from mfc.target.versions import nearest

if TYPE_CHECKING:
    from mfc.profile import Profile

Functions = Mapping[str, tuple[str, ...]]  # name -> model types


@lru_cache
def releases() -> Mapping[str, Mapping[str, Functions]]:
    """Release, newest first -> `fuses` or `plain` -> function -> model types."""
    found: Mapping[str, Mapping[str, Functions]] = json.loads(Path(__file__).with_name("liger.json").read_bytes())
    return found


def version(profile: Profile) -> str:
    """The release that the user declares, or the newest that mfc knows."""
    return profile.packages.get(LIGER) or EXAMPLES[LIGER]


def refuses(profile: Profile, family: str, function: str = "") -> str | None:
    """Why the declared release would not fuse the loss of a family; None where it does.

    A framework that chooses the function by itself names it; one that does not fit the family patches other classes.
    """
    own, every = version(profile), releases()
    known = every[nearest(own, tuple(every))]
    if _has(known["fuses"], family, function):
        return None
    if _has(known["plain"], family, function):
        return f"Liger {own} leaves the loss of {family} as it is"
    first = next((name for name in reversed(tuple(every)) if _has(every[name]["fuses"], family, function)), "")
    return f"Liger {own} has no kernels for {family}" + (f"; {first} is the first that has" if first else "")


def _has(functions: Functions, family: str, function: str) -> bool:
    return any(family in kinds for name, kinds in functions.items() if not function or name == function)
