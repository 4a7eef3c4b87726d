"""What start scripts have in common: environment variables as keys."""

from __future__ import annotations

from typing import Any

from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Writing, same, text
from mfc.target.keys import Key
from mfc.target.when import given

ALLOCATOR = Key("PYTORCH_CUDA_ALLOC_CONF", same("allocator"), given("allocator"))
THREADS = Key("OMP_NUM_THREADS", text("cpu_threads"), given("cpu_threads"))


def _devices(at: Writing) -> Any:
    return ",".join(map(str, at.plan.problem.hardware.devices)) or LEFT_OUT


def _read_devices(value: Any, _: Reader) -> Reading:
    return {"hardware.devices": (tuple(int(number) for number in str(value).split(",")),)}


# The GPUs that train: where some of the spec's generate, the others.
DEVICES = Key("CUDA_VISIBLE_DEVICES", Codec(("hardware.devices",), _devices, _read_devices))
