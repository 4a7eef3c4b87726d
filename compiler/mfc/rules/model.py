"""What is known of the model, and whether it suits the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise

if TYPE_CHECKING:
    from mfc.problem import Model


@advise("the model's own config.json")
def dimensions_are_assumed(model: Model) -> str | None:
    """Where a config leaves dimensions out, the plan says what it assumed."""
    return f"{model.name}: {'; '.join(model.assumed)}" if model.assumed else None


@advise("Luo et al. 2023, arXiv:2308.08747: continued training forgets earlier skills")
def pretraining_a_chat_model(model: Model, task: str) -> str | None:
    """Pretraining a model that answers chats unlearns some of that."""
    if task != "pretrain" or not model.instruct:
        return None
    return f"{model.name} has been tuned to answer; plain text unlearns some of that, its base model is meant for it"


RULES = (dimensions_are_assumed, pretraining_a_chat_model)
