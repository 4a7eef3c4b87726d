"""GRPO: how answers are generated, scored and learnt from; and the script of vLLM's own GPUs.

Source: trainer/grpo_config.py, scripts/grpo.py and scripts/vllm_serve.py of TRL 1.16.0. Its defaults are not GRPO's:
the loss is DAPO's, and without a KL penalty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.rules.rollout import is_model
from mfc.target.codecs import (
    LEFT_OUT,
    Codec,
    Reader,
    Reading,
    Writing,
    constant,
    one_way,
    path,
    same,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.paths import named
from mfc.target.when import When, both, given, is_, task

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.problem import Split

PORT = 8000
# Reward functions that the command knows by name; others are named by their dotted path (scripts/grpo.py).
FUNCTIONS = ("accuracy_reward", "reasoning_accuracy_reward", "think_format_reward", "get_soft_overlong_punishment")
READ_TURNS = FUNCTIONS[:3]  # completion[0]["content"] in rewards/accuracy_rewards.py and format_rewards.py

GRPO = task("grpo")
_COLOCATED, _SERVED = is_("rollout_mode", "colocate"), is_("rollout_mode", "server")
_BY_VLLM = is_("rollout_mode", "colocate", "server")
_SHARE = ("rollout_share",)
_ORDER = "the model comes first, whatever the order in the spec"


def _outside(plan: Plan) -> bool:
    """Whether vLLM is on hardware that the spec does not describe."""
    return plan.problem.split is not None and plan.problem.split.outside


def knows_the_host(plan: Plan) -> bool:
    """Whether vLLM's own GPUs are on the node that trains, or the spec says where it is."""
    return _outside(plan) or (plan.problem.split is not None and bool(plan.problem.split.devices))


def _functions(at: Writing) -> Any:
    return [name for name in at.value("rewards") if not is_model(name)] or LEFT_OUT


def _model(at: Writing) -> Any:
    """The one reward that is a model (rule rewards-are-known)."""
    models = [name for name in at.value("rewards") if is_model(name)]
    return named(models[0], at.out_to_spec) if models else LEFT_OUT


def _weights(at: Writing) -> Any:
    """Weights of rewards in TRL's order: of the model, then of functions."""
    pairs = list(zip(at.value("rewards"), at.value("reward_weights"), strict=False))
    ordered = sorted(pairs, key=lambda pair: not is_model(pair[0]))
    return [weight for _, weight in ordered] or LEFT_OUT


def _host(at: Writing) -> str:
    return str(at.value("train.rollout.server.host")) if _outside(at.plan) else "127.0.0.1"


def _port(at: Writing) -> int:
    return int(at.value("train.rollout.server.port")) if _outside(at.plan) else PORT


ROLLOUT = section(
    "rollout",
    Key("reward_model_name_or_path", one_way(_model, "rewards", because=_ORDER), GRPO, "a path or hub id; one at most"),
    Key("reward_funcs", one_way(_functions, "rewards", because=_ORDER), GRPO, "names of TRL's, or dotted paths"),
    Key("reward_weights", one_way(_weights, "reward_weights", because=_ORDER), GRPO),
    Key("num_generations", same("num_generations"), GRPO),
    Key("max_completion_length", same("max_completion_length"), GRPO),
    Key("steps_per_generation", same("steps_per_generation"), GRPO),
    Key("num_iterations", same("iterations"), GRPO),
    Key("temperature", same("temperature"), GRPO),
    Key("top_p", same("top_p"), GRPO),
    Key("top_k", same("top_k"), GRPO, "0: all"),
    Key("repetition_penalty", same("repetition_penalty"), GRPO),
    Key("use_vllm", words("rollout_mode", {"colocate": True, "server": True, "native": False}), GRPO),
    Key("vllm_mode", same("rollout_mode"), _BY_VLLM),
    Key(
        "vllm_gpu_memory_utilization",
        same("rollout_share.utilization"),
        _COLOCATED,
        "of the whole card; a server's is in server.sh",
        _SHARE,
    ),
    Key("vllm_tensor_parallel_size", same("rollout_share.tensor_parallel"), _COLOCATED, also=_SHARE),
    Key("vllm_max_model_length", same("max_length"), _COLOCATED, "prompt and answer", ("max_prompt_length",)),
    Key(
        "vllm_enable_sleep_mode",
        Codec(
            ("rollout_share.sleep_level",),
            lambda at: bool(at.value("rollout_share.sleep_level")),
            lambda value, _: {"rollout_share.sleep_level": (1, 2) if value else (0,)},
        ),
        _COLOCATED,
        "its weights are dropped, and sent anew",
        _SHARE,
    ),
    Key(
        "vllm_server_host",
        one_way(_host, "rollout_gpus", "train.rollout.server.host", because="127.0.0.1 may be either").citing(),
        both(_SERVED, When(knows_the_host)),
        "on several nodes launch.sh asks for it",
    ),
    Key(
        "vllm_server_port",
        one_way(_port, "rollout_gpus", "train.rollout.server.port", because="8000 may be either").citing(),
        _SERVED,
    ),
)


def _split(plan: Plan) -> Split:
    split = plan.problem.split
    assert split is not None
    return split


def _own(at: Writing) -> str:
    split = _split(at.plan)
    return ",".join(map(str, split.devices or range(split.gpus)))


def _read_own(value: Any, _: Reader) -> Reading:
    return {"rollout_gpus": (len(str(value).split(",")),)}


def _shown_at(at: Writing) -> str:
    """Other nodes reach a server only at an address that it shows them."""
    return "127.0.0.1" if _split(at.plan).devices else "0.0.0.0"


SERVER_ENVIRONMENT = (Key("CUDA_VISIBLE_DEVICES", Codec(("rollout_gpus",), _own, _read_own)),)
SERVER: tuple[Key, ...] = (
    Key("model", path("model.id")),
    Key("revision", same("model.revision"), given("model.revision")),
    Key("host", one_way(_shown_at, because="it follows from where vLLM's GPUs are")),
    Key("port", constant(PORT)),
    Key("tensor_parallel_size", same("rollout_share.tensor_parallel"), also=_SHARE),
    Key("gpu_memory_utilization", same("rollout_share.utilization"), also=_SHARE),
    Key("max_model_len", same("max_length")),
)

__all__ = ["FUNCTIONS", "GRPO", "PORT", "ROLLOUT", "SERVER", "SERVER_ENVIRONMENT", "knows_the_host"]
