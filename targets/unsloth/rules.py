"""What `unsloth train` cannot say, or does without being asked. Source: Unsloth 2026.10.9 and unsloth_zoo beside it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import listed
from mfc.target.versions import nearest

from . import data

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Hardware
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Lora, Quantization

VERSIONS = ("2026.10.9",)
_CLI = "Unsloth unsloth_cli/config.py"
_DATA = "Unsloth's trainer behind `unsloth train`: load_and_format_dataset"
# Families that have kernels of Unsloth's own (unsloth/models/loader.py); the rest run as compiled transformers classes.
FAMILIES = ("llama", "mistral", "gemma", "gemma2", "qwen2", "qwen3")
_LEAST_OFFLOADED = 512  # tokens


@derive("template", "Unsloth's template for the model, or that of the tokenizer")
def template(task: str) -> Value:
    """Chats are written in the template that Unsloth, or the tokenizer, has for the model."""
    if task == "pretrain":
        return Value(None, "texts are taken as they are")
    return Value("", "Unsloth's own for the model, else the tokenizer's")


@require(_CLI + ": no chat template", blames="target")
def no_template_is_named(template: str | None) -> str | None:
    """No template is named."""
    return "finds the chat template itself: leave data.template out" if template else None


@require("Unsloth unsloth/models/loader.py: the families that FastLanguageModel has classes for", blames="target")
def family(architecture: Architecture) -> str | None:
    """The family is one whose kernels mfc counts."""
    if architecture.vision is not None:
        return "trains models of images too, in classes of transformers that it compiles: mfc writes text models for it"
    if architecture.family in FAMILIES:
        return None
    return (
        f"has kernels of its own for {listed(FAMILIES, 'and')}; {architecture.family} runs in classes of transformers "
        "that it compiles, whose memory mfc has not counted"
    )


@require(_CLI + ": no key for GPUs; the model would be spread over those in sight, layer by layer", blames="target")
def one_gpu(hardware: Hardware) -> str | None:
    """A run is one GPU."""
    return f"trains on one GPU, not on {hardware.world_size}" if hardware.world_size > 1 else None


@require("unsloth_zoo training_utils.py, prepare_model_for_training: bf16 weights train as they are", blames="target")
def precision_is_the_gpus(precision: str, method: str, gpu: Gpu) -> str | None:
    """Precision follows the GPU and the method, and cannot be said."""
    wanted = ("pure_bf16" if method == "full" else "bf16") if gpu.bf16 else "fp16"
    if precision == wanted:
        return None
    if wanted == "pure_bf16":
        return "trains all weights in bf16 without fp32 masters: agree by train.precision: pure_bf16, or train adapters"
    return f"trains in {wanted} on {gpu.name} and cannot be told otherwise"


@require("Unsloth unsloth/models/vision.py: nf4 with double quantisation", blames="target")
def quantised_twice(quantization: Quantization | None) -> str | None:
    """Four bits are nf4, quantised twice."""
    if quantization is None or quantization.pre or quantization.double:
        return None
    return "quantises the constants of nf4 too: leave train.quantization.double at true"


@require("Unsloth unsloth/models/_utils.py, apply_unsloth_gradient_checkpointing", blames="target")
def short_rows_are_not_offloaded(offload_activations: str, max_length: int) -> str | None:
    """Activations wait on the host for rows of 512 tokens and more."""
    if offload_activations == "none" or max_length >= _LEAST_OFFLOADED:
        return None
    return f"offloads no activations of rows shorter than {_LEAST_OFFLOADED} tokens: strategy.offload.activations: none"


@require("Unsloth unsloth/trainer.py, PADDING_FREE_BLOCKLIST", blames="target")
def packing_needs_varlen_attention(packing: bool, architecture: Architecture) -> str | None:
    """Rows are packed where the attention of the family can keep their samples apart."""
    if not packing or architecture.family != "gemma2":
        return None
    return "packs no rows for gemma2, and says so in its log alone: set data.packing: false"


@require(_DATA, blames="target")
def rows_are_alike(spec: Spec, task: str) -> str | None:
    """All data are files of one kind and one layout, or one set of the hub."""
    sets = spec.data.train
    able = data.FORMATS.get(task, {})
    forms = list(dict.fromkeys(rows.layout(one, task) for one in sets))
    if wrong := [form for form in forms if form not in able]:
        return f"reads {listed(able, 'and')} rows for task {task}, not {wrong[0]}"
    if len(forms) > 1:
        return f"reads rows of one layout, not {listed(forms, 'and')}"
    if len(sets) > 1 and any(one.hub for one in sets):
        return "reads one data set of the hub, or files"
    if len({one.weight for one in sets}) > 1:
        return "cannot mix data sets by weight: leave data.train[].weight out, or mix the files"
    suffixes = {PurePosixPath(str(one.path)).suffix for one in sets if one.path}
    if len(suffixes) > 1 or not suffixes <= {*data.SUFFIXES}:
        return f"reads files of one kind of {listed(data.SUFFIXES, 'and')}"
    return None


@require(_CLI, blames="target")
def has_no_key_for_it(spec: Spec) -> str | None:
    """The file says nothing of held-out data, revisions, adapters, workers or time limits."""
    if spec.data.eval not in (None, "none", 0.0):
        return "does not evaluate: its file has no key for it: set data.eval: none"
    if spec.model.revision is not None:
        return "loads no revision: download it, and give the folder as model.id"
    if spec.model.adapter is not None:
        return f"would go on with the rank and targets of {spec.model.adapter}: merge it into the model first"
    if spec.train.lora.modules_to_save:
        return "trains no whole modules beside adapters: leave train.lora.modules_to_save out"
    for section, name in (("data", "workers"), ("data", "preprocessing_workers"), ("run", "timeout")):
        held = getattr(spec, section)
        if name in held.model_fields_set and getattr(held, name) != "auto":
            return f"has no key for {section}.{name}: leave it out"
    return None


@require("Unsloth unsloth/models/llama.py: adapters on the head or the embedding become whole copies", blames="target")
def adapters_are_on_linears(lora: Lora | None) -> str | None:
    """Adapters are on linears of the layers."""
    ends = [] if lora is None else [name for name in ("lm_head", "embed_tokens") if name in lora.targets.split(",")]
    return f"trains {ends[0]} whole where it is named: leave it out of train.lora.targets" if ends else None


@require(_CLI + ": lora_alpha is an integer", blames="target")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method == "full" or float(lora_alpha).is_integer():
        return None
    return f"takes a whole lora_alpha, not {lora_alpha:g}"


@require(_CLI + ": warmup_steps is an integer", blames="target")
def warmup_is_in_steps(warmup: float) -> str | None:
    """Warm-up is a number of steps."""
    return None if float(warmup).is_integer() else "counts warm-up in steps: set train.optim.warmup to their number"


@require(_CLI + ": save_steps is an integer", blames="target")
def saves_by_steps(save_every: int | str) -> str | None:
    """Checkpoints are saved by steps."""
    return "saves by steps, not by epochs: set run.save_every to their number" if save_every == "epoch" else None


@require(_CLI + ": num_epochs is an integer", blames="target")
def whole_epochs(epochs: float | None) -> str | None:
    """Epochs are whole."""
    return f"trains whole epochs, not {epochs:g}; train.max_steps may say it" if epochs and epochs % 1 else None


@require("Unsloth resolve_output_dir: outputs lie in `outputs` of its home")
def outputs_stay_inside(output_dir: str) -> str | None:
    """The output folder is a name inside `outputs`."""
    parts = PurePosixPath(output_dir).parts
    if parts and parts[0] not in ("/", "outputs") and ".." not in parts and not output_dir.startswith("~"):
        return None
    return f"Unsloth writes into a folder `outputs`: set run.output_dir to a name in it, not {output_dir[:40]}"


@require("Unsloth unsloth/models/loader.py: UNSLOTH_USE_MODELSCOPE is for models", blames="target")
def modelscope_is_for_models(spec: Spec, hub: str) -> str | None:
    """ModelScope gives models, not data."""
    named = [one.hub for one in spec.data.train if one.hub]
    return (
        f"reads no data of ModelScope: download {named[0]}, and give its path"
        if hub == "modelscope" and named
        else None
    )


@advise("Unsloth unsloth/models/loader_utils.py, get_model_name")
def another_upload_is_loaded(method: str, quantization: Quantization | None) -> str | None:
    """In 4 bits it loads its own upload of a known model."""
    if method != "qlora" or quantization is None or quantization.pre:
        return None
    return (
        "of models that Unsloth knows it loads its own 4-bit upload; those called unsloth-bnb-4bit keep some linears "
        "in 16 bits, which mfc does not count: leave room for a tenth of the weights more"
    )


@advise(_CLI + ": no save_total_limit")
def checkpoints_add_up(save_every: int | str) -> str | None:
    """Every checkpoint is kept."""
    return None if save_every == "never" else "Unsloth keeps every checkpoint: run.keep has no key"


@advise("Unsloth releases: mfc knows the versions whose keys it has extracted")
def version_is_extrapolated(profile: Profile) -> str | None:
    """Versions that mfc does not know are written for as the nearest one that it does."""
    if profile.version in VERSIONS:
        return None
    return f"version {profile.version} is not known; the files are written for {nearest(profile.version, VERSIONS)}"


RULES = (
    template,
    no_template_is_named,
    family,
    one_gpu,
    precision_is_the_gpus,
    quantised_twice,
    short_rows_are_not_offloaded,
    packing_needs_varlen_attention,
    rows_are_alike,
    has_no_key_for_it,
    adapters_are_on_linears,
    alpha_is_whole,
    warmup_is_in_steps,
    saves_by_steps,
    whole_epochs,
    outputs_stay_inside,
    modelscope_is_for_models,
    another_upload_is_loaded,
    checkpoints_add_up,
    version_is_extrapolated,
)
