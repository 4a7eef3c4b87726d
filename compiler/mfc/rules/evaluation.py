"""Evaluation during training, which has a peak of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_LIGER = "transformers and Liger: the fused loss is used in training only, evaluation makes whole logits"


@derive("eval_every", "transformers training_args.py: eval_strategy and save_strategy")
def eval_every(save_every: int | str) -> Value:
    """The run evaluates as often as it saves, each epoch where it saves nothing."""
    if save_every == "never":
        return Value("epoch", "at the end of each epoch, as nothing is saved between")
    return Value(save_every, "as often as checkpoints are written")


@derive("eval_micro_batch", _LIGER)
def eval_micro_batch(strategy: Strategy) -> Value:
    """Evaluation has the micro-batch of training, or one sequence where training never holds all logits."""
    if strategy.loss == "fused":
        return Value(1, "evaluation makes whole logits, which the fused loss of training never does: one sequence")
    return Value(strategy.micro_batch, "as in training: without gradients the same micro-batch takes less memory")


@advise(_LIGER)
def evaluation_has_whole_logits(
    spec: Spec, strategy: Strategy, architecture: Architecture, upper_bytes: float, budget_bytes: int
) -> str | None:
    """With a fused loss, evaluation can need more memory than training."""
    if spec.data.eval is None or strategy.loss != "fused":
        return None
    pairs = strategy.sequences // strategy.micro_batch
    size = 10 * architecture.vocab * pairs * strategy.max_length
    if size <= budget_bytes - upper_bytes:
        return None
    return (
        f"evaluating one sequence makes 10 x {architecture.vocab} words x {pairs * strategy.max_length} tokens = "
        f"{gib(size)} of logits, and training leaves {gib(budget_bytes - upper_bytes)} free: shorten the evaluation set"
    )


RULES = (eval_every, eval_micro_batch, evaluation_has_whole_logits)
