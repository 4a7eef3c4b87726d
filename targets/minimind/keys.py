"""Flags of minimind's trainers and the plan fields they carry.

Source: the add_argument calls of trainer/train_*.py (minimind-3: commit d65ef2c, minimind2: 561979c), and what the
loops do with them. Steps of `log_interval` and `save_interval` are micro-steps: batches, not optimizer steps.
"""

from __future__ import annotations

from typing import Any

from mfc.beside import is_local
from mfc.target.codecs import (
    LEFT_OUT,
    Codec,
    Reader,
    Reading,
    Writing,
    constant,
    file,
    one_way,
    only,
    same,
    spellings,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.paths import named
from mfc.target.when import GENERATES, When, both, is_, is_not, task

from . import facts

_NEW = When(lambda plan: plan.profile.version == facts.NEW)
_OLD = When(lambda plan: plan.profile.version == facts.OLD)
_GRPO, _PPO, _DISTILLS = task("grpo"), task("ppo"), task("distill")
_ALONE = is_not("task", "distill")
NEVER = 1_000_000_000  # more micro-steps than a run has: minimind-3 saves at the end of each epoch anyway


def _size(part: str) -> Codec:
    """A number of the model's architecture."""
    return one_way(
        lambda at: getattr(at.plan.problem.model.architecture, part),
        "model.id",
        because="sizes do not tell which model it is",
    )


def _teacher(part: str) -> Codec:
    """A number of the teacher's architecture."""

    def write(at: Writing) -> int:
        found = facts.teacher(at.plan.profile.version, at.value("teacher"))
        assert found is not None  # a rule refuses others
        return int(getattr(found, part))

    return one_way(write, "teacher", because="sizes do not tell which model it is")


def _moe(at: Writing) -> Any:
    """Whether there are experts. Any text is true to minimind2, so without them it says nothing."""
    moe = at.plan.problem.model.architecture.moe
    if at.plan.profile.version == facts.NEW:
        return int(moe)
    return "True" if moe else LEFT_OUT


def _from_weight(at: Writing) -> str:
    return facts.reads(facts.script(at.plan.strategy))


def _weights() -> Codec:
    """The name of the weights to start from."""
    return one_way(_from_weight, "task", because="several tasks start from the same weights")


def _save_weight(at: Writing) -> str:
    return facts.writes(facts.script(at.plan.strategy), facts.NEW)


def _batch(at: Writing) -> int:
    """Rows, pairs, or prompts: of GRPO each with all of its answers, of PPO all that one generation answers."""
    strategy = at.plan.strategy
    if strategy.task == "ppo":
        return strategy.micro_batch * strategy.gradient_accumulation
    return strategy.micro_batch // at.value("num_generations") if strategy.task == "grpo" else strategy.micro_batch


def _read_batch(value: Any, reader: Reader) -> Reading:
    if "mini_batch_size" in reader.data:
        steps = reader.data["accumulation_steps"]
        return {"micro_batch": () if value % steps else (value // steps,)}
    return {"micro_batch": (value * reader.data.get("num_generations", 1),)}


def _longest(at: Writing) -> int:
    """Tokens of a row; where answers are generated those of the prompt."""
    field = "max_prompt_length" if GENERATES(at.plan) else "max_length"
    return int(at.value(field))


def _read_longest(value: Any, reader: Reader) -> Reading:
    return {"max_prompt_length" if "max_gen_len" in reader.data else "max_length": (value,)}


def _beta(at: Writing) -> float:
    return float(at.value("kl_beta" if at.plan.strategy.task == "grpo" else "preference_beta"))


def _read_beta(value: Any, reader: Reader) -> Reading:
    return {"kl_beta" if "num_generations" in reader.data else "preference_beta": (value,)}


def _reward(at: Writing) -> str:
    """The reward model: a folder as seen from where the script starts, or an id."""
    return named(at.value("rewards")[0], at.out_to_spec)


def _read_reward(value: Any, reader: Reader) -> Reading:
    found = spellings(value, reader) if is_local(value) else (value,)
    return {"rewards": tuple((one,) for one in found)}


def _whole(value: Any) -> int:
    return int(value)


def _micro_steps(field: str) -> Codec:
    """Optimizer steps, as micro-steps; of PPO as generations, each of which has some of them."""

    def write(at: Writing) -> int:
        if at.plan.strategy.task == "ppo":
            return -(-int(at.value(field)) // int(at.value("iterations")))
        return int(at.value(field)) * at.plan.strategy.gradient_accumulation

    def read(value: Any, reader: Reader) -> Reading:
        if "ppo_update_iters" in reader.data:
            each = reader.data["ppo_update_iters"]
            return {field: tuple(range(value * each, (value - 1) * each, -1))}
        return {field: (value // reader.data["accumulation_steps"],)}

    return Codec((field,), write, read)


def _saves() -> Codec:
    """Micro-steps between two files of weights; minimind-3 writes one after each epoch besides."""
    steps = _micro_steps("save_every")

    def write(at: Writing) -> int:
        return NEVER if isinstance(at.value("save_every"), str) else int(steps.write(at))

    def read(value: Any, reader: Reader) -> Reading:
        return {"save_every": ("epoch", "never")} if value == NEVER else steps.read(value, reader)

    return Codec(("save_every",), write, read)


KEYS: tuple[Key, ...] = (
    *section(
        "model",
        Key("hidden_size", _size("hidden"), _ALONE),
        Key("num_hidden_layers", _size("layers"), _ALONE),
        Key(
            "use_moe",
            one_way(_moe, "model.id", because="it does not tell which model it is"),
            _ALONE,
            "minimind2: True or nothing",
        ),
        Key("student_hidden_size", _size("hidden"), _DISTILLS),
        Key("student_num_layers", _size("layers"), _DISTILLS),
        Key("student_use_moe", one_way(_moe, "model.id", because="it does not tell which model it is"), _DISTILLS),
        Key("teacher_hidden_size", _teacher("hidden"), _DISTILLS),
        Key("teacher_num_layers", _teacher("layers"), _DISTILLS),
        Key("teacher_use_moe", _teacher("moe"), _DISTILLS),
        Key(
            "from_weight",
            _weights(),
            both(_NEW, _ALONE),
            "a file in ../out; minimind2 has fixed names in out_dir",
        ),
        Key("from_student_weight", _weights(), _DISTILLS, "a file in ../out"),
        Key("from_teacher_weight", _weights(), _DISTILLS, "another one: its name tells the sizes"),
        Key("lora_name", constant("lora", "method"), is_("method", "lora"), "../out/lora_*.pth holds the adapters"),
    ),
    *section(
        "data",
        Key("data_path", file("data.train.0.path")),
        Key(
            "max_seq_len",
            Codec(("max_length", "max_prompt_length"), _longest, _read_longest),
            note="tokens; every sample is padded to it. GRPO, PPO: of the prompt",
        ),
        Key("max_gen_len", same("max_completion_length"), GENERATES),
        Key("num_workers", same("dataloader_workers")),
    ),
    *section(
        "training",
        Key("dtype", words("precision", {"bf16": "bfloat16", "fp16": "float16"}), note="any other text is float16"),
        Key(
            "batch_size",
            Codec(("micro_batch",), _batch, _read_batch),
            note="on each GPU; GRPO, PPO: prompts",
        ),
        Key("mini_batch_size", same("micro_batch"), _PPO),
        Key("ppo_update_iters", same("iterations"), _PPO, "each pass over the answers of a generation is one step"),
        Key("accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
        Key("learning_rate", same("learning_rate")),
        Key("critic_learning_rate", same("learning_rate"), _PPO, "the policy's, as where both have one optimizer"),
        Key("epochs", Codec(("epochs",), lambda at: _whole(at.value("epochs")), lambda value, _: {"epochs": (value,)})),
        Key("grad_clip", same("max_grad_norm")),
        Key(
            "beta",
            Codec(("preference_beta", "kl_beta"), _beta, _read_beta),
            both(_NEW, task("dpo", "grpo")),
            "minimind2: always 0.1",
        ),
        Key("kl_coef", same("kl_beta"), _PPO),
        Key("alpha", same("distillation_alpha"), _DISTILLS, "of cross entropy; the rest is of the teacher"),
        Key("temperature", same("distillation_temperature"), _DISTILLS),
        Key("num_generations", same("num_generations"), _GRPO),
        Key("loss_type", words("loss_type", {None: "grpo", "grpo": "grpo", "cispo": "cispo"}), _GRPO),
        Key(
            "reward_model_path",
            Codec(("rewards",), _reward, _read_reward),
            GENERATES,
            "scores beside functions of its own",
        ),
    ),
    *section(
        "run",
        Key("save_dir", same("output_dir"), _NEW),
        Key("out_dir", same("output_dir"), _OLD, "also where it looks for the weights to start from"),
        Key("save_weight", one_way(_save_weight, "task", because="it is a name"), both(_NEW, is_not("method", "lora"))),
        Key("save_interval", _saves(), note="micro-steps; PPO: generations"),
        Key("log_interval", _micro_steps("log_every"), is_not("task", "ppo"), "micro-steps"),
        Key("from_resume", words("existing", {"resume": 1, "fail": 0, "overwrite": 0}), _NEW),
        Key("use_wandb", only("report_to", "swanlab", "wandb"), note="minimind-3 logs to SwanLab, minimind2 to wandb"),
    ),
)

# Decisions that no flag carries.
ELSEWHERE = {
    "existing": "train.sh looks for weights of the same name before it starts",
    "keep": "one file of weights, written anew each time",
    "schedule": "the loop's own: a cosine from the learning rate to a tenth of it",
    "warmup": "there is none",
    **dict.fromkeys(("weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"), "torch.optim.AdamW's own"),
    "seed": "setup_seed in each script",
    **dict.fromkeys(("lora", "lora_rank", "lora_alpha", "lora_dropout", "lora_targets"), "model/model_lora.py"),
    **dict.fromkeys(
        ("temperature", "top_p", "top_k", "repetition_penalty", "iterations"), "the rollout engine and the loop"
    ),
    **dict.fromkeys(("rollout", "rollout_mode", "rollout_gpus", "rollout_share"), "rollout_engine torch, the default"),
    "steps_per_generation": "answers are generated for each micro-step; the policy changes after the last alone",
    "preference_loss": "train_dpo.py has no other",
    "preference_beta": "minimind2 has it in its code",
    "teacher_parameters": "they follow from the teacher's sizes",
    "reference_model": "train_dpo.py, train_grpo.py and train_ppo.py load the weights twice",
    "timeout_seconds": "torch's own",
    "preprocessing_workers": "samples are tokenized as they are loaded",
    "method": "train_lora.py has its own adapters",
    "max_length": "of GRPO and PPO: prompt and answer together",
    "log_every": "train_ppo.py logs each generation",
}
