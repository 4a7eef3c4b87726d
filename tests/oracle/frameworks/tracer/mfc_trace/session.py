"""One traced training."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import profiled
from .as_on_cuda import as_on_cuda, computed, scratch
from .ledger import Ledger
from .moments import Moments
from .offload import CARD, PINNED, Offload, pinned, taken

ACCELERATOR = "deepspeed.accelerator.cpu_accelerator.CPU_Accelerator"
Run = Callable[[], Any]
SUM = "aten.add.Tensor"
NEAR = 0.8  # share of the peak from which on a moment's living blocks are told


class Session(TorchDispatchMode):
    """While it is the active mode, every operator's results are counted. `models` by role: "" the one that trains."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        super().__init__()
        self.models = models
        self.moments = Moments(models)
        self.ledger = Ledger(self.moments.now)
        self.offload = Offload(Ledger(self.moments.now, taken)) if offloads() else None
        self.steps = 0
        for role, model in models.items():
            for kind in ("parameters", "buffers"):
                self._own(getattr(model, kind)(), f"{role} {kind}".strip())
        if self.offload:
            self.ledger.elsewhere, self.offload.ledger.elsewhere = self.offload.ledger, self.ledger
        tensors = [found for found in gc.get_objects() if type(found) in (torch.Tensor, torch.nn.Parameter)]
        for tensor in tensors:
            if self.offload and tensor.untyped_storage()._cdata in PINNED:
                self.offload.ledger.note(tensor)
        self.ledger.label((one for one in tensors if one.device.type == "cpu"), "before training")

    def _own(self, tensors: Any, label: str) -> None:
        """Give tensors that lie in a mapped file storages of their own, as on a device; tied ones share one."""
        made: dict[Any, torch.Tensor] = {}
        for tensor in tensors:
            if tensor.numel() and tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
                tensor.data = made.setdefault((tensor.data_ptr(), tensor.shape), tensor.data.clone())
            self.ledger.label([tensor], label)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ledger.settle()
        made = computed(func, args, kwargs or {})
        operator = str(func)
        away = self.offload is not None and self.offload.stays(args, kwargs or {})
        ledger = self.offload.ledger if self.offload and away else self.ledger
        # The autograd engine sums two gradients in place, but not under a mode: the sum counts when its operands died.
        late = operator == SUM and self.moments.in_backward and not torch.is_grad_enabled()
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu":
                ledger.note(tensor, operator, late=late)
        if size := scratch(operator, args):
            self.ledger.scratch(size, operator)
        return made

    def begin_step(self) -> None:
        """A step, of one micro-batch; what is looked at begins with the first."""
        for role, model in self.models.items():  # engines put parameters into storages of their own
            self.ledger.label(model.parameters(), f"{role} parameters".strip())
        if not self.steps:
            for ledger in self.ledgers():
                ledger.first = len(ledger.events)
        self.steps += 1

    def end_step(self) -> None:
        for ledger in self.ledgers():
            ledger.settle()
            ledger.last = len(ledger.events)

    def ledgers(self) -> list[Ledger]:
        """The device's, and the host's."""
        return [self.ledger, *([self.offload.ledger] if self.offload else [])]

    def told(self) -> dict[str, Any]:
        """The result, for a file."""
        peaks = self.ledger.peaks()
        moment = max(peaks, key=lambda name: peaks[name][0])
        most = peaks[moment][0]
        return {
            **({"host": self.offload.ledger.most()} if self.offload else {}),
            "peak": most,
            "moment": moment,
            "steps": self.steps,
            "moments": {name: size for name, (size, _) in sorted(peaks.items(), key=lambda item: -item[1][0])},
            "alive": {name: self.ledger.alive(event) for name, (size, event) in peaks.items() if size >= NEAR * most},
        }


ACTIVE: list[Session] = []


@contextlib.contextmanager
def session(models: Mapping[str, Any]) -> Iterator[None]:
    """Trace what runs inside, and write `$MFC_TRACE.RANK.json`; without that variable, or inside another, do nothing.

    With MFC_TRACE_BY=profiler, PyTorch's profiler counts instead.
    """
    place = os.environ.get("MFC_TRACE")
    if not place or ACTIVE:
        yield
        return
    gc.collect()
    models = {role: model for role, model in models.items() if isinstance(model, torch.nn.Module)}
    result = Path(f"{place}.{os.environ.get('RANK', '0')}.json")
    if os.environ.get("MFC_TRACE_BY") == "profiler":
        with profiled.profiled(models, result):
            yield
        return
    made = Session(models)
    with contextlib.ExitStack() as stack:
        _hook(made, stack)
        stack.enter_context(as_on_cuda())
        stack.enter_context(made)
        if made.offload:
            stack.enter_context(made.offload)
            stack.enter_context(mock.patch(f"{ACCELERATOR}.current_device_name", return_value=CARD))
        ACTIVE.append(made)
        stack.callback(ACTIVE.clear)
        yield
    result.write_text(json.dumps(made.told(), indent=1), encoding="utf-8")


def _hook(made: Session, stack: contextlib.ExitStack) -> None:
    """What tells a session where the process is."""
    moments, ledger = made.moments, made.ledger
    engine, resize = torch.autograd._engine_run_backward, torch.UntypedStorage.resize_

    def backward(*args: Any, **kwargs: Any) -> Any:
        with in_backward():
            return engine(*args, **kwargs)

    def resized(storage: Any, size: int) -> Any:
        done = resize(storage, size)
        ledger.resized(storage)
        return done

    def before(optimizer: Any, *_: Any) -> None:
        moments.forced = "optimizer"
        ledger.label((one for group in optimizer.param_groups for one in group["params"]), "master")

    def after(optimizer: Any, *_: Any) -> None:
        ledger.label((one for state in optimizer.state.values() for one in tree_leaves(state)), "optimizer")
        moments.forced = ""
        made.end_step()

    trained = [p for model in made.models.values() for p in model.parameters() if p.requires_grad]
    handles = [
        modules.register_module_forward_pre_hook(moments.enter),
        modules.register_module_forward_hook(moments.leave, always_call=True),
        optimizers.register_optimizer_step_pre_hook(before),
        optimizers.register_optimizer_step_post_hook(after),
        *(p.register_post_accumulate_grad_hook(lambda p: ledger.label([p.grad], "gradients")) for p in trained),
    ]
    for handle in handles:
        stack.callback(handle.remove)
    for owner, name, mine in (
        (torch.autograd, "_engine_run_backward", backward),
        (torch.UntypedStorage, "resize_", resized),
    ):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, mine)


@contextlib.contextmanager
def in_backward() -> Iterator[None]:
    """What runs inside belongs to the backward pass."""
    if not ACTIVE:
        yield
        return
    ACTIVE[0].moments.begin_backward()
    try:
        yield
    finally:
        ACTIVE[0].ledger.settle()
        ACTIVE[0].moments.end_backward()


@contextlib.contextmanager
def in_optimizer() -> Iterator[None]:
    """What runs inside belongs to the optimizer's step."""
    with _in("optimizer"):
        yield
    if ACTIVE:
        ACTIVE[0].end_step()


@contextlib.contextmanager
def in_rollout() -> Iterator[None]:
    """What runs inside generates answers."""
    with _in("rollout"):
        yield


@contextlib.contextmanager
def _in(moment: str) -> Iterator[None]:
    if not ACTIVE:
        yield
        return
    before, ACTIVE[0].moments.forced = ACTIVE[0].moments.forced, moment
    yield
    ACTIVE[0].moments.forced = before


@contextlib.contextmanager
def step() -> Iterator[None]:
    """One micro-batch runs inside."""
    if ACTIVE:
        ACTIVE[0].begin_step()
    with profiled.step():
        yield
    if ACTIVE:
        ACTIVE[0].end_step()


@contextlib.contextmanager
def on_host() -> Iterator[None]:
    """What is made inside lies in host memory where there is a GPU."""
    if not ACTIVE:
        yield
        return
    ACTIVE[0].ledger.on_host += 1
    try:
        yield
    finally:
        ACTIVE[0].ledger.on_host -= 1


def offloads() -> bool:
    """Whether states wait in host memory."""
    return bool(os.environ.get("MFC_TRACE_OFFLOAD"))


def locked(tensor: torch.Tensor) -> torch.Tensor:
    """What DeepSpeed's accelerator makes of a tensor that it locks in host memory."""
    offload = ACTIVE[0].offload if ACTIVE else None
    with offload.on_host() if offload else contextlib.nullcontext():
        made = pinned(tensor)
    if offload:
        offload.ledger.note(made)
    return made


in_kernel = on_host  # nor does it lie on the device what one kernel of a GPU makes in registers


def to_device(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as it reaches the device: copied."""
    return tensor.clone() if ACTIVE else tensor
