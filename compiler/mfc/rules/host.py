"""Dangers in a node's own memory, where a run ends without a word but exit code -9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.problem import Hardware

_KILLED = "Linux ends the largest process when RAM runs out: exit code -9 (DeepSpeed issues 4571 and 4239)"
_TIGHT = 0.85


@advise(_KILLED)
def host_memory_is_unknown(hardware: Hardware, host_bytes: float, load_host_bytes: float) -> str | None:
    """Without the size of host memory, what loading takes of it cannot be checked."""
    if hardware.host_memory_bytes is not None:
        return None
    return (
        f"hardware.host_memory is not given: loading takes up to {gib(load_host_bytes)} of each node's RAM and "
        f"training keeps {gib(host_bytes)}; with less the run ends with exit code -9"
    )


@advise(_KILLED)
def host_memory_is_tight(hardware: Hardware, host_bytes: float, load_host_bytes: float) -> str | None:
    """Little RAM left over also ends runs, as data loaders and the page cache use some."""
    room, used = hardware.host_memory_bytes, max(host_bytes, load_host_bytes)
    if room is None or not _TIGHT * room < used <= room:
        return None
    when = "while training" if host_bytes >= load_host_bytes else "while loading"
    return f"{gib(used)} of {gib(room)} RAM is in use {when}: data loaders and other programs share {gib(room - used)}"


RULES = (host_memory_is_unknown, host_memory_is_tight)
