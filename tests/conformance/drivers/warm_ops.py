"""Imported by a warm server as `warm_ops:NAME`, this compiles and loads one of DeepSpeed's CPU kernels before all runs.

The first time takes minutes. A process that is killed while it looks for one leaves a lock, for which all others would
wait. What the CPU is, each would ask by a program of its own; here it is asked once.
"""

import os
import time
from pathlib import Path
from typing import Any

import cpuinfo.cpuinfo
from deepspeed.accelerator import get_accelerator

SECONDS_OF_A_LOCK = 900

for lock in Path(os.environ["TORCH_EXTENSIONS_DIR"]).glob("*/lock"):
    if time.time() - lock.stat().st_mtime > SECONDS_OF_A_LOCK:
        lock.unlink(missing_ok=True)

cpu = cpuinfo.cpuinfo.get_cpu_info_json()
cpuinfo.cpuinfo.get_cpu_info_json = lambda: cpu


def __getattr__(name: str) -> Any:
    return get_accelerator().create_op_builder(name).load(verbose=False)
