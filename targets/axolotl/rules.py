"""What Axolotl's own code derives, forbids, or does without saying so. Source: Axolotl 0.19.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules import packages
from mfc.rules.data import unread
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.rollout import is_model
from mfc.rules.words import listed

from . import data, kernels
from .rollout import OWN, READ_TURNS

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Lora, Strategy

VERSIONS = ("0.19.0",)
DEEPSPEED = {"0.19.0": "0.18.9"}  # the one that it comes with
_SCHEMA = "Axolotl utils/schemas/validation.py"
_DATA = "Axolotl utils/schemas/datasets.py and prompt_strategies"
_LOADER = "Axolotl loaders/model.py"


@derive("template", "Axolotl utils/chat_templates: tokenizer_default is the template of the tokenizer")
def template(task: str) -> Value:
    """Chats are written in the template that the model's tokenizer brings."""
    if task in ("pretrain", "kto", "orpo", "grpo"):
        return Value(None, "texts are taken as they are")
    return Value("", "the tokenizer's own template")


@require("Axolotl utils/schemas/enums.py: ChatTemplate", blames="target")
def template_is_known(template: str | None) -> str | None:
    """The chat template is one that Axolotl has by name."""
    if not template or template in data.TEMPLATES:
        return None
    import difflib

    near = difflib.get_close_matches(template, data.TEMPLATES, n=3)
    hint = f"; did you mean {listed(near)}?" if near else f"; there are {', '.join(data.TEMPLATES)}"
    return f"has no template {template}{hint}"


@require(_LOADER + ": towers of models with pictures are loaded, and no key says which parts train", blames="target")
def models_read_text(architecture: Architecture) -> str | None:
    """Models are trained on text."""
    if architecture.vision is None:
        return None
    return "has one key for towers, which freezes them all: mfc writes text models for it"


@require("TRL trainers: they take whole logits; Liger's fused head scores labels alone")
def preferences_need_logits(loss: str, task: str) -> str | None:
    """Whole logits are avoided in pretraining and supervised fine-tuning only."""
    if loss != "fused" or task in ("pretrain", "sft"):
        return None
    return f"task {task} compares log-probabilities of whole logits, which the fused head never makes"


@require("Axolotl core/trainers: of TRL's, only Axolotl's own trainer has ActivationOffloadingMixin")
def preferences_offload_no_activations(offload_activations: str, task: str) -> str | None:
    """The inputs of layers wait on the host in pretraining and supervised fine-tuning only."""
    if offload_activations == "none" or task in ("pretrain", "sft"):
        return None
    return f"Axolotl's trainer for task {task} keeps activations on the card"


@require(
    "Axolotl loaders/model.py: torch_dtype is float16 with fp16; torch.amp: 'Attempting to unscale FP16 gradients'"
)
def fp16_weights_do_not_train(precision: str, method: str, sharding: str) -> str | None:
    """Whole weights that train in fp16 need DeepSpeed, which keeps fp32 copies of them."""
    if precision != "fp16" or method != "full" or sharding.startswith("zero"):
        return None
    return "Axolotl loads weights in fp16 then, whose gradients cannot be unscaled; ZeRO keeps fp32 copies"


@advise("Axolotl loaders/model.py, _set_device_map_config: weights that train are loaded in bf16")
def weights_train_in_bf16(strategy: Strategy, learning_rate: float) -> str | None:
    """Outside DeepSpeed, whole weights have no fp32 copy, and small updates are rounded away."""
    if strategy.method != "full" or strategy.precision != "bf16" or strategy.deepspeed:
        return None
    return (
        f"Axolotl trains weights in bf16 without an fp32 copy: at a learning rate of {learning_rate:g}, weights above "
        f"{learning_rate * 512:.2g} do not move at all; under ZeRO they have one"
    )


@require("Axolotl utils/schemas/peft.py: lora_alpha is an integer")
def alpha_is_whole(lora_alpha: float, method: str) -> str | None:
    """The scale of adapters is a whole number."""
    if method not in ("lora", "qlora") or float(lora_alpha).is_integer():
        return None
    return f"train.lora.alpha {lora_alpha:g} is no whole number, and lora_alpha has to be one"


@require("Axolotl loaders/model.py, _load_adapters; core/builders/rl.py", blames="target")
def adapters_start_where_the_trainer_allows(spec: Spec, task: str, method: str) -> str | None:
    """An adapter is gone on with, where Axolotl itself makes adapters; the reference is the model itself."""
    if spec.train.preference.reference != "auto":
        return "compares with the model itself: it takes no train.preference.reference"
    if spec.model.adapter is None:
        return None
    if method not in ("lora", "qlora"):
        return f"loads adapters for LoRA only: merge {spec.model.adapter} into the model first (axolotl merge-lora)"
    if spec.model.adapter_mode == "merge":
        return f"goes on with an adapter instead of merging it: merge {spec.model.adapter} first (axolotl merge-lora)"
    if task in ("dpo", "kto"):
        return f"gives TRL a fresh adapter for task {task}: merge {spec.model.adapter} first (axolotl merge-lora)"
    return None


@require(_DATA)
def rows_suit_the_task(spec: Spec, task: str) -> str | None:
    """The rows of each data set have a layout that Axolotl reads for the task."""
    return unread(spec, task, {**data.FORMATS, "sft": (*data.FORMATS["sft"], data.OWN_PROMPT)}, "Axolotl")


@require("Axolotl prompt_strategies/alpaca_w_system.py and prompters.py: AlpacaPrompter", blames="target")
def alpaca_has_a_prompt_of_its_own(spec: Spec, task: str, template: str | None) -> str | None:
    """Rows in alpaca's layout get a prompt without the model's chat template, where that is asked for by its name."""
    found = next((one for one in spec.data.train if _own_prompt(rows.layout(one, task), task)), None)
    if found is None:
        return None
    name = f"data.train: {found.path or found.hub}"
    if template != data.OWN_PROMPT:
        text = f"puts the rows in format alpaca of {name} in a prompt of its own, not in the chat template"
        return f"{text}: targets.axolotl.template: {data.OWN_PROMPT} asks for that"
    return f"takes the columns of {name} by their names: instruction, input, output" if rows.renamed(found) else None


def _own_prompt(form: str, task: str) -> bool:
    return form == data.OWN_PROMPT and task == "sft"


@require(_DATA + ": DPODataset and KTODataset have neither name nor ds_type")
def pairs_have_no_subset(spec: Spec, task: str) -> str | None:
    """For DPO, SimPO and KTO the subset of a data set is dropped without a word."""
    if task not in ("dpo", "simpo", "kto"):
        return None
    found = next((one for one in spec.data.train if one.subset), None)
    return f"Axolotl drops the subset of {found.hub} for task {task}, and would read another" if found else None


@require("Axolotl prompt_strategies/orpo and bradley_terry: columns are taken by their names")
def columns_have_their_names(spec: Spec, task: str) -> str | None:
    """ORPO's and reward's columns are called as Axolotl has them."""
    for one in spec.data.train:
        named = rows.columns(one, task)
        if task in ("orpo", "grpo") and rows.renamed(one):
            wanted = "prompt" if task == "grpo" else "prompt, chosen and rejected"
            return f"Axolotl takes the columns of task {task} by their names ({wanted}): rename them in the data"
        pairs = {"prompt": "input", "chosen": "chosen", "rejected": "rejected"}
        if task == "reward" and any(named.get(name) != said for name, said in pairs.items()):
            return (
                "Axolotl's rows of pairs are system, input, chosen and rejected: call them so in the data, and set "
                "columns: {prompt: input}"
            )
    return None


@advise("Axolotl prompt_strategies/bradley_terry/chat_template.py: row['system']")
def rows_have_a_system(task: str) -> str | None:
    """Rows of rewards have a column system."""
    if task != "reward":
        return None
    return "Axolotl reads a column system of each row, empty where there is none: without it, it stops"


@require("Axolotl utils/data/shared.py, merge_datasets: sets are joined, none is drawn more often", blames="target")
def sets_have_no_weights(spec: Spec) -> str | None:
    """Data sets are taken whole, each once."""
    if len({one.weight for one in spec.data.train}) <= 1:
        return None
    return "joins its data sets, and draws none of them more often: leave weight out"


@advise("Axolotl prompt_strategies/kto/user_defined.py and orpo: no chat template is applied")
def texts_get_no_template(spec: Spec) -> str | None:
    """Prompts and answers of KTO and ORPO are taken as they are."""
    if spec.train.task not in ("kto", "orpo"):
        return None
    return f"Axolotl takes the texts of task {spec.train.task} as they are: write the chat template into them"


@require("TRL trainer/kto_trainer.py: the KL term pairs answers of a micro-batch")
def kto_compares_samples(task: str, micro_batch: int) -> str | None:
    """KTO takes the answers of neighbours in a micro-batch for its KL term."""
    return "KTO needs a micro-batch of at least 2" if task == "kto" and micro_batch < 2 else None


@require(_SCHEMA + ", check_simpo_warmup: warmup_ratio is not supported with the simpo trainer")
def simpo_warms_up_by_steps(task: str, warmup: int | float, max_steps: int | None) -> str | None:
    """SimPO's warm-up is a number of steps."""
    if task != "simpo" or not isinstance(warmup, float) or max_steps is not None:
        return None
    return "Axolotl's SimPO warms up for a number of steps: set train.optim.warmup to it, or give train.max_steps"


@require("Axolotl core/builders/base.py, _configure_warmup_and_logging: if warmup_steps == 1: warmup_steps = 2")
def one_step_of_warmup_is_two(warmup: int | float) -> str | None:
    """A warm-up of one step is made one of two."""
    return "Axolotl makes two steps of a warm-up of one: set train.optim.warmup to 0 or 2" if warmup == 1 else None


@require(
    "Axolotl utils/schemas/validation.py, check_fsdp2_base_model_quant_rl; loaders/model.py, setup_reference_model"
)
def references_stay_out_of_fsdp(sharding: str, reference_model: bool) -> str | None:
    """A reference of its own would be whole on each GPU under FSDP2."""
    if sharding != "fsdp2" or not reference_model:
        return None
    return "TRL wraps a reference model as a single unit of FSDP2, which every GPU gathers whole: zero3 splits it"


@require(_LOADER + ", _reinitialize_classification_head: weight.abs().max() of a head that DeepSpeed has split")
def heads_of_rewards_are_whole(task: str, sharding: str) -> str | None:
    """A new reward head is looked at when the model is loaded, which needs it whole."""
    if task != "reward" or sharding != "zero3":
        return None
    return "Axolotl looks into the new reward head as it loads the model, and zero3 has split it: use zero2 or ddp"


@require("Axolotl core/trainers/grpo/__init__.py, get_reward_func: importlib.import_module", blames="target")
def rewards_are_functions(task: str, rewards: tuple[str, ...], plugins: tuple[str, ...] | None) -> str | None:
    """Rewards are functions that can be imported."""
    if task != "grpo":
        return None
    if plugins:
        return "loads no train.rollout.plugins: name functions by their dotted path, file.function, beside launch.sh"
    if not rewards:
        return "needs something that scores answers: set train.rollout.rewards, such as [accuracy_reward]"
    wrong = [one for one in rewards if is_model(one) or (one not in OWN and "." not in one)]
    if not wrong:
        return None
    return f"has no reward {wrong[0]}: there are dotted paths (file.function), and of TRL's {listed(OWN, 'and')}"


@require(_SCHEMA + ", check_grpo_batch_size_divisibility: effective_gbs >= num_generations * world_size")
def processes_have_whole_groups(
    num_generations: int | None, world_size: int, micro_batch: int, gradient_accumulation: int
) -> str | None:
    """Each of several processes has at least one whole group of answers in a step."""
    if num_generations is None or world_size == 1 or micro_batch * gradient_accumulation >= num_generations:
        return None
    return (
        f"Axolotl wants a whole group of {num_generations} answers in each process's step, not "
        f"{micro_batch * gradient_accumulation}: a batch_size of {num_generations * world_size} or more"
    )


@require(_LOADER + ", _convert_embedding_modules_dtype; TRL trainer/grpo_trainer.py generates outside autocast; a run")
def what_generates_has_one_type(
    task: str, sharding: str, method: str, precision: str, attention: str, architecture: Architecture
) -> str | None:
    """GRPO generates without autocast, for which fp32 modules in a 16-bit model do not do."""
    if task != "grpo" or sharding != "ddp" or precision == "fp32":
        return None
    mend = "zero2 turns all to 16 bits"
    if architecture.moe:
        return f"Axolotl keeps routers in fp32, which layers in 16 bits do not take where answers are generated: {mend}"
    if method != "full" or attention.startswith("flash"):
        return None
    return f"Axolotl keeps norms in fp32, which linears in 16 bits do not take where answers are generated: {mend}"


@advise("TRL rewards/accuracy_rewards.py, rewards/format_rewards.py")
def rewards_read_turns(task: str, rewards: tuple[str, ...]) -> str | None:
    """TRL's own rewards of answers read lists of role and content."""
    reading = [name for name in rewards if name in READ_TURNS] if task == "grpo" else []
    if not reading:
        return None
    return (
        f"{listed(reading, 'and')} of TRL's: where the prompt of a row is plain text, the first step fails; it must be "
        'a list of turns, such as [{"role": "user", "content": ...}]'
    )


@advise("TRL trainer/grpo_config.py: max_prompt_length is gone")
def prompts_are_not_cut(spec: Spec, max_prompt_length: int | None) -> str | None:
    """Nothing cuts prompts that are longer than planned."""
    if spec.train.task != "grpo":
        return None
    return f"Axolotl cuts no prompts of GRPO: those above {max_prompt_length} tokens take more memory than planned"


@require("transformers optimization.py, get_wsd_schedule: num_decay_steps", blames="target")
def decay_is_in_steps(decay: int | float | None, max_steps: int | None) -> str | None:
    """The decay of warmup_stable_decay is a number of steps."""
    if not isinstance(decay, float) or max_steps is not None:
        return None
    return "takes the decay in steps: set train.optim.decay to their number, or give train.max_steps"


@advise("Axolotl utils/schemas/validation.py, check_flash_attn_available: at start, on the machine that trains")
def flash_is_installed(strategy: Strategy, profile: Profile) -> str | None:
    """Flash attention needs its package, or a build of it on the hub of kernels."""
    package = {"flash": packages.FLASH, "flash3": packages.FLASH3}.get(strategy.attention)
    if package is None or packages.declared(profile, package):
        return None
    return f"strategy.attention: {strategy.attention} needs the {package} package: check that it is installed"


@advise("PEFT tuners/lora/layer.py, ParamWrapper: experts that are one parameter take no dropout")
def experts_get_no_adapters(lora: Lora | None, architecture: Architecture) -> str | None:
    """Experts that are one parameter get no adapters from Axolotl's lora_target_linear."""
    if lora is None or not architecture.moe or lora.targets == "attention":
        return None
    return "experts are one parameter in transformers 5, which lora_target_linear finds no linears in: they stay as is"


@advise("Axolotl utils/data/shared.py, generate_dataset_hash_from_config: of names and settings, not of contents")
def prepared_rows_are_kept(spec: Spec) -> str | None:
    """Rows that were prepared once are taken again, though their file has changed since."""
    if all(one.hub for one in spec.data.train):
        return None
    return "Axolotl keeps prepared rows in last_run_prepared by the name of their file: empty it when a file changes"


@advise("Axolotl releases: mfc knows the versions whose schema it has extracted")
def version_is_extrapolated(profile: Profile) -> str | None:
    """Versions that mfc does not know are written for as the nearest one that it does."""
    if profile.version in VERSIONS:
        return None
    return f"version {profile.version} is not known; the files are written for {VERSIONS[0]}"


RULES = (
    template,
    template_is_known,
    models_read_text,
    *kernels.RULES,
    preferences_need_logits,
    preferences_offload_no_activations,
    fp16_weights_do_not_train,
    weights_train_in_bf16,
    alpha_is_whole,
    adapters_start_where_the_trainer_allows,
    rows_suit_the_task,
    alpaca_has_a_prompt_of_its_own,
    pairs_have_no_subset,
    columns_have_their_names,
    rows_have_a_system,
    sets_have_no_weights,
    texts_get_no_template,
    kto_compares_samples,
    simpo_warms_up_by_steps,
    one_step_of_warmup_is_two,
    references_stay_out_of_fsdp,
    heads_of_rewards_are_whole,
    rewards_are_functions,
    processes_have_whole_groups,
    what_generates_has_one_type,
    rewards_read_turns,
    prompts_are_not_cut,
    decay_is_in_steps,
    flash_is_installed,
    experts_get_no_adapters,
    prepared_rows_are_kept,
    version_is_extrapolated,
)
