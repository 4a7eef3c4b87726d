"""What XTuner 0.2.0 derives, cannot say, forbids, or does without saying so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules.engine import Rather, Value, advise, derive, require
from mfc.rules.words import gib, listed

from . import facts

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_TRAIN = "XTuner 0.2.0 tools/train.py"
_DATA = "XTuner 0.2.0 dataset/huggingface.py and dataset/map_fns"
_PAIRS = ("reward", "dpo", "orpo")


@require("transformers 4.48.0, which XTuner 0.2.0 pins: models/auto/configuration_auto.py", blames="target")
def family(architecture: Architecture) -> str | None:
    """The family is one that transformers 4.48 knows, or that brings its own code."""
    name = architecture.family
    if architecture.vision is not None:
        return f"trains images in its LLaVA and InternVL classes only, which mfc does not write; {name} needs another"
    if name in facts.REMOTE_CODE or name in facts.knows("families"):
        return None
    return f"pins transformers 4.48.0, which does not know {name}"


@derive("template", "XTuner 0.2.0 utils/templates.py")
def template(model: Model, task: str) -> Value:
    """Chats are written in the template of the model; plain text has none, preferences take the tokenizer's own."""
    if task != "sft":
        return Value(None, "texts are taken as they are" if task == "pretrain" else "the tokenizer's own chat template")
    name, why = facts.find_template(model)
    return Value(name, why)


@require("XTuner 0.2.0 utils/templates.py, PROMPT_TEMPLATE", blames="target")
def chat_template(template: str | None, task: str) -> str | None:
    """The chat template is one that XTuner has."""
    names = facts.knows("templates")
    if template is not None and task != "sft":
        return f"takes no chat template for task {task}, but the tokenizer's own: leave data.template out"
    if not template or template in names:  # an unknown one can be planned, not compiled
        return None
    return f"has no chat template {template}; there are {', '.join(names)}"


@require(_DATA, blames="target")
def data_rows(spec: Spec, task: str) -> str | None:
    """All data sets have one layout, one kind of file and one weight, and suit the task."""
    able = facts.layouts(task)
    found = {rows.layout(one, task) for one in spec.data.train}
    if wrong := sorted(found - {*able}):
        return f"reads {listed(able, 'and')} rows for task {task}, not {wrong[0]}"
    if len(found) > 1:
        return f"reads data sets of one layout at a time, not {listed(sorted(found), 'and')}"
    if len({one.weight for one in spec.data.train}) > 1:
        return "cannot mix data sets by weight: leave data.train[].weight out, or mix the files"
    if len({(one.columns, one.roles) for one in spec.data.train}) > 1:
        return "reads data sets of the same columns and roles at a time"
    if any(one.samples for one in spec.data.train) and (len(spec.data.train) > 1 or task in _PAIRS):
        return "draws samples from one data set alone, and from no pairs: leave data.train[].samples out"
    hubs = [one.hub for one in spec.data.train if one.hub]
    if hubs and len(spec.data.train) > 1:
        return f"reads files together, but a set on the Hub ({hubs[0]}) only alone"
    paths = [str(one.path) for one in spec.data.train if one.path]
    kinds = {facts.file_type(path) for path in paths}
    if None in kinds and (len(paths) > 1 or "." in paths[0].rpartition("/")[2]):
        return f"reads {listed(sorted(facts.FILE_TYPES), 'and')} files"
    return "reads files of one kind at a time" if len(kinds) > 1 else None


@require("XTuner 0.2.0 configs: validation needs an evaluator, and there is none for the loss", blames="target")
def evaluation(spec: Spec) -> str | None:
    """There is no loss on a held-out set."""
    return (
        None if spec.data.eval in (None, "none") else "does not evaluate the loss while it trains: set data.eval: none"
    )


@require("XTuner 0.2.0 model/sft.py: peft_model is a checkpoint of MMEngine's, not PEFT's adapter", blames="target")
def adapter(spec: Spec) -> str | None:
    """Training does not go on from a PEFT adapter."""
    if spec.model.adapter is None:
        return None
    return "starts from no PEFT adapter: merge it into the model first (xtuner convert merge)"


@require("XTuner 0.2.0 engine/runner/loops.py: max_epochs times the steps of an epoch is an integer", blames="target")
def whole_epochs(spec: Spec) -> str | None:
    """Epochs are whole."""
    epochs = spec.train.epochs
    return f"trains whole epochs, not {epochs:g}; train.max_steps may say it" if epochs and epochs % 1 else None


@derive("reward_token", "XTuner 0.2.0 configs/reward_model: a token of the vocabulary that no text holds")
def reward_token(model: Model, task: str) -> Value:
    """The reward is read at a reserved token of the family."""
    if task != "reward":
        return Value(None, f"task {task} has no reward head")
    return Value(facts.find_reward_token(model), "the reserved token that XTuner's own configs take for its family")


@require("XTuner 0.2.0 dataset/preference_dataset.py: reward_token_id must be set", blames="target")
def reward_needs_a_token(reward_token: int | None, task: str, architecture: Architecture) -> str | None:
    """Reward models are trained for families with a known reserved token."""
    if task != "reward" or reward_token is not None:
        return None
    return f"needs a reserved token to read rewards at, and none is known for {architecture.family}"


@derive("varlen", "XTuner 0.2.0 dataset/utils.py, Packer, and model/modules/dispatch")
def varlen(packing: bool, attention: str, architecture: Architecture) -> Value:
    """Packed samples do not see each other where flash attention takes their borders."""
    if not packing:
        return Value(False, "nothing is packed")
    if attention != "flash" or architecture.family not in facts.DISPATCHED:
        return Value(
            False, f"only flash attention in {listed(sorted(facts.DISPATCHED), 'and')} takes the borders of samples"
        )
    return Value(True, "flash attention takes the borders of the packed samples")


@require(_TRAIN + ", check_cfg: 'the batch size should be set to 1'")
def packed_rows_are_single(varlen: bool, micro_batch: int) -> str | None:
    """With variable-length attention, rows come one at a time."""
    if not varlen or micro_batch == 1:
        return None
    return (
        f"packed rows with variable-length attention come one at a time, not {micro_batch}; a longer row does the same"
    )


@require(_DATA + ": without use_varlen_attn a packed row is one long text")
def packed_samples_stay_apart(
    task: str, packing: bool, varlen: bool, gpu: Gpu, architecture: Architecture, profile: Profile, problem: Problem
) -> str | None:
    """Packed samples are kept apart where flash-attn is declared, unless the spec pins the attention kernel."""
    able = gpu.flash_attention and architecture.family in facts.DISPATCHED
    able = able and bool(profile.packages.get("flash-attn")) and "attention" not in problem.pins
    if task != "sft" or not packing or varlen or not able:
        return None
    return "packed samples would see each other; flash attention keeps them apart"


@require("XTuner 0.2.0 dataset/preference_dataset.py: PackedDatasetWrapper is for use_varlen_attn alone")
def packed_pairs_need_flash(task: str, packing: bool, varlen: bool) -> str | None:
    """Pairs of answers share a row with variable-length attention only."""
    if task not in _PAIRS or not packing or varlen:
        return None
    return f"XTuner packs pairs with flash attention only, in {listed(sorted(facts.DISPATCHED), 'and')}"


@advise(_DATA + ": without use_varlen_attn a packed row is one long text")
def packed_samples_see_each_other(strategy: Strategy, varlen: bool) -> Rather | None:
    """Without variable-length attention, each sample of a row sees those before it."""
    if strategy.task != "sft" or not strategy.packing or varlen:
        return None
    return Rather(
        f"with {strategy.attention} attention each sample of a packed row sees those before it",
        "strategy.attention: flash keeps them apart",
        {"attention": "flash"},
    )


@require(_TRAIN + ", check_cfg; parallel/sequence; XTuner issues 938 and 997")
def split_sequences_need(
    sequence_parallel: int, sharding: str, attention: str, packing: bool, architecture: Architecture
) -> str | None:
    """Splitting sequences needs DeepSpeed, flash attention, packing, and a family whose attention XTuner replaces."""
    if sequence_parallel == 1:
        return None
    if sharding == "ddp":
        return "XTuner splits sequences under DeepSpeed only"
    if architecture.family not in facts.DISPATCHED:
        return f"XTuner does not replace the attention of {architecture.family}, so it cannot split its sequences"
    if attention != "flash":
        return "XTuner splits sequences with flash attention only"
    return None if packing else "XTuner splits packed rows only (issue 997): set data.packing: true"


@require("XTuner 0.2.0 model/sft.py, _prepare_for_flash_attn: torch_dtype is overwritten; issue 893")
def flash_loses_masters(method: str, sharding: str, attention: str, precision: str) -> str | None:
    """Without DeepSpeed, flash attention makes XTuner train 16-bit weights without fp32 masters."""
    if method != "full" or sharding != "ddp" or attention != "flash" or precision == "pure_bf16":
        return None
    return "with flash attention XTuner loads 16-bit weights whatever is asked; fp32 masters need ZeRO, or sdpa"


@require("XTuner 0.2.0 model/sft.py, _prepare_for_lora: PEFT's prepare_model_for_kbit_training makes everything fp32")
def adapters_are_not_pure(method: str, precision: str) -> str | None:
    """Adapters cannot train in pure bf16."""
    if method == "full" or precision != "pure_bf16":
        return None
    return "XTuner turns every model with adapters to fp32 before training; precision bf16 is as near as it gets"


@derive("deepspeed_preset", "XTuner 0.2.0 configs/deepspeed/*.json, and DeepSpeed's defaults for what they leave out")
def deepspeed_preset(
    sharding: str,
    offload_optimizer: str,
    offload_parameters: str,
    precision: str,
    gpu: Gpu,
    reduce_bucket_elements: int,
    allgather_bucket_elements: int,
    prefetch_bucket_elements: int,
    persistence_threshold_elements: int,
    max_live_elements: int,
    sub_group_elements: int,
    overlap_comm: bool,
    pin_memory: bool,
) -> Value:
    """A DeepSpeed config that XTuner ships is used when it says exactly what the plan says."""
    numbers = (
        reduce_bucket_elements,
        allgather_bucket_elements,
        prefetch_bucket_elements,
        persistence_threshold_elements,
        max_live_elements,
        sub_group_elements,
        overlap_comm,
        pin_memory,
    )
    name = facts.preset((sharding, offload_optimizer, offload_parameters), precision, gpu.bf16, numbers)
    if not sharding.startswith("zero"):
        return Value(None, "DeepSpeed is not used")
    if name is None:
        offload = "" if (offload_optimizer, offload_parameters) == ("none", "none") else " and this offload"
        return Value("", f"no shipped config says {sharding} with {precision}{offload}: mfc writes its own")
    return Value(name, f"shipped with XTuner, and says exactly this: {sharding}, {precision}, 5e8-element buckets")


@derive(
    "save_steps", "XTuner 0.2.0 engine/runner/loops.py: micro-steps are counted, and there are no epochs to save after"
)
def save_steps(save_every: int | str, gradient_accumulation: int) -> Value:
    """Checkpoints are written every so many micro-steps, and at the end."""
    if save_every == "epoch":
        every = facts.steps_of_epoch(gradient_accumulation)
        return Value(
            every,
            f"XTuner's loop has no epochs: every {every} micro-steps (its own 500, in whole steps), and at the end",
        )
    if save_every == "never":
        return Value(facts.NEVER, "only at the end")
    every = int(save_every) * gradient_accumulation
    return Value(every, f"{save_every} optimizer steps x {gradient_accumulation} micro-steps, and at the end")


@derive("log_steps", "mmengine hooks/logger_hook.py counts micro-steps")
def log_steps(log_every: int, gradient_accumulation: int) -> Value:
    """Log lines are counted in micro-steps."""
    return Value(log_every * gradient_accumulation, f"{log_every} steps x {gradient_accumulation} micro-steps")


@advise("XTuner 0.2.0 engine/runner/loops.py")
def no_epochs_to_save_after(save_every: int | str, save_steps: int, gradient_accumulation: int) -> str | None:
    """A checkpoint at the end of each epoch becomes one every so many steps."""
    if save_every != "epoch":
        return None
    steps = save_steps // gradient_accumulation
    return (
        f"XTuner cannot save by epochs: it saves every {steps} optimizer steps and at the end, which run.save_every "
        "may change"
    )


@require("XTuner 0.2.0 dataset/preference_dataset.py: the tokenizer's own chat template", blames="target")
def system_is_for_chats(system: str | None, task: str) -> str | None:
    """Only rows that XTuner's templates write can begin with the spec's system prompt."""
    if not system or task not in _PAIRS:
        return None
    return f"takes no data.system for task {task}, whose rows the tokenizer's own template writes"


@require(
    "XTuner 0.2.0 engine/hooks/evaluate_chat_hook.py: it generates with model.llm; model/dpo.py, orpo.py",
    blames="target",
)
def answers_need_a_language_model(samples: tuple[str, ...], task: str) -> str | None:
    """Prompts are answered by models that write; sequences are split in training alone (modules/dispatch)."""
    if not samples or task != "reward":
        return None
    return "answers no run.samples in task reward, whose model writes nothing"


@advise("XTuner 0.2.0 engine/hooks/evaluate_chat_hook.py: max_new_tokens=600, without gradients")
def answers_are_shorter_than_a_step(samples: tuple[str, ...], strategy: Strategy) -> str | None:
    """Answers take less memory than a step, whose rows are as long at least."""
    tokens = strategy.micro_batch * strategy.max_length
    if not samples or tokens >= facts.ANSWER:
        return None
    return f"answers to run.samples have up to {facts.ANSWER} tokens, a step {tokens}: their memory is not counted"


@advise("XTuner 0.2.0 tools/train.py: of optim_wrapper, DeepSpeedStrategy gets the optimizer alone")
def norms_decay_under_deepspeed(strategy: Strategy, weight_decay: float) -> str | None:
    """Under DeepSpeed norms and biases decay like all else."""
    if not weight_decay or strategy.method != "full" or not strategy.deepspeed:
        return None
    return "under DeepSpeed XTuner lets norms and biases decay too, which transformers' Trainer does not"


@advise("XTuner 0.2.0 model/sft.py and transformers 4.48 loss_utils.py: the mean over the tokens of a micro-batch")
def micro_batches_count_alike(spec: Spec, strategy: Strategy) -> str | None:
    """The loss is a mean of micro-batches, where other frameworks take that of all tokens of a step."""
    alone = strategy.world_size * strategy.gradient_accumulation == strategy.sequence_parallel
    if len(spec.targets) < 2 or strategy.packing or strategy.task not in ("sft", "pretrain") or alone:
        return None
    return (
        "XTuner weighs each micro-batch of a step alike, other targets each token: with rows of unequal length the "
        "losses differ; packed rows are equally long"
    )


@require(
    "XTuner 0.2.0 engine/runner/loops.py: how many steps an epoch has is known only when it starts", blames="target"
)
def parts_are_counted_alike(
    schedule: str, warmup: int | float, decay: int | float | None, max_steps: int | None
) -> str | None:
    """Warm-up, fall and run are all in steps, or all in shares of the epochs."""
    counted = [name for name, part in (("warmup", warmup), ("decay", decay)) if isinstance(part, int)]
    if max_steps is not None or not counted or schedule == "constant":
        return None
    return f"counts {counted[0]} in steps only where train.max_steps is given: say it as a share, or give max_steps"


@advise("mmengine optim/scheduler: 'end should be larger than begin'; XTuner issues 368, 466 and 811")
def warmup_needs_steps(
    warmup: int | float, epochs: float | None, strategy: Strategy, max_steps: int | None
) -> str | None:
    """A warm-up shorter than one micro-step ends the run at its start, and one of a single micro-step stays low."""
    if not warmup or isinstance(warmup, int) or epochs is None or max_steps is not None:
        return None
    steps = math.ceil(2 / (warmup * epochs))
    rows = steps * strategy.micro_batch * strategy.world_size // strategy.sequence_parallel
    if rows < 1000 and not strategy.packing:
        return None
    what = "packed rows" if strategy.packing else "samples"
    return (
        f"with fewer than {rows} {what} the warm-up is shorter than two micro-steps, and XTuner stops or never leaves "
        "the rate that it starts at: set warmup: 0"
    )


@advise("XTuner 0.2.0 model/sft.py, _prepare_for_lora")
def frozen_base_is_fp32(strategy: Strategy, model: Model) -> Rather | None:
    """Without DeepSpeed, plain LoRA holds the frozen base in fp32."""
    if strategy.method != "lora" or strategy.deepspeed:
        return None
    size = gib(4 * model.total_parameters)
    return Rather(
        f"XTuner turns the frozen base to fp32: {size}", "strategy.sharding: zero2 casts it back", {"sharding": "zero2"}
    )


@advise("XTuner 0.2.0 model/modules/dispatch: import of flash_attn")
def flash_must_be_installed(strategy: Strategy, profile: Profile) -> str | None:
    """Flash attention is a package of its own."""
    if strategy.attention != "flash" or profile.packages.get("flash-attn"):
        return None
    return "the run needs the flash-attn package, which XTuner does not bring: check that it is installed"


RULES = (
    family,
    template,
    chat_template,
    data_rows,
    evaluation,
    adapter,
    whole_epochs,
    reward_token,
    reward_needs_a_token,
    varlen,
    packed_rows_are_single,
    packed_samples_stay_apart,
    packed_pairs_need_flash,
    packed_samples_see_each_other,
    split_sequences_need,
    flash_loses_masters,
    adapters_are_not_pure,
    deepspeed_preset,
    save_steps,
    log_steps,
    no_epochs_to_save_after,
    system_is_for_chats,
    answers_need_a_language_model,
    answers_are_shorter_than_a_step,
    norms_decay_under_deepspeed,
    micro_batches_count_alike,
    parts_are_counted_alike,
    warmup_needs_steps,
    frozen_base_is_fp32,
    flash_must_be_installed,
)
