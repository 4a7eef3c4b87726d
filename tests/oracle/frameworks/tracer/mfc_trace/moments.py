"""Which moment of training the process is in: a part of the model, forward or backward, or the optimizer."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from typing import Any

import torch

HEAD = re.compile(r"(^|\.)(lm_head|embed_out|score|v_head)$")
LAYER = re.compile(r"(^|\.)(layers|blocks|h)\.(\d+)(\.|$)")
TOWER = re.compile(r"(^|\.)(visual|vision\w*)\.")
NO_NODE = 1 << 62  # what accumulates gradients has sequence numbers above


class Moments:
    """The moment is `forward PART`, `reference PART` (a forward pass that keeps no graph), `backward PART`, `step`
    (between backward and the optimizer), `optimizer` or `rollout`; PART is `layer N`, `tower N`, `embedding`, `head`,
    `loss` (after the head) or `model` (anything else).
    """

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.names = {id(module): name for model in models.values() for name, module in model.named_modules()}
        self.forced = ""
        self.turn = "forward"
        self._backward = 0  # how many backward passes are nested: checkpointing starts one inside another
        self._modules: list[str] = []
        self._after_head = False
        self._last = "loss"
        self._numbers: list[int] = []  # autograd's sequence numbers at which a part of the model begins
        self._parts: list[str] = []

    def now(self) -> str:
        if self.forced:
            return self.forced
        if not self._backward:
            return self.turn if self.turn == "step" else f"{self.turn} {self._part()}"
        if self._modules:  # a checkpointed part runs again
            self._last = self._part()
        elif (node := torch._C._current_autograd_node()) is not None:
            number = node._sequence_nr()
            at = bisect.bisect_right(self._numbers, number) - 1 if number < NO_NODE else -1
            if at >= 0 and self._parts[at] != "model":
                self._last = self._parts[at]
        return f"backward {self._last}"

    def enter(self, module: Any, *_: Any) -> None:
        """A module's forward pass begins."""
        name = self.names.get(id(module), "")
        if not self._modules and not self._backward:
            self.turn = "forward" if torch.is_grad_enabled() else "reference"
        if not self._backward and (not name or LAYER.search(name)):
            self._after_head = False
        self._modules.append(name)
        self._mark()

    def leave(self, *_: Any) -> None:
        """And ends, by whatever way."""
        if self._modules:
            self._after_head = bool(HEAD.search(self._modules.pop())) or self._after_head
        self._mark()

    def begin_backward(self) -> None:
        if not self._backward:
            self._last = "loss"
        self._backward += 1

    def end_backward(self) -> None:
        self._backward -= 1
        if not self._backward:
            self.turn = "step"

    @property
    def in_backward(self) -> bool:
        return bool(self._backward)

    def _part(self) -> str:
        for name in reversed(self._modules):
            if HEAD.search(name):
                return "head"
            if layer := LAYER.search(name):
                return f"{'tower' if TOWER.search(name) else 'layer'} {layer[3]}"
            if TOWER.search(f"{name}."):
                return "tower"
            if "embed" in name.rpartition(".")[2]:
                return "embedding"
        return "loss" if self._after_head else "model"

    def _mark(self) -> None:
        part = self._part()
        if not self._parts or self._parts[-1] != part:
            self._numbers.append(torch.autograd._get_sequence_nr())
            self._parts.append(part)
