"""What start scripts have in common: environment variables as keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Writing, same, text
from mfc.target.keys import Key
from mfc.target.when import When, both, given

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


def _is_npu(plan: Plan) -> bool:
    return plan.problem.hardware.gpu.vendor == "huawei"


NPU, GPU = When(_is_npu), When(lambda plan: not _is_npu(plan))


def in_sight(plan: Plan) -> str:
    """The variable that says which accelerators a process sees."""
    return "ASCEND_RT_VISIBLE_DEVICES" if _is_npu(plan) else "CUDA_VISIBLE_DEVICES"


ALLOCATOR = Key("PYTORCH_CUDA_ALLOC_CONF", same("allocator"), both(GPU, given("allocator")))
THREADS = Key("OMP_NUM_THREADS", text("cpu_threads"), given("cpu_threads"))


def _devices(at: Writing) -> Any:
    return ",".join(map(str, at.plan.problem.hardware.devices)) or LEFT_OUT


def _read_devices(value: Any, _: Reader) -> Reading:
    return {"hardware.devices": (tuple(int(number) for number in str(value).split(",")),)}


# The GPUs that train: where some of the spec's generate, the others.
DEVICES = Key("CUDA_VISIBLE_DEVICES", Codec(("hardware.devices",), _devices, _read_devices), GPU)


def _within(low: int, high: int) -> Codec:
    """How long ranks wait for each other, as text in seconds, as far as a range allows; its ends tell nothing."""

    def read(value: Any, _: Reader) -> Reading:
        return {} if int(value) in (low, high) else {"timeout_seconds": (int(value),)}

    return Codec(("timeout_seconds",), lambda at: str(min(max(at.value("timeout_seconds"), low), high)), read)


_WAITS = both(NPU, When(lambda plan: plan.problem.hardware.world_size > 1))
# Ascend's own. HCCL waits two minutes for the first link and half an hour for the others at a barrier unless told
# otherwise (CANN environment variables HCCL_CONNECT_TIMEOUT, HCCL_EXEC_TIMEOUT, with these ranges).
NPU_ENVIRONMENT = (
    Key("ASCEND_RT_VISIBLE_DEVICES", DEVICES.codec, NPU, "on Ascend NPUs"),
    Key("PYTORCH_NPU_ALLOC_CONF", same("allocator"), both(NPU, given("allocator")), "on Ascend NPUs"),
    Key("HCCL_CONNECT_TIMEOUT", _within(120, 7200), _WAITS, "seconds, on several Ascend NPUs"),
    Key("HCCL_EXEC_TIMEOUT", _within(68, 17340), _WAITS, "seconds, on several Ascend NPUs"),
)
