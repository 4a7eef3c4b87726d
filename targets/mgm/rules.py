"""What MGM's training script forbids, takes for something else, or does in silence."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mfc import rows
from mfc.beside import is_local
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import listed
from mfc.target.versions import before

from . import facts

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Model
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Quantization

_TRAIN = "MGM mgm/train/train.py"
_ARCH = "MGM mgm/model/mgm_arch.py"
_TOWER_WORDS = ("openai", "sharegpt4v")


@derive("template", "MGM scripts/*/train/*.sh: --version of each stage")
def template(architecture: Architecture, freeze_parts: tuple[str, ...]) -> Value:
    """The conversation is the one that MGM's scripts have for the language model."""
    name = facts.conversation(architecture, "language" in freeze_parts)
    told = f"what its scripts have for {architecture.language}"
    return Value(name, "the first stage learns captions alone" if name == "plain" else told)


@require("MGM mgm/conversation.py: a name that it does not have is vicuna_v1 in silence")
def template_is_known(template: str) -> str | None:
    """The conversation is one that MGM has."""
    if not template or template in facts.TEMPLATES:
        return None
    return f"MGM has no conversation {template}, and would take vicuna_v1: there are {listed(facts.TEMPLATES, 'and')}"


@require("MGM has no releases: the state of the code that mfc has read")
def version_is_known(profile: Profile) -> str | None:
    """The version is the state of the code that mfc knows."""
    if profile.version in facts.VERSIONS:
        return None
    return f"mfc knows MGM as it is since {listed(facts.VERSIONS, 'and')}, not {profile.version}"


@require(_TRAIN + ": two towers, and the attention of one to the other", blames="target")
def is_mini_gemini(architecture: Architecture, model: Model) -> str | None:
    """The model is a Mini-Gemini: a language model with CLIP's tower and a ConvNeXt."""
    if model.quantized is not None:
        return f"loads plain weights, not {model.quantized.kind}"
    if architecture.vision is not None and architecture.vision.mining is not None:
        return None
    return (
        f"trains Mini-Gemini models, and {model.name} is none by its dimensions: of a language model that is to become "
        "one, say which: model: {id: ./model_zoo/LLM/gemma/gemma-2b-it, like: YanweiLi/MGM-2B}"
    )


@require(_TRAIN + ': "mistral", "mixtral" and "gemma" are looked for in model_name_or_path, in this order')
def path_says_the_class(architecture: Architecture, model: Model) -> str | None:
    """Words in the path of the model choose its class, so they have to say what it is."""
    made, meant = facts.built(model.name), architecture.language
    if made == meant:
        return None
    names = f"with {meant}" if meant != "llama" else f"without {made}"
    if made == "mistral" and meant != "llama":
        names += " and without mistral, which is looked for first"
    return f"{model.name} would be built as {made}, by the words in its path, and it is {meant}: take a path {names}"


@require(_ARCH + ", initialize_uni_modules: without a file of stage 1 it opens the index of the model's weights")
def weights_have_an_index(spec: Spec, model: Model) -> str | None:
    """Without the projector of the first stage, the model is a folder that holds the index of its weights."""
    if spec.model.adapter is not None or is_local(model.name):
        return None
    return (
        f"without model.adapter, MGM opens model.safetensors.index.json in {model.name}, which has to be a folder: "
        f"download it, and say model: {{id: ITS FOLDER, like: {model.name}}}"
    )


@require(_ARCH + ", initialize_vision_modules: torch.load(pretrain_mm_mlp_adapter)", blames="target")
def starts_from_a_projector(spec: Spec) -> str | None:
    """What a run starts from besides the model is the projector that a first stage has saved."""
    model = spec.model
    if model.revision is not None:
        return "loads no revision: download it, and give the folder as model.id"
    if model.adapter is None:
        return None
    if not model.adapter.endswith(".bin"):
        return f"takes the projector of a first stage, mm_projector.bin, as model.adapter, and not {model.adapter}"
    if model.adapter_mode != "merge":
        return "loads the projector into the model and trains it on whole: set model.adapter_mode: merge"
    return None


@require(_TRAIN + ": requires_grad_, and vlm_uni is made after all freezing", blames="target")
def the_projector_always_learns(freeze_parts: tuple[str, ...], whole_parts: tuple[str, ...], method: str) -> str | None:
    """The towers stay frozen, and the projector trains whole: alone in the first stage, with the rest in the second."""
    if method in ("lora", "qlora"):
        if "language" in freeze_parts:
            return "trains no adapters in a frozen language model: the first stage is method full"
        if set(whole_parts) != {"projector"} or "projector" in freeze_parts:
            return "trains the projector whole beside adapters, always: set train.whole_parts: [projector]"
        return None
    if "projector" in freeze_parts:
        return (
            "cannot freeze the projector, a part of which is made after all else is frozen: set train.freeze_parts: "
            "[vision], or [vision, language] for the first stage"
        )
    if "vision" not in freeze_parts:
        return "can train the last half of CLIP's layers, not a whole tower: name vision in train.freeze_parts"
    return None


@require(_TRAIN + ", find_all_linear_names: every linear of the language model but its head", blames="target")
def adapters_are_everywhere(lora_targets: str | None, spec: Spec, method: str) -> str | None:
    """Adapters lie on every linear of the language model, the router and all experts of Mixtral among them."""
    if method not in ("lora", "qlora"):
        return None
    if lora_targets != "all-linear":
        return f"puts adapters on every linear of the language model, not on {lora_targets}: leave lora.targets out"
    if spec.train.lora.modules_to_save:
        return "trains no whole modules beside adapters but the projector: leave train.lora.modules_to_save out"
    return None


@require(_TRAIN + ": lora_alpha: int")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method not in ("lora", "qlora") or float(lora_alpha).is_integer():
        return None
    return f"train.lora.alpha {lora_alpha:g} is no whole number, and lora_alpha has to be one"


@require(_TRAIN + ": device_map beside quantized weights; transformers modeling_utils.py refuses it under ZeRO-3")
def quantised_weights_are_not_split(quantization: Quantization | None, sharding: str) -> str | None:
    """QLoRA builds the model with a device map, which ZeRO-3 does not allow."""
    if quantization is None or sharding != "zero3":
        return None
    return "QLoRA is built with a device_map, which transformers refuses under ZeRO-3: take zero2, or lora with zero3"


@require(_TRAIN + ": LazySupervisedDataset, json.load and eval_dataset=None", blames="target")
def one_list_of_conversations(spec: Spec, task: str) -> str | None:
    """Rows are LLaVA's conversations in one JSON list; nothing is evaluated."""
    sets = spec.data.train
    if any(one.hub for one in sets):
        return "reads a file, not data sets of a hub"
    if len(sets) > 1:
        return f"reads one file, not {len(sets)}: put their rows into one list"
    if any(rows.layout(one, task) != "sharegpt" for one in sets):
        return (
            f"reads rows of conversations from human and gpt (data.format: sharegpt), not {rows.layout(sets[0], task)}"
        )
    for name in (str(one.path) for one in sets):
        if PurePosixPath(name).suffix != ".json":
            return f"reads one JSON list, a .json file, not {name}"
    return None if spec.data.eval in (None, "none", 0.0) else "evaluates nothing: leave data.eval out"


@require(_TRAIN + ": pictures of a batch are stacked", blames="target")
def one_picture_a_row(pictures: int, image_frames: int | None) -> str | None:
    """A row holds one picture."""
    if pictures > 1 or image_frames:
        return "stacks the pictures of a batch, of which every row has one: set data.image.per_sample: 1"
    return None


@require("MGM mgm/model/multimodal_encoder/builder.py: words in the paths of towers choose their classes")
def tower_paths_say_the_class(spec: Spec, profile: Profile) -> str | None:
    """Words in the paths of towers choose their classes."""
    settings = spec.targets.get(profile.target)
    paths = {**facts.TOWERS, **(settings.extra if settings else {})}
    first, second = str(paths["vision_tower"]).lower(), str(paths["vision_tower_aux"]).lower()
    if not any(word in first for word in _TOWER_WORDS):
        return f"vision_tower {paths['vision_tower']}: its path has to hold openai or ShareGPT4V, as CLIP's does"
    if "openclip" not in second or any(word not in second for word in ("convnext", "large", "d-320")):
        return (
            f"vision_tower_aux {paths['vision_tower_aux']}: its path has to hold openclip, and convnext, large and "
            "d-320, by which its sizes are told"
        )
    return None


@require("MGM mgm/train/llava_trainer.py, _save_checkpoint: of the first stage it saves the projector and no state")
def first_stages_start_over(freeze_parts: tuple[str, ...], spec: Spec) -> str | None:
    """A first stage cannot be resumed."""
    if "language" not in freeze_parts or spec.run.existing != "resume":
        return None
    return "checkpoints of a first stage hold the projector alone, and nothing to resume from: run.existing: fail"


@require("transformers 4.38: Gemma; DeepSpeed 0.13: set_z3_leaf_modules")
def packages_know_the_model(architecture: Architecture, profile: Profile) -> str | None:
    """The declared packages know the language model."""
    needs = _needs(architecture)
    for package, (since, why) in needs.items():
        installed = profile.packages.get(package)
        if installed is not None and before(installed, since):
            return f"{why} needs {package} {since} or later, not {installed}"
    return None


@advise("MGM pyproject.toml pins transformers 4.36.2 and DeepSpeed 0.11.1")
def pins_are_too_old(architecture: Architecture, profile: Profile) -> str | None:
    """What MGM pins does not know every language model that it trains."""
    missing = {name: told for name, told in _needs(architecture).items() if profile.packages.get(name) is None}
    for package, (since, why) in missing.items():
        return f"MGM pins {package} {facts.PACKAGES[package]}, and {why} needs {since} or later: install that"
    return None


@advise(_TRAIN + ": rows without a picture get zeros of the same size")
def rows_of_text_cost_as_much(image_share: float | None) -> str | None:
    """Rows of text alone cost what rows with pictures do."""
    if image_share in (None, 1.0):
        return None
    return "a row of text gets a black picture, which both towers see: in memory it costs what a picture costs"


@require("transformers 4.36 modeling_utils.py: attention that nobody chose is sdpa from torch 2.1.1 on")
def eager_is_what_older_torch_has(attention: str, architecture: Architecture, profile: Profile) -> str | None:
    """Without flash attention the script names no kernel, and eager is what an older torch leaves."""
    torch = profile.packages.get("torch") or facts.PACKAGES["torch"]
    if attention != "eager" or before(torch, facts.SDPA_SINCE) or architecture.language == "mixtral":
        return None
    return f"with torch {torch} the script's train.py takes sdpa, not eager"


def _needs(architecture: Architecture) -> dict[str, tuple[str, str]]:
    """Packages that a language model needs in a newer version than MGM pins: since when, and what for."""
    if architecture.language == "gemma":
        return {"transformers": (facts.GEMMA_SINCE, "Gemma")}
    if architecture.language == "mixtral":
        return {"deepspeed": (facts.LEAVES_SINCE, "Mixtral (set_z3_leaf_modules)")}
    return {}


RULES = (
    version_is_known,
    template,
    template_is_known,
    is_mini_gemini,
    path_says_the_class,
    weights_have_an_index,
    starts_from_a_projector,
    the_projector_always_learns,
    adapters_are_everywhere,
    alpha_is_whole,
    quantised_weights_are_not_split,
    one_list_of_conversations,
    one_picture_a_row,
    tower_paths_say_the_class,
    first_stages_start_over,
    packages_know_the_model,
    pins_are_too_old,
    rows_of_text_cost_as_much,
    eager_is_what_older_torch_has,
)
