"""What ms-swift's own code derives, forbids, or does without saying so."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules import packages
from mfc.rules.data import unread
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import listed
from mfc.target import liger
from mfc.target.templates import blind
from mfc.target.versions import before

from . import data, models, pictures

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Quantization, Strategy

VERSIONS = ("4.6.0", "3.12.6")
# What each version was judged with: transformers decides how experts are stored, DeepSpeed which JSON is valid.
WITH = {
    "4.6.0": {"transformers": "5.19.0", "deepspeed": "0.19.8"},
    "3.12.6": {"transformers": "4.57.6", "deepspeed": "0.19.8"},
}


def form(version: str) -> str:
    """The version whose arguments are written for another: 4.0 renamed many, so one of the same major version."""
    return VERSIONS[before(version, "4")]


_ARGUMENTS = "ms-swift swift/arguments/sft_args.py and base_args.py"
_RLHF = "ms-swift swift/arguments/rlhf_args.py"
_LIGER = "liger_kernel/transformers/monkey_patch.py, which ms-swift's use_liger_kernel applies"

# Templates of models that chat, without a place for a system prompt.
_NO_SYSTEM = frozenset({"cogagent_chat", "cogvlm2", "deepseek_ocr", "gemma3_text", "molmo", "paligemma", "yuan"})
_FUSED = ("pretrain", "sft", "grpo")
_FLASHES = ("flash", "flash3")
_SPLIT = ("pretrain", "sft", "dpo")


@derive("model_type", "ms-swift swift/model/model_meta.py: models are matched by the last part of their name")
def model_type(model: Model, architecture: Architecture, profile: Profile) -> Value:
    """The model type is the one that ms-swift lists the model under, or that of its family."""
    found = models.find(model.known_as, architecture.family, model.instruct, form(profile.version))
    return Value(found.kind, found.why_kind)


@derive("template", "ms-swift swift/model/model_meta.py: the template of each group of models")
def template(model: Model, architecture: Architecture, profile: Profile) -> Value:
    """The chat template is the one that ms-swift has for the model."""
    found = models.find(model.known_as, architecture.family, model.instruct, form(profile.version))
    return Value(found.template, found.why_template)


@require("ms-swift swift/template/register.py: TEMPLATE_MAPPING")
def template_is_known(template: str, profile: Profile) -> str | None:
    """The chat template is one that ms-swift has."""
    version = form(profile.version)
    names = models.templates(version)
    if not template or template in names:  # without one it can be planned, not compiled
        return None
    import difflib

    near = difflib.get_close_matches(template, names, n=3)
    hint = f"; did you mean {listed(near)}?" if near else ""
    return f"no model of ms-swift {version} has the template {template}{hint}"


@require(
    "ms-swift swift/template/base.py, replace_tag: <image> stays text; templates/qwen.py, _post_encode: model.visual"
)
def template_suits_the_model(
    template: str, model: Model, architecture: Architecture, image_share: float | None, profile: Profile
) -> str | None:
    """A template takes pictures where the model's rows hold some; of a model without a tower it calls none."""
    version = form(profile.version)
    sees, runs_tower = models.seeing(version)
    if image_share == 0.0 or (architecture.vision is None and template not in runs_tower):
        return None
    own = models.find(model.known_as, architecture.family, model.instruct, version).template
    then = "ms-swift stops at the first step" if architecture.vision is None else "ms-swift trains without, silently"
    return blind(template, sees, models.templates(version), model, own, then)


@require("ms-swift swift/template/templates/minicpm.py, MiniCPMVTemplate._encode: idx_list[0]")
def rows_of_text_can_be_encoded(model_type: str, image_share: float | None) -> str | None:
    """The templates of the first MiniCPM-V models look for a picture in each row."""
    if model_type not in ("minicpmv", "minicpmv2_5") or image_share in (None, 1.0):
        return None
    return f"the template of {model_type} needs a picture in each row: ms-swift drops rows of text alone"


@require(_ARGUMENTS + ": packing and padding_free need an explicit flash attn_impl")
def packing_needs_flash(packing: bool, attention: str) -> str | None:
    """Packed rows are kept apart by flash attention alone."""
    if not packing or attention in _FLASHES:
        return None
    return f"ms-swift packs with flash attention only, not {attention}"


@require(_RLHF + ": in GRPO padding_free does not go with the fused loss")
def answers_end_to_end_take_the_plain_loss(task: str, packing: bool, loss: str) -> str | None:
    """GRPO without padding makes whole logits."""
    fused = (task, packing, loss) == ("grpo", True, "fused")
    return "in GRPO ms-swift packs with the plain loss only" if fused else None


@require(_LIGER)
def liger_knows_the_family(loss: str, architecture: Architecture, profile: Profile) -> str | None:
    """The fused loss is applied to the families that Liger has kernels for; elsewhere it is ignored."""
    reason = liger.refuses(profile, architecture.family) if loss == "fused" else None
    return reason and f"{reason}, and ms-swift goes on without"


@require(_LIGER + "; ms-swift trainers of preferences take whole logits")
def liger_fuses_the_loss_of_some_tasks(loss: str, task: str) -> str | None:
    """Whole logits are avoided in pretraining, supervised fine-tuning and GRPO only."""
    if loss != "fused" or task in _FUSED:
        return None
    return f"task {task} needs whole logits in ms-swift, whatever the kernels"


@require(_RLHF + ": sequence_parallel_size; in GRPO it does not shrink the batch (grpo_trainer.py)")
def splitting_is_for_some_tasks(sequence_parallel: int, task: str, attention: str) -> str | None:
    """Sequences are split in pretraining, supervised fine-tuning and DPO, with flash attention."""
    if sequence_parallel == 1:
        return None
    if task not in _SPLIT:
        return f"ms-swift splits sequences in {listed(_SPLIT, 'and')} as the plan counts them, not in {task}"
    return None if attention in _FLASHES else f"ms-swift splits sequences with flash attention, not {attention}"


@require("ms-swift swift/sequence_parallel: ranks beyond the key/value heads form a ring, which needs padding_free")
def splitting_keeps_whole_heads(
    sequence_parallel: int, architecture: Architecture, packing: bool, spec: Spec
) -> str | None:
    """Without packing, each GPU of a group that splits sequences gets whole key/value heads."""
    own = spec.targets["ms-swift"].extra if "ms-swift" in spec.targets else {}
    if sequence_parallel == 1 or packing or own.get("padding_free") is True:
        return None
    for _, block in architecture.blocks:
        if block.attention.kv_heads % sequence_parallel:
            return f"{block.attention.kv_heads} key/value heads do not divide over {sequence_parallel} GPUs unpacked"
    return None


@require(
    "DeepSpeed runtime/zero/utils.py, defragment: one type; ms-swift tuners/peft.py, tuner_plugin/lora_llm.py: PEFT "
    "makes adapters fp32; pipelines/train/tuner.py: what trains in fp16 becomes fp32, what it reads does not"
)
def what_trains_under_zero3_has_one_type(
    sharding: str,
    precision: str,
    method: str,
    task: str,
    whole_parts: tuple[str, ...],
    modules_to_save: tuple[str, ...],
) -> str | None:
    """Under ZeRO-3 all that trains has one type, which adapters share with modules beside them in bf16 and fp32."""
    if sharding != "zero3" or method == "full" or precision == "fp32":
        return None
    if whole_parts:
        return "beside train.whole_parts ms-swift makes adapters fp32, and ZeRO-3 takes one type of all that trains"
    if precision == "fp16" and (modules_to_save or task == "reward"):
        return "ms-swift makes whole modules beside adapters fp32, and under ZeRO-3 nothing casts what they read to it"
    return None


@require("ms-swift swift/tuner_plugin/lora_llm.py: LoraConfig(r, lora_alpha, target_modules)", blames="target")
def whole_parts_are_beside_plain_adapters(
    whole_parts: tuple[str, ...],
    lora_targets: str,
    lora_dropout: float,
    lora_variant: str,
    modules_to_save: tuple[str, ...],
) -> str | None:
    """Beside parts that train whole, adapters are plain ones on all linears of the language model."""
    if not whole_parts:
        return None
    plain = (lora_targets, lora_dropout, lora_variant, modules_to_save) == ("all-linear", 0, "lora", ())
    said = "takes rank and alpha of adapters only beside train.whole_parts (tuner_type lora_llm)"
    return None if plain else f"{said}: leave targets, dropout, variant and modules_to_save of train.lora out"


@require("ms-swift swift/template/templates: FPS_MAX_FRAMES, MAX_NUM_FRAMES, VIDEO_SEGMENTS", blames="target")
def frames_are_counted(image_frames: int | None, architecture: Architecture) -> str | None:
    """The number of frames can be said for families whose templates read it."""
    if image_frames is None or architecture.family in pictures.VIDEOS:
        return None
    return f"has no variable for the frames of {architecture.family}'s videos that mfc knows"


@require(
    "ms-swift swift/rlhf_trainers/rollout_mixin.py: quantization=bitsandbytes for bnb of 4 bit, from 4.1.0 on "
    "(examples/train/grpo/internal/qlora.sh); vLLM's loader quantises to nf4"
)
def vllm_takes_some_quantised_weights(
    rollout_mode: str | None, method: str, quantization: Quantization | None, profile: Profile
) -> str | None:
    """A colocated vLLM serves nf4 weights and gets adapters alone, since 4.1; others have to be merged in 16 bit."""
    if method != "qlora" or rollout_mode in (None, "native") or quantization is None:
        return None
    way = "method lora, or train.rollout.engine: native"
    if before(profile.version, "4.1.0"):
        return f"4-bit weights cannot be merged and sent to vLLM's 16-bit ones before ms-swift 4.1: {way}"
    if quantization.pre or quantization.kind != "nf4":
        return f"vLLM takes quantised weights from training in nf4 only, not in {quantization.kind}: {way}"
    if rollout_mode == "server":
        return f"a vLLM server is not told of quantised weights: train.rollout.mode: colocate, or {way}"
    return None


@require(
    "accelerate accelerator.py: a process of torchrun's is wrapped in DDP; vLLM's external_launcher needs torchrun"
)
def one_colocated_gpu_is_not_wrapped(
    rollout_mode: str | None, sharding: str, method: str, world_size: int
) -> str | None:
    """Full training beside vLLM on one GPU goes through DeepSpeed, without DDP's copy of all gradients."""
    if world_size > 1 or rollout_mode != "colocate" or method != "full" or sharding != "ddp":
        return None
    return "torchrun, which a colocated vLLM needs, wraps one GPU in DDP and copies all gradients: zero1 does not"


@require("ms-swift swift/pipelines/infer/rollout.py: one process and one address for each server")
def a_server_is_one_node(problem: Problem) -> str | None:
    """A rollout server lives on one node."""
    split = problem.split
    if split is None or split.mode != "server" or split.nodes == 1:
        return None
    return f"a server over {split.nodes} nodes is several to ms-swift: keep one node for vLLM, or colocate"


@require("ms-swift swift/rlhf_trainers/grpo_trainer.py: reward_funcs or reward_model; ppo_trainer.py: one reward model")
def answers_are_scored(task: str, rewards: tuple[str, ...]) -> str | None:
    """GRPO needs a reward of any kind, PPO one reward model."""
    if task == "grpo" and not rewards:
        return "GRPO scores answers: set train.rollout.rewards, such as [accuracy, format] or the path of a model"
    if task == "ppo" and len(rewards) != 1:
        return "PPO needs one reward model: set train.rollout.rewards to its path or hub id"
    return None


@require(_RLHF + ": KTO compares samples of a batch with each other")
def kto_compares_samples(task: str, batch_size: int) -> str | None:
    """KTO needs more than one sample a step."""
    return "KTO needs at least two samples a step in ms-swift" if task == "kto" and batch_size < 2 else None


@require(_RLHF + ": ref_model with LoRA is an error")
def adapters_are_their_own_reference(spec: Spec, method: str) -> str | None:
    """A reference model of its own is for full training."""
    if spec.train.preference.reference == "auto" or method == "full":
        return None
    return "ms-swift takes no train.preference.reference with adapters: the model without them is the reference"


@require("ms-swift swift/arguments: adapters resume, they are never merged before training")
def adapters_are_continued(spec: Spec) -> str | None:
    """An adapter is trained on, not merged first."""
    if spec.model.adapter is None or spec.model.adapter_mode == "continue":
        return None
    return (
        f"ms-swift does not merge before it trains: merge {spec.model.adapter} first (swift export --merge_lora true)"
    )


@require("ms-swift swift/arguments: --adapters with tuner_type full is not loaded")
def adapters_need_lora(spec: Spec, method: str) -> str | None:
    """An adapter continues only as an adapter."""
    if spec.model.adapter is None or method in ("lora", "qlora"):
        return None
    return f"method {method} does not go on from the adapter {spec.model.adapter}"


@require(
    "ms-swift swift/pipelines/train/tuner.py: adapters that are loaded train as they were made; PEFT gives a reward "
    "head to those that it makes for sequence classification"
)
def rewards_need_their_own_adapters(spec: Spec, task: str) -> str | None:
    """An adapter of a model that writes has no reward head, and its own would stay as drawn at random."""
    if spec.model.adapter is None or task != "reward":
        return None
    return (
        f"the adapter {spec.model.adapter} trains no reward head: merge it first (swift export --merge_lora true), "
        "and train new ones"
    )


@require("ms-swift swift/arguments/base_args/template_args.py and swift/template/template_meta.py", blames="target")
def system_is_taken_as_it_is(system: str | None, template: str) -> str | None:
    """The system prompt is text to ms-swift too, and one that the template takes."""
    if system is None:
        return None
    if system.endswith(".txt"):
        return f"takes the data.system {system[-40:]} for the name of a file, as it ends in .txt"
    if "\\n" in system:
        return "turns the \\n in data.system into the end of a line: write the line's end itself"
    return f"has no system prompt in its template {template}: leave data.system out" if template in _NO_SYSTEM else None


@require("transformers optimization.py, get_wsd_schedule: num_decay_steps", blames="target")
def decay_is_in_steps(decay: int | float | None, max_steps: int | None) -> str | None:
    """The decay of warmup_stable_decay is a number of steps."""
    if not isinstance(decay, float) or max_steps is not None:
        return None
    return "takes the decay in steps: set train.optim.decay to their number, or give train.max_steps"


@require("ms-swift swift/dataset/dataset_syntax.py: dataset[:subset][#samples]")
def names_hold_no_syntax(spec: Spec) -> str | None:
    """Names of data sets hold no characters that mean something to ms-swift."""
    names = [str(one.path or one.hub) for one in spec.data.train]
    names += [spec.data.eval] if isinstance(spec.data.eval, str) else []
    wrong = [name for name in names if "#" in name or ":" in name]
    return f"ms-swift reads {wrong[0]} as a name with a subset or a number of samples: rename it" if wrong else None


@require("ms-swift swift/dataset/preprocessor/core.py, AutoPreprocessor")
def rows_suit_the_task(spec: Spec, task: str) -> str | None:
    """The rows of each data set have a layout that ms-swift reads for the task."""
    return unread(spec, task, data.FORMATS, "it")


@require("ms-swift swift/dataset/register.py, and preprocessor/core.py, MessagesPreprocessor")
def rows_can_be_described(spec: Spec, task: str) -> str | None:
    """Columns, roles and splits are said in a description, which knows files and some of the words of turns."""
    described = [one for one in spec.data.train if {"split", "columns", "roles"} & {*rows.options(one)}]
    for one in described:
        if one.roles.tool or one.roles.function:
            return "ms-swift has its own words for what tools say: leave roles.tool and roles.function out"
        if {"chosen", "rejected"} & rows.renamed(one).keys() and rows.layout(one, task) != "preference":
            return "ms-swift reads chosen and rejected columns of its own in conversations: use format preference"
    folders = [one.path for one in spec.data.train if one.path and not PurePosixPath(one.path).suffix]
    if described and folders:
        return f"ms-swift describes the columns of files, not of the folder {folders[0]}"
    if described and isinstance(spec.data.eval, str) and spec.data.eval != "none":
        return "ms-swift reads the columns of data.eval by itself: evaluate on a share, such as 2%"
    return None


@advise("ms-swift swift/dataset: truncation_strategy delete drops rows and says so only in the log")
def long_samples_disappear(spec: Spec) -> str | None:
    """Samples that are dropped are missing without an error."""
    return "samples above max_length are left out with a line in the log only" if spec.data.overlong == "drop" else None


@advise("ms-swift 3.12 and 4.6 grpo_trainer.py: answers are encoded with their prompts while max_length is unset")
def prompts_train_whole(task: str, overlong: str, max_prompt_length: int | None) -> str | None:
    """GRPO cuts prompts for generating alone."""
    if task != "grpo" or overlong != "truncate":
        return None
    return (
        f"GRPO cuts prompts above {max_prompt_length} tokens where it generates, but trains on them whole, and such "
        "steps take more memory than is planned; data.overlong: drop leaves them out"
    )


@advise("ms-swift swift/pipelines/train/rlhf.py: swift rollout has to answer before training starts")
def the_server_starts_first(problem: Problem, rollout_mode: str | None, max_length: int) -> str | None:
    """In server mode vLLM is a process of its own."""
    if rollout_mode != "server":
        return None
    if problem.split is None or not problem.split.outside:
        return "start rollout.sh first: train.sh connects to it"
    server = problem.spec.train.rollout.server
    return (
        f"train.sh connects to {server.host}:{server.port}: start swift rollout there first, with --model "
        f"{problem.model.name} and --vllm_max_model_len {max_length}; how long it generates is not counted"
    )


@require("liger_kernel/chunked_loss/grpo_loss.py: loss types of LigerFusedLinearGRPOLoss")
def liger_knows_the_loss_type(loss: str, loss_type: str | None) -> str | None:
    """The fused loss of GRPO is there for some ways in which token losses add up."""
    if loss != "fused" or loss_type not in ("real", "fipo"):
        return None
    return f"Liger's fused loss of GRPO does not know loss_type {loss_type}"


@advise("ms-swift asks for flash attention by import: attn_impl fails without its package")
def flash_is_installed(strategy: Strategy, profile: Profile, gpu: Gpu) -> str | None:
    """Flash attention needs its package, but on Ascend NPUs."""
    if gpu.vendor == "huawei":
        return None
    package = {"flash": packages.FLASH, "flash3": packages.FLASH3}.get(strategy.attention)
    if package is None or packages.declared(profile, package):
        return None
    return f"strategy.attention: {strategy.attention} needs the {package} package: check that it is installed"


@advise("ms-swift releases: mfc knows the versions whose arguments it has extracted")
def version_is_extrapolated(profile: Profile) -> str | None:
    """Versions that mfc does not know are written for as the nearest one that it does."""
    if profile.version in VERSIONS:
        return None
    return f"version {profile.version} is not known; the files are written for {form(profile.version)}"


RULES = (
    model_type,
    template,
    template_is_known,
    template_suits_the_model,
    rows_of_text_can_be_encoded,
    packing_needs_flash,
    answers_end_to_end_take_the_plain_loss,
    liger_knows_the_family,
    liger_fuses_the_loss_of_some_tasks,
    splitting_is_for_some_tasks,
    splitting_keeps_whole_heads,
    vllm_takes_some_quantised_weights,
    one_colocated_gpu_is_not_wrapped,
    a_server_is_one_node,
    answers_are_scored,
    kto_compares_samples,
    adapters_are_their_own_reference,
    adapters_are_continued,
    adapters_need_lora,
    rewards_need_their_own_adapters,
    what_trains_under_zero3_has_one_type,
    whole_parts_are_beside_plain_adapters,
    frames_are_counted,
    system_is_taken_as_it_is,
    decay_is_in_steps,
    names_hold_no_syntax,
    rows_suit_the_task,
    rows_can_be_described,
    long_samples_disappear,
    prompts_train_whole,
    the_server_starts_first,
    liger_knows_the_loss_type,
    flash_is_installed,
    version_is_extrapolated,
)
