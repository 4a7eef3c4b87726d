"""Which plans a flag of ms-swift is for, and values that several flags share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mfc.rules.rollout import is_model

if TYPE_CHECKING:
    from mfc.memory.rollout import Share
    from mfc.planner.plan import Plan

Test = Callable[["Plan"], bool]

RLHF = {"dpo": "dpo", "kto": "kto", "orpo": "orpo", "simpo": "simpo", "reward": "rm", "ppo": "ppo", "grpo": "grpo"}
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
PORT = 8000


def command(plan: Plan) -> str:
    """The subcommand of `swift`."""
    return {"sft": "sft", "pretrain": "pt"}.get(plan.strategy.task, "rlhf")


def share(plan: Plan) -> Share:
    """How generation shares the cards; only for tasks that generate."""
    found: Share = plan.values["rollout_share"]
    return found


def const(value: Any) -> Callable[[Plan], Any]:
    """The same value whatever the plan."""
    return lambda _: value


def spec(get: Callable[[Any], Any]) -> Callable[[Plan], Any]:
    """A value of the spec."""
    return lambda plan: get(plan.problem.spec)


def task(*names: str) -> Test:
    """For these tasks."""
    return lambda plan: plan.strategy.task in names


def given(field: str) -> Test:
    """Where a plan field holds something."""
    return lambda plan: bool(plan.values.get(field))


def lora(plan: Plan) -> bool:
    """Adapters train."""
    return plan.strategy.lora is not None


def variant(name: str) -> Test:
    """The adapters are of this kind."""
    return lambda plan: plan.strategy.lora is not None and plan.strategy.lora.variant == name


def pictures(plan: Plan) -> bool:
    """The model takes images."""
    return plan.problem.model.architecture.vision is not None


def frozen(part: str) -> Test:
    """A part of a vision-language model does not train."""
    return lambda plan: part in plan.strategy.freeze_parts


def quantised(*kinds: str) -> Test:
    """Weights are quantised when they are loaded, to one of these kinds if any are named."""

    def test(plan: Plan) -> bool:
        stored = plan.strategy.quantization
        return stored is not None and not stored.pre and (not kinds or stored.kind in kinds)

    return test


def old(plan: Plan) -> bool:
    """The framework is of the 3.x series."""
    return plan.profile.version.startswith("3.")


def new(plan: Plan) -> bool:
    """The framework is 4.0 or newer."""
    return not old(plan)


def fsdp2(plan: Plan) -> bool:
    """Torch shards."""
    return plan.strategy.sharding == "fsdp2"


def generates(plan: Plan) -> bool:
    """The task generates answers."""
    return plan.strategy.rollout is not None


def vllm(*modes: str) -> Test:
    """VLLM generates, in one of these modes."""
    return lambda plan: plan.strategy.rollout is not None and plan.strategy.rollout.mode in modes


def functions(plan: Plan) -> list[str]:
    """Rewards that are names of functions."""
    return [name for name in plan.values["rewards"] if not is_model(name)]


def reward_models(plan: Plan) -> list[str]:
    """Rewards that are models: all of PPO's."""
    return [name for name in plan.values["rewards"] if is_model(name) or plan.strategy.task == "ppo"]
