"""The rules of physics, hardware and runtimes, in one ordered tuple. A target adds those of its own framework.

Each module is one family and lists its rules in a RULES of its own; `mfc.rules.engine` says what a rule is. Order is
only what a reader sees, and which of several reasons is given first: the engine finds out when each rule can run.
"""

from mfc.rules import (
    ascend,
    attention,
    batch,
    bitsandbytes,
    data,
    deepspeed,
    distillation,
    environment,
    evaluation,
    fsdp,
    host,
    length,
    lora,
    loss,
    memory,
    model,
    optimizers,
    precision,
    quantization,
    recipe,
    rollout,
    run,
    sampling,
    schedule,
    sharding,
    sharing,
    support,
    tiles,
    vision,
)
from mfc.rules.engine import Rule

RULES: tuple[Rule, ...] = (
    *precision.RULES,
    *attention.RULES,
    *quantization.RULES,
    *bitsandbytes.RULES,
    *lora.RULES,
    *vision.RULES,
    *sharding.RULES,
    *fsdp.RULES,
    *deepspeed.RULES,
    *optimizers.RULES,
    *loss.RULES,
    *tiles.RULES,
    *ascend.RULES,
    *length.RULES,
    *batch.RULES,
    *schedule.RULES,
    *recipe.RULES,
    *run.RULES,
    *rollout.RULES,
    *distillation.RULES,
    *sampling.RULES,
    *sharing.RULES,
    *data.RULES,
    *environment.RULES,
    *evaluation.RULES,
    *model.RULES,
    *support.RULES,
    *memory.RULES,
    *host.RULES,
)

__all__ = ["RULES"]
