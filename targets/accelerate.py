"""The file that `accelerate launch` reads, for frameworks that it starts: which processes, and what shards them.

What DeepSpeed's JSON or the training arguments say is not said here again: accelerate refuses a file that repeats
DeepSpeed's, and the Trainer's bf16 and fp16 take the place of `mixed_precision`. Which node this is, and where the
first one is, are options of the launch script. Source: accelerate 1.15.0 commands/launch.py and utils/dataclasses.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.target.codecs import Codec, Reader, Reading, Unwritten, Writing, constant, flag, words
from mfc.target.keys import Key
from mfc.target.outputs import File, native
from mfc.target.when import DEEPSPEED, When, both, is_, stage

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

CONFIG = "accelerate.yaml"
CONTRACT = "accelerate-1.15.0"
_KINDS = {"zero1": "DEEPSPEED", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED", "fsdp": "FSDP", "fsdp2": "FSDP"}


def _processes(plan: Plan) -> int:
    """Training processes of all nodes: where some of the spec's GPUs generate, of the others."""
    return plan.problem.hardware.world_size


def _several(plan: Plan) -> bool:
    return _processes(plan) > 1


def _kind(at: Writing) -> str:
    return _KINDS.get(at.value("sharding"), "MULTI_GPU" if _several(at.plan) else "NO")


def _read_kind(word: str, _: Reader) -> Reading:
    if word in ("MULTI_GPU", "NO"):
        return {"sharding": ("ddp",)}
    found = tuple(name for name, said in _KINDS.items() if said == word)
    if not found:
        raise Unwritten(f"{word!r} is none of NO, MULTI_GPU, {', '.join(dict.fromkeys(_KINDS.values()))}")
    return {"sharding": found}


def _nodes(at: Writing) -> int:
    return at.plan.problem.hardware.nodes


def _read_nodes(value: int, _: Reader) -> Reading:
    """One more node may be there, with a server that generates."""
    return {"hardware.nodes": (value, value + 1)}


_NODES = Codec(("hardware.nodes",), _nodes, _read_nodes)
_COUNT = Codec(("hardware.count",), lambda at: _processes(at.plan), lambda *_: {}, "GPUs that generate are not counted")
_APART = When(lambda plan: plan.problem.hardware.nodes > 1)
FSDP, _FIRST, _SECOND = is_("sharding", "fsdp", "fsdp2"), is_("sharding", "fsdp"), is_("sharding", "fsdp2")
_DS, _F = "deepspeed_config.", "fsdp_config."


def _always(value: Any) -> Codec:
    return constant(value, "sharding")


# The optimizer's states go where the weights go: one reason for both.
_OFFLOAD = flag("offload_parameters", "cpu")._replace(fields=("offload_parameters", "offload_optimizer"))
_OFFLOAD = _OFFLOAD.citing("offload_parameters").telling(lambda off: {"offload_optimizer": ("cpu" if off else "none",)})

KEYS: tuple[Key, ...] = (
    Key("compute_environment", constant("LOCAL_MACHINE")),
    Key("distributed_type", Codec(("sharding",), _kind, _read_kind), note="ddp: MULTI_GPU, of one GPU NO"),
    Key("num_machines", _NODES),
    Key("num_processes", _COUNT, note="of all nodes together"),
    Key("rdzv_backend", constant("static", "hardware.nodes"), _APART),
    Key("same_network", constant(True, "hardware.nodes"), _APART),
    Key(_DS + "deepspeed_config_file", constant("ds_config.json", "sharding").citing("sharding"), DEEPSPEED),
    Key(
        _DS + "deepspeed_multinode_launcher",
        constant("standard", "hardware.nodes"),
        both(DEEPSPEED, _APART),
        "one command on each node; pdsh, the default, would log in from the first",
    ),
    Key(_DS + "zero3_init_flag", constant(True, "sharding"), stage(3), "weights are split as they are loaded"),
    Key(_F + "fsdp_version", words("sharding", {"fsdp": 1, "fsdp2": 2}), FSDP),
    Key(_F + "fsdp_sharding_strategy", _always("FULL_SHARD"), _FIRST),
    Key(_F + "fsdp_reshard_after_forward", _always(True), _SECOND),
    Key(_F + "fsdp_auto_wrap_policy", _always("TRANSFORMER_BASED_WRAP"), FSDP, "a unit is a layer"),
    Key(_F + "fsdp_backward_prefetch", _always("BACKWARD_PRE"), _FIRST),
    Key(_F + "fsdp_forward_prefetch", _always(False), _FIRST),
    Key(
        _F + "fsdp_cpu_ram_efficient_loading",
        _always(True),
        FSDP,
        "without it, transformers does not know of FSDP",
    ),
    Key(_F + "fsdp_sync_module_states", _always(True), _FIRST),
    Key(_F + "fsdp_use_orig_params", _always(True), _FIRST),
    Key(_F + "fsdp_state_dict_type", _always("FULL_STATE_DICT"), FSDP, "of shards the Trainer leaves no model"),
    Key(_F + "fsdp_offload_params", _OFFLOAD, FSDP, "weights, gradients and optimizer together"),
)


def config_file(plan: Plan) -> File:
    """The file, which says where the processes run and what they split."""
    return native(KEYS, plan).file(CONFIG, "accelerate.yaml.j2", CONTRACT)._replace(folder=Path(__file__).parent)


__all__ = ["CONFIG", "FSDP", "KEYS", "config_file"]
