"""When a key is in the file: conditions on a plan, and what a key that is there tells of the plan's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.fields import ANYTHING, BY_NAME
from mfc.target.values import held

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


class When(NamedTuple):
    """A condition. `tells` holds, for each field, the values that it can have where the condition holds."""

    test: Callable[[Plan], bool]
    tells: Mapping[str, tuple[Any, ...]] = {}

    def __call__(self, plan: Plan) -> bool:
        """Whether the condition holds."""
        return self.test(plan)


def is_(field: str, *values: Any) -> When:
    """A field has one of these values."""
    return When(lambda plan: held(plan, field) in values, {field: values})


def is_not(field: str, *values: Any) -> When:
    """A field has none of these values."""
    every = BY_NAME[field].values if field in BY_NAME else ANYTHING
    others = tuple(value for value in every if value not in values)
    return When(lambda plan: held(plan, field) not in values, {field: others} if others else {})


def given(field: str) -> When:
    """A field holds something: neither nothing, nor an empty text or list. Zero and false are something."""
    return is_not(field, None, "", ())


def task(*names: str) -> When:
    """The task is one of these."""
    return is_("task", *names)


def counted(field: str) -> When:
    """A field holds a number of steps, rather than a word or a share of them."""
    return When(lambda plan: isinstance(plan.values[field], int))


def both(*conditions: When) -> When:
    """Several conditions at once."""
    tells: dict[str, tuple[Any, ...]] = {}
    for one in conditions:
        for field, values in one.tells.items():
            tells[field] = tuple(value for value in values if value in tells.get(field, values))
    return When(lambda plan: all(one(plan) for one in conditions), tells)


def quantised(*kinds: str) -> When:
    """Weights are quantised when they are loaded, to one of these kinds if any are named."""

    def test(plan: Plan) -> bool:
        stored = plan.strategy.quantization
        return stored is not None and not stored.pre and (not kinds or stored.kind in kinds)

    return When(test, {"quantization.kind": kinds} if kinds else {})


def stage(*numbers: int) -> When:
    """ZeRO shards at one of these stages; 0 is plain data parallelism."""
    return is_("sharding", *("ddp" if number == 0 else f"zero{number}" for number in numbers))


SYSTEM = is_not("system", None)  # an empty one is one
KEEPS_SOME = is_not("keep", "all")
ADAPTERS = is_("method", "lora", "qlora")
DEEPSPEED = stage(1, 2, 3)
PICTURES = When(lambda plan: plan.problem.model.architecture.vision is not None)
GENERATES = task("grpo", "ppo")
EVALUATES = is_not("data.eval", None, "none", 0.0)
EVALUATES_A_SHARE = When(lambda plan: isinstance(plan.problem.spec.data.eval, float) and EVALUATES(plan))
EVALUATES_A_FILE = When(lambda plan: isinstance(plan.problem.spec.data.eval, str) and EVALUATES(plan))
SEVERAL_SETS = When(lambda plan: len(plan.problem.spec.data.train) > 1)
BY_STEPS, EVALUATES_BY_STEPS = counted("save_every"), counted("eval_every")  # not by epochs
WEIGHTED_SETS = When(lambda plan: len({one.weight for one in plan.problem.spec.data.train}) > 1)
