"""What the keys of XTuner's config hold: functions of a plan, named for `keys`.

References to code are "module:name".
Source: xtuner/configs, tools/train.py and model/*.py of XTuner 0.2.0; mmengine 0.10.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mfc.catalog.parameters import adapters

from . import facts

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

Test = Callable[["Plan"], bool]

MODELS = {
    "dpo": "xtuner.model.dpo:DPO",
    "orpo": "xtuner.model.orpo:ORPO",
    "reward": "xtuner.model.reward:RewardModel",
}  # all other tasks are SupervisedFinetune
ATTENTION = {"flash": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}
OPTIMIZERS = {
    "adamw": "torch.optim:AdamW",
    "adamw_8bit": "bitsandbytes.optim:AdamW8bit",
    "paged_adamw": "bitsandbytes.optim:PagedAdamW32bit",
    "paged_adamw_8bit": "bitsandbytes.optim:PagedAdamW8bit",
    "sgd": "torch.optim:SGD",
}
DTYPES = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
BACKENDS = {
    "tensorboard": "mmengine.visualization:TensorboardVisBackend",
    "wandb": "mmengine.visualization:WandbVisBackend",
    "mlflow": "mmengine.visualization:MLflowVisBackend",
}
WARMUP_START = 1e-5  # of the peak rate, as XTuner's own configs have it


def const(value: Any) -> Callable[[Plan], Any]:
    """A value that no plan changes."""
    return lambda _: value


def of(field: str, table: dict[str, str]) -> Callable[[Plan], str]:
    """What a table says for a plan field."""
    return lambda plan: table[plan.values[field]]


def given(field: str) -> Test:
    """Whether a field has a value."""
    return lambda plan: plan.values[field] is not None


def model(plan: Plan) -> str:
    """The model's name, as the spec has it; `lower` places a path."""
    return plan.problem.model.name


def revised(plan: Plan) -> bool:
    """Whether the spec names a revision."""
    return plan.problem.spec.model.revision is not None


def revision(plan: Plan) -> Any:
    """The revision on the Hub."""
    return plan.problem.spec.model.revision


def lora(plan: Plan) -> bool:
    """Whether adapters train."""
    return plan.strategy.lora is not None


def quantised(plan: Plan) -> bool:
    """Whether the base is quantised."""
    return plan.strategy.quantization is not None


def four_bits(plan: Plan) -> bool:
    """Whether the base has four bits."""
    return plan.strategy.quantization is not None and plan.strategy.quantization.bits == 4


def bits(number: int) -> Test:
    """Whether the base has so many bits."""
    return lambda plan: plan.strategy.quantization is not None and plan.strategy.quantization.bits == number


def pairs(plan: Plan) -> bool:
    """Whether rows are pairs of a chosen and a rejected answer."""
    return plan.strategy.task in ("dpo", "orpo", "reward")


def rows(plan: Plan) -> bool:
    """Whether rows are texts or chats."""
    return not pairs(plan)


def task(*names: str) -> Test:
    """Whether the task is one of these."""
    return lambda plan: plan.strategy.task in names


def reference(plan: Plan) -> bool:
    """Whether DPO holds a frozen copy of a model."""
    return plan.strategy.task == "dpo" and plan.strategy.reference_model


def reference_name(plan: Plan) -> str:
    """The model that DPO compares with."""
    asked: str = plan.problem.spec.train.preference.reference
    return model(plan) if asked == "auto" else asked


def weights_dtype(plan: Plan) -> str:
    """The format in which weights load: fp32 where the optimizer has no masters of its own, 16 bits elsewhere."""
    strategy = plan.strategy
    masters = strategy.method == "full" and strategy.sharding == "ddp" and strategy.precision in ("bf16", "fp16")
    return "torch:float32" if masters else f"torch:{DTYPES[strategy.precision]}"


def compute_dtype(plan: Plan) -> str:
    """The format in which matrices are multiplied."""
    return f"torch:{DTYPES[plan.strategy.precision]}"


def lora_targets(plan: Plan) -> list[str]:
    """Names of the linears that get adapters: those that memory was counted for."""
    lora = plan.strategy.lora
    assert lora is not None
    found = adapters(
        plan.problem.model.architecture,
        lora,
        fused_experts=plan.profile.stack.fused_experts,
        expert_adapters=plan.profile.stack.expert_adapters,
    )
    return list(dict.fromkeys(one.linear.name for one in found))


def alpha(plan: Plan) -> int | float:
    """The scale of the adapters, whole where it is."""
    alpha = plan.values["lora_alpha"]
    return int(alpha) if float(alpha).is_integer() else float(alpha)


def variant(name: str) -> Test:
    """Whether the adapters are of one kind."""
    return lambda plan: plan.strategy.lora is not None and plan.strategy.lora.variant == name


def amp(plan: Plan) -> bool:
    """Whether the forward pass runs under autocast."""
    return plan.strategy.precision in ("bf16", "fp16")


def betas(plan: Plan) -> list[float]:
    """Adam's two decay rates."""
    return [plan.values["adam_beta1"], plan.values["adam_beta2"]]


def adam(plan: Plan) -> bool:
    """Whether the optimizer is an Adam."""
    return plan.strategy.optimizer != "sgd"


def clip(plan: Plan) -> dict[str, Any] | None:
    """How gradients are clipped."""
    norm = plan.values["max_grad_norm"]
    # Under DeepSpeed a norm of 0 turns clipping off, and its absence means 1.0; mmengine wants None for none.
    if norm or plan.strategy.deepspeed:
        return {"max_norm": norm, "error_if_nonfinite": False}
    return None


def schedule(plan: Plan) -> list[dict[str, Any]]:
    """Warm-up and decay: in epochs, or in micro-steps where the spec counts steps."""
    values = plan.values
    end: int = (
        values["epochs"] if values["max_steps"] is None else values["max_steps"] * values["gradient_accumulation"]
    )
    by_epoch = values["max_steps"] is None
    turn = round(values["warmup"] * end, 6) if by_epoch else int(values["warmup"] * end)
    span = {"by_epoch": by_epoch, **({"convert_to_iter_based": True} if by_epoch else {})}
    made: list[dict[str, Any]] = []
    if turn:
        made.append({"type": "mmengine.optim:LinearLR", "start_factor": WARMUP_START, "begin": 0, "end": turn, **span})
    if values["schedule"] == "cosine":
        made.append({"type": "mmengine.optim:CosineAnnealingLR", "eta_min": 0.0, "begin": turn, "end": end, **span})
    if values["schedule"] == "linear":
        fall = {"start_factor": 1.0, "end_factor": 0.0}
        made.append({"type": "mmengine.optim:LinearLR", **fall, "begin": turn, "end": end, **span})
    return made


def steps(plan: Plan) -> int:
    """Micro-steps of the whole run."""
    return int(plan.values["max_steps"] * plan.values["gradient_accumulation"])


def epochs(plan: Plan) -> int:
    """Whole passes over the data."""
    return int(plan.values["epochs"])


def by_epochs(plan: Plan) -> bool:
    """Whether epochs end the run."""
    return plan.values["max_steps"] is None


def by_steps(plan: Plan) -> bool:
    """Whether a number of steps ends the run."""
    return plan.values["max_steps"] is not None


def sampler(plan: Plan) -> dict[str, Any]:
    """The sampler, which gives the GPUs of a sequence-parallel group the same rows."""
    split = plan.strategy.sequence_parallel > 1
    kind = "xtuner.parallel.sequence:SequenceParallelSampler" if split else "mmengine.dataset:DefaultSampler"
    return {"type": kind, "shuffle": True}


def hooks(plan: Plan) -> list[dict[str, Any]]:
    """Hooks beside the default ones."""
    hooks: list[dict[str, Any]] = [{"type": "xtuner.engine.hooks:ThroughputHook"}]
    if plan.values["varlen"]:
        hooks.append({"type": "xtuner.engine.hooks:VarlenAttnArgsToMessageHubHook"})
    return hooks


def visualizer(plan: Plan) -> dict[str, Any] | None:
    """Where metrics go."""
    backend = BACKENDS.get(plan.values["report_to"])
    return {"type": "mmengine.visualization:Visualizer", "vis_backends": [{"type": backend}]} if backend else None


def files(plan: Plan) -> list[str]:
    """Files to train on, as the spec has them; `lower` places them."""
    return facts.files(plan.problem.spec)


def has_files(plan: Plan) -> bool:
    """Whether the data are files."""
    return bool(files(plan))


def template(plan: Plan) -> str:
    """The chat template."""
    return f"xtuner.utils:PROMPT_TEMPLATE.{plan.values['template']}"


def template_map(plan: Plan) -> dict[str, Any]:
    """The call that puts chats into the template."""
    return {"type": "xtuner.dataset.map_fns:template_map_fn_factory", "template": template(plan)}


def rows_map(plan: Plan) -> str:
    """The function that turns rows into XTuner's own layout."""
    return facts.MAPS[facts.layout(plan.problem.spec.data.train[0], plan.strategy.task)]


def clips(plan: Plan) -> bool:
    """Whether gradients are clipped, or told not to be."""
    return clip(plan) is not None


def model_class(plan: Plan) -> str:
    """The class of the task."""
    return MODELS.get(plan.strategy.task, "xtuner.model:SupervisedFinetune")


def loss_type(plan: Plan) -> str:
    """The name of the preference loss; reward models are ranked."""
    return plan.values["preference_loss"] or "ranking"


def double(plan: Plan) -> bool:
    """Whether the scales of the 4-bit base are quantised as well."""
    return plan.strategy.quantization is not None and plan.strategy.quantization.double


def kind(plan: Plan) -> str | None:
    """The number format of the base."""
    return plan.strategy.quantization.kind if plan.strategy.quantization is not None else None


def saves_modules(plan: Plan) -> bool:
    """Whether modules train whole beside the adapters."""
    return lora(plan) and bool(plan.values["modules_to_save"])


def saved_modules(plan: Plan) -> list[str]:
    """Which modules train whole."""
    return list(plan.values["modules_to_save"])


def adapter_task(plan: Plan) -> str:
    """PEFT's name for the task: a reward model has no language-model head."""
    return "FEATURE_EXTRACTION" if plan.strategy.task == "reward" else "CAUSAL_LM"


def dataset(plan: Plan) -> str:
    """The function that makes the data set."""
    maker = "xtuner.dataset.preference_dataset:build_preference_dataset"
    return maker if pairs(plan) else "xtuner.dataset:process_hf_dataset"


def collate(plan: Plan) -> str:
    """The function that makes a batch."""
    maker = "xtuner.dataset.collate_fns.preference_collate_fn:preference_collate_fn"
    return maker if pairs(plan) else "xtuner.dataset.collate_fns:default_collate_fn"


def wrapper(plan: Plan) -> str:
    """The optimizer wrapper without DeepSpeed."""
    return "mmengine.optim:AmpOptimWrapper" if amp(plan) else "mmengine.optim:OptimWrapper"


def loss_scale(plan: Plan) -> str | float:
    """fp16 is scaled as it goes, bf16 needs no scale."""
    return "dynamic" if plan.strategy.precision == "fp16" else 1.0


def compares(plan: Plan) -> bool:
    """Whether pairs train a model that answers."""
    return plan.strategy.task != "reward"


def rewards(plan: Plan) -> bool:
    """Whether pairs train a model that scores."""
    return plan.strategy.task == "reward"
