"""What stands beside the flags: the environment, the JSON of `--fsdp`, and the flags of `swift rollout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import Codec, Reader, Reading, Writing, constant, one_way, same, words
from mfc.target.keys import Key
from mfc.target.launch import ALLOCATOR, GPU, NPU, NPU_ENVIRONMENT, THREADS
from mfc.target.when import When

from . import pictures
from .keys import MODEL
from .rlhf import PORT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.problem import Split


def _launched(plan: Plan) -> bool:
    """Whether torchrun starts the run. One process that it started would be wrapped in DDP, with gradient buckets."""
    return plan.strategy.world_size > 1 or plan.strategy.deepspeed or plan.values["rollout_mode"] == "colocate"


def _several_nodes(plan: Plan) -> bool:
    return plan.problem.hardware.nodes > 1


def _in_sight(at: Writing) -> str:
    """As many GPUs as there are processes: with more, ms-swift would spread each model over several."""
    hardware = at.plan.problem.hardware
    return ",".join(map(str, hardware.devices or range(hardware.gpus_per_node)))


def _processes(at: Writing) -> str:
    return str(at.plan.problem.hardware.gpus_per_node)


def _nodes(at: Writing) -> str:
    return str(at.plan.problem.hardware.nodes)


def _read_nodes(value: Any, _: Reader) -> Reading:
    """One more node may be there, with a rollout server."""
    return {"hardware.nodes": (int(value), int(value) + 1)}


_APART = "a rollout server has GPUs of its own, which are not among these"

ENVIRONMENT: tuple[Key, ...] = (
    Key("CUDA_VISIBLE_DEVICES", one_way(_in_sight, "hardware.devices", because=_APART), GPU),
    Key("ASCEND_RT_VISIBLE_DEVICES", one_way(_in_sight, "hardware.devices", because=_APART), NPU),
    Key("NPROC_PER_NODE", one_way(_processes, "hardware.count", because=_APART), When(_launched)),
    Key("NNODES", Codec(("hardware.nodes",), _nodes, _read_nodes), When(_several_nodes)),
    ALLOCATOR,
    *NPU_ENVIRONMENT[1:],
    *pictures.ENVIRONMENT,
    THREADS,
)

# As ms-swift's own preset fsdp2 has it.
_WRAP, _CONFIG = "full_shard auto_wrap", "fsdp_config."
FSDP_KEYS: tuple[Key, ...] = (
    Key("fsdp", words("offload_parameters", {"none": _WRAP, "cpu": f"{_WRAP} offload"}, rest=f"{_WRAP} offload")),
    Key(_CONFIG + "fsdp_version", constant(2, "sharding")),
    Key(_CONFIG + "reshard_after_forward", constant(True, "sharding")),
    Key(_CONFIG + "auto_wrap_policy", constant("TRANSFORMER_BASED_WRAP", "sharding")),
    Key(_CONFIG + "cpu_ram_efficient_loading", constant(True, "sharding")),
    Key(_CONFIG + "state_dict_type", constant("SHARDED_STATE_DICT", "sharding")),
    Key(_CONFIG + "activation_checkpointing", same("gradient_checkpointing")),
)


def _split(plan: Plan) -> Split:
    split = plan.problem.split
    assert split is not None
    return split


def _own(at: Writing) -> str:
    split = _split(at.plan)
    return ",".join(map(str, split.devices or range(split.gpus // split.nodes)))


def _read_own(value: Any, _: Reader) -> Reading:
    return {"rollout_gpus": (len(str(value).split(",")),)}


def _host(at: Writing) -> str:
    """Other nodes reach a server only at an address that it shows them."""
    return "127.0.0.1" if _split(at.plan).devices else "0.0.0.0"


def _engines(at: Writing) -> int:
    split = _split(at.plan)
    return split.gpus // split.nodes // int(at.value("rollout_share.tensor_parallel"))


def _read_engines(value: Any, reader: Reader) -> Reading:
    """A server is on one node (rule a-server-is-one-node)."""
    return {"rollout_gpus": (value * reader.data.get("vllm_tensor_parallel_size", 1),)}


SERVER_ENVIRONMENT = (
    Key("CUDA_VISIBLE_DEVICES", Codec(("rollout_gpus",), _own, _read_own), GPU),
    Key("ASCEND_RT_VISIBLE_DEVICES", Codec(("rollout_gpus",), _own, _read_own), NPU),
)

# Engine flags belong to the server: ms-swift ignores them on the trainer. Most are decided with the share.
_SHARE = ("rollout_share",)
SERVER: tuple[Key, ...] = (
    *(key for key in MODEL if key.name not in ("attn_impl", "adapters")),
    Key("host", one_way(_host, because="it follows from where vLLM's GPUs are")),
    Key("port", constant(PORT)),
    Key("vllm_tensor_parallel_size", same("rollout_share.tensor_parallel"), also=_SHARE),
    Key("vllm_data_parallel_size", Codec(("rollout_gpus",), _engines, _read_engines)),
    Key("vllm_gpu_memory_utilization", same("rollout_share.utilization"), also=_SHARE),
    Key("vllm_max_model_len", same("max_length")),
    Key("vllm_max_num_seqs", same("rollout_share.sequences"), also=_SHARE),
)
