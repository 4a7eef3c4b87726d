"""Quantities as people write them, read into plain numbers: bytes, bytes per second, fractions, counts of GPUs.

Every parser takes what the YAML held and raises ValueError, whose text says what may be written instead.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_SIZES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
    # A bare letter is binary, as GPU makers and nvidia-smi mean it: 24G is 24 GiB.
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}
_TIMES_OF = {"s": 1, "min": 60, "h": 3600}
_PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2.0**10, "MI": 2.0**20, "GI": 2.0**30}

_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?|\.\d{1,15})"
SIZE_PATTERN = rf"^{_NUMBER}\s*([KMGTkmgt]?[iI]?[bB]|[KMGTkmgt])$"
BANDWIDTH_PATTERN = rf"^{_NUMBER}\s*([KMGTkmg]?i?)(bps|b/s|bit/s|B/s|Bps)$"
TIME_PATTERN = rf"^{_NUMBER}\s*(s|min|h)$"
PRICE_PATTERN = rf"^([$€£¥]?)\s*{_NUMBER}\s*/\s*h$"
PERCENT_PATTERN = rf"^{_NUMBER}\s*%$"
# PEP 440, without an epoch: a release, what comes before or after it, a local part.
RELEASE_PATTERN = (
    r"^[0-9]{1,9}(\.[0-9]{1,9}){0,7}([-_.]?(a|b|c|rc|alpha|beta|pre|preview|post|rev|r|dev)[0-9]{0,9}){0,3}"
    r"(\+[A-Za-z0-9]{1,40}([-_.][A-Za-z0-9]{1,40}){0,3})?$"
)
_TIMES = "[xX×*张卡块]"  # the last three count cards in Chinese
_COUNT = rf"(?:(\d{{1,6}})\s*{_TIMES}\s*)?"
_GPUS = re.compile(rf"^{_COUNT}{_COUNT}(\S.*?)(?:\s+[xX×*]\s*(\d{{1,6}}))?$")

SIZE = "a size with a unit: KiB, MiB, GiB, TiB (binary; G means GiB) or KB, MB, GB, TB (decimal), such as 24GiB"
BANDWIDTH = "a bandwidth with a unit: Gbps or Gb/s (bits), GB/s (bytes), with K, M, G or T, such as 25Gbps"
TIME = "a time with a unit: s, min, h, such as 3h"
PRICE = "the price of one GPU for an hour, such as 2.10/h or $2.10/h, or a YAML file of prices by GPU"
STEPS = "a share of the steps such as 3% or 0.03, or a number of steps such as 100"
FRACTION = "a percentage such as 5%, or a fraction such as 0.05"
RELEASE = "a version such as 4.57.1"
GPUS = "a count and a GPU, such as 4x RTX 4090"


@dataclass(frozen=True, slots=True)
class Gpus:
    """`nodes` machines with `count` GPUs of one kind in each."""

    nodes: int
    count: int
    name: str


@dataclass(frozen=True, slots=True)
class Price:
    """What one GPU costs for an hour. `currency` is a sign, or empty where none was given."""

    an_hour: float
    currency: str = ""

    def said(self, amount: float) -> str:
        """An amount of this currency, in words."""
        return f"{self.currency}{amount:,.2f}" if amount < 100 else f"{self.currency}{amount:,.0f}"


def price(value: object) -> Price:
    """The price in "2.10/h" or "$2.10/h"."""
    match = re.match(PRICE_PATTERN, value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(PRICE)
    return Price(float(match[2]), match[1])


def price_or_file(value: object) -> Price | str:
    """A price, or the path of a YAML file that holds one for each GPU."""
    if isinstance(value, str) and value.strip().endswith((".yaml", ".yml")) and not value.startswith("-"):
        return value.strip()
    return price(value)


def size(value: object) -> int:
    """Bytes of "24GiB" (binary), "24GB" (decimal) or "24G" (binary, as on a GPU's box)."""
    match = re.match(SIZE_PATTERN, value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(SIZE)
    return round(float(match[1]) * _SIZES[match[2].upper()])


def bandwidth(value: object) -> float:
    """Bytes per second of "25Gbps" or "400Gb/s" (bits) or "12.5GB/s" (bytes). Never zero."""
    match = re.match(BANDWIDTH_PATTERN, value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise ValueError(BANDWIDTH)
    per_second = float(match[1]) * _PREFIXES[match[2].upper()]
    return per_second if match[3].startswith("B") else per_second / 8


def time(value: object) -> int:
    """Whole seconds of "3h", "90min" or "600s". Never zero."""
    match = re.match(TIME_PATTERN, value.strip()) if isinstance(value, str) else None
    seconds = round(float(match[1]) * _TIMES_OF[match[2]]) if match else 0
    if not seconds:
        raise ValueError(TIME)
    return seconds


def fraction(value: object) -> float:
    """A number from 0 to 1 of "5%" or 0.05."""
    result = math.nan
    if isinstance(value, str) and (match := re.match(PERCENT_PATTERN, value.strip())):
        result = float(match[1]) / 100
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        result = float(value)
    if not 0 <= result <= 1:
        raise ValueError(FRACTION)
    return result


def steps(value: object) -> int | float:
    """Part of a run's steps: a share below 1 of "3%" or 0.03, or a whole number of steps; 0 is the share 0.0."""
    if type(value) is int and value >= 1:
        return value
    try:
        share = fraction(value)
    except ValueError:
        raise ValueError(STEPS) from None
    if share == 1:  # 1 is one step, and 100 % of the steps is nothing that anybody means
        raise ValueError(STEPS)
    return share


def whole_steps(part: int | float, of: int) -> int:
    """Steps of a part of `of` steps; a share is rounded up, as the Hugging Face Trainer does."""
    return part if isinstance(part, int) else math.ceil(part * of)


def gpus(value: object) -> Gpus:
    """Count and name of "4x RTX 4090", "8xA100-80G", "A100-80G x8", "T4"; with nodes first, "2x 8x H100"."""
    match = _GPUS.match(value.strip()) if isinstance(value, str) else None
    if match is None or (match[1] and match[4]):
        raise ValueError(GPUS)
    first, second, name, last = match.groups()
    nodes, count = (int(first), int(second)) if second else (1, int(first or last or 1))
    if not nodes or not count or re.fullmatch(rf"\d+\s*{_TIMES}", name):
        raise ValueError(GPUS)
    return Gpus(nodes, count, name)
