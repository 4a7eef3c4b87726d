"""What is known of the model, and whether it suits the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog import modelscope
from mfc.rules.engine import advise
from mfc.rules.words import listed

if TYPE_CHECKING:
    from mfc.problem import Model, Problem
    from mfc.profile import Profile


@advise("the model's own config.json, or the usual endings of the names of quantised copies")
def dimensions_are_assumed(model: Model) -> str | None:
    """Where a config leaves dimensions out, or a name says how it is stored, the plan says what it assumed."""
    return f"{model.name}: {'; '.join(model.assumed)}" if model.assumed else None


@advise("the folder of the spec: what lies in it is nearer than any hub")
def folders_beside_the_spec(problem: Problem) -> str | None:
    """A name that is also a folder beside the spec is that folder."""
    if not problem.beside:
        return None
    named = listed(problem.beside, "and")
    return f"{named} lies beside the spec, so it is that folder and no id on a hub; ./ before it says so"


@advise("Luo et al. 2023, arXiv:2308.08747: continued training forgets earlier skills")
def pretraining_a_chat_model(model: Model, task: str, profile: Profile) -> str | None:
    """Pretraining a model that answers chats unlearns some of that."""
    if task != "pretrain" or not model.instruct or task in profile.fresh:
        return None
    return f"{model.name} has been tuned to answer; plain text unlearns some of that, its base model is meant for it"


@advise("modelscope.cn and huggingface.co, whose ids of the catalogue's models are in catalog/modelscope.json")
def ids_are_those_of_the_hub(model: Model, hub: str) -> str | None:
    """A model has the id that the hub at hand knows."""
    if hub == "modelscope" and (theirs := modelscope.theirs(model.name)):
        return f"ModelScope has {model.name} as {theirs}: write model: {theirs}"
    if hub == "huggingface" and (ours := modelscope.ours(model.name)):
        return f"{model.name} is an id of ModelScope: say hub: modelscope, or model: {ours}"
    return None


RULES = (ids_are_those_of_the_hub, dimensions_are_assumed, folders_beside_the_spec, pretraining_a_chat_model)
