"""What can be seen of a machine, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Card(NamedTuple):
    """One GPU as its driver tells of it. Bytes."""

    number: int
    name: str  # the driver's product string: NVIDIA GeForce RTX 4090
    memory_bytes: int
    used_bytes: int  # by whomever
    peers: tuple[int, ...] | None = None  # the cards whose memory it can reach; None: not told
    linked: bool = False  # by NVLink to at least one other


class Driver(NamedTuple):
    """The version of the driver, and the newest CUDA that it runs."""

    version: str
    cuda: tuple[int, int] | None


class Machine(NamedTuple):
    """One machine. What cannot be seen is None or empty."""

    cards: tuple[Card, ...] = ()
    driver: Driver | None = None
    host_memory_bytes: int | None = None  # what this process may use, a container's limit included
    cpu_cores: int | None = None
    nvme: Path | None = None  # a folder on a local NVMe disk that can be written to
    shared_memory_bytes: int | None = None  # of /dev/shm
    open_files: int | None = None  # that one process may hold
    environment: Path | None = None  # whose packages are listed
    packages: Mapping[str, str] = {}  # name as the index has it, lower case, to version
    programs: frozenset[str] = frozenset()  # of those that frameworks compile kernels with
    notes: tuple[str, ...] = ()  # why something could not be seen
