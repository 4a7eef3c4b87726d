"""The config file of `accelerate launch`, which starts FSDP: LLaMA-Factory's own YAML cannot say it.

The keys are those of LLaMA-Factory's examples/accelerate/fsdp_config.yaml and fsdp_config_offload.yaml (0.9.4 and
0.9.5), read by accelerate 1.11 commands/config/config_args.py and commands/launch.py.
"""

from __future__ import annotations

from typing import Any

from mfc.target.codecs import Codec, Reader, Reading, Writing, constant, flag, same, words
from mfc.target.keys import Key
from mfc.target.when import is_

FILE = "accelerate.yaml"
FSDP = is_("sharding", "fsdp")
# The Trainer takes bf16 and fp16 from train.yaml, and where that says neither, what accelerate was told.
_MIXED = {"bf16": "bf16", "fp16": "fp16", "pure_bf16": "no", "fp32": "no"}


def _processes(at: Writing) -> int:
    return at.plan.strategy.world_size


def _read_processes(value: Any, reader: Reader) -> Reading:
    """Processes of all machines."""
    return {"hardware.count": (int(value) // int(reader.data.get("num_machines", 1)),)}


def _always(value: Any) -> Codec:
    return constant(value, "sharding")


_F = "fsdp_config."
KEYS: tuple[Key, ...] = (
    Key("compute_environment", _always("LOCAL_MACHINE")),
    Key("distributed_type", constant("FSDP", "sharding", "offload_optimizer").citing("sharding")),
    Key("num_machines", same("hardware.nodes")),
    Key("num_processes", Codec(("hardware.count",), _processes, _read_processes), note="of all machines"),
    Key("machine_rank", _always(0), note="launch.sh says another on other machines"),
    Key("main_training_function", _always("main")),
    Key("mixed_precision", words("precision", _MIXED)),
    Key("rdzv_backend", _always("static")),
    Key("same_network", _always(True)),
    Key("use_cpu", _always(False)),
    Key(_F + "fsdp_version", _always(1), note="with the second, 4-bit weights compute garbage"),
    Key(_F + "fsdp_sharding_strategy", _always("FULL_SHARD")),
    Key(_F + "fsdp_auto_wrap_policy", _always("TRANSFORMER_BASED_WRAP"), note="a unit is a layer"),
    Key(_F + "fsdp_backward_prefetch", _always("BACKWARD_PRE")),
    Key(_F + "fsdp_forward_prefetch", _always(False)),
    Key(_F + "fsdp_cpu_ram_efficient_loading", _always(True), note="without it, transformers does not know of FSDP"),
    Key(_F + "fsdp_sync_module_states", _always(True)),
    Key(_F + "fsdp_use_orig_params", _always(True)),
    Key(
        _F + "fsdp_offload_params",
        flag("offload_parameters", "cpu"),
        note="weights, gradients and optimizer together",
    ),
    Key(_F + "fsdp_state_dict_type", _always("FULL_STATE_DICT"), note="of shards the Trainer leaves no model"),
)
