"""Which cards of the catalogue, and how many of them, a spec fits on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.planner.changes import INTER
from mfc.size.attempts import Attempts, Fitting

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.spec.load import LoadedSpec

COUNTS = (1, 2, 4, 8)  # GPUs of a machine
NODES = (2, 4, 8)  # machines of the most GPUs, where no single machine is enough


class Offer(NamedTuple):
    """A kind of card with what fits on so many of it, the fewest first; at least one."""

    gpu: Gpu
    fitting: tuple[Fitting, ...]

    @property
    def cost(self) -> float | None:
        """Of the cheapest number of them, for the whole run or for a thousand rows; None without a price."""
        costs = [each.bill.cost(each.bill.seconds or each.bill.thousand_seconds) for each in self.fitting]
        known = [cost for cost in costs if cost is not None]
        return min(known, default=None)


def candidates(prices: Mapping[str, object], named: Sequence[str], several: bool) -> list[Gpu]:
    """The cards to ask about: those named, else those of a file of prices (`several`), else all but laptops'."""
    from mfc.catalog import gpus

    found = [gpu for gpu in gpus.all_gpus() if not named or any(_plain(one) in _plain(gpu.name) for one in named)]
    if named:
        return found
    if several:
        return [gpu for gpu in found if gpu.name in prices]
    return [gpu for gpu in found if "Laptop" not in gpu.name]


def offers(loaded: LoadedSpec, attempts: Attempts, cards: Sequence[Gpu]) -> Iterator[Offer | None]:
    """For each card what fits on it, one after the other; None where nothing does."""
    for gpu in cards:
        tried = [attempts.best(edit(loaded, gpu, count, 1)) for count in COUNTS]
        found = tuple(one for one in tried if one)
        yield Offer(gpu, found) if found else None


def clusters(loaded: LoadedSpec, attempts: Attempts, cards: Sequence[Gpu]) -> Iterator[Offer | None]:
    """The same for several machines of as many GPUs as one holds: the fewest that are enough."""
    for gpu in cards:
        tried = (attempts.best(edit(loaded, gpu, COUNTS[-1], nodes)) for nodes in NODES)
        first = next((one for one in tried if one), None)
        yield Offer(gpu, (first,)) if first else None


def ranked(offers: Sequence[Offer]) -> list[Offer]:
    """The cheapest first, then those without a price, those with the least memory in all first."""

    def order(offer: Offer) -> tuple[Any, ...]:
        first, cost = offer.fitting[0], offer.cost
        memory = first.hardware.world_size * offer.gpu.memory_bytes
        return (cost is None, cost or 0.0, memory >> 30, first.seconds_per_step)

    return sorted(offers, key=order)


def edit(loaded: LoadedSpec, gpu: Gpu, count: int, nodes: int) -> dict[str, Any]:
    """The spec on other machines: what it says of its own cards and how they are linked does not hold there."""
    hardware = loaded.spec.hardware
    made: dict[str, Any] = {"hardware.gpu": gpu.name, "hardware.count": count, "hardware.nodes": nodes}
    made |= {f"hardware.gpu.{name}": "auto" for name in hardware.gpu.model_fields_set - {"name"}}
    if hardware.devices:
        made["hardware.devices"] = "[]"
    if hardware.gpu_reserved:
        made["hardware.gpu_reserved"] = "0GiB"
    if hardware.interconnect.intra != "auto":
        made["hardware.interconnect.intra"] = "auto"
    if nodes > 1 and hardware.interconnect.inter == "auto":
        made["hardware.interconnect.inter"] = INTER
    return made


def _plain(name: str) -> str:
    """A name as it is compared: RTX4090 is RTX 4090."""
    return "".join(char for char in name.lower() if char.isalnum())
