"""The same training without a tracer, counted by PyTorch's profiler: what the tracer is held to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from .as_on_cuda import as_on_cuda

STEP = "mfc step"


@contextlib.contextmanager
def profiled(models: Mapping[str, Any], place: Path) -> Iterator[None]:
    """Profile what runs inside, and write the peak of its steps. The allocator's events come as they are, unrounded."""
    with as_on_cuda(), profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as made:
        before = []  # what was there is not seen: neither may it be freed, nor may it be all that there is
        for model in models.values():
            for tensor in (*model.parameters(), *model.buffers()):
                before.append(tensor.data)
                tensor.data = tensor.data.clone()
        yield
    events = sorted(made.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    steps = [event for event in events if event.name() == STEP]
    begin, total, peak = steps[0].start_ns(), 0, 0
    for event in events:
        if event.name() == "[memory]" and event.device_type() == torch.profiler.DeviceType.CPU:
            total += event.nbytes()
            if event.start_ns() >= begin:
                peak = max(peak, total)
    place.write_text(json.dumps({"peak": peak, "moments": {}, "steps": len(steps)}), encoding="utf-8")


def step() -> Any:
    """A step that the profiler sees."""
    return record_function(STEP)
