"""A card that is not there: DeepSpeed's engine runs on fake tensors, and each allocation is noted with its stream.

The CPU accelerator, with an index that tells its tensors from those of the host: "cpu:0" is the card, "cpu" the host.
Unlike the CPU accelerator it has streams, which the engine asks for as it does on CUDA; nothing waits on them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import deepspeed
import torch
from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator
from deepspeed.ops.adam import cpu_adam
from deepspeed.runtime.zero import partitioned_param_coordinator, stage3
from torch import nn
from torch.distributed._tools import fake_collectives  # noqa: F401 - collectives that take fake tensors
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = "cpu:0"
HOST, PINNED = "host", "pinned"


class Event(NamedTuple):
    """A block that is born (size > 0) or dies (size < 0), or that another stream uses as well (size 0)."""

    block: int
    size: int  # bytes
    place: str  # a stream of the card, or HOST or PINNED
    phase: str


class Log(TorchDispatchMode):  # type: ignore[misc]
    """Notes every storage that is made while it is the active mode. `phase` is set from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.phase = ""
        self.stream = "default"
        self.pins = False
        self._known: dict[int, tuple[Any, int]] = {}  # storage address -> (weak reference, block)
        self._blocks = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return made

    def uses(self, tensor: torch.Tensor, stream: str) -> None:
        """A stream other than its own uses the tensor: its block serves again only when that one has passed."""
        known = self._known.get(tensor.untyped_storage()._cdata)
        if known is not None:
            self.events.append(Event(known[1], 0, stream, self.phase))

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        known = self._known.get(address)
        if size == 0 or tensor.device.type == "meta" or (known is not None and known[0]() is not None):
            return
        self._blocks += 1
        block = self._blocks
        place = self.stream if tensor.device.index == 0 else PINNED if self.pins else HOST
        self._known[address] = (weakref.ref(storage, lambda _: self._dies(address, block, size, place)), block)
        self.events.append(Event(block, size, place, self.phase))

    def _dies(self, address: int, block: int, size: int, place: str) -> None:
        if self._known.get(address, (None, 0))[1] == block:
            del self._known[address]
        self.events.append(Event(block, -size, place, self.phase))


class Stream:
    """A stream by the line that made it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keys: None


class _Event:
    """Always over: the host waits for nothing."""

    def __init__(self, *_args: Any, **_keys: Any) -> None:
        pass

    def query(self) -> bool:
        return True

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keys: None


class Card(CPU_Accelerator):  # type: ignore[misc]
    """What DeepSpeed sees."""

    def __init__(self, log: Log, ranks: int) -> None:
        super().__init__()
        self._log, self._ranks, self._main = log, ranks, Stream("default")
        self._now = self._main

    Event = _Event

    @property
    def Stream(self) -> Any:  # noqa: N802 - DeepSpeed's word
        caller = sys._getframe(1)
        name = f"{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
        return lambda *_args, **_keys: Stream(name)

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self._now = self._now, stream or self._now
        self._log.stream = self._now.name
        try:
            yield
        finally:
            self._now = before
            self._log.stream = before.name

    def current_stream(self, _index: Any = None) -> Any:
        return self._now

    def default_stream(self, _index: Any = None) -> Any:
        return self._main

    def pin_memory(self, tensor: torch.Tensor, _align_bytes: int = 1) -> torch.Tensor:
        self._log.pins = True
        try:
            return tensor.detach().clone()
        finally:
            self._log.pins = False

    def on_accelerator(self, tensor: torch.Tensor) -> bool:
        return bool(tensor.device.index == 0)

    def available_memory(self, _index: Any = None) -> int:
        return 1 << 50

    def device_count(self) -> int:
        return self._ranks

    def device_name(self, _index: Any = None) -> str:
        return CARD

    current_device_name = device_name

    def current_device(self) -> int:
        return 0

    def device(self, _index: Any = None) -> Any:
        return contextlib.nullcontext()

    def is_synchronized_device(self) -> bool:
        return False

    resolves_data_dependency = handles_memory_backpressure = is_synchronized_device

    def is_pinned(self, _tensor: torch.Tensor) -> bool:
        return True


def alone(log: Log, ranks: int) -> None:
    """One rank without its peers, and without values: what looks at either gets an answer here."""
    sys.modules["deepspeed.comm.torch"].__dict__["build_shm_op"] = lambda: None
    torch.distributed.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    deepspeed.init_distributed(dist_backend="fake", auto_mpi_discovery=False, verbose=False)
    kernel = types.SimpleNamespace(create_adam=print, adam_update=lambda *_: None, destroy_adam=lambda *_: None)
    answers: list[tuple[Any, str, Any]] = [
        (cpu_adam, "CPUAdamBuilder", lambda: types.SimpleNamespace(load=lambda: kernel)),
        (partitioned_param_coordinator, "assert_ints_same_as_other_ranks", lambda *_: None),
        (nn.Module, "to", lambda self, *_args, **_keys: self),  # it lies where it was made
        (torch.Tensor, "record_stream", lambda tensor, stream: log.uses(tensor, stream.name)),
        (torch.Tensor, "data_ptr", lambda _: 0),
        (torch.Tensor, "item", lambda _: 1.0),
        (torch.Tensor, "__float__", lambda _: 1.0),
        (torch.Tensor, "__bool__", lambda _: False),
    ]
    norm = "complete_grad_norm_calculation_for_cpu_offload"
    answers.append((stage3.DeepSpeedZeroOptimizer_Stage3, norm, lambda *_: torch.ones(())))
    answers += [(kind, "reset_parameters", lambda _: None) for kind in (nn.Linear, nn.Embedding, nn.RMSNorm)]
    for owner, name, value in answers:
        setattr(owner, name, value)
