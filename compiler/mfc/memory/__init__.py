"""The memory model: how many bytes a training run needs, per GPU and per node, at each moment of its step."""

from __future__ import annotations

from mfc.memory.model import Confidence, Memory, Run
from mfc.memory.prediction import parts, predict
from mfc.memory.prepared import Prepared, Preparer, prepare
from mfc.memory.stack import Stack

__all__ = ["Confidence", "Memory", "Prepared", "Preparer", "Run", "Stack", "parts", "predict", "prepare"]
