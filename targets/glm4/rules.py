"""What the demo's own code forbids, or does without saying so."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules.engine import advise, require
from mfc.rules.words import listed
from mfc.target import liger
from mfc.target.versions import before

from . import data
from .forms import FORMS, TOKENS, VERSIONS, form

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_SCRIPT = "GLM-4 finetune.py"
_SHORTEST = 3  # tokens: one of a prompt, one of an answer, and the one that the script adds
_REMOTE = "chatglm"  # the model type of the weights whose code lies beside them


@require(_SCRIPT + ": load_tokenizer_and_model, process_batch", blames="target")
def family(architecture: Architecture, model: Model, profile: Profile) -> str | None:
    """The model is a GLM-4 of text that this form of the script loads, not quantised."""
    ours, known = form(profile.version), architecture.family
    if architecture.vision is not None:
        return "trains text; GLM-4V has a script of its own, finetune_vision.py, which mfc does not write for"
    every = {name for each in FORMS.values() for name in each.families}
    if known not in every or architecture.vocab < TOKENS:
        return f"writes the token ids of GLM-4 into every row, so it trains no {known} of {architecture.vocab} tokens"
    if model.quantized is not None:
        return f"loads weights in bf16, not {model.quantized.kind}"
    if known in ours.families:
        return None
    able = [name for name in VERSIONS if known in FORMS[name].families]
    if known == _REMOTE:
        older = f'targets: {{glm4: {{version: "{able[0]}"}}}}'
        return f"loads no code from a model's repository: take the model whose name ends in -hf, or say {older}"
    return f"cannot load {known} in its form of {profile.version}; version {listed(able)} can"


@require(_SCRIPT + ": DataConfig, _load_datasets, process_batch", blames="target")
def one_file_of_messages(spec: Spec, task: str) -> str | None:
    """Rows are messages in one .jsonl file to train on, and one to evaluate on."""
    sets, asked = spec.data.train, spec.data.eval
    if any(one.hub for one in sets):
        return "reads files, not data sets of a hub"
    if len(sets) > 1:
        return f"reads one file to train on, not {len(sets)}"
    if any(rows.layout(one, task) != "messages" for one in sets):
        return f"reads rows of messages, not {rows.layout(sets[0], task)}"
    if isinstance(asked, float) and asked:
        return "evaluates on a file of its own, not on a share of what it trains on"
    names = data.files(spec)
    for name in names:
        if PurePosixPath(name).suffix != ".jsonl":
            return f"reads .jsonl files, not {name}"
    if len({name.startswith("/") for name in names}) > 1:
        return "reads both files from one folder: give both paths from the spec, or both whole"
    return None


@require("datasets data_files.py, resolve_pattern: names of files are patterns")
def names_are_no_patterns(spec: Spec) -> str | None:
    """No name of a file reads as a pattern of several."""
    name = next((name for name in data.files(spec) if set(name) & set("*?[")), None)
    return None if name is None else f"datasets takes {name} for a pattern of names: call the file otherwise"


@require(_SCRIPT + ": load_tokenizer_and_model", blames="target")
def from_the_model_itself(spec: Spec) -> str | None:
    """Training starts from the model as it is published."""
    if spec.model.adapter is not None:
        return "starts no run from an adapter: merge it into the model first"
    return None if spec.model.revision is None else "loads no revision: download it, and give the folder as model.id"


@require(_SCRIPT + ": max_input_length + max_output_length + 1")
def room_for_both(max_length: int) -> str | None:
    """A row has room for a prompt and an answer."""
    return None if max_length >= _SHORTEST else f"{max_length} tokens are no row: it takes {_SHORTEST} or more"


@require(_SCRIPT + ": process_batch calls tokenizer.apply_chat_template", blames="target")
def template_is_the_models(problem: Problem) -> str | None:
    """Talks are written in the template that comes with the model."""
    asked = problem.pins.get("template")
    return None if asked is None else f"writes talks in the template beside the model, not in {asked}"


@require(_SCRIPT + ": main ends with trainer.train(), which saves checkpoints alone", blames="target")
def something_is_saved(save_every: int | str) -> str | None:
    """Checkpoints are all that a run leaves."""
    return "saves checkpoints only, and nothing at the end: run.save_every: epoch" if save_every == "never" else None


@require("transformers optimization.py, get_wsd_schedule: num_decay_steps", blames="target")
def decay_is_in_steps(decay: int | float | None, max_steps: int | None) -> str | None:
    """The decay of warmup_stable_decay is a number of steps."""
    if not isinstance(decay, float) or max_steps is not None:
        return None
    return "takes the decay in steps: set train.optim.decay to their number, or give train.max_steps"


@require("peft tuners/lora/config.py: lora_alpha is a whole number")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method != "lora" or float(lora_alpha).is_integer():
        return None
    return f"train.lora.alpha {lora_alpha:g} is no whole number, and lora_alpha has to be one"


@require("transformers trainer.py: use_liger_kernel, by model type", blames="target")
def liger_knows_the_family(loss: str, architecture: Architecture, profile: Profile) -> str | None:
    """The fused loss is Liger's, which has one for some families only."""
    return liger.refuses(profile, architecture.family) if loss == "fused" else None


@require(_SCRIPT + " and the requirements beside it")
def transformers_fits(profile: Profile) -> str | None:
    """The declared transformers is one that this form of the script runs with."""
    installed, ours = profile.packages.get("transformers"), form(profile.version)
    if installed is None:
        return None
    if before(installed, ours.oldest):
        return f"the demo of {profile.version} needs transformers {ours.oldest} or later, not {installed}"
    if not before(installed, ours.below):
        return f"the demo of {profile.version} runs with transformers before {ours.below}, not {installed}"
    return None


@require(_SCRIPT + ": its keys have changed five times, and every one too many or too few ends the run")
def version_is_known(profile: Profile) -> str | None:
    """The form is one of those whose keys mfc has read."""
    if profile.version in VERSIONS:
        return None
    return f"mfc knows the forms {listed(VERSIONS, 'and')}, not {profile.version}: check out the commit of one of them"


@advise(_SCRIPT + ": torch_dtype=torch.bfloat16, and the Trainer leaves it so")
def whole_weights_without_masters(strategy: Strategy) -> str | None:
    """Without DeepSpeed the script trains bf16 weights, with moments in bf16."""
    if strategy.method != "full" or strategy.deepspeed:
        return None
    return "weights and moments are bf16 here, and small updates are rounded away; ZeRO keeps fp32 masters"


RULES = (
    version_is_known,
    family,
    one_file_of_messages,
    names_are_no_patterns,
    from_the_model_itself,
    room_for_both,
    template_is_the_models,
    something_is_saved,
    decay_is_in_steps,
    alpha_is_whole,
    liger_knows_the_family,
    transformers_fits,
    whole_weights_without_masters,
)
