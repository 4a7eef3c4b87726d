"""What TRL's own code derives, forbids, or does without saying so. Source: TRL 1.16.0."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc import rows
from mfc.catalog.stored import bare
from mfc.rules import packages
from mfc.rules.data import unread
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.rollout import is_model
from mfc.rules.words import listed
from mfc.target.versions import before

from . import data
from .rollout import FUNCTIONS, READ_TURNS

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Lora, Strategy

VERSIONS = ("1.16.0",)
# What it was judged with: transformers decides how experts are stored, DeepSpeed which JSON is valid.
WITH = {"1.16.0": {"transformers": "5.23.0", "deepspeed": "0.19.8"}}
_GRPO = "TRL trainer/grpo_trainer.py"
_DATA = "TRL scripts/utils.py, get_dataset"
# Models for whose chat template TRL has one that marks what the assistant says (chat_template_utils.py,
# get_training_chat_template, which compares whole texts): by the last part of their name.
_MARKED = (
    r"qwen2\.5-[\d.]+b(-instruct)?$",
    r"qwen3-[\d.]+b(-a\d+b)?(-base)?$",
    r"qwen3-[\d.]+b(-a\d+b)?-instruct-2507$",
    r"llama-3-\d+b-instruct$",
    r"phi-3-mini-(4k|128k)-instruct$",
    r"phi-3\.5-mini-instruct$",
    r"gemma-(1\.1-)?\d+b-it$",
    r"gemma-2-\d+b-it$",
    r"gpt-oss-\d+b$",
    r"deepseek-r1-distill-",
    r"deepseek-v3$",
    r"aya-expanse-",
)


@derive("template", "TRL data_utils.py, apply_chat_template: the template of the tokenizer")
def template(task: str) -> Value:
    """Chats are written in the template that the model's tokenizer brings."""
    if task == "pretrain":
        return Value(None, "texts are taken as they are")
    return Value("", "the tokenizer's own template")


@require("TRL data_utils.py, apply_chat_template", blames="target")
def template_is_the_tokenizers(template: str | None) -> str | None:
    """No template is named."""
    return "takes the chat template of the tokenizer: leave data.template out" if template else None


@derive("assistant_only_loss", "TRL chat_template_utils.py, get_training_chat_template; trainer/sft_trainer.py")
def assistant_only_loss(model: Model, task: str) -> Value:
    """Answers alone are learnt where TRL has a template that marks them."""
    if task != "sft":
        return Value(None, "the task has no questions to leave out")
    own = [bare(name.rstrip("/").rpartition("/")[2].lower()).removeprefix("meta-") for name in model.known_as]
    if any(re.match(pattern, each) for each in own for pattern in _MARKED):
        return Value(True, "TRL has the model's chat template with marks around what the assistant says")
    return Value(False, f"TRL has no chat template that marks the answers of {model.name}")


@advise("TRL trainer/sft_trainer.py: assistant_only_loss")
def questions_are_learnt(assistant_only_loss: bool | None, model: Model) -> str | None:
    """Without marks in the template, whole conversations are learnt."""
    if assistant_only_loss is not False:
        return None
    return f"TRL has no chat template of {model.name} with marks around answers, so the questions are learnt as well"


@require("TRL trainer/sft_trainer.py: images are read from columns that mfc does not describe", blames="target")
def models_read_text(architecture: Architecture) -> str | None:
    """Models are trained on text."""
    if architecture.vision is None:
        return None
    return (
        "trains towers and projectors with all the rest, and has no key to freeze them: mfc writes text models for it"
    )


@require("TRL trainer/utils.py, add_fused_lm_head: all trainers but that of rewards call the model with it")
def the_head_is_tiled(loss: str, task: str) -> str | None:
    """Losses of tokens come from TRL's own head, which never makes whole logits."""
    if loss == "fused" or task == "reward":
        return None
    return "TRL scores tokens in tiles and never makes whole logits: strategy.loss is fused"


@require("TRL trainer/grpo_config.py: no activation_offloading")
def grpo_offloads_no_activations(offload_activations: str, task: str) -> str | None:
    """Activations wait on the host in all commands but GRPO's."""
    if offload_activations == "none" or task != "grpo":
        return None
    return "TRL's GRPO has no activation_offloading"


@require("TRL trainer/model_config.py: lora_alpha is an integer")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method not in ("lora", "qlora") or float(lora_alpha).is_integer():
        return None
    return f"train.lora.alpha {lora_alpha:g} is no whole number, and lora_alpha has to be one"


@require("TRL trainer/sft_trainer.py: a PEFT adapter on lm_head would be ignored, and is refused")
def the_head_gets_no_adapter(lora: Lora | None) -> str | None:
    """Adapters are on linears of the layers, not on the head."""
    if lora is None or "lm_head" not in lora.targets.split(","):
        return None
    return "TRL multiplies by lm_head.weight itself, so an adapter there would never train: name others in lora.targets"


@require("TRL scripts/sft.py and the others: the model is loaded, no adapter is", blames="target")
def runs_start_from_models(spec: Spec) -> str | None:
    """Runs start from a model, and compare with the model itself."""
    if spec.model.adapter is not None:
        return f"starts from no adapter: merge {spec.model.adapter} into the model first"
    if spec.train.preference.reference != "auto":
        return "compares with the model itself: its commands take no train.preference.reference"
    return None


@require("TRL trainer/sft_trainer.py: what trains beside quantised weights is turned to bf16")
def quantised_bases_are_trained_in_bf16(method: str, precision: str) -> str | None:
    """Adapters of quantised models are bf16."""
    if method != "qlora" or precision in ("bf16", "pure_bf16"):
        return None
    return f"TRL turns adapters beside quantised weights to bf16, whatever the precision: not {precision}"


@require("TRL models/utils.py, prepare_fsdp: fully_shard(model), one unit for all layers")
def references_stay_out_of_fsdp(sharding: str, reference_model: bool) -> str | None:
    """FSDP2 would gather a whole reference model for every forward pass."""
    if sharding != "fsdp2" or not reference_model:
        return None
    return "TRL wraps a reference model as a single unit of FSDP2, which every GPU gathers whole: zero3 splits it"


@require(_DATA)
def rows_suit_the_task(spec: Spec, task: str) -> str | None:
    """The rows of each data set have the one layout that TRL reads for the task."""
    return unread(spec, task, data.FORMATS, "TRL")


@require(_DATA + ": columns are taken by their names; sft_config.py: dataset_text_field")
def columns_have_their_names(spec: Spec, task: str) -> str | None:
    """Columns are called as TRL has them; plain texts alone may have another name, one for all sets."""
    named = [one for one in spec.data.train if rows.renamed(one)]
    if task != "pretrain" and named:
        return f"TRL takes columns by their names ({listed(_columns(task), 'and')}): rename them in the data"
    texts = {rows.columns(one, "pretrain")["text"] for one in spec.data.train if rows.layout(one, task) == "text"}
    if task == "pretrain" and len(texts) > 1:
        return f"TRL reads one column of texts for all sets, not {listed(sorted(texts), 'and')}"
    return None


def _columns(task: str) -> list[str]:
    return list(rows.usual(data.FORMATS[task][0], task))


@require("datasets packaged_modules, by the extension of a file")
def files_are_readable(spec: Spec) -> str | None:
    """Data files have an extension that the datasets library knows."""
    for one in spec.data.train:
        kind = PurePosixPath(one.path).suffix.removeprefix(".") if one.path else ""
        if kind and kind not in data.BUILDERS:
            return f"{one.path} is no {listed(tuple(data.BUILDERS))} file"
    return None


@require(_DATA + ": train_test_split without a seed, in every process", blames="target")
def held_out_rows_are_a_share(spec: Spec, world_size: int) -> str | None:
    """What is evaluated on is a share of the data, and one process alone can hold it out."""
    asked = spec.data.eval
    if asked in (None, "none", 0.0):
        return None
    if isinstance(asked, str):
        return f"evaluates on a share of its data or a split of a set on the hub, not on {asked}"
    if world_size == 1:
        return None
    return (
        f"draws the rows to hold out anew in each of {world_size} processes, so that one trains on what another "
        "evaluates on: set data.eval: none"
    )


@require("TRL trainer/kto_trainer.py: per_device_train_batch_size has to be above 1")
def kto_compares_samples(task: str, micro_batch: int) -> str | None:
    """KTO takes the answers of neighbours in a micro-batch for its KL term."""
    return "TRL's KTO needs a micro-batch of at least 2" if task == "kto" and micro_batch < 2 else None


@require("TRL trainer/sft_trainer.py and dpo_trainer.py cut; reward_trainer.py leaves long pairs out", blames="target")
def long_samples_are_cut(spec: Spec, task: str) -> str | None:
    """Samples are cut, but for those of rewards, which are left out."""
    if spec.data.overlong != "drop" or task == "reward":
        return None
    return f"cuts samples of task {task} that are too long, and cannot leave them out: set data.overlong: truncate"


@advise("TRL trainer/reward_trainer.py, _prepare_dataset: pairs longer than max_length are filtered out")
def long_pairs_disappear(spec: Spec) -> str | None:
    """Pairs that are too long are missing from the training of rewards."""
    if spec.train.task != "reward" or spec.data.overlong == "drop":
        return None
    return "TRL leaves pairs out that are longer than max_length instead of cutting them"


@require("TRL trainer/sft_config.py: rows without padding need FlashAttention-2 or 3")
def packed_samples_are_kept_apart(packing: bool, attention: str, task: str) -> str | None:
    """Samples share a row with flash attention, plain texts with any."""
    if not packing or task != "sft" or attention in ("flash", "flash3"):
        return None
    return f"TRL keeps the samples of a packed row apart with flash attention only, not with {attention}"


@require("TRL scripts/grpo.py: one reward model, functions of a registry or by dotted path", blames="target")
def rewards_are_known(task: str, rewards: tuple[str, ...], plugins: tuple[str, ...] | None) -> str | None:
    """Rewards are one model at most, and functions that TRL knows or can import."""
    if task != "grpo":
        return None
    if plugins:
        return "loads no train.rollout.plugins: name functions by their dotted path, file.function, beside launch.sh"
    if not rewards:
        return "needs something that scores answers: set train.rollout.rewards, such as [accuracy_reward]"
    if sum(map(is_model, rewards)) > 1:
        return "scores answers with one reward model at most"
    unknown = [one for one in rewards if not is_model(one) and one not in FUNCTIONS and "." not in one]
    if not unknown:
        return None
    return f"has no reward {unknown[0]}: there are {listed(FUNCTIONS, 'and')}, dotted paths (file.function) and models"


@require("TRL generation/vllm_generation.py, _iter_named_params: weights are sent as they are stored", blames="target")
def vllm_gets_whole_weights(rollout_mode: str | None, method: str, sharding: str) -> str | None:
    """Whole weights are sent to vLLM, with adapters merged into them."""
    if rollout_mode in (None, "native"):
        return None
    if method == "qlora":
        return "would send vLLM the packed bytes of 4-bit weights: method lora, or train.rollout.engine: native"
    if method == "lora" and sharding == "fsdp2":
        return "merges adapters into weights that FSDP2 has split: zero3 gathers them first"
    return None


@require("TRL generation/vllm_client.py: one address; scripts/vllm_serve.py: no data parallelism of dense models")
def a_server_is_one_node(problem: Problem) -> str | None:
    """A server is one engine on one node."""
    split = problem.split
    if split is None or split.mode != "server" or split.nodes == 1:
        return None
    return f"TRL's server is one engine on one node, not {split.nodes}: keep one node for vLLM, or colocate"


@advise("TRL trainer/grpo_config.py: max_prompt_length is gone")
def prompts_are_not_cut(spec: Spec, max_prompt_length: int | None) -> str | None:
    """Nothing cuts prompts that are longer than planned."""
    if spec.train.task != "grpo":
        return None
    return f"TRL cuts no prompts: those above {max_prompt_length} tokens take more memory than planned, or stop vLLM"


@advise("TRL rewards/accuracy_rewards.py, rewards/format_rewards.py; a run of two steps")
def rewards_read_turns(task: str, rewards: tuple[str, ...]) -> str | None:
    """TRL's own rewards of answers read lists of role and content."""
    reading = [name for name in rewards if name in READ_TURNS] if task == "grpo" else []
    if not reading:
        return None
    return (
        f"{listed(reading, 'and')} of TRL's: where the prompt of a row is plain text, the first step fails; it must be "
        'a list of turns, such as [{"role": "user", "content": ...}]'
    )


@advise("TRL data_utils.py, is_conversational: a template is applied to lists of role and content alone")
def texts_get_no_template(spec: Spec) -> str | None:
    """Prompts and answers that are plain texts are taken as they are."""
    if spec.train.task not in ("dpo", "kto", "reward", "grpo"):
        return None
    return "TRL writes lists of role and content in the chat template, and takes plain texts as they are"


@advise("TRL trainer/grpo_trainer.py: the server has to answer before training starts")
def the_server_starts_first(problem: Problem, rollout_mode: str | None, max_length: int) -> str | None:
    """In server mode vLLM is a process of its own."""
    if rollout_mode != "server":
        return None
    if problem.split is None or not problem.split.outside:
        return "start server.sh first: launch.sh connects to it"
    server = problem.spec.train.rollout.server
    return (
        f"launch.sh connects to {server.host}:{server.port}: start trl vllm-serve there first, with --model "
        f"{problem.model.name} and --max_model_len {max_length}; how long it generates is not counted"
    )


@require("transformers optimization.py, get_wsd_schedule: num_decay_steps", blames="target")
def decay_is_in_steps(decay: int | float | None, max_steps: int | None) -> str | None:
    """The decay of warmup_stable_decay is a number of steps."""
    if not isinstance(decay, float) or max_steps is not None:
        return None
    return "takes the decay in steps: set train.optim.decay to their number, or give train.max_steps"


@require("transformers 5 training_args.py: warmup_steps below 1 is a share; warmup_ratio is gone")
def transformers_is_new(profile: Profile) -> str | None:
    """The file is written for transformers 5."""
    declared = profile.packages.get("transformers")
    if declared is None or not before(declared, "5"):
        return None
    return f"the file is written for transformers 5, which says the warm-up otherwise than {declared}"


@advise("TRL takes attn_implementation as transformers does, which fails without the package")
def flash_is_installed(strategy: Strategy, profile: Profile) -> str | None:
    """Flash attention needs its package."""
    package = {"flash": packages.FLASH, "flash3": packages.FLASH3}.get(strategy.attention)
    if package is None or packages.declared(profile, package):
        return None
    return f"strategy.attention: {strategy.attention} needs the {package} package: check that it is installed"


@advise("TRL releases: mfc knows the versions whose arguments it has extracted")
def version_is_extrapolated(profile: Profile) -> str | None:
    """Versions that mfc does not know are written for as the nearest one that it does."""
    if profile.version in VERSIONS:
        return None
    return f"version {profile.version} is not known; the files are written for {VERSIONS[0]}"


RULES = (
    template,
    template_is_the_tokenizers,
    assistant_only_loss,
    questions_are_learnt,
    models_read_text,
    the_head_is_tiled,
    grpo_offloads_no_activations,
    alpha_is_whole,
    the_head_gets_no_adapter,
    runs_start_from_models,
    quantised_bases_are_trained_in_bf16,
    references_stay_out_of_fsdp,
    rows_suit_the_task,
    columns_have_their_names,
    files_are_readable,
    held_out_rows_are_a_share,
    kto_compares_samples,
    long_samples_are_cut,
    long_pairs_disappear,
    packed_samples_are_kept_apart,
    rewards_are_known,
    vllm_gets_whole_weights,
    a_server_is_one_node,
    prompts_are_not_cut,
    rewards_read_turns,
    texts_get_no_template,
    the_server_starts_first,
    decay_is_in_steps,
    transformers_is_new,
    flash_is_installed,
    version_is_extrapolated,
)
