"""Flags of `swift rlhf`: preferences, and rollouts of GRPO and PPO.

Several defaults are traps: vLLM on 0.9 of a card that also trains, an NLL term in SimPO, 64 sequences scored at a time,
and sampling that differs between 3.x and 4.x. All are written. Source: swift/rlhf_trainers/args_mixin.py and
swift/arguments/rlhf_args.py of ms-swift 4.6.0.
"""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import TYPE_CHECKING, Any

from mfc.beside import is_local
from mfc.rules.rollout import is_model
from mfc.target.codecs import (
    LEFT_OUT,
    Codec,
    Reader,
    Reading,
    Writing,
    constant,
    either,
    one_way,
    path,
    same,
    single,
    spellings,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.paths import located, named, spec_path
from mfc.target.when import GENERATES, When, both, is_, is_not, task

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

RLHF = {"dpo": "dpo", "kto": "kto", "orpo": "orpo", "simpo": "simpo", "reward": "rm", "ppo": "ppo", "grpo": "grpo"}
PORT = 8000

_GRPO, _PPO = task("grpo"), task("ppo")
_COLOCATED, _SERVED = is_("rollout_mode", "colocate"), is_("rollout_mode", "server")
_BY_VLLM = is_("rollout_mode", "colocate", "server")
_SHARE = ("rollout_share",)
_TOP_K = Codec(("top_k",), lambda at: at.value("top_k") or -1, lambda value, _: {"top_k": (max(value, 0),)})


def rolled(usual: Codec, other: Codec) -> Codec:
    """One codec, and another for the tasks that generate answers."""
    return either(usual, other, GENERATES, "rlhf_type", "grpo", "ppo")


def _outside(plan: Plan) -> bool:
    """Whether vLLM is on hardware that the spec does not describe."""
    return plan.problem.split is not None and plan.problem.split.outside


def _knows_the_host(plan: Plan) -> bool:
    """Whether vLLM's own GPUs are on the node that trains, or the spec says where it is."""
    return _outside(plan) or (plan.problem.split is not None and bool(plan.problem.split.devices))


def _functions(at: Writing) -> Any:
    """Rewards that are names of functions."""
    return [name for name in at.value("rewards") if not is_model(name)] or LEFT_OUT


def _models(at: Writing) -> Any:
    """Rewards that are models: all of PPO's."""
    models = [name for name in at.value("rewards") if is_model(name) or at.value("task") == "ppo"]
    return [named(name, at.out_to_spec) for name in models] or LEFT_OUT


def _read_rewards(_: Any, reader: Reader) -> Reading:
    """Functions and models in every order that keeps that of each: which the spec names first is not said."""
    functions = reader.data.get("reward_funcs", [])
    models = [
        spec_path(one, reader.out_to_spec, reader.folder) if is_local(one) else one
        for one in reader.data.get("reward_model", [])
    ]
    places = range(len(functions) + len(models))
    found = []
    for chosen in combinations(places, len(functions)):
        ahead, rest = iter(functions), iter(models)
        found.append(tuple(next(ahead if place in chosen else rest) for place in places))
    return {"rewards": tuple(found)}


def _weights(at: Writing) -> Any:
    """Weights of rewards in ms-swift's order: of functions, then of models."""
    pairs = list(zip(at.value("rewards"), at.value("reward_weights"), strict=False))
    ordered = sorted(pairs, key=lambda pair: is_model(pair[0]))
    return [weight for _, weight in ordered] or LEFT_OUT


def _read_weights(weights: Any, _: Reader) -> Reading:
    """Weights in every order: which reward the spec names first is not said, but first may be the functions."""
    return {"reward_weights": tuple(permutations(weights))}


def _host(at: Writing) -> list[str]:
    return [at.value("train.rollout.server.host") if _outside(at.plan) else "127.0.0.1"]


def _port(at: Writing) -> list[int]:
    return [at.value("train.rollout.server.port") if _outside(at.plan) else PORT]


def _plugins(at: Writing) -> Any:
    return [located(file, at.out_to_spec) for file in at.value("plugins")] or LEFT_OUT


def _read_plugins(files: Any, reader: Reader) -> Reading:
    return {"plugins": tuple(product(*(reversed(spellings(file, reader)) for file in files)))}


def _layers(at: Writing) -> int:
    return at.plan.problem.model.architecture.layers


PREFERENCE = section(
    "rlhf",
    Key("rlhf_type", words("task", RLHF), task(*RLHF)),
    Key(
        "beta",
        either(same("preference_beta"), same("kl_beta"), _GRPO, "rlhf_type", "grpo"),
        task("dpo", "kto", "orpo", "simpo", "grpo"),
    ),
    Key(
        "loss_type",
        either(single(same("preference_loss")), single(same("loss_type")), _GRPO, "rlhf_type", "grpo"),
        When(lambda plan: plan.strategy.task in ("dpo", "kto") or plan.values["loss_type"] is not None),
    ),
    Key("simpo_gamma", same("preference_gamma"), task("simpo")),
    Key(
        "cpo_alpha",
        constant(0.0, "preference_loss").citing("preference_loss"),
        task("simpo"),
        "ms-swift's default adds an NLL term that SimPO has not",
    ),
    Key(
        "ref_model",
        path("train.preference.reference"),
        is_not("train.preference.reference", "auto"),
        "otherwise a frozen copy, or the model without its adapters",
        also=("reference_model",),
    ),
)

ROLLOUT = section(
    "rollout",
    Key("reward_funcs", Codec(("rewards",), _functions, _read_rewards), _GRPO),
    Key("reward_model", Codec(("rewards",), _models, _read_rewards), GENERATES, "rewards that are paths or hub ids"),
    Key("num_generations", same("num_generations"), _GRPO),
    Key("max_completion_length", same("max_completion_length"), _GRPO, "ms-swift's default is 512"),
    Key("response_length", same("max_completion_length"), _PPO),
    Key("steps_per_generation", same("steps_per_generation"), _GRPO),
    Key("num_iterations", same("iterations"), _GRPO),
    Key("temperature", same("temperature"), GENERATES, "ms-swift's default is 0.9"),
    Key("top_p", same("top_p"), _GRPO, "0.9 in 3.x"),
    Key("top_k", _TOP_K, _GRPO, "50 in 3.x; -1: all"),
    Key("repetition_penalty", same("repetition_penalty"), _GRPO),
    Key(
        "reward_weights",
        Codec(("reward_weights",), _weights, _read_weights),
        _GRPO,
    ),
    Key("external_plugins", Codec(("plugins",), _plugins, _read_plugins), _GRPO),
    Key("kl_coef", same("kl_beta"), _PPO),
    Key("num_ppo_epochs", same("iterations"), _PPO),
    Key("num_mini_batches", constant(1, "task"), _PPO),
    Key("local_rollout_forward_batch_size", same("micro_batch"), _PPO, "ms-swift's default scores 64 at a time"),
    Key("use_vllm", words("rollout_mode", {"colocate": True, "server": True, "native": False}), _GRPO),
    Key("vllm_mode", same("rollout_mode"), _BY_VLLM),
    Key(
        "vllm_gpu_memory_utilization",
        same("rollout_share.utilization"),
        _COLOCATED,
        "of the whole card; ms-swift's default is 0.9. A server's is in rollout.sh",
        _SHARE,
    ),
    Key("vllm_tensor_parallel_size", same("rollout_share.tensor_parallel"), _COLOCATED, also=_SHARE),
    Key("vllm_max_model_len", same("max_length"), _COLOCATED),
    Key("vllm_max_num_seqs", same("rollout_share.sequences"), _COLOCATED, also=_SHARE),
    Key("sleep_level", same("rollout_share.sleep_level"), _COLOCATED, also=_SHARE),
    Key("offload_model", same("rollout_share.offload"), _COLOCATED, also=_SHARE),
    Key("offload_optimizer", same("rollout_share.offload"), _COLOCATED, also=_SHARE),
    Key(
        "vllm_enable_lora",
        constant(True),
        both(_COLOCATED, is_("method", "qlora")),
        "merged 4-bit weights cannot be sent: adapters alone are",
    ),
    Key(
        "move_model_batches",
        one_way(_layers, "sharding", because="it is the number of the model's layers").citing(),
        both(_BY_VLLM, is_("sharding", "zero3", "fsdp2")),
        "weights go to vLLM a layer at a time",
    ),
    Key(
        "vllm_server_host",
        one_way(_host, "rollout_gpus", "train.rollout.server.host", because="127.0.0.1 may be either").citing(),
        both(_SERVED, When(_knows_the_host)),
        "on several nodes train.sh asks for it",
    ),
    Key(
        "vllm_server_port",
        one_way(_port, "rollout_gpus", "train.rollout.server.port", because="8000 may be either").citing(),
        _SERVED,
    ),
)
