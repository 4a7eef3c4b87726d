"""Follow every storage that a PyTorch program creates and frees, under fake tensors: no bytes are allocated."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512  # bytes; the CUDA caching allocator rounds every request up to it
SOFTMAX_BACKWARD = "aten::_softmax_backward_data"
FLASH_BACKWARD = "aten::_scaled_dot_product_flash_attention_backward"


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that one phase held. All sizes are bytes; `parts` sums to `size`."""

    size: int
    parts: Mapping[str, int]
    operator: str  # the one whose output made the peak


@dataclass(slots=True)
class _Block:
    size: int
    kind: str


class Tracker(TorchDispatchMode):
    """Counts live storages while it is the active mode.

    `phase` names what the program does now and is set from outside; `peaks` has the peak of each phase, `events` the
    allocation curve: (block, bytes) when a block is born, (block, -bytes) when it dies, scratch of kernels included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.phase = ""
        self.total = 0
        self.parts: Counter[str] = Counter()
        self.peaks: dict[str, Peak] = {}
        self.events: list[tuple[int, int]] = []
        self._blocks: dict[int, _Block] = {}
        self._known: dict[int, tuple[Any, int]] = {}  # storage address -> (weak reference, block)
        self._late: list[int] = []
        self._next = 0

    def note(self, tensor: torch.Tensor, kind: str, operator: str = "") -> None:
        """Count a tensor's storage unless it is counted already."""
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        known = self._known.get(address)
        if size == 0 or (known is not None and known[0]() is not None):
            return
        self._next += 1
        block, size = self._next, -(-size // BLOCK) * BLOCK
        self._blocks[block] = _Block(size, kind)
        self._known[address] = (weakref.ref(storage, lambda _: self._died(address, block)), block)
        self.total += size
        self.parts[kind] += size
        if operator == "aten::add" and not torch.is_grad_enabled() and self.phase != "optimizer":
            # The autograd engine sums two gradients in place, but cannot for fake tensors: the sum counts only once
            # its operand has had the time to die.
            self._late.append(block)
        else:
            self.events.append((block, size))
            self.mark(operator)

    def label(self, tensors: Iterable[Any], kind: str) -> None:
        """Say what tensors that are counted already are for."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                known = self._known.get(tensor.untyped_storage()._cdata)
                if known is not None and (block := self._blocks.get(known[1])) is not None:
                    self.parts[block.kind] -= block.size
                    self.parts[kind] += block.size
                    block.kind = kind

    def mark(self, operator: str, scratch: int = 0) -> None:
        """Take the present total, and `scratch` bytes inside one kernel, for the phase's peak if it is more."""
        if scratch:
            self._next += 1
            self.events += [(self._next, scratch), (self._next, -scratch)]
        peak = self.peaks.get(self.phase)
        if peak is None or self.total + scratch > peak.size:
            parts = {kind: size for kind, size in self.parts.items() if size}
            if scratch:
                parts["scratch"] = scratch
            self.peaks[self.phase] = Peak(self.total + scratch, parts, operator)

    def settle(self) -> None:
        """Count the sums that waited."""
        for block in self._late:
            if block in self._blocks:
                self.events.append((block, self._blocks[block].size))
        self._late.clear()
        self.mark("aten::add")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and count what it makes."""
        if self._late:
            self.settle()
        made = func(*args, **(kwargs or {}))
        name: str = func._schema.name
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor, "activations", name)
        if name == FLASH_BACKWARD:
            self.mark(name, _flash_scratch(args[1], args[2]))
        if name == SOFTMAX_BACKWARD:  # CUDA's kernel multiplies gradient and output first (SoftMax.cu of PyTorch)
            self.mark(name, args[0].numel() * args[0].element_size())
        return made

    def _died(self, address: int, number: int) -> None:
        known = self._known.get(address)
        if known is not None and known[1] == number:
            del self._known[address]
        block = self._blocks.pop(number)
        self.total -= block.size
        self.parts[block.kind] -= block.size
        if number in self._late:
            self._late.remove(number)
        else:
            self.events.append((number, -block.size))


def _flash_scratch(query: torch.Tensor, key: torch.Tensor) -> int:
    """Bytes of scratch inside flash attention's backward kernel: dq in fp32 and the row sums, lengths rounded up, and
    dk and dv for all query heads where heads share keys (flash_api.cpp of PyTorch).
    """
    batch, heads, length, width = query.shape
    rows, columns = -(-length // 128) * 128, -(-width // 32) * 32
    scratch = 4 * batch * heads * rows * (columns + 1)
    if key.shape[1] != heads:
        scratch += 2 * query.element_size() * batch * heads * key.shape[2] * width
    return int(scratch)
