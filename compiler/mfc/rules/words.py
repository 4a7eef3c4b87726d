"""How numbers are written in reasons."""

from __future__ import annotations

from collections.abc import Iterable

GIB = 2**30


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.2f} GiB"


def short(number: float) -> str:
    """A count of parameters or elements: 7.62B, 16.8M."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"


def listed(values: Iterable[object], last: str = "or") -> str:
    """Values as a list in a sentence: a, b or c; none when there are none."""
    *most, final = [str(value) for value in values] or ["none"]
    return f"{', '.join(most)} {last} {final}" if most else final


def capability(numbers: tuple[int, int]) -> str:
    """A CUDA compute capability: 8.6."""
    return f"{numbers[0]}.{numbers[1]}"


def gpus(number: int) -> str:
    """1 GPU, 8 GPUs."""
    return f"{number} GPU" if number == 1 else f"{number} GPUs"
