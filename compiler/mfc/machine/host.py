"""The host: its memory, cores, disks and limits, as far as this process may use them (Linux)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAMS = ("c++", "g++", "ninja", "nvcc")  # what compiles kernels when a run starts
UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit


def memory_bytes(proc: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """RAM in bytes: what the machine has, or less where a container has a limit (cgroup v2, else v1)."""
    known = []
    for line in _lines(proc):
        if line.startswith("MemTotal:"):
            known.append(int(line.split()[1]) * 1024)
    for file in (groups / "memory.max", groups / "memory" / "memory.limit_in_bytes"):
        for line in _lines(file)[:1]:
            if line.strip().isdigit() and int(line) < UNLIMITED:
                known.append(int(line))
    return min(known, default=None)


def cores() -> int | None:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def nvme(mounts: Path = Path("/proc/mounts")) -> Path | None:
    """The folder with the most free bytes of those that this user can write to where an NVMe disk is mounted."""
    found = []
    for line in _lines(mounts):
        device, folder, *_ = line.split(" ")
        path = Path(folder.replace("\\040", " "))
        if device.startswith("/dev/nvme") and os.path.isdir(path) and os.access(path, os.W_OK):
            found.append((shutil.disk_usage(path).free, path))
    return max(found)[1] if found else None


def shared_memory_bytes(folder: Path = Path("/dev/shm")) -> int | None:
    """Size of the file system through which processes share memory."""
    return shutil.disk_usage(folder).total if os.path.isdir(folder) else None


def open_files() -> int | None:
    """Files that one process may hold open (ulimit -n)."""
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def programs() -> frozenset[str]:
    """Compilers that are found, nvcc also where CUDA_HOME or the usual folder has it."""
    found = {name for name in PROGRAMS if shutil.which(name)}
    if os.path.exists(Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin", "nvcc")):
        found.add("nvcc")
    return frozenset(found)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
