"""NVIDIA cards: by NVML where its Python library is installed (nvidia-ml-py), else by nvidia-smi."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mfc.machine.seen import Card, Driver

MIB = 1 << 20
SECONDS = 20  # nvidia-smi takes that long at most where persistence mode is off and it has to wake the cards
QUERY = (
    "nvidia-smi",
    "--query-gpu=index,name,memory.total,memory.used,driver_version",
    "--format=csv,noheader,nounits",
)
NONE = "no NVIDIA driver answers: neither NVML nor nvidia-smi is there"


def cards() -> tuple[tuple[Card, ...], Driver | None, tuple[str, ...]]:
    """The cards, the driver, and why something of them is not known."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return by_program()
    return by_library(nvml)


def by_library(nvml: Any) -> tuple[tuple[Card, ...], Driver | None, tuple[str, ...]]:
    """What NVML tells (developer.nvidia.com/nvml); `nvml` is the module pynvml."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return (), None, (NONE,)
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
        version = int(nvml.nvmlSystemGetCudaDriverVersion())  # 12040 for 12.4
        driver = Driver(_text(nvml.nvmlSystemGetDriverVersion()), (version // 1000, version % 1000 // 10))
        found = []
        for number, handle in enumerate(handles):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            peers = tuple(n for n, other in enumerate(handles) if n != number and _reaches(nvml, handle, other))
            linked = any(_active(nvml, handle))
            name = _text(nvml.nvmlDeviceGetName(handle))
            found.append(Card(number, name, int(memory.total), int(memory.used), peers, linked))
        return tuple(found), driver, ()
    except nvml.NVMLError as error:
        return (), None, (f"NVML says: {error}",)
    finally:
        nvml.nvmlShutdown()


def by_program() -> tuple[tuple[Card, ...], Driver | None, tuple[str, ...]]:
    """What nvidia-smi prints; it tells nothing of peers in a form made for programs."""
    if shutil.which(QUERY[0]) is None:
        return (), None, (NONE,)
    done = _run(*QUERY)
    if done is None:
        return (), None, ("nvidia-smi gives no answer: the driver and its tool may not fit together",)
    found, version = [], ""
    for line in done.splitlines():
        number, name, total, used, version = (cell.strip() for cell in line.split(","))
        found.append(Card(int(number), name, int(total) * MIB, int(used) * MIB))
    head = re.search(r"CUDA Version: (\d+)\.(\d+)", _run("nvidia-smi") or "")
    cuda = (int(head[1]), int(head[2])) if head else None
    return tuple(found), Driver(version, cuda), ("install nvidia-ml-py to see which cards reach each other's memory",)


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _reaches(nvml: Any, card: Any, other: Any) -> bool:
    with contextlib.suppress(nvml.NVMLError):
        said = nvml.nvmlDeviceGetP2PStatus(card, other, nvml.NVML_P2P_CAPS_INDEX_READ)
        return bool(said == nvml.NVML_P2P_STATUS_OK)
    return False


def _active(nvml: Any, card: Any) -> Iterator[bool]:
    """Of each NVLink of a card whether it is up; a card without links has an error for each."""
    for number in range(nvml.NVML_NVLINK_MAX_LINKS):
        with contextlib.suppress(nvml.NVMLError):
            yield bool(nvml.nvmlDeviceGetNvLinkState(card, number))


def _text(said: str | bytes) -> str:
    """A name as text: older releases of the library return bytes."""
    return said.decode() if isinstance(said, bytes) else said
