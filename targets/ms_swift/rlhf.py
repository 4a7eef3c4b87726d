"""Flags of `swift rlhf`: preferences, and rollouts of GRPO and PPO.

Several defaults are traps: vLLM on 0.9 of a card that also trains, an NLL term in SimPO, 64 sequences scored at a time,
and sampling that differs between 3.x and 4.x. All are written. Source: swift/rlhf_trainers/args_mixin.py and
swift/arguments/rlhf_args.py of ms-swift 4.6.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.target.keys import Key

from . import when

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


def _grpo(plan: Plan) -> bool:
    return plan.strategy.task == "grpo"


def _ppo(plan: Plan) -> bool:
    return plan.strategy.task == "ppo"


def _loss(plan: Plan) -> list[str]:
    return [str(plan.values["preference_loss"])]


def _beta(plan: Plan) -> float:
    return float(plan.values["kl_beta"] if _grpo(plan) else plan.values["preference_beta"])


PREFERENCE = (
    Key(
        "rlhf_type",
        ("task",),
        lambda plan: when.RLHF[plan.strategy.task],
        lambda plan: plan.strategy.task in when.RLHF,
        "rlhf",
    ),
    Key(
        "beta",
        ("preference_beta", "kl_beta"),
        _beta,
        lambda plan: plan.values["preference_beta"] is not None or _grpo(plan),
        "rlhf",
    ),
    Key("loss_type", ("preference_loss",), _loss, when.task("dpo", "kto"), "rlhf"),
    Key("simpo_gamma", ("preference_gamma",), None, when.task("simpo"), "rlhf"),
    Key(
        "cpo_alpha",
        ("preference_loss",),
        when.const(0.0),
        when.task("simpo"),
        "rlhf",
        "ms-swift's default adds an NLL term that SimPO has not",
    ),
    Key(
        "ref_model",
        ("reference_model",),
        when.spec(lambda spec: spec.train.preference.reference),
        lambda plan: plan.problem.spec.train.preference.reference != "auto",
        "rlhf",
        "otherwise a frozen copy, or the model without its adapters",
    ),
)

ROLLOUT = (
    Key(
        "reward_funcs", ("rewards",), when.functions, lambda plan: _grpo(plan) and bool(when.functions(plan)), "rollout"
    ),
    Key(
        "reward_model",
        ("rewards",),
        when.reward_models,
        lambda plan: when.generates(plan) and bool(when.reward_models(plan)),
        "rollout",
        "rewards that are paths or hub ids",
    ),
    Key("num_generations", ("num_generations",), None, _grpo, "rollout"),
    Key("max_completion_length", ("max_completion_length",), None, _grpo, "rollout", "ms-swift's default is 512"),
    Key(
        "response_length",
        ("max_completion_length",),
        lambda plan: plan.values["max_completion_length"],
        _ppo,
        "rollout",
    ),
    Key("steps_per_generation", ("steps_per_generation",), None, _grpo, "rollout"),
    Key("num_iterations", ("steps_per_generation",), when.const(1), _grpo, "rollout", "on policy"),
    Key(
        "temperature",
        ("task",),
        when.const(1.0),
        when.generates,
        "rollout",
        "samples are the policy's own; ms-swift's default is 0.9",
    ),
    Key("top_p", ("task",), when.const(1.0), when.generates, "rollout", "0.9 in 3.x"),
    Key("top_k", ("task",), when.const(-1), _grpo, "rollout", "50 in 3.x"),
    Key("kl_coef", ("kl_beta",), lambda plan: plan.values["kl_beta"], _ppo, "rollout"),
    Key("num_ppo_epochs", ("task",), when.const(4), _ppo, "rollout"),
    Key("num_mini_batches", ("task",), when.const(1), _ppo, "rollout"),
    Key(
        "local_rollout_forward_batch_size",
        ("micro_batch",),
        lambda plan: plan.strategy.micro_batch,
        _ppo,
        "rollout",
        "ms-swift's default scores 64 at a time",
    ),
    Key("use_vllm", ("rollout_mode",), lambda plan: plan.values["rollout_mode"] != "native", _grpo, "rollout"),
    Key("vllm_mode", ("rollout_mode",), None, when.vllm("colocate", "server"), "rollout"),
    Key(
        "vllm_gpu_memory_utilization",
        ("rollout_share",),
        lambda plan: when.share(plan).utilization,
        when.vllm("colocate"),
        "rollout",
        "of the whole card; ms-swift's default is 0.9. A server's is in rollout.sh",
    ),
    Key(
        "vllm_tensor_parallel_size",
        ("rollout_share",),
        lambda plan: when.share(plan).tensor_parallel,
        when.vllm("colocate"),
        "rollout",
    ),
    Key("vllm_max_model_len", ("max_length",), lambda plan: plan.strategy.max_length, when.vllm("colocate"), "rollout"),
    Key(
        "vllm_max_num_seqs",
        ("rollout_share",),
        lambda plan: when.share(plan).sequences,
        when.vllm("colocate"),
        "rollout",
    ),
    Key("sleep_level", ("rollout_share",), lambda plan: when.share(plan).sleep_level, when.vllm("colocate"), "rollout"),
    Key("offload_model", ("rollout_share",), lambda plan: when.share(plan).offload, when.vllm("colocate"), "rollout"),
    Key(
        "offload_optimizer", ("rollout_share",), lambda plan: when.share(plan).offload, when.vllm("colocate"), "rollout"
    ),
    Key(
        "move_model_batches",
        ("sharding",),
        lambda plan: plan.problem.model.architecture.layers,
        lambda plan: when.vllm("colocate", "server")(plan) and plan.strategy.sharding == "zero3",
        "rollout",
        "weights go to vLLM a layer at a time",
    ),
    Key(
        "vllm_server_host",
        ("rollout_gpus",),
        when.const(["127.0.0.1"]),
        lambda plan: when.vllm("server")(plan) and plan.problem.split is not None and bool(plan.problem.split.devices),
        "rollout",
        "on several nodes train.sh asks for it",
    ),
    Key("vllm_server_port", ("rollout_gpus",), when.const([when.PORT]), when.vllm("server"), "rollout"),
)
