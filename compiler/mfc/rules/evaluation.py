"""Evaluation during training, which has a peak of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_PAIRED = ("dpo", "orpo", "simpo", "reward")
_LIGER = "transformers and Liger: the fused loss is used in training only, evaluation makes whole logits"


@derive("eval_every", "transformers training_args.py: eval_strategy and save_strategy")
def eval_every(save_every: int | str) -> Value:
    """The run evaluates as often as it saves, each epoch where it saves nothing."""
    if save_every == "never":
        return Value("epoch", "at the end of each epoch, as nothing is saved between")
    return Value(save_every, "as often as checkpoints are written")


@derive("eval_micro_batch", _LIGER)
def eval_micro_batch(strategy: Strategy, profile: Profile) -> Value:
    """Evaluation has the micro-batch of training, or one sequence where training alone never holds all logits."""
    if strategy.loss == "fused" and profile.stack.tiles is None:
        return Value(1, "evaluation makes whole logits, which the fused loss of training never does: one sequence")
    return Value(strategy.micro_batch, "as in training: without gradients the same micro-batch takes less memory")


@require("transformers trainer.py, prediction_step: the model returns the logits of the whole batch")
def evaluation_fits(
    spec: Spec,
    architecture: Architecture,
    profile: Profile,
    task: str,
    max_length: int,
    sequence_parallel: int,
    budget_bytes: int,
) -> str | None:
    """The logits of the evaluation batch that the spec asks for are no more than the card has."""
    asked = spec.run.eval_micro_batch
    if asked == "auto" or spec.data.eval is None or profile.stack.tiles is not None:
        return None
    share = -(-max_length // sequence_parallel)  # of a sequence that is split, one GPU's part
    size = _logits(architecture, asked * (2 if task in _PAIRED else 1) * share)
    if size <= budget_bytes:
        return None
    return f"evaluating {asked} samples at a time makes {gib(size)} of logits, above {gib(budget_bytes)}"


@advise(_LIGER)
def evaluation_has_whole_logits(
    spec: Spec,
    strategy: Strategy,
    architecture: Architecture,
    profile: Profile,
    eval_micro_batch: int,
    upper_bytes: float,
    budget_bytes: int,
) -> str | None:
    """With a fused loss or a larger batch, evaluation can need more memory than training."""
    trained = 0 if strategy.loss == "fused" else strategy.micro_batch  # of which training holds the logits too
    if spec.data.eval is None or eval_micro_batch <= trained or profile.stack.tiles is not None:
        return None
    tokens = strategy.sequences // strategy.micro_batch * strategy.max_length * (eval_micro_batch - trained)
    size = _logits(architecture, tokens)
    if size <= budget_bytes - upper_bytes or upper_bytes > budget_bytes:  # training alone is what does not fit
        return None
    what = "one sequence" if eval_micro_batch == 1 else f"{eval_micro_batch} samples"
    cure = "shorten the evaluation set" if eval_micro_batch == 1 else "lower run.eval_micro_batch"
    more = f" more than training's {trained}" if trained else ""
    return (
        f"evaluating {what} makes 10 x {architecture.vocab} words x {tokens} tokens = {gib(size)} of logits{more}, "
        f"and training leaves {gib(budget_bytes - upper_bytes)} free: {cure}"
    )


def _logits(architecture: Architecture, tokens: int) -> int:
    """Bytes of logits in 16 bits, their fp32 copy and log-softmax, without gradients."""
    return 10 * architecture.vocab * tokens


RULES = (eval_every, eval_micro_batch, evaluation_fits, evaluation_has_whole_logits)
