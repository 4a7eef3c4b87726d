"""Host memory apart from a device's where DeepSpeed offloads: on a CPU both are one.

DeepSpeed says where a tensor goes by a name: the accelerator's own, which is made `cpu:0` here, or "cpu". PyTorch knows
one CPU, but shows an operator which of the two was asked for.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .ledger import Ledger

CARD, HOST = "cpu:0", "cpu"
OFFLOADS = "/deepspeed/runtime/"  # whose "cpu" means host memory
PINNED: dict[int, Any] = {}  # storages in page-locked memory


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's copy in page-locked memory."""
    made = tensor.detach().clone()
    storage = made.untyped_storage()
    key = storage._cdata
    PINNED[key] = weakref.ref(storage, lambda _: PINNED.pop(key, None))
    return made


def taken(storage: Any) -> int:
    """Bytes of host memory: PyTorch locks a power of two of them (CachingHostAllocator)."""
    size: int = storage.nbytes()
    return 1 << (size - 1).bit_length() if size and storage._cdata in PINNED else size


class Offload(TorchFunctionMode):
    """While it is the active mode, `ledger` counts what lies in host memory."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.making = 0  # more than 0: what is made now lies there

    def stays(self, args: Any, kwargs: Any) -> bool:
        """Whether an operator's results lie on the host: its operands do, or it was asked for that."""
        device = kwargs.get("device")
        if device is not None and device.index == 0:
            return False
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        return bool(self.making) or (bool(tensors) and all(map(self.ledger.knows, tensors)))

    @contextlib.contextmanager
    def on_host(self) -> Iterator[None]:
        """What is made inside lies in host memory."""
        self.making += 1
        try:
            yield
        finally:
            self.making -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            return self._moved(func, args, kwargs)
        if kwargs.get("device") == HOST and _offloads():
            with self.on_host():
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    def _moved(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A tensor where it was sent to, which PyTorch takes to be where it is."""
        tensor, here = args[0], self.ledger.knows(args[0])
        asked = [str(getattr(one, "value", one)) for one in (*args[1:], *kwargs.values()) if isinstance(one, str)]
        said = [HOST] if func is torch.Tensor.cpu else asked
        if CARD in said and not here:
            args = tuple(HOST if one == CARD else one for one in args)
            kwargs = {name: HOST if one == CARD else one for name, one in kwargs.items()}
        if HOST not in said or here or not _offloads():
            return func(*args, **kwargs)
        with self.on_host():
            made = func(*args, **kwargs)
            return made.clone() if made.untyped_storage()._cdata == tensor.untyped_storage()._cdata else made


def _offloads() -> bool:
    """Whether DeepSpeed's own code asks."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back  # type: ignore[assignment]
    return OFFLOADS in frame.f_code.co_filename
