"""The peak of GPU memory in every process of a probe, as torch's own counters have it.

This file is written beside a probe as `meter/sitecustomize.py`, which every Python that finds the folder on its path
imports before anything else. It needs nothing but the standard library, imports no torch of its own, and does nothing
in a process without one. A thread looks at the counters, which are high-water marks, and keeps what they say in a file
of the process: a run that dies of any signal leaves all but its last moments.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

VARIABLE = "MFC_PROBE_PEAKS"  # the folder for the files
SECONDS = 0.2  # between two looks
OURS = ("allocated", "reserved", "outside", "used")  # largest of all looks


class Meter:
    """What one process has taken, by GPU: bytes that tensors and the allocator held, and what lay outside of both."""

    def __init__(self, folder: str, forked: bool) -> None:
        self.file = os.path.join(folder, f"{socket.gethostname()}-{os.getpid()}.json")
        self.forked = forked  # a loader of data, most of the time, which has torch and no GPU
        self.devices: dict[str, dict[str, Any]] = {}
        self.out_of_memory = ""
        self.written = ""
        self.lock = threading.Lock()
        self.patched: set[str] = set()

    def watch(self) -> None:
        """Look until the process ends."""
        while True:
            time.sleep(SECONDS)
            self.look()

    def look(self, *_: object) -> None:
        """Take the counters into account, and write them where they say something new."""
        try:
            with self.lock:
                self._read()
                self._write()
        except Exception:  # whatever happens here, the run goes on
            return

    def _read(self) -> None:
        torch = sys.modules.get("torch")
        for kind in ("cuda", "npu"):
            module = getattr(torch, kind, None)
            initialized = getattr(module, "is_initialized", None)
            if module is None or initialized is None or not initialized():
                continue
            if kind not in self.patched:
                self.patched.add(kind)
                self._before_resets(module)
            for number in range(module.device_count()):
                self._device(module, f"{kind}:{number}", number)

    def _device(self, module: Any, name: str, number: int) -> None:
        stats = module.memory_stats(number)
        reserved = stats.get("reserved_bytes.all.current", 0)
        if not stats.get("reserved_bytes.all.peak", 0):
            return  # not this process's: to ask more of it would open a context there
        module.set_device(number)  # of this thread alone
        free, total = module.mem_get_info(number)
        seen = {
            "allocated": stats.get("allocated_bytes.all.peak", 0),
            "reserved": stats["reserved_bytes.all.peak"],
            "outside": total - free - reserved,
            "used": total - free,
        }
        known = self.devices.setdefault(
            name, {"total": total, "uuid": self._uuid(module, number), **dict.fromkeys(OURS, 0)}
        )
        for key in OURS:
            known[key] = max(known[key], seen[key])
        known["ooms"] = max(known.get("ooms", 0), stats.get("num_ooms", 0))

    def _uuid(self, module: Any, number: int) -> str:
        """What tells cards apart, whatever each process calls them."""
        return str(getattr(module.get_device_properties(number), "uuid", ""))

    def _before_resets(self, module: Any) -> None:
        """Some trainers set the high-water marks back with every line of their log."""
        for place in (module, getattr(module, "memory", None)):
            if place is not None and hasattr(place, "reset_peak_memory_stats"):
                place.reset_peak_memory_stats = self._after_a_look(place.reset_peak_memory_stats)

    def _after_a_look(self, reset: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*args: Any, **options: Any) -> Any:
            self.look()
            return reset(*args, **options)

        return looking

    def _write(self) -> None:
        if "torch" not in sys.modules or (self.forked and not self.devices):
            return
        said = {"devices": self.devices, "out_of_memory": self.out_of_memory}
        if (text := json.dumps(said)) == self.written:
            return
        self.written = text
        fresh = f"{self.file}.new"
        with open(fresh, "w", encoding="utf-8") as stream:
            json.dump({"rank": os.environ.get("RANK", ""), "pid": os.getpid(), **said}, stream)
        os.replace(fresh, self.file)


def begin(folder: str, forked: bool = False) -> Meter:
    """Start to measure this process."""
    meter = Meter(folder, forked)
    threading.Thread(target=meter.watch, name="mfc-meter", daemon=True).start()
    atexit.register(meter.look)
    shown = sys.excepthook

    def dying(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if "OutOfMemory" in kind.__name__:
            meter.out_of_memory = str(error).partition("\n")[0]
        meter.look()
        shown(kind, error, trace)

    sys.excepthook = dying
    return meter


def begin_again() -> None:
    """Measure a process that was forked from this one, whose thread it does not have."""
    begin(os.environ.get(VARIABLE, ""), forked=True)


def the_next_one() -> None:
    """Import the `sitecustomize` that this one stands before, as Python would have."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))
    places = [place for place in sys.path if os.path.abspath(place) != here]
    found = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if found is not None and found.loader is not None:
        found.loader.exec_module(importlib.util.module_from_spec(found))


if VARIABLE in os.environ:
    begin(os.environ[VARIABLE])
    os.register_at_fork(after_in_child=begin_again)
if __name__ == "sitecustomize":
    the_next_one()
