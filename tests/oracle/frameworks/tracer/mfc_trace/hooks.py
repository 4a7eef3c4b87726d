"""Where trainings begin, step and end in the libraries that there are."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch

from . import session
from .offload import CARD


def install() -> None:
    """Wrap what is found; nothing else changes, and the framework's files stay as they are."""
    from torch.utils.data._utils import fetch

    for kind in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
        _inside(kind, "fetch", session.on_host)
    for name, wrap in (
        ("transformers.trainer", _trainer),
        ("transformers.generation.utils", _generation),
        ("accelerate.data_loader", functools.partial(_sends, name="send_to_device")),
        ("swift.dataloader.shard", functools.partial(_sends, name="to_device")),
        ("deepspeed.runtime.engine", _engine),
        ("deepspeed.accelerator.cpu_accelerator", _pins),
        ("deepspeed.runtime.zero.stage3", _defragments),
        ("mmengine.runner.loops", _loop),
        ("mmengine.model", _preprocessor),
    ):
        if importlib.util.find_spec(name.partition(".")[0]):
            wrap(importlib.import_module(name))
    if os.environ.get("MFC_TRACE_TILES"):
        _tiles(*map(int, os.environ["MFC_TRACE_TILES"].split()))


def _trainer(module: Any) -> None:
    train = module.Trainer.train

    @functools.wraps(train)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        with session.session({"": self.model, "reference": getattr(self, "ref_model", None)}):
            return train(self, *args, **kwargs)

    module.Trainer.train = traced
    _inside(module.Trainer, "training_step", session.step)


def _generation(module: Any) -> None:
    _inside(module.GenerationMixin, "generate", session.in_rollout)


def _sends(module: Any, name: str) -> None:
    """What moves a batch to the device."""
    from accelerate.utils import operations

    send = getattr(module, name)

    @functools.wraps(send)
    def sent(*args: Any, **kwargs: Any) -> Any:
        return operations.recursively_apply(session.to_device, send(*args, **kwargs))

    setattr(module, name, sent)


def _engine(module: Any) -> None:
    _inside(module.DeepSpeedEngine, "backward", session.in_backward)
    _inside(module.DeepSpeedEngine, "step", session.in_optimizer)


def _pins(module: Any) -> None:
    pin = module.CPU_Accelerator.pin_memory

    @functools.wraps(pin)
    def pinned(self: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return session.locked(tensor) if session.offloads() else pin(self, tensor, *args, **kwargs)

    module.CPU_Accelerator.pin_memory = pinned


def _defragments(module: Any) -> None:
    """Weights go to the host and come back in one piece: back to a device that only they name."""
    owner = module if hasattr(module, "defragment") else module.DeepSpeedZeroOptimizer_Stage3  # DeepSpeed 0.18
    defragment = owner.defragment

    @functools.wraps(defragment)
    def moved(tensors: list[torch.Tensor]) -> torch.Tensor:
        made = defragment(tensors)
        if not session.offloads():
            return made
        whole, begin = made.to(CARD), 0
        for tensor in tensors:
            tensor.data = whole.narrow(0, begin, tensor.numel())
            begin += tensor.numel()
        return whole

    owner.defragment = staticmethod(moved)


def _tiles(tokens: int, words: int) -> None:
    """TRL's head in tiles of that size, as small as the models; what is one kernel on a GPU allocates nothing."""
    kernels: Any = importlib.import_module("trl.kernels.chunked_logprob")
    utils: Any = importlib.import_module("trl.trainer.utils")
    kernels.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE = tokens, words
    for name in ("_forward_tile", "_backward_tile", "_addmm_fp32"):
        _inside(kernels, name, session.in_kernel)


def _loop(module: Any) -> None:
    run = module.IterBasedTrainLoop.run

    @functools.wraps(run)
    def traced(self: Any) -> Any:
        with session.session({"": self.runner.model}):
            return run(self)

    module.IterBasedTrainLoop.run = traced
    _inside(module.IterBasedTrainLoop, "run_iter", session.step)


def _preprocessor(module: Any) -> None:
    cast = module.BaseDataPreprocessor.cast_data

    @functools.wraps(cast)
    def sent(self: Any, data: Any) -> Any:
        made = cast(self, data)
        return session.to_device(made) if isinstance(data, torch.Tensor) else made

    module.BaseDataPreprocessor.cast_data = sent


def _inside(owner: Any, name: str, context: Callable[[], Any]) -> None:
    """Let a method run inside a context."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with context():
            return method(*args, **kwargs)

    setattr(owner, name, run)
