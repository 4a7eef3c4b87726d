"""The GPU catalogue: gpus.yaml, looked up by any usual spelling.

A lookup compares names as text and parses the one row it needs, so that it costs little beside importing YAML.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mfc.catalog.gpu import Gpu, Link
from mfc.errors import SpecError

MIB = 1 << 20
PCIE_X16 = {"pcie3": 15.75e9, "pcie4": 31.5e9, "pcie5": 63.0e9}  # nominal, per direction (PCI-SIG)

_NOISE = re.compile(
    r"nvidia|geforce|tesla|amd|instinct|graphics|generation|lovelace|edition|workstation|server|gpu|hbm\d\w*|(?<=sxm)\d"
)
_SIZE = re.compile(r"(?<![a-z0-9])([0-9]{1,6}) ?(?:gib|gb|g)(?![a-z0-9])")
_WORD = re.compile(r"[a-z]+|[0-9]+")


class _Key(NamedTuple):
    words: frozenset[str]
    size: int | None  # GB named in the spelling


class _Row(NamedTuple):
    name: str
    line: str
    keys: tuple[_Key, ...]
    memory_mib: int


def find(name: str, memory_bytes: int | None = None) -> Gpu:
    """The GPU of that name: a catalogue name, a short form ("4090", "a100-80g") or a driver's product string.

    `memory_bytes` is the total that the driver reports, where known: it tells variants of one name apart.
    Raises SpecError for an unknown name (with the nearest ones) and for a name that several variants share.
    """
    found = _matches(_key(name), memory_bytes)
    if not found:
        raise SpecError(_unknown(name))
    if len(found) > 1:
        variants = ", ".join(row.name for row in found[:8]) + (", ..." if len(found) > 8 else "")
        raise SpecError(f"GPU {name!r} may mean any of: {variants}. Name one of them.")
    return _parse(found[0].line)


def names() -> tuple[str, ...]:
    """Every name in the catalogue, in its order."""
    return tuple(row.name for row in _rows())


@lru_cache(maxsize=1)
def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU in the catalogue, in its order."""
    return tuple(_parse(row.line) for row in _rows())


def link(text: str) -> Link:
    """A link from its short form: `pcie4`, `pcie4x8`, or `nvlink 300` (1e9 bytes per second, per GPU and direction)."""
    kind, _, rate = text.partition(" ")
    bus, _, lanes = kind.partition("x")
    if bus in PCIE_X16 and not rate:
        return Link(bus, PCIE_X16[bus] * int(lanes or 16) / 16)
    return Link(kind, float(rate) * 1e9)


def _key(text: str) -> _Key:
    text = text.lower().replace("_", " ")
    size = _SIZE.search(text)
    if size:
        text = text[: size.start()] + " " + text[size.end() :]
    words = frozenset(_WORD.findall(_NOISE.sub(" ", text)))
    if any(word.isdigit() for word in words):
        words -= {"rtx", "gtx"}  # the number says it; a TITAN RTX has none
    return _Key(words, int(size[1]) if size else None)


def _matches(asked: _Key, memory_bytes: int | None) -> list[_Row]:
    """The rows with this spelling; else rows that differ in a size that agrees; else rows whose names contain it."""
    if asked.words <= {"rtx", "gtx"}:  # a brand alone names no GPU
        return []
    rows = _rows()
    near = [(row, key) for row in rows for key in row.keys if _size_agrees(asked, key, row.memory_mib)]
    tiers = (
        [row for row in rows if asked in row.keys],
        list(dict.fromkeys(row for row, key in near if key.words == asked.words)),
        list(dict.fromkeys(row for row, key in near if key.words > asked.words)),
    )
    if memory_bytes is not None:

        def off(row: _Row) -> float:
            return abs(row.memory_mib * MIB / memory_bytes - 1)

        for tier in tiers:
            if close := [row for row in tier if off(row) < 0.08]:
                least = min(map(off, close))
                return [row for row in close if off(row) == least]
    return next((tier for tier in tiers if tier), [])


def _size_agrees(asked: _Key, key: _Key, memory_mib: int) -> bool:
    # A driver shows up to 7 % less than the marketed size: ECC, and memory it keeps.
    return asked.size is None or asked.size == key.size or 0.92 * asked.size < memory_mib / 1024 < 1.03 * asked.size


@lru_cache(maxsize=1)
def _rows() -> tuple[_Row, ...]:
    text = Path(__file__).with_name("gpus.yaml").read_text(encoding="utf-8")
    return tuple(_row(line) for line in text.splitlines() if line and line[0] != "#")


def _row(line: str) -> _Row:
    name, _, rest = line.partition(": {")
    spellings = [name]
    if rest.startswith("aka: ["):
        spellings += rest[6:].partition("]")[0].split(",")
    memory = rest.partition("memory_mib: ")[2].partition(",")[0]
    return _Row(name, line, tuple(map(_key, spellings)), int(memory))


def _parse(line: str) -> Gpu:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    ((name, row),) = yaml.load(line, Loader=loader).items()
    generation = str(row["generation"])
    major, minor = (int(part) for part in str(row["capability"]).split("."))
    cuda, cdna = (major, minor), int(generation[4:]) if generation.startswith("cdna") else 0
    ascend = generation.startswith("ascend")
    tflops = {str(kind): float(value) for kind, value in row["tflops"].items()}
    return Gpu(
        name=name,
        vendor="amd" if cdna else "huawei" if ascend else "nvidia",
        generation=generation,
        capability=cuda,
        memory_bytes=row["memory_mib"] * MIB,
        bf16="bf16" in tflops,
        fp16="fp16" in tflops,
        fp8="fp8" in tflops,
        flash_attention=cuda >= (8, 0) or cdna >= 2 or ascend,
        tflops={"fp16": tflops["fp32"], **tflops},  # without fp16 units the products are taken in fp32
        memory_bandwidth=row["bandwidth_gbs"] * 1e9,
        link=link(row["link"]),
        host_link=link(row["host"]),
        source=row["source"],
        aliases=tuple(row.get("aka", ())),
        cuda_bytes=row.get("cuda_mib", 0) * MIB,
        assumed=row.get("assumed", False),
    )


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    known = {spelling.lower(): row for row in names() for spelling in (row, row.removeprefix("RTX "))}
    near = dict.fromkeys(known[match] for match in get_close_matches(name.lower(), known, n=5, cutoff=0.5))
    hint = f" Nearest: {', '.join(list(near)[:3])}." if near else ""
    return (
        f"GPU {name!r} is not in the catalogue.{hint} `mfc gpus` lists all; or name the one most like it and say what "
        "differs: gpu: {name: RTX 4090, memory: 48GiB}"
    )
