"""Where trainings begin, step and end in the libraries that there are."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from . import session


def install() -> None:
    """Wrap what is found; nothing else changes, and the framework's files stay as they are."""
    from torch.utils.data._utils import fetch

    for kind in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
        _inside(kind, "fetch", session.on_host)
    for name, wrap in (
        ("transformers.trainer", _trainer),
        ("accelerate.data_loader", _loader),
        ("deepspeed.runtime.engine", _engine),
    ):
        if importlib.util.find_spec(name.partition(".")[0]):
            wrap(importlib.import_module(name))


def _trainer(module: Any) -> None:
    train = module.Trainer.train

    @functools.wraps(train)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        with session.session({"": self.model, "reference": getattr(self, "ref_model", None)}):
            return train(self, *args, **kwargs)

    module.Trainer.train = traced
    _inside(module.Trainer, "training_step", session.step)


def _loader(module: Any) -> None:
    from accelerate.utils import operations

    send = module.send_to_device

    @functools.wraps(send)
    def sent(*args: Any, **kwargs: Any) -> Any:
        return operations.recursively_apply(session.to_device, send(*args, **kwargs))

    module.send_to_device = sent


def _engine(module: Any) -> None:
    _inside(module.DeepSpeedEngine, "backward", session.in_backward)
    _inside(module.DeepSpeedEngine, "step", session.in_optimizer)


def _inside(owner: Any, name: str, context: Callable[[], Any]) -> None:
    """Let a method run inside a context."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with context():
            return method(*args, **kwargs)

    setattr(owner, name, run)
