"""What minimind's scripts cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.beside import is_local
from mfc.rules.engine import advise, require
from mfc.rules.rollout import is_model

from . import facts

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Hardware, Model
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_LOADER = "minimind dataset/lm_dataset.py: load_dataset('json', data_files=path)"
FORMATS = {"pretrain": "text", "sft": "messages", "dpo": "preference", "grpo": "prompt", "ppo": "prompt"}
_GENERATES = ("grpo", "ppo")


@require("minimind model/model_minimind.py, MiniMindConfig: three of its arguments are flags", blames="target")
def size_flags(architecture: Architecture, model: Model, profile: Profile) -> str | None:
    """The model is one that the size flags make: heads, experts and vocabulary are no flags."""
    if model.quantized is not None:
        return f"trains plain weights, and {model.name} is stored as {model.quantized.kind}"
    if facts.says(profile.version, architecture):
        return None
    for version in facts.VERSIONS:
        if facts.says(version, architecture):
            return (
                f"has no {model.name}, a model of minimind {version}: set targets: {{minimind: {{version: {version}}}}}"
            )
    return (
        f"has flags for hidden_size (a multiple of 16), num_hidden_layers and use_moe alone: heads, experts, "
        f"feed-forward width and vocabulary of {model.name} are not those of its code"
    )


@require("minimind d65ef2c and 561979c: the code states that mfc has read")
def version_is_known(profile: Profile) -> str | None:
    """The version is one of the two code states."""
    if profile.version in facts.VERSIONS:
        return None
    return f"minimind has no releases; mfc knows two states of its code, 3 and 2, not {profile.version}"


@require("minimind trainer/train_lora.py reads SFTDataset", blames="target")
def adapters_learn_chats(task: str, method: str) -> str | None:
    """Adapters are for fine-tuning on chats."""
    if method != "lora" or task == "sft":
        return None
    return f"trains adapters on chats alone (train_lora.py), not for task {task}"


@require(_LOADER, blames="target")
def one_file(spec: Spec, task: str) -> str | None:
    """One JSON Lines file in the form of the task."""
    sets = spec.data.train
    wanted = FORMATS.get(task, "messages")
    if len(sets) > 1:
        return "reads one file: join the data sets first"
    for one in sets:
        if one.hub:
            return f"reads a file, not {one.hub}: download it, and give its path"
        if one.format not in ("auto", wanted):
            return f"reads {wanted} rows for task {task}, not {one.format}"
    return None


@require("minimind dataset/lm_dataset.py: the tokenizer in model/ has the template")
def own_template(spec: Spec) -> str | None:
    """The chat template is the tokenizer's."""
    if spec.data.template == "auto":
        return None
    return "minimind writes chats in the template of its own tokenizer: leave data.template out"


@require("minimind trainer_utils.py, init_model: weights are ../out/<name>_<hidden>.pth", blames="target")
def own_weights(spec: Spec) -> str | None:
    """Weights are files of its own: no adapters, no revisions."""
    if spec.model.adapter is not None:
        return "starts from weights of its own, not from an adapter"
    return "starts from weights of its own, which have no revisions" if spec.model.revision is not None else None


@require("minimind trainer/train_*.py: one loader, of the data to train on", blames="target")
def no_evaluation(spec: Spec) -> str | None:
    """There is no loss on held-out data."""
    return None if spec.data.eval in (None, "none", 0.0) else "does not evaluate while it trains: set data.eval: none"


@require("minimind trainer/train_*.py: --epochs is an integer, and there is no number of steps", blames="target")
def whole_epochs(spec: Spec) -> str | None:
    """A run is a whole number of epochs."""
    epochs = spec.train.epochs
    if epochs is None:
        return "counts epochs, not steps: set train.epochs"
    return f"trains whole epochs, not {epochs:g}" if epochs % 1 else None


@require("torch.nn.utils.clip_grad_norm_: a norm of 0 makes every gradient 0", blames="target")
def clips_to_something(max_grad_norm: float) -> str | None:
    """Gradients are always clipped."""
    return None if max_grad_norm else "always clips, and a norm of 0 stops learning: a large one clips nothing"


@require("minimind 561979c trainer/train_*.py: (step + 1) % save_interval, and nothing after the last", blames="target")
def minimind2_saves_by_steps(spec: Spec, profile: Profile) -> str | None:
    """minimind2 saves every so many steps, and never at the end."""
    if profile.version == facts.NEW or isinstance(spec.run.save_every, int):
        return None
    return "saves by steps alone, not at the end of epochs: set run.save_every to a number that divides theirs"


@require("minimind trainer/train_grpo.py, train_ppo.py: calculate_rewards, reward_model_path", blames="target")
def one_reward_model(spec: Spec, task: str) -> str | None:
    """GRPO and PPO have one reward model beside functions of their own, and no files of others."""
    rollout = spec.train.rollout
    if task not in _GENERATES:
        return None
    if len(rollout.rewards) != 1 or not (task == "ppo" or is_model(rollout.rewards[0])):
        return "scores with one reward model: name it in train.rollout.rewards by path or id"
    if rollout.plugins or rollout.reward_weights:
        return "adds its reward model to functions of its own: no plugins, no reward_weights"
    return None


@require("minimind trainer/train_grpo.py: batch_size counts prompts, whose answers are one batch")
def whole_groups(task: str, micro_batch: int, num_generations: int | None) -> str | None:
    """A micro-batch of GRPO holds all answers to its prompts."""
    if task != "grpo" or num_generations is None or micro_batch % num_generations == 0:
        return None
    return (
        f"minimind trains on all {num_generations} answers to a prompt at once: micro-batches of {micro_batch} do not"
    )


@require(
    "minimind trainer/train_distillation.py: teacher_hidden_size, teacher_num_layers, teacher_use_moe", blames="target"
)
def teacher_has_its_sizes(teacher: str | None, profile: Profile) -> str | None:
    """The teacher is one of minimind's published models, for flags say its sizes alone."""
    if teacher is None or facts.teacher(profile.version, teacher) is not None:
        return None
    return (
        f"has flags for a teacher's hidden_size, layers and use_moe alone, so {teacher} is none: name one of its "
        "published models, such as jingyaogong/minimind-3-moe"
    )


@require("minimind trainer/train_grpo.py, train_ppo.py: the forward pass goes by model.module", blames="target")
def one_gpu_learns_from_answers(task: str, hardware: Hardware) -> str | None:
    """GRPO and PPO step around DDP: gradients of several GPUs are never averaged."""
    if task not in _GENERATES or hardware.world_size == 1:
        return None
    return (
        f"calls the model inside DDP for task {task}, so no gradient is averaged: each of {hardware.world_size} GPUs "
        "trains a model of its own, and the first one's is saved: one GPU does the same"
    )


@require("minimind trainer/train_grpo.py: one optimizer step on the answers of a generation", blames="target")
def answers_are_learnt_from_once(task: str, iterations: int | None) -> str | None:
    """GRPO learns from the answers of a generation once."""
    if task != "grpo" or iterations in (None, 1):
        return None
    return f"takes one step on the answers of a generation, not {iterations}: leave train.rollout.iterations out"


@advise("minimind trainer/train_grpo.py, train_ppo.py: loss.backward() without a GradScaler")
def nothing_scales_losses_on_answers(task: str, precision: str) -> str | None:
    """GRPO and PPO in fp16 lose small gradients."""
    if task not in _GENERATES or precision != "fp16":
        return None
    return f"minimind's {task} scales no loss in fp16, so small gradients become 0: bf16, or fp32 weights elsewhere"


@advise("minimind trainer_utils.py, get_lr; 561979c: lr / 10 + 0.5 lr (1 + cos)")
def cosine_ends_at_a_tenth(profile: Profile, schedule: str, task: str) -> str | None:
    """The cosine does not fall to zero."""
    if schedule != "cosine":
        return None
    start = "" if profile.version == facts.NEW else ", and begins at 1.1 of it"
    counts = "" if task in _GENERATES else "; it counts micro-steps"
    return f"minimind's cosine falls to a tenth of the learning rate, not to zero{start}{counts}"


@advise("minimind 561979c trainer/train_*.py: autocast() without a dtype is float16")
def minimind2_is_fp16(profile: Profile) -> str | None:
    """minimind2 trains in fp16 whatever --dtype says."""
    if profile.version == facts.NEW:
        return None
    return "minimind2 passes no dtype to autocast: it trains in float16 with a GradScaler whatever --dtype says"


@advise("minimind trainer/train_*.py: init_model")
def starts_from_own_files(strategy: Strategy, architecture: Architecture, model: Model) -> str | None:
    """Weights come from files of minimind's own, also where the model is one of a hub."""
    if is_local(model.name):
        return None
    name = facts.reads(facts.script(strategy))
    if name == "none":
        return "minimind's pretraining starts from random weights; bash train.sh --from_weight NAME takes others"
    return f"minimind starts from out/{name}{facts.suffix(architecture)}.pth of its checkout, not from a hub"


@advise("minimind dataset/lm_dataset.py: every sample is padded to max_length")
def short_samples_are_padded(spec: Spec, strategy: Strategy) -> str | None:
    """Short samples cost as much as the longest."""
    mean = spec.data.mean_length
    if strategy.task in _GENERATES or not isinstance(mean, int) or 2 * mean > strategy.max_length:
        return None
    return (
        f"every sample is padded to {strategy.max_length} tokens, and the mean is {mean}: a shorter data.max_length "
        "saves in proportion"
    )


RULES = (
    version_is_known,
    size_flags,
    adapters_learn_chats,
    one_file,
    own_template,
    own_weights,
    no_evaluation,
    whole_epochs,
    clips_to_something,
    minimind2_saves_by_steps,
    one_reward_model,
    whole_groups,
    teacher_has_its_sizes,
    one_gpu_learns_from_answers,
    answers_are_learnt_from_once,
    nothing_scales_losses_on_answers,
    cosine_ends_at_a_tenth,
    minimind2_is_fp16,
    starts_from_own_files,
    short_samples_are_padded,
)
