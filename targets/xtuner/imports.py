"""XTuner's Python configs and commands read back.

What counts is what XTuner builds: `model`, `train_dataloader`, `optim_wrapper`, the schedulers and hooks. The settings
at the top, which mfc writes under the names of XTuner's own configs, are taken from there, whatever a file calls them.
Source: xtuner/tools/train.py, dataset/huggingface.py, model/*.py and configs of 0.2.0; mmengine 0.10.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mfc.errors import SpecError
from mfc.imports.starting import whole
from mfc.spec.marks import printable
from mfc.target.importing import Imports, Machines, Part, Place, Run, Settings, flags, pairs, scalars
from mfc.target.outputs import place as put
from mfc.target.values import at_key

from ..deepspeed.imports import json_of
from . import ENGINE, VERSIONS, facts, pictures, schedule, sets
from . import codecs as x
from .keys import ENVIRONMENT, KEYS

_MARKS = frozenset(
    {
        "optim_wrapper",
        "train_dataloader",
        "train_cfg",
        "default_hooks",
        "custom_hooks",
        "use_varlen_attn",
        "accumulative_counts",
    }
)
_MODULES = ("xtuner.tools.train", "xtuner/tools/train.py")
_DEEPSPEED = "0.18.4"
# Where XTuner reads what the settings of its own configs hold.
_SETTINGS = {
    "pretrained_model_name_or_path": "model.llm.pretrained_model_name_or_path",
    "max_length": "train_dataset.max_length",
    "pack_to_max_length": "train_dataset.pack_to_max_length",
    "max_packed_length": "train_dataset.max_packed_length",
    "loss_beta": "model.beta",
    "reward_token_id": "model.reward_token_id",
    "batch_size": "train_dataloader.batch_size",
    "dataloader_num_workers": "train_dataloader.num_workers",
    "max_epochs": "train_cfg.max_epochs",
    "lr": "optim_wrapper.optimizer.lr",
    "betas": "optim_wrapper.optimizer.betas",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "max_norm": "optim_wrapper.clip_grad.max_norm",
    "accumulative_counts": "optim_wrapper.accumulative_counts",
    "save_steps": "default_hooks.checkpoint.interval",
    "save_total_limit": "default_hooks.checkpoint.max_keep_ckpts",
    "prompt_template": "train_dataset.template_map_fn.template",
}
_DEFAULTS = {
    "accumulative_counts": 1,
    "batch_size": 1,
    "dataloader_num_workers": 0,
    "sequence_parallel_size": 1,
    "use_varlen_attn": False,
    "pack_to_max_length": True,
    "save_total_limit": -1,
    "weight_decay": 0.01,  # torch's AdamW
    "betas": [0.9, 0.999],
    "model.use_activation_checkpointing": True,
    "model.llm.quantization_config.load_in_4bit": False,
    "model.llm.quantization_config.load_in_8bit": False,
    "model.llm.quantization_config.llm_int8_threshold": 6.0,
    "model.llm.quantization_config.llm_int8_has_fp16_weight": False,
    "model.llm.quantization_config.bnb_4bit_quant_type": "fp4",
    "model.llm.quantization_config.bnb_4bit_use_double_quant": False,
    "model.lora.r": 8,
    "model.lora.lora_alpha": 8,
    "model.lora.lora_dropout": 0.0,
    "model.label_smoothing": 0.0,
    "model.beta": 0.1,
    "train_dataset.map_num_proc": 32,
    "train_dataset.num_proc": 32,
    "optim_wrapper.optimizer.eps": 1e-8,
    "optim_wrapper.clip_grad": None,
    "default_hooks.logger.interval": 10,
}
_PENALTY = "model.penalty_type"
_WRAPPED = ("type", "dtype", "loss_scale")  # keys of optim_wrapper that DeepSpeed's strategy replaces


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`xtuner train CONFIG`, or the program behind it."""
    if program.rpartition("/")[2] == "xtuner":
        return tuple(arguments[:1]) == ("train",)
    return any(program == name or program.endswith(f"/{name}") for name in _MODULES)


def settings(run: Run, place: Place) -> Settings:
    """One run: its config, DeepSpeed's JSON beside it, and what the command adds."""
    raw, name, said = _config(run)
    _refused(raw, name)
    pictures_of = pictures.told(raw) if pictures.is_one(raw) else {}
    config, idle = _settled(pictures.plain(raw) if pictures_of else raw)
    spec, told, notes = sets.read(config, run.beside, place)
    sets.as_its_own(config)
    deepspeed = str(said.get("deepspeed") or "")
    parts, shards, more = _engine(deepspeed, run)
    if run.config is not None and _at(config, "sequence_parallel_size") not in (None, 1):
        shards, more = {}, ("it splits sequences, which takes DeepSpeed: the command tells which, by --deepspeed",)
    told |= {**shards, **_told(config, run, said), **pictures_of}
    if deepspeed.partition(".")[0] in facts.knows("deepspeed"):
        idle |= _automatic(config)
    taken = {
        "data_files": "data.train",
        "train_dataset.dataset": "data.train",
        "train_dataset.dataset_map_fn": "data.train",
    }
    taken["model.lora.target_modules"] = "train.lora.targets"
    if pictures_of:
        taken |= pictures.taken()
        notes = [*notes, pictures.NOTE]
    own = _at(config, _PENALTY) not in (None, "none")  # a loss that a spec has no word for stays XTuner's own key
    keys = tuple(key for key in KEYS if not (own and key.name == _PENALTY))
    idle |= sets.undescribed(raw)
    train = Part(name, keys, config, facts.CONTRACT, _DEFAULTS, taken, idle, own=True)
    here = {key.name for key in ENVIRONMENT} & run.environment.keys()
    environment = Part("environment", ENVIRONMENT, {key: run.environment[key] for key in here})
    return Settings(VERSIONS[0], (*parts, train, environment), told, spec, _machines(run), (*notes, *more))


def _config(run: Run) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The config, the name of its file, and the flags of the command."""
    if run.config is not None:
        return dict(run.config), "the config", {}
    arguments = [*run.arguments]
    if run.program.rpartition("/")[2] == "xtuner":
        arguments = arguments[1:]
    said = scalars(flags(arguments))
    path = next((word for word in arguments if word.endswith(".py")), "")
    if not path:
        path = arguments[0] if arguments and not arguments[0].startswith("-") else "the config"
        text = f"is a config of XTuner's own, or none: copy it with `xtuner copy-cfg {path} .`, and name the copy"
        raise SpecError(f"{printable(path)}: error: {printable(text)}")
    found = run.beside.mapping(path)
    if found is None:
        raise SpecError(f"{printable(path)}: error: the command reads this file, and it is not there")
    options = said.get("cfg-options") or said.get("cfg_options") or []
    for key, value in scalars(pairs([options] if isinstance(options, str) else options)).items():
        put(found, key, value)
    if said.get("seed") is not None:
        put(found, "randomness.seed", said["seed"])
    if folder := said.get("work-dir") or said.get("work_dir"):
        found["work_dir"] = str(folder)
    return found, path, said


def _refused(config: Mapping[str, Any], name: str) -> None:
    """Refuse, by name, what XTuner trains by another loop, or of which a spec cannot name the model."""
    kind = _at(config, "model.type")
    why = ""
    if str(config.get("framework", "mmengine")).lower() == "huggingface" or "training_args" in config:
        why = "it trains by the Hugging Face Trainer (framework: huggingface), and mfc writes XTuner's own loop"
    elif isinstance(kind, str) and kind.rpartition(":")[2] == "LLaVAModel":
        why = "LLaVAModel joins a language model and a tower that no published model has together, and a spec names one"
    elif "model" not in config:
        why = "it trains no model: model is what XTuner builds"
    if why:
        raise SpecError(f"{printable(name)}: error: {printable(why)}")


def _settled(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The config as mfc writes it: what is used stands under the settings' names; and why other names tell nothing."""
    config: dict[str, Any] = _canonical(dict(raw))
    loader = config.get("train_dataloader")
    if isinstance(loader, Mapping) and isinstance(loader.get("dataset"), Mapping):
        config["train_dataset"] = sets.first(loader["dataset"])
        if config["train_dataset"].get("template_map_fn") is None:
            config["train_dataset"] = {k: v for k, v in config["train_dataset"].items() if k != "template_map_fn"}
        config["train_dataloader"] = {**loader, "dataset": config["train_dataset"]}
    tokenizer = _at(config, "train_dataset.tokenizer")
    if isinstance(tokenizer, Mapping):
        config["tokenizer"] = tokenizer
    for setting, path in _SETTINGS.items():
        if (found := _at(config, path)) is not None:
            config[setting] = found
        else:
            config.pop(setting, None)
    _chats(config)
    if x.MODELS.get("dpo") == _at(config, "model.type"):
        config["dpo_loss_type"] = _at(config, "model.loss_type") or "sigmoid"
    idle = _unlike(config)
    known = {key.name.partition(".")[0] for key in KEYS} | {*facts.knows("read")}
    for name in config.keys() - known:
        idle[name] = "a variable of the file: it counts where it is used"
        if isinstance(config[name], Mapping):
            config[name] = str(config[name].get("type", "dict"))
    if _at(config, "randomness.seed") is None:
        idle["randomness.seed"] = "a seed that is drawn at each start: mfc has one that is fixed"
    if sampler := _sampler(config):
        idle["train_dataloader.sampler"] = sampler
    for key, falsy in (("load_in_4bit", False), ("load_in_8bit", False)):
        if _at(config, f"model.llm.quantization_config.{key}") is falsy:
            idle[f"model.llm.quantization_config.{key}"] = "it is the framework's default"
    return config, idle


# Samplers that draw every row once an epoch, like mmengine's own where sequences are whole, and in which order.
_ORDERS = {
    "SequenceParallelSampler": "it draws the rows as mmengine's own sampler does where sequences are whole",
    "InternRepoSampler": "it draws every row once an epoch, in another random order",
    "LengthGroupedSampler": "it draws every row once an epoch, rows of like length together: less padding",
}


def _sampler(config: Mapping[str, Any]) -> str:
    """Why a sampler tells nothing; empty for one that does."""
    kind = str(_at(config, "train_dataloader.sampler.type") or "").rpartition(":")[2]
    splits = _at(config, "sequence_parallel_size") not in (None, 1)
    return "" if splits else _ORDERS.get(kind, "")


def _unlike(config: Mapping[str, Any]) -> dict[str, str]:
    """Keys that XTuner takes otherwise than mfc ever writes them, and why they tell nothing."""
    idle = {"SYSTEM": "of the answers while it trains: data.system is that of the rows"}
    model = config.get("pretrained_model_name_or_path")
    for key, usual, why in (
        ("tokenizer.type", x.TOKENIZER, "mfc lets transformers choose the class"),
        ("model.llm.type", x.LLM, "mfc lets transformers choose the class"),
        ("tokenizer.padding_side", "right", "mfc pads behind the rows, as most of XTuner's own configs"),
        ("tokenizer.pretrained_model_name_or_path", model, "mfc takes the tokenizer of the model"),
        ("train_dataset.shuffle_before_pack", True, "mfc shuffles rows before it packs them"),
    ):
        if _at(config, key) not in (None, usual):
            idle[key] = why
    if isinstance(batches := _at(config, "train_dataloader.batch_sampler"), Mapping):
        idle |= {f"train_dataloader.batch_sampler.{key}": "it makes batches as the loader does" for key in batches}
    if isinstance(tokenizer := config.get("tokenizer"), Mapping):
        known = {"type", "pretrained_model_name_or_path", "trust_remote_code", "padding_side"}
        others = (key for key in tokenizer if key not in known)
        idle |= {f"tokenizer.{key}": "mfc takes the tokenizer as it is published" for key in others}
    prompts = config.get("evaluation_inputs")
    if isinstance(prompts, list) and not all(isinstance(one, str) and one.isprintable() for one in prompts):
        idle["evaluation_inputs"] = "run.samples of a spec are single lines of text"
    return idle


def _canonical(found: Any) -> Any:
    """Code under the module that XTuner's own configs import it from: torch.optim:AdamW for torch.optim.adamw:AdamW."""
    if isinstance(found, Mapping):
        return {key: _canonical(one) for key, one in found.items()}
    if isinstance(found, list):
        return [_canonical(one) for one in found]
    if isinstance(found, str) and len(found) < 200:
        package, name = found.partition(".")[0].partition(":")[0], found.rpartition(":")[2]
        if ":" in found and " " not in found:
            return _CANONICAL.get((package, name), found)
        if found.isidentifier():
            return _BARE.get(found, found)
        if _DOTTED.fullmatch(found):
            return _canonical(_split(found))
    return found


def _split(found: str) -> str:
    """Code as the dump of a config has it, xtuner.model.SupervisedFinetune, as xtuner.model:SupervisedFinetune."""
    parts = found.split(".")
    first = next((at for at, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    return f"{'.'.join(parts[:first])}:{'.'.join(parts[first:])}"


_DOTTED = re.compile(r"(?:xtuner|mmengine|transformers|peft|torch|bitsandbytes|datasets)(?:\.[A-Za-z_]\w*)+")


def _named(found: Any) -> list[str]:
    if isinstance(found, Mapping):
        return [one for each in found.values() for one in _named(each)]
    if isinstance(found, list | tuple):
        return [one for each in found for one in _named(each)]
    return (
        [found]
        if isinstance(found, str) and ":" in found and found.partition(":")[2].replace(".", "_").isidentifier()
        else []
    )


_CODE = [
    *_named([x.MODELS, x.TUNES, x.OPTIMIZERS, x.ALIKE, x.SPLIT, x.VISUALIZERS, facts.MAPS]),
    *_named([schedule.CODE, x.HOOKS, "xtuner.dataset:process_hf_dataset", "xtuner.dataset:ConcatDataset"]),
    *("mmengine.optim:AmpOptimWrapper", "mmengine.optim:OptimWrapper", "xtuner.engine.runner:TrainLoop"),
    *(f"xtuner.dataset.map_fns:{name}" for name in facts.knows("dataset_maps")),
]
_CANONICAL = {(code.partition(".")[0].partition(":")[0], code.rpartition(":")[2]): code for code in _CODE}
_BARE = {code.rpartition(":")[2]: code for code in _CODE if "." not in code.rpartition(":")[2]}


def _chats(config: dict[str, Any]) -> None:
    """The prompts that are answered while it trains, as settings; they are in a hook."""
    hooks = config.get("custom_hooks")
    chat = (
        next((one for one in hooks if isinstance(one, Mapping) and one.get("type") == x.CHAT), {})
        if isinstance(hooks, list)
        else {}
    )
    for setting, key in (
        ("evaluation_inputs", "evaluation_inputs"),
        ("evaluation_freq", "every_n_iters"),
        ("SYSTEM", "system"),
    ):
        if key in chat:
            config[setting] = chat[key]
        else:
            config.pop(setting, None)


def _told(config: Mapping[str, Any], run: Run, said: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Fields that no key carries alone."""
    told: dict[str, tuple[Any, ...]] = {}
    quantised = _at(config, "model.llm.quantization_config")
    adapts = isinstance(config.get("model"), Mapping) and bool(config["model"].get("lora"))
    if isinstance(quantised, Mapping):
        bits = 4 if quantised.get("load_in_4bit") else 8 if quantised.get("load_in_8bit") else None
        if bits:
            told |= {"method": ("qlora",), "quantization.bits": (bits,)}
    told.setdefault("method", ("lora" if adapts else "full",))
    if adapts:
        names = config["model"]["lora"].get("target_modules")
        told["lora_targets"] = (",".join(map(str, names)) if isinstance(names, list) else str(names or "all-linear"),)
        variant = "dora" if config["model"]["lora"].get("use_dora") else "lora"
        told["lora_variant"] = ("rslora" if config["model"]["lora"].get("use_rslora") else variant,)
    split = _at(config, "sequence_parallel_size") not in (None, 1)
    if split or _at(config, "model.use_varlen_attn") is True:  # model/sft.py: flash attention, where it is installed
        told["attention"] = ("flash",)
    flash = "attention" in told or _at(config, "model.llm.attn_implementation") == "flash_attention_2"
    if flash and told["method"] == ("full",) and not said.get("deepspeed"):
        told["precision"] = ("pure_bf16",)  # model/sft.py: 16-bit weights whatever is asked, which the optimizer steps
    if _at(config, "model.type") in x.MODELS.values():  # preference_dataset.py packs for this attention alone
        told["packing"] = (_at(config, "train_dataset.use_varlen_attn") is True,)
    told |= schedule.told(config)
    if run.config is not None:
        told["existing"] = ("overwrite",)
    elif any(words[0] == "echo" and "holds checkpoints" in " ".join(words) for words in run.script):
        told["existing"] = ("fail",)
    else:
        told["existing"] = ("resume" if "resume" in said else "overwrite",)
    return told


def _engine(asked: str, run: Run) -> tuple[list[Part], dict[str, tuple[Any, ...]], tuple[str, ...]]:
    """What shards: a DeepSpeed config that XTuner ships, one beside it, or nothing."""
    if not asked:
        return [], {"sharding": ("ddp",)}, ()
    for layout, name in facts.PRESETS.items():
        if name == asked.removesuffix(".json"):
            told = dict(
                zip(("sharding", "offload_optimizer", "offload_parameters"), ((one,) for one in layout), strict=True)
            )
            return [], {**told, **{field: (value,) for field, value in facts.DEFAULTS.items()}}, ()
    found = json_of(asked, run.beside, _DEEPSPEED)
    return [found.part._replace(keys=ENGINE)] if found.part else [], dict(found.told), found.notes


def _automatic(config: Mapping[str, Any]) -> dict[str, str]:
    """Why keys tell nothing under a shipped DeepSpeed config: the GPU decides the format, bf16 where it has it."""
    if _at(config, "optim_wrapper.dtype") != "float16":
        return {}
    weights = ("llm.torch_dtype", "ref_llm.torch_dtype", "llm.quantization_config.bnb_4bit_compute_dtype")
    keys = (*(f"optim_wrapper.{key}" for key in _WRAPPED), *(f"model.{key}" for key in weights))
    return dict.fromkeys(keys, "under DeepSpeed its JSON has the last word: bf16 where the GPU has it, else fp16")


def _machines(run: Run) -> Machines:
    """The launcher's word, else what `xtuner train` reads (entry_point.py)."""
    told, here = run.machines, run.environment
    processes = told.processes or whole(here.get("NPROC_PER_NODE"))
    return told._replace(processes=processes, nodes=told.nodes or whole(here.get("NNODES")))


def _at(config: Mapping[str, Any], key: str) -> Any:
    try:
        return at_key(config, key)
    except KeyError:
        return None


IMPORTS = Imports(starts, _MARKS, settings)
