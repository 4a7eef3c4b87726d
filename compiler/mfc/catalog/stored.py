"""How a checkpoint is stored, by the ending of its name: the usual ones of quantised copies."""

from __future__ import annotations

import re
from typing import NamedTuple

from mfc.strategy import Quantization

_BITS = {"awq": 4, "gptq": 4, "aqlm": 2, "fp8": 8, "mxfp4": 4}
_PLAIN = ("bf16", "fp16", "f16", "16bit")
_KNOWN = re.compile(r"-(awq|gptq|aqlm|fp8|mxfp4|bnb|bf16|fp16|f16|16bit)(?:-(?:int(\d)|(\d)-?bits?))?$", re.IGNORECASE)
# Endings that tell a number format, and not whose.
_VAGUE = re.compile(
    r"-(gguf|exl2|mlx|nvfp4|w\da\d+|(?:int)?\d-?bits?|int\d|quantized|q\d_\w+)(?:-[\w.]+)?$", re.IGNORECASE
)


def bare(name: str) -> str:
    """A name without an ending that says how it is stored."""
    return _VAGUE.sub("", _KNOWN.sub("", name))


class Ending(NamedTuple):
    """What the ending of a name says: how the weights are stored, None for 16 bits."""

    text: str
    stored: Quantization | None


def ending(name: str) -> Ending | None:
    """What the ending of a name says of how it is stored; None where it says nothing.

    Raises ValueError with the ending where it says that the weights are quantised, but not how.
    """
    found = _KNOWN.search(name)
    if found is None:
        if vague := _VAGUE.search(name):
            raise ValueError(vague[0])
        return None
    kind, bits = found[1].lower(), found[2] or found[3]
    if kind in _PLAIN:
        return Ending(found[0], None)
    if kind == "bnb" and bits is None:
        raise ValueError(found[0])
    return Ending(found[0], Quantization(int(bits or _BITS[kind]), kind, double=False, pre=True))
