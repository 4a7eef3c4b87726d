"""A first spec for a machine: what was seen as settings, what was not as comments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from mfc.catalog import gpus
from mfc.catalog.gpu import Gpu
from mfc.emit import quote
from mfc.errors import SpecError
from mfc.machine.seen import Card, Machine
from mfc.rules.packages import EXAMPLES
from mfc.target import Target

GIB = 1 << 30
IDLE = GIB // 4  # bytes in use below which a card counts as free: a driver and a text console take no more
NAMED = ("torch", "transformers", *EXAMPLES)  # packages that rules ask about


class Wishes(NamedTuple):
    """What the user says by options or answers; None or empty: not said."""

    model: str
    data: str = "data/train.jsonl"
    method: str = "auto"
    task: str = "sft"
    gpu: str | None = None
    gpu_count: int | None = None
    targets: tuple[str, ...] = ()


class Cards(NamedTuple):
    """The cards to train on: alike, and what the others were left out for."""

    gpu: Gpu
    chosen: tuple[Card, ...]  # empty where the user said what the GPU is
    gpu_count: int
    notes: tuple[str, ...] = ()


def cards_for(machine: Machine, wishes: Wishes) -> Cards:
    """The largest group of cards that are alike and not taken by others. Raises SpecError where there is none."""
    if wishes.gpu is not None:
        return Cards(gpus.find(wishes.gpu), (), wishes.gpu_count or 1)
    if not machine.cards:
        raise SpecError(f"error: {'; '.join(machine.notes)}; say what the run will have: --gpu 'RTX 4090' --count 4")
    kinds = [list(same) for _, same in groupby(sorted(machine.cards, key=_kind), key=_kind)]
    alike = max(kinds, key=lambda same: (sum(not _taken(card) for card in same), same[0].memory_bytes))
    free = [card for card in alike if not _taken(card)] or alike
    chosen = sorted(free, key=lambda card: card.number)[: wishes.gpu_count]
    if wishes.gpu_count and len(chosen) < wishes.gpu_count:
        raise SpecError(f"error: --count {wishes.gpu_count}: there are {len(free)} {free[0].name} that nobody uses")
    notes = [
        f"card {card.number}, {card.name}, is left out: {_because(card, chosen[0])}"
        for card in machine.cards
        if card not in chosen
    ]
    return Cards(gpus.find(chosen[0].name, chosen[0].memory_bytes), tuple(chosen), len(chosen), tuple(notes))


def _kind(card: Card) -> tuple[str, int]:
    return (card.name, card.memory_bytes)


def _taken(card: Card) -> bool:
    """Others hold more than half of it."""
    return card.used_bytes > card.memory_bytes / 2


def _because(card: Card, other: Card) -> str:
    if _kind(card) != _kind(other):
        return "all GPUs of a run are alike"
    return f"{card.used_bytes / GIB:.1f} GiB of it are in use" if _taken(card) else "more than --count"


def spec(machine: Machine, cards: Cards, wishes: Wishes, targets: Sequence[Target]) -> str:
    """The text of a spec, each part with what it means and what else there is."""
    return "\n".join([*_head(wishes), *_hardware(machine, cards), *_recipe(wishes), *_targets(machine, targets), ""])


def _head(wishes: Wishes) -> Iterator[str]:
    yield "# A run, said once. What is not here is auto: mfc decides. `mfc schema` lists all that may stand here."
    yield f"model: {quote.yaml(wishes.model)}"
    yield ""


def _hardware(machine: Machine, cards: Cards) -> Iterator[str]:
    yield from (f"# {note}" for note in cards.notes)
    yield "hardware:"
    yield f"  gpu: {cards.gpu.name}"
    yield f"  count: {cards.gpu_count}"
    numbers = [card.number for card in cards.chosen]
    if numbers and len(numbers) < len(machine.cards):
        yield f"  devices: {numbers}"
    used = max((card.used_bytes for card in cards.chosen), default=0)
    if used > IDLE:
        yield f"  gpu_reserved: {_up(used)}GiB # in use by others when this was written: a desktop, another run"
    if cards.gpu_count > 1 and cards.gpu.link.kind == "nvlink" and all(_alone(card) for card in cards.chosen):
        yield "  interconnect: pcie # this GPU is usually sold with NVLink; here none is up"
    if cards.chosen:
        yield from _host(machine)
    else:
        yield "  # host_memory: 256GiB # your share of a node's RAM; without it nothing is offloaded"
    yield ""


def _alone(card: Card) -> bool:
    """It was looked for links, and none is up."""
    return card.peers is not None and not card.linked


def _host(machine: Machine) -> Iterator[str]:
    if machine.host_memory_bytes:
        yield f"  host_memory: {machine.host_memory_bytes // GIB}GiB # all of it; your share where others use it too"
    if machine.cpu_cores:
        yield f"  cpu_cores: {machine.cpu_cores}"
    if machine.nvme:
        yield f"  # nvme: {machine.nvme} # allows to offload to this disk, where the rest does not suffice"


def _recipe(wishes: Wishes) -> Iterator[str]:
    yield "data:"
    yield f"  train: {quote.yaml(wishes.data)}"
    yield "  # format: messages # or alpaca, sharegpt, text, preference, prompt; auto: what the task means"
    yield "  # max_length: {min: 1024, max: 8192} # as long as fits; 2048 where nothing is said"
    yield ""
    yield "train:"
    yield f"  task: {wishes.task}"
    if wishes.task == "distill":
        yield "  distillation: {teacher: ORGANISATION/TEACHER} # whose predictions are learnt: a path or hub id"
    yield f"  method: {wishes.method} # full, lora, qlora; auto: the most faithful that fits"
    yield "  batch_size: 32 # samples a step over all GPUs; how they are split mfc decides"
    yield "  epochs: 3"
    yield ""


def _targets(machine: Machine, targets: Sequence[Target]) -> Iterator[str]:
    yield "targets:"
    for target in targets:
        version = machine.packages.get(target.DISTRIBUTION) if target.DISTRIBUTION else None
        if version is None:
            yield f"  {target.NAME}: {{}}"
            continue
        yield f"  {target.NAME}:"
        yield f"    version: {quote.yaml(version)}"
        seen: dict[str, Any] = {name: machine.packages.get(name) for name in NAMED if name != target.DISTRIBUTION}
        said = ", ".join(f"{name}: {'null' if one is None else quote.yaml(one)}" for name, one in seen.items())
        yield f"    packages: {{{said}}} # null: not installed"


def installed(machine: Machine, targets: Sequence[Target]) -> list[Target]:
    """The targets whose framework is installed, those of the version's own among several for one package."""
    found = [target for target in targets if target.DISTRIBUTION in machine.packages]
    return [
        target
        for target in found
        if _knows(target, machine)
        or not any(_knows(other, machine) for other in found if other.DISTRIBUTION == target.DISTRIBUTION)
    ]


def _knows(target: Target, machine: Machine) -> bool:
    """Whether the installed version is of the same series as one that the target knows."""
    series = machine.packages[target.DISTRIBUTION].partition(".")[0]
    return any(version.partition(".")[0] == series for version in target.VERSIONS)


def _up(size: int) -> float:
    """GiB, rounded up to a quarter."""
    return math.ceil(4 * size / GIB) / 4
