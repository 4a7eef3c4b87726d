"""GRPO: how many answers, how they are drawn, scored and learnt from. The trainer itself generates them.

Source: core/trainers/grpo/__init__.py and utils/schemas/trl.py of Axolotl 0.19.0.
"""

from __future__ import annotations

from typing import Any

from mfc.target.codecs import Codec, Reader, Reading, Writing, constant, items, one_way, same
from mfc.target.keys import Key, section
from mfc.target.when import task

GRPO = task("grpo")
# Functions of TRL's that other frameworks know by name; Axolotl imports every function by its dotted path.
OWN = ("accuracy_reward", "reasoning_accuracy_reward", "think_format_reward", "get_soft_overlong_punishment")
READ_TURNS = OWN[:3]  # completion[0]["content"] in trl/rewards/accuracy_rewards.py and format_rewards.py
_FROM = "trl.rewards."


def _functions(at: Writing) -> list[str]:
    return [_FROM + name if name in OWN else name for name in at.value("rewards")]


def _read_functions(names: Any, _: Reader) -> Reading:
    short = tuple(name.removeprefix(_FROM) for name in names)
    return {"rewards": tuple({tuple(names), short})}


def _generated(at: Writing) -> int:
    """Answers of one generation, of all processes."""
    strategy = at.plan.strategy
    return int(strategy.micro_batch * strategy.world_size * at.value("steps_per_generation"))


ROLLOUT = section(
    "rollout",
    Key("trl.reward_funcs", Codec(("rewards",), _functions, _read_functions), GRPO, "dotted paths; TRL's get theirs"),
    Key("trl.reward_weights", items("reward_weights"), GRPO),
    Key("trl.num_generations", same("num_generations"), GRPO),
    Key("trl.max_completion_length", same("max_completion_length"), GRPO),
    Key(
        "trl.generation_batch_size",
        one_way(_generated, "steps_per_generation", because="micro-batch and GPUs are in it too"),
        GRPO,
        "answers of all processes; Axolotl's check wants it said",
    ),
    Key("trl.num_iterations", same("iterations"), GRPO),
    Key("trl.temperature", same("temperature"), GRPO),
    Key("trl.top_p", same("top_p"), GRPO),
    Key("trl.top_k", same("top_k"), GRPO, "0: all"),
    Key("trl.repetition_penalty", same("repetition_penalty"), GRPO),
    Key(
        "trl.loss_type",
        Codec(
            ("loss_type",),
            lambda at: at.value("loss_type") or "grpo",
            lambda word, _: {"loss_type": (word, None) if word == "grpo" else (word,)},
        ),
        GRPO,
        "TRL's default is dapo",
    ),
    Key("trl.beta", same("kl_beta"), GRPO, "0: no reference"),
    Key("trl.use_vllm", constant(False, "rollout_mode"), GRPO, "the trainer generates"),
)

__all__ = ["GRPO", "OWN", "READ_TURNS", "ROLLOUT"]
