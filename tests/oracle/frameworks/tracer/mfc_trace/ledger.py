"""Births and deaths of storages, in blocks of 512 bytes."""

from __future__ import annotations

import sys
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

BLOCK = 512  # bytes; the CUDA caching allocator rounds every request up to it
SHOWN = 40  # groups of blocks that a peak is told by
LIBRARIES = ("/torch/", "/mfc_trace/", "contextlib", "functools", "<")


class Block(NamedTuple):
    """One stretch of memory: where it came from. `born` is the moment of its birth."""

    size: int
    shape: tuple[int, ...]
    dtype: str
    operator: str
    born: str
    site: str


class Known(NamedTuple):
    """A living storage: the number of its block, None where it lies in host memory."""

    reference: Any
    block: int | None


class Ledger:
    """The log of all births and deaths while it is fed. `moment` names what the process does now."""

    def __init__(self, moment: Callable[[], str], taken: Callable[[Any], int] | None = None) -> None:
        self.moment = moment
        self.taken = taken or _taken  # bytes that a storage takes
        self.elsewhere: Ledger | None = None  # what counts storages of another memory
        self.blocks: list[Block] = []
        self.labels: dict[int, str] = {}
        self.events: list[tuple[str, int, int]] = []  # moment, block, bytes (negative: it died)
        self.first = self.last = 0  # events between which peaks are looked for
        self.on_host = 0  # more than 0: what is made now would lie in host memory of a machine with a GPU
        self._known: dict[int, Known] = {}
        self._late: list[int] = []

    def note(self, tensor: torch.Tensor, operator: str = "", *, late: bool = False) -> None:
        """Count a tensor's storage, unless it is counted already; `late`, at the next event only."""
        if is_traceable_wrapper_subclass(tensor):  # a sharded one tells of itself what it would have whole
            for part in parts(tensor):
                self.note(part, operator, late=late)
            return
        if self.elsewhere and self.elsewhere.knows(tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        known = self._known.get(key)
        if known is not None:
            if known.block is not None and self.blocks[known.block].size != self.taken(storage):
                self.resized(storage)
            return
        if not size:
            return
        block = None if self.on_host else self._born(self.taken(storage), tensor, operator, late)
        self._known[key] = Known(weakref.ref(storage, lambda reference: self._died(key, reference)), block)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor's storage is counted here."""
        return tensor.untyped_storage()._cdata in self._known

    def resized(self, storage: Any) -> None:
        """A storage that is known, or comes to be, has another size now (FSDP frees what it has gathered so)."""
        known = self._known.get(storage._cdata)
        if known is None or known.block is None:
            return
        self._ended(known.block)
        old = self.blocks[known.block]
        if size := self.taken(storage):
            again = self._add(old._replace(size=size, born=self.moment()), late=False)
            self.labels[again] = self.labels.get(known.block, "")
            self._known[storage._cdata] = known._replace(block=again)
        else:
            del self._known[storage._cdata]

    def scratch(self, size: int, operator: str) -> None:
        """Bytes inside one kernel."""
        block = self._add(Block(_rounded(size), (), "", operator, self.moment(), _site()), late=False)
        self._ended(block)

    def label(self, tensors: Iterable[Any], label: str) -> None:
        """Say what tensors are for: parameters, gradients …; the first word stands."""
        for tensor in tensors:
            for part in parts(tensor) if isinstance(tensor, torch.Tensor) else ():
                self.note(part)
                known = self._known.get(part.untyped_storage()._cdata)
                if known is not None and known.block is not None:
                    self.labels.setdefault(known.block, label)

    def settle(self) -> None:
        """Count what waited."""
        self.events.extend((self.blocks[number].born, number, self.blocks[number].size) for number in self._late)
        self._late.clear()

    def peaks(self) -> dict[str, tuple[int, int]]:
        """For each moment the most that it held, in bytes, and the event that made it."""
        self.settle()
        total, found = 0, dict[str, tuple[int, int]]()
        for index, (moment, _, size) in enumerate(self.events):
            total += size
            if size > 0 and self.first <= index < self.last and total > found.get(moment, (0, 0))[0]:
                found[moment] = (total, index)
        return found

    def most(self) -> int:
        """The most bytes between these events, or as the first of them came."""
        total, most = sum(size for _, _, size in self.events[: self.first]), 0
        for _, _, size in (("", 0, 0), *self.events[self.first : self.last]):
            total += size
            most = max(most, total)
        return most

    def alive(self, event: int) -> list[tuple[Any, ...]]:
        """What was alive after an event, largest first: label, shape, type, operator, birth, place, count, bytes."""
        live: set[int] = set()
        for _, number, size in self.events[: event + 1]:
            (live.add if size > 0 else live.discard)(number)
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
        for number in live:
            block = self.blocks[number]
            group = groups[
                self.labels.get(number, ""), block.shape, block.dtype, block.operator, block.born, block.site
            ]
            group[0] += 1
            group[1] += block.size
        rows = [(*key, *counted) for key, counted in groups.items()]
        return sorted(rows, key=lambda row: -row[-1])[:SHOWN]

    def _born(self, size: int, tensor: torch.Tensor, operator: str, late: bool) -> int:
        shape, kind = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        return self._add(Block(size, shape, kind, operator, self.moment(), _site() if operator else ""), late)

    def _add(self, block: Block, late: bool) -> int:
        number = len(self.blocks)
        self.blocks.append(block)
        if late:
            self._late.append(number)
        else:
            self.events.append((block.born, number, block.size))
        return number

    def _died(self, key: int, reference: Any) -> None:
        known = self._known.get(key)
        if known is not None and known.reference is reference:
            del self._known[key]
            if known.block is not None:
                self._ended(known.block)

    def _ended(self, number: int) -> None:
        if number in self._late:
            self._late.remove(number)
        else:
            self.events.append(("", number, -self.blocks[number].size))


def parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that a wrapper holds, or the tensor itself."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    return [part for name in tensor.__tensor_flatten__()[0] for part in parts(getattr(tensor, name))]


def _taken(storage: Any) -> int:
    return _rounded(storage.nbytes())


def _rounded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _site() -> str:
    """The line of code outside PyTorch that is at work."""
    frame = sys._getframe(3)
    while frame is not None:
        file = frame.f_code.co_filename
        if not any(part in file for part in LIBRARIES):
            return f"{file.rpartition('site-packages/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
