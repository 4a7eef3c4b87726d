"""What launchers have in common: environment variables as keys, and the command that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Writing, same, text
from mfc.target.keys import Key
from mfc.target.when import given

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

ALLOCATOR = Key("PYTORCH_CUDA_ALLOC_CONF", same("allocator"), given("allocator"))
THREADS = Key("OMP_NUM_THREADS", text("cpu_threads"), given("cpu_threads"))


def _devices(at: Writing) -> Any:
    return ",".join(map(str, at.plan.problem.hardware.devices)) or LEFT_OUT


def _read_devices(value: Any, _: Reader) -> Reading:
    return {"hardware.devices": (tuple(int(number) for number in str(value).split(",")),)}


# The GPUs that train: where some of the spec's generate, the others.
DEVICES = Key("CUDA_VISIBLE_DEVICES", Codec(("hardware.devices",), _devices, _read_devices))


def command(plan: Plan, script: str) -> str:
    """How a run of one or several nodes is started, on each of them."""
    return script if plan.problem.hardware.nodes == 1 else f"NODE_RANK=0 MASTER_ADDR=HOST {script}"
