"""What LLaMA-Factory's own code derives, forbids, or does without saying so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc.rules import packages
from mfc.rules.attention import flash_cannot
from mfc.rules.data import unread
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import listed
from mfc.strategy import FULLY
from mfc.target import contracts, liger
from mfc.target.templates import blind
from mfc.target.versions import nearest, numbers

from . import data, templates

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Lora, Quantization, Strategy

VERSIONS = ("0.9.5", "0.9.4")
# What each version is released with: transformers decides how experts are stored, DeepSpeed which JSON is valid.
RELEASED_WITH = {
    "0.9.5": {"transformers": "5.6.0", "deepspeed": "0.18.4"},
    "0.9.4": {"transformers": "4.57.1", "deepspeed": "0.16.9"},
}
_PARSER = "LLaMA-Factory hparams/parser.py"
_DATA = "LLaMA-Factory data/parser.py and data/converter.py"
_NO_NEAT_FLASH = ("gemma4", "gpt_oss")
# Families whose multimodal RoPE takes mm_token_type_ids from transformers 5 on.
_PLACED_BY_TYPE = {
    *("ernie4_5_vl_moe", "glm4v", "glm4v_moe", "qwen2_vl", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe"),
    *("qwen3_vl", "qwen3_vl_moe"),
}
_LIGER = "LLaMA-Factory model/model_utils/liger_kernel.py"

# Mixtures of experts whose sparse blocks LLaMA-Factory tells ZeRO-3 to gather as one.
LEAVES = {
    *("dbrx", "deepseek_v2", "deepseek_v3", "ernie4_5_moe", "glm4_moe", "gpt_oss", "granitemoe", "llama4_text"),
    *("mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe"),
}
LEAVES_0_9_5 = LEAVES | {"qwen3_next", "qwen3_5_moe"}


# Vision-language families of the catalogue whose parts LLaMA-Factory can freeze.
COMPOSITE = {
    *("gemma3", "glm4v", "internvl", "llama4", "llava", "llava_next", "minicpmv", "mistral3", "mllama", "paligemma"),
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"),
}
COMPOSITE_0_9_5 = COMPOSITE | {"qwen3_5", "qwen3_5_moe"}


@require(_LIGER)
def liger_knows_the_family(loss: str, architecture: Architecture, profile: Profile) -> str | None:
    """The fused loss is applied to the families that LLaMA-Factory and Liger have kernels for, and else is ignored."""
    if loss != "fused":
        return None
    known, family = _kernels(nearest(profile.version, VERSIONS)), architecture.family
    if family not in known:
        return f"LLaMA-Factory {profile.version} has no Liger kernels for {family} and goes on without a word"
    return liger.refuses(profile, family, known[family])


@require(_LIGER + ": fused_linear_cross_entropy is off where the stage needs logits")
def liger_fuses_in_two_stages(loss: str, task: str) -> str | None:
    """Whole logits are avoided in pretraining and supervised fine-tuning only."""
    if loss != "fused" or task in ("pretrain", "sft"):
        return None
    return f"task {task} needs whole logits, so LLaMA-Factory turns the fused loss off"


@require("LLaMA-Factory model/model_utils/checkpointing.py: UnslothGradientCheckpointing keeps no random state")
def offloaded_layers_have_no_dropout(offload_activations: str, lora: Lora | None) -> str | None:
    """Layers whose input waits on the host are computed again with other random numbers: they may have no dropout."""
    if offload_activations == "none" or lora is None or not lora.dropout:
        return None
    return f"with use_unsloth_gc layers are computed again with other dropout than before: {lora.dropout:g} must be 0"


@derive("template", "LLaMA-Factory extras/constants.py and data/template.py: the default of each model")
def template(model: Model, profile: Profile) -> Value:
    """The chat template is the one that LLaMA-Factory has for the model."""
    name, why = templates.find(model.known_as, model.instruct, nearest(profile.version, VERSIONS))
    return Value(name, why)


@require("LLaMA-Factory data/template.py: a template that does not exist is an error when data is loaded")
def template_is_known(template: str, profile: Profile) -> str | None:
    """The chat template is one that LLaMA-Factory has."""
    version = nearest(profile.version, VERSIONS)
    names = templates.known(version)
    if not template or template in names:  # without one it can be planned, not compiled
        return None
    import difflib

    near = difflib.get_close_matches(template, names, n=3)
    hint = f"; did you mean {listed(near)}?" if near else f"; there are {', '.join(names)}"
    return f"LLaMA-Factory {version} has no template {template}{hint}"


@require("LLaMA-Factory data/mm_plugin.py, _validate_input: ValueError for a picture, or for want of a processor")
def template_suits_the_model(template: str, model: Model, image_share: float | None, profile: Profile) -> str | None:
    """A template takes pictures where the model's rows hold some, and only there."""
    version = nearest(profile.version, VERSIONS)
    if image_share == 0.0:  # rows of text do with any template
        return None
    own, _ = templates.find(model.known_as, model.instruct, version)
    stops = "LLaMA-Factory stops when it prepares rows"
    return blind(template, templates.seeing(version), templates.known(version), model, own, stops)


@derive("neat_packing", _PARSER + ": refused in 0.9.4 with transformers 4.53 and newer; data/collator.py of 0.9.5")
def neat_packing(task: str, packing: bool, profile: Profile) -> Value:
    """Packed samples are kept apart where the version can."""
    if task != "sft":
        return Value(None, "samples are packed in supervised fine-tuning only; pretraining lets texts run on")
    if not packing:
        return Value(False, "nothing is packed")
    if not neat(profile.version, profile.packages):
        return Value(False, "0.9.4 refuses it with transformers 4.53 and newer")
    return Value(True, "the samples of a row do not see each other")


@require("LLaMA-Factory data/collator.py: flash attention with neat_packing asserts one row")
def packed_rows_are_single(neat_packing: bool, attention: str, micro_batch: int) -> str | None:
    """Packed rows with flash attention come one at a time."""
    if not neat_packing or attention != "flash" or micro_batch == 1:
        return None
    return f"packed rows with flash attention come one at a time, not {micro_batch}: a longer row does the same"


@require("LLaMA-Factory data/collator.py: a mask of length^2 is made unless attention is flash_attention_2")
def packed_rows_need_no_mask(
    neat_packing: bool | None,
    attention: str,
    precision: str,
    gpu: Gpu,
    architecture: Architecture,
    profile: Profile,
    problem: Problem,
) -> str | None:
    """Packed rows go without a mask where flash-attn is declared, unless the spec asks for what flash cannot do."""
    if not neat_packing or attention in ("flash", "flash3") or not packages.declared(profile, packages.FLASH):
        return None
    if "attention" in problem.pins or problem.pins.get("micro_batch", 1) != 1:
        return None
    if flash_cannot(gpu, precision, architecture) or architecture.family in _NO_NEAT_FLASH:
        return None
    return "flash-attn is declared, and keeps the samples of a row apart without a mask of length^2"


@require("LLaMA-Factory 0.9.5 data/collator.py, SFTDataCollatorWith4DAttentionMask: refused at start")
def some_families_are_not_packed(neat_packing: bool | None, attention: str, architecture: Architecture) -> str | None:
    """Samples of a packed row are not kept apart by flash kernels in gemma4 and gpt_oss."""
    family = architecture.family
    if not neat_packing or family not in _NO_NEAT_FLASH or (family == "gemma4" and attention != "flash"):
        return None
    return f"LLaMA-Factory refuses to pack {family} with flash attention: its kernels would not know the borders"


@require("LLaMA-Factory 0.9.5 data/collator.py, _compute_rope_position_ids_with_packing: dies in the attention")
def packed_rows_hold_images(
    neat_packing: bool | None, attention: str, image_share: float | None, profile: Profile
) -> str | None:
    """Packed rows without an image get a blank one, for which the mask of a row is made longer twice."""
    if not neat_packing or attention in ("flash", "flash3") or image_share in (None, 1.0):
        return None
    if nearest(profile.version, VERSIONS) != "0.9.5":
        return None
    return (
        f"a packed row without images gets a blank one, and under {attention} a mask longer than itself, of which "
        "training dies: data.packing: false, flash-attn, or an image in every row (data.image.share: 1)"
    )


@require("LLaMA-Factory train/kto/trainer.py, forward; transformers 5 models/qwen2_vl, compute_3d_position_ids")
def kto_places_no_images(task: str, architecture: Architecture, profile: Profile) -> str | None:
    """KTO's trainer hands over pictures, also blank ones, without telling which tokens are theirs."""
    if task != "kto" or architecture.family not in _PLACED_BY_TYPE:
        return None
    if transformers_of(profile.version, profile.packages) < (5,):
        return None
    return (
        f"LLaMA-Factory's KTO passes no mm_token_type_ids, by which {architecture.family} of transformers 5 places "
        "images: declare an older one (targets.llamafactory.packages: {transformers: 4.57.1})"
    )


@advise(_PARSER + ": neat_packing in 0.9.4")
def packed_samples_see_each_other(strategy: Strategy, neat_packing: bool, profile: Profile) -> str | None:
    """Where packed samples cannot be kept apart, each sees those before it."""
    if strategy.task != "sft" or not strategy.packing or neat_packing:
        return None
    return (
        f"in LLaMA-Factory {profile.version} each sample of a packed row sees those before it; 0.9.5 keeps them apart"
    )


@require("LLaMA-Factory model/patcher.py, infer_optim_dtype: without bf16 and fp16 the base loads as it is stored")
def fp32_is_for_whole_models(precision: str, method: str, sharding: str, freeze_parts: tuple[str, ...]) -> str | None:
    """Only a model that trains whole, with each GPU holding all of it, becomes fp32."""
    if precision != "fp32" or (method == "full" and sharding != "zero3" and not freeze_parts):
        return None
    return (
        "LLaMA-Factory turns only what trains into fp32 (below zero3); frozen weights would stay in 16 bits beside it"
    )


@require("LLaMA-Factory model/model_utils/visual.py: COMPOSITE_MODELS", blames="target")
def parts_of_the_family_are_known(
    freeze_parts: tuple[str, ...], architecture: Architecture, profile: Profile
) -> str | None:
    """Parts are frozen in the families that LLaMA-Factory knows the parts of; in others everything trains."""
    known = COMPOSITE_0_9_5 if nearest(profile.version, VERSIONS) == "0.9.5" else COMPOSITE
    if architecture.vision is None or not freeze_parts or architecture.family in known:
        return None
    return f"{profile.version} does not know the parts of {architecture.family}, and freezes none of them"


@require("LLaMA-Factory model/model_utils/misc.py, find_all_linear_modules: projectors are left out")
def adapters_leave_projectors_out(
    method: str, lora_targets: str | None, freeze_parts: tuple[str, ...], architecture: Architecture
) -> str | None:
    """Targets of whole groups find no linears of a projector, so it counts as frozen."""
    if architecture.vision is None or method not in ("lora", "qlora") or "projector" in freeze_parts:
        return None
    if lora_targets not in ("all-linear", "attention", "mlp"):
        return None
    return "LLaMA-Factory gives a projector no adapters: add projector to train.freeze_parts, or name its linears"


@require("LLaMA-Factory hparams/finetuning_args.py: lora_alpha is a whole number")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method not in ("lora", "qlora") or float(lora_alpha).is_integer():
        return None
    return f"train.lora.alpha {lora_alpha:g} is no whole number, and lora_alpha has to be one"


@require("LLaMA-Factory hparams/model_args.py: adapter_name_or_path is split at commas and stripped")
def adapter_is_one(spec: Spec) -> str | None:
    """The path of an adapter is one: a comma, or a space at an end, would make others of it."""
    adapter = spec.model.adapter
    if adapter is None or (adapter == adapter.strip() and "," not in adapter):
        return None
    return f"LLaMA-Factory takes {adapter!r} for several paths, or another: rename it, without commas and outer spaces"


@require("LLaMA-Factory model/adapter.py, _setup_lora_tuning: such models resume the adapter instead of merging it")
def merging_needs_whole_weights(
    spec: Spec, method: str, quantization: Quantization | None, sharding: str
) -> str | None:
    """An adapter is merged only into whole, unquantised weights, and only to train a new one."""
    if spec.model.adapter is None or spec.model.adapter_mode != "merge":
        return None
    if method not in ("lora", "qlora"):
        return f"LLaMA-Factory loads adapters for LoRA only: merge {spec.model.adapter} first (llamafactory-cli export)"
    if quantization is not None:
        return f"an adapter is not merged into {quantization.kind} weights but continued: merge it first"
    return "under ZeRO-3 the adapter would be continued, not merged: merge it first" if sharding == "zero3" else None


@require("LLaMA-Factory train/trainer_utils.py: create_badam_optimizer; " + _PARSER)
def badam_runs_alone(optimizer: str, world_size: int, sharding: str) -> str | None:
    """BAdam runs on one GPU, or block by block under ZeRO-3."""
    if optimizer != "badam" or world_size == 1 or sharding == "zero3":
        return None
    return f"BAdam on {world_size} GPUs needs zero3, not {sharding}"


@require("LLaMA-Factory model/model_utils/quantization.py: 'incompatible with PTQ-quantized models'")
def stored_weights_are_not_split(quantization: Quantization | None, sharding: str) -> str | None:
    """A checkpoint that is quantised already is refused where weights are split."""
    if quantization is None or not quantization.pre or sharding not in FULLY:
        return None
    return f"LLaMA-Factory refuses a checkpoint stored as {quantization.kind} under {sharding}; zero2 keeps it whole"


@require("LLaMA-Factory model/loader.py wraps reward models in TRL's value head, which names no layers to accelerate")
def fsdp_has_no_value_head(sharding: str, task: str) -> str | None:
    """Under FSDP a reward model would be one unit, gathered whole, with parameters of unlike types."""
    if sharding != "fsdp" or task != "reward":
        return None
    return "FSDP finds no layers in a model with a value head, and would gather all of it at once; take zero2 or zero3"


@require("LLaMA-Factory model/model_utils/attention.py: gpt_oss always gets a FlashAttention-3 kernel from the Hub")
def gpt_oss_needs_hopper(architecture: Architecture, gpu: Gpu) -> str | None:
    """For gpt-oss, LLaMA-Factory loads a FlashAttention-3 kernel whatever is asked for, which needs Hopper."""
    if architecture.family != "gpt_oss" or gpu.generation == "hopper":
        return None
    return f"LLaMA-Factory runs gpt_oss with a FlashAttention-3 kernel only, which {gpu.name} cannot ({gpu.generation})"


@require("LLaMA-Factory model/model_utils/attention.py: flash_attn fa3 raises NotImplementedError but for gpt_oss")
def flash3_is_for_gpt_oss(architecture: Architecture, attention: str) -> str | None:
    """FlashAttention-3 runs for gpt_oss alone."""
    if attention != "flash3" or architecture.family == "gpt_oss":
        return None
    return "LLaMA-Factory runs FlashAttention-3 for gpt_oss only"


@advise("LLaMA-Factory model/model_utils/attention.py: load_and_register_kernel, kernels-community/vllm-flash-attn3")
def gpt_oss_loads_its_kernel(strategy: Strategy) -> str | None:
    """The kernel of gpt_oss comes from the Hub."""
    if strategy.attention != "flash3":
        return None
    return "gpt_oss gets kernels-community/vllm-flash-attn3 from the Hub at start: it needs the kernels package"


@require("LLaMA-Factory train/trainer_utils.py, create_custom_scheduler", blames="target")
def stable_steps_are_counted(schedule: str, max_steps: int | None) -> str | None:
    """The steps of each part of warmup_stable_decay are written, so their sum has to be known."""
    if schedule != "warmup_stable_decay" or max_steps is not None:
        return None
    return "takes warmup_stable_decay in steps, so train.max_steps has to say how many there are"


@require(_DATA)
def rows_suit_the_task(spec: Spec, task: str) -> str | None:
    """The rows of each data set have a layout that LLaMA-Factory can read for the task."""
    return unread(spec, task, data.FORMATS, "it")


@advise("LLaMA-Factory data/converter.py: a column that dataset_info.json names is read from every row")
def pictures_have_a_column(spec: Spec, image_share: float | None) -> str | None:
    """Where rows may hold pictures, each data set has the column that holds them."""
    sets, image = spec.data.train, spec.data.image
    named = all(one.columns.images or one.columns.videos for one in sets) and sets
    told = image != type(image)() and (image_share == 1.0 or len(sets) < 2)
    if not image_share or named or told:
        return None
    column = "videos" if image.frames else "images"
    return (
        f"each data set needs a column {column}, else LLaMA-Factory ends with a KeyError: where no row holds a "
        "picture, set data.image.share: 0, and where some rows hold none, let their column be an empty list"
    )


@require("LLaMA-Factory extras/constants.py, FILEEXT2TYPE")
def files_are_readable(spec: Spec) -> str | None:
    """Data files have an extension that LLaMA-Factory knows."""
    paths = [one.path for one in spec.data.train if one.path]
    paths += [spec.data.eval] if isinstance(spec.data.eval, str) and spec.data.eval != "none" else []
    for path in paths:
        kind = PurePosixPath(path).suffix.removeprefix(".")
        if kind and kind not in data.FILE_TYPES:
            return f"{path} is no {listed(data.FILE_TYPES)} file"
    return None


@require("LLaMA-Factory model/model_utils/moe.py, add_z3_leaf_module; DeepSpeed issues 4966 and 7461")
def experts_are_marked(sharding: str, architecture: Architecture, profile: Profile) -> str | None:
    """Under ZeRO-3, experts that are modules of their own hang unless LLaMA-Factory marks their blocks."""
    if sharding != "zero3" or not architecture.moe or profile.stack.fused_experts:
        return None
    known = LEAVES_0_9_5 if nearest(profile.version, VERSIONS) == "0.9.5" else LEAVES
    if architecture.family in known:
        return None
    return f"LLaMA-Factory {profile.version} does not mark the experts of {architecture.family}, and ranks would hang"


@advise("LLaMA-Factory model/model_utils/attention.py: 'FlashAttention-2 is not installed.' and on it goes")
def flash_falls_back(strategy: Strategy, profile: Profile, gpu: Gpu) -> str | None:
    """Without the flash-attn package LLaMA-Factory goes on with another kernel, but on Ascend NPUs, which need none."""
    if strategy.attention != "flash" or gpu.vendor == "huawei" or profile.packages.get("flash-attn"):
        return None
    return "without the flash-attn package LLaMA-Factory warns and uses another kernel: check that it is installed"


@advise("LLaMA-Factory train/sft/trainer.py and train/pt/trainer.py: model_accepts_loss_kwargs with a processor")
def micro_batches_count_alike(spec: Spec, strategy: Strategy, architecture: Architecture) -> str | None:
    """For models that take images the loss is a mean of micro-batches, where others take that of all tokens."""
    alone = strategy.world_size * strategy.gradient_accumulation == 1
    if len(spec.targets) < 2 or architecture.vision is None or strategy.task not in ("sft", "pretrain") or alone:
        return None
    return (
        "for models that take images LLaMA-Factory weighs each micro-batch of a step alike, other targets each token: "
        "with rows of unequal length the losses differ"
    )


@advise("LLaMA-Factory requirements: mfc knows the versions whose arguments it has extracted")
def version_is_extrapolated(profile: Profile) -> str | None:
    """Versions that mfc does not know are written for as the nearest one that it does."""
    if profile.version in VERSIONS:
        return None
    return f"version {profile.version} is not known; the files are written for {nearest(profile.version, VERSIONS)}"


def _kernels(version: str) -> Mapping[str, str]:
    """Model type -> the function of Liger's that is called for it."""
    known: Mapping[str, str] = contracts.load(f"llamafactory-{version}")["x-knows"]["liger"]
    return known


def neat(version: str, packages: Mapping[str, str | None]) -> bool:
    """Whether a version of LLaMA-Factory can keep the samples of packed rows apart, with the transformers beside it."""
    return nearest(version, VERSIONS) == "0.9.5" or transformers_of(version, packages) < (4, 53)


def transformers_of(version: str, packages: Mapping[str, str | None]) -> tuple[int, ...]:
    """The version of transformers that is declared, else the one that LLaMA-Factory is released with."""
    found = packages.get("transformers") or RELEASED_WITH[nearest(version, VERSIONS)]["transformers"]
    return numbers(found)


RULES = (
    liger_knows_the_family,
    liger_fuses_in_two_stages,
    offloaded_layers_have_no_dropout,
    template,
    template_is_known,
    template_suits_the_model,
    neat_packing,
    packed_rows_are_single,
    packed_rows_need_no_mask,
    some_families_are_not_packed,
    packed_rows_hold_images,
    kto_places_no_images,
    packed_samples_see_each_other,
    fp32_is_for_whole_models,
    parts_of_the_family_are_known,
    adapters_leave_projectors_out,
    alpha_is_whole,
    adapter_is_one,
    merging_needs_whole_weights,
    badam_runs_alone,
    stored_weights_are_not_split,
    fsdp_has_no_value_head,
    gpt_oss_needs_hopper,
    flash3_is_for_gpt_oss,
    gpt_oss_loads_its_kernel,
    stable_steps_are_counted,
    rows_suit_the_task,
    pictures_have_a_column,
    files_are_readable,
    experts_are_marked,
    flash_falls_back,
    micro_batches_count_alike,
    version_is_extrapolated,
)
