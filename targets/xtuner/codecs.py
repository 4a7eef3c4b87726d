"""What only XTuner's config says, as codecs for `keys`, and its words for values. References to code are "module:name".

Source: xtuner/configs, tools/train.py and model/*.py of XTuner 0.2.0; mmengine 0.10.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import Codec, Reader, Reading, Unwritten, Writing, path
from mfc.target.values import adapted
from mfc.target.when import When, is_not

from . import facts

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

PAIRED = ("dpo", "orpo", "reward")  # tasks whose rows are pairs of a chosen and a rejected answer
MODELS = {
    "dpo": "xtuner.model.dpo:DPO",
    "orpo": "xtuner.model.orpo:ORPO",
    "reward": "xtuner.model.reward:RewardModel",
}
TOKENIZER, LLM = "transformers:AutoTokenizer.from_pretrained", "transformers:AutoModelForCausalLM.from_pretrained"
TUNES = "xtuner.model:SupervisedFinetune"  # all other tasks
ATTENTION = {"flash": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}
OPTIMIZERS = {
    "adamw": "torch.optim:AdamW",
    "adamw_8bit": "bitsandbytes.optim:AdamW8bit",
    "paged_adamw": "bitsandbytes.optim:PagedAdamW32bit",
    "paged_adamw_8bit": "bitsandbytes.optim:PagedAdamW8bit",
    "sgd": "torch.optim:SGD",
}
DTYPES = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
TORCH = {precision: f"torch:{dtype}" for precision, dtype in DTYPES.items()}
BACKENDS = {
    "tensorboard": "mmengine.visualization:TensorboardVisBackend",
    "wandb": "mmengine.visualization:WandbVisBackend",
    "mlflow": "mmengine.visualization:MLflowVisBackend",
}
VISUALIZERS = {
    name: {"type": "mmengine.visualization:Visualizer", "vis_backends": [{"type": backend}]}
    for name, backend in BACKENDS.items()
}
SAMPLES = is_not("samples", ())
CHAT = "xtuner.engine.hooks:EvaluateChatHook"
_THROUGHPUT = {"type": "xtuner.engine.hooks:ThroughputHook"}
_VARLEN = {"type": "xtuner.engine.hooks:VarlenAttnArgsToMessageHubHook"}
HOOKS = (CHAT, *_THROUGHPUT.values(), *_VARLEN.values())
UNDECAYED = {"bias_decay_mult": 0.0, "norm_decay_mult": 0.0, "custom_keys": {"norm": {"decay_mult": 0.0}}}


def _decays(plan: Plan) -> bool:
    strategy = plan.strategy
    return bool(plan.values["weight_decay"]) and strategy.method == "full" and not strategy.deepspeed


DECAYS = When(_decays)
ALIKE = {"type": "mmengine.dataset:DefaultSampler", "shuffle": True}
SPLIT = {"type": "xtuner.parallel.sequence:SequenceParallelSampler", "shuffle": True}

_TEMPLATES = "xtuner.utils:PROMPT_TEMPLATE."
_AUTOCAST = ("bf16", "fp16")


def _clips(plan: Plan) -> bool:
    return bool(plan.values["max_grad_norm"]) or plan.strategy.deepspeed


# Under DeepSpeed a norm of 0 turns clipping off, and its absence means 1.0; mmengine wants None for none.
CLIPS = When(_clips)


def lora_targets(at: Writing) -> list[str]:
    """Names of the linears that get adapters: XTuner takes no word for all of them."""
    return adapted(at.plan)


def compares_with_itself(plan: Plan) -> bool:
    """Whether the reference is the model that trains, as it was before."""
    spec = plan.problem.spec
    return spec.train.preference.reference in ("auto", spec.model.id)


def reference_name() -> Codec:
    """The model that DPO compares with: one of the spec's, or the one that trains."""
    own, other = path("model.id"), path("train.preference.reference")

    def write(at: Writing) -> Any:
        return (own if at.value("train.preference.reference") == "auto" else other).write(at)

    def read(value: Any, reader: Reader) -> Reading:
        found = other.read(value, reader)["train.preference.reference"]
        trains = value == reader.data.get("pretrained_model_name_or_path")
        return {"train.preference.reference": ("auto", *found) if trains else found}

    return Codec(("train.preference.reference", "model.id"), write, read).citing("reference_model")


def _masters(plan: Plan) -> bool:
    strategy = plan.strategy
    return strategy.method == "full" and strategy.sharding == "ddp" and strategy.precision in _AUTOCAST


def weights_dtype() -> Codec:
    """The format in which weights load: fp32 where the optimizer has no masters of its own, 16 bits elsewhere."""

    def write(at: Writing) -> str:
        return TORCH["fp32" if _masters(at.plan) else at.plan.strategy.precision]

    def read(value: Any, _: Reader) -> Reading:
        found = tuple(precision for precision, dtype in TORCH.items() if dtype == value)
        if not found:
            raise Unwritten(f"{value!r} is none of {', '.join(TORCH.values())}")
        return {"precision": (*found, *_AUTOCAST) if value == TORCH["fp32"] else found}

    def cites(plan: Plan) -> tuple[str, ...]:
        return () if _masters(plan) else ("precision",)

    return Codec(("precision", "method", "sharding"), write, read, cites=cites)


def prompt_template() -> Codec:
    """The chat template."""

    def read(value: Any, _: Reader) -> Reading:
        if not str(value).startswith(_TEMPLATES):
            raise Unwritten(f"{value!r} is none of {_TEMPLATES}…")
        return {"template": (value.removeprefix(_TEMPLATES),)}

    return Codec(("template",), lambda at: f"{_TEMPLATES}{at.value('template')}", read)


def template_map() -> Codec:
    """The call that puts chats into the template."""

    def write(at: Writing) -> dict[str, Any]:
        return {"type": "xtuner.dataset.map_fns:template_map_fn_factory", "template": at.data["prompt_template"]}

    def read(value: Any, reader: Reader) -> Reading:
        if value["template"] != reader.data.get("prompt_template"):
            raise Unwritten("its template is not what prompt_template says")
        return {}

    return Codec(("template",), write, read)


def clip() -> Codec:
    """How gradients are clipped."""

    def write(at: Writing) -> Any:
        return {"max_norm": at.data["max_norm"], "error_if_nonfinite": False} if CLIPS(at.plan) else None

    def read(value: Any, reader: Reader) -> Reading:
        if value is None:
            return {"max_grad_norm": (0,)}
        if value["max_norm"] != reader.data.get("max_norm"):
            raise Unwritten("max_norm is not what the setting of this name says")
        return {}

    return Codec(("max_grad_norm",), write, read)


def hooks() -> Codec:
    """What runs beside the training: the rate, answers to prompts where the spec has some, and borders of samples."""

    def write(at: Writing) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [_THROUGHPUT]
        if SAMPLES(at.plan):
            made.append(_chat(at.data))
        return [*made, _VARLEN] if at.value("varlen") else made

    def read(value: Any, reader: Reader) -> Reading:
        chats = [one for one in value if one["type"] == CHAT]
        asked = [one.get("evaluation_inputs") for one in chats]
        if asked and asked != [reader.data.get("evaluation_inputs")]:
            raise Unwritten("its prompts are not those of evaluation_inputs")
        return {"varlen": (_VARLEN in value,), **({} if chats else {"samples": ((),)})}

    return Codec(("varlen", "samples"), write, read)


def _chat(data: Any) -> dict[str, Any]:
    chat = {"type": CHAT, "tokenizer": data["tokenizer"], "every_n_iters": data["evaluation_freq"]}
    chat |= {"evaluation_inputs": data["evaluation_inputs"]}
    optional = {"system": "SYSTEM", "prompt_template": "prompt_template"}
    return chat | {name: data[setting] for name, setting in optional.items() if setting in data}


def sample_system() -> Codec:
    """The system prompt of those answers. The hook formats it once more, so braces are doubled."""

    def write(at: Writing) -> str:
        return str(at.value("system")).replace("{", "{{").replace("}", "}}")

    def read(value: Any, _: Reader) -> Reading:
        return {"system": (value.replace("{{", "{").replace("}}", "}"),)}

    return Codec(("system",), write, read)


def sample_steps() -> Codec:
    """Micro-steps between answers, which the spec may want after each epoch."""

    def write(at: Writing) -> int:
        every, accumulation = at.value("eval_every"), at.value("gradient_accumulation")
        return facts.steps_of_epoch(accumulation) if every == "epoch" else every * accumulation

    def read(value: Any, reader: Reader) -> Reading:
        epoch = ("epoch",) if value == facts.steps_of_epoch(_accumulation(reader)) else ()
        return {"eval_every": (*epoch, _optimizer_steps(value, reader))}

    return Codec(("eval_every",), write, read)


def micro_steps(field: str) -> Codec:
    """Optimizer steps, counted in micro-steps."""

    def write(at: Writing) -> int:
        return int(at.value(field) * at.value("gradient_accumulation"))

    def read(value: Any, reader: Reader) -> Reading:
        return {field: (_optimizer_steps(value, reader),)}

    return Codec((field, "gradient_accumulation"), write, read)


def log_steps() -> Codec:
    """Micro-steps between two lines."""

    def read(value: Any, reader: Reader) -> Reading:
        return {**_exact("log_steps", value, reader), "log_every": (_optimizer_steps(value, reader),)}

    return Codec(("log_steps", "log_every"), lambda at: at.value("log_steps"), read).citing("log_steps")


def save_steps() -> Codec:
    """Micro-steps between two checkpoints, which the spec may want after each epoch."""

    def read(value: Any, reader: Reader) -> Reading:
        if value == facts.NEVER:
            return {"save_steps": (value,), "save_every": ("never",)}
        epoch = ("epoch",) if value == facts.steps_of_epoch(_accumulation(reader)) else ()
        return {**_exact("save_steps", value, reader), "save_every": (*epoch, _optimizer_steps(value, reader))}

    return Codec(("save_steps", "save_every"), lambda at: at.value("save_steps"), read).citing("save_steps")


def _accumulation(reader: Reader) -> int:
    return int(reader.data.get("accumulative_counts", 1))


def _exact(field: str, value: int, reader: Reader) -> Reading:
    """Micro-steps as they are, where they are whole optimizer steps."""
    return {} if value % _accumulation(reader) else {field: (value,)}


def _optimizer_steps(value: int, reader: Reader) -> int:
    """The nearest number of optimizer steps; XTuner's own configs have any number of micro-steps."""
    return max(1, round(value / _accumulation(reader)))
