"""What a run writes, where, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog.parameters import count, trainable
from mfc.rules.engine import Value, advise, derive, said
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_SPEC = "the spec language"
_LARGE = 100 * 2**30  # bytes on disk that are worth a word
_SEVERAL = 10  # checkpoints, where all are kept and nothing tells how many: an assumption


@derive("save_every", _SPEC)
def save_every(spec: Spec) -> Value:
    """A checkpoint is written each epoch unless the spec says otherwise."""
    return said(spec.run, "save_every", "run", "at the end of each epoch")


@derive("keep", _SPEC)
def keep(spec: Spec) -> Value:
    """Two checkpoints are kept unless the spec says otherwise."""
    return said(spec.run, "keep", "run", "the last two, so that a broken one does not end the run")


@derive("log_every", _SPEC)
def log_every(spec: Spec) -> Value:
    """The log has a line every ten steps unless the spec says otherwise."""
    return said(spec.run, "log_every", "run", "every ten steps")


@derive("samples", _SPEC)
def samples(spec: Spec) -> Value:
    """The model answers no prompts as it trains unless the spec has some."""
    return said(spec.run, "samples", "run", "none unless the spec asks for them")


@derive("report_to", _SPEC)
def report_to(spec: Spec) -> Value:
    """Metrics are sent nowhere unless the spec says where."""
    return said(spec.run, "report_to", "run", "nothing leaves the machine unasked")


@derive("output_dir", _SPEC)
def output_dir(spec: Spec) -> Value:
    """Checkpoints go to `output` unless the spec says where."""
    return said(spec.run, "output_dir", "run", "a folder beside the run's files")


@derive("existing", _SPEC)
def existing(spec: Spec) -> Value:
    """A run does not start over older checkpoints unless the spec allows it."""
    return said(spec.run, "existing", "run", "older checkpoints are never overwritten unasked")


@advise("torch.optim.AdamW state_dict: two moments; DeepSpeed adds an fp32 master")
def checkpoints_take_disk(
    strategy: Strategy, architecture: Architecture, keep: int | str, save_every: int | str
) -> str | None:
    """Checkpoints of full training are several times the model."""
    trained = trainable(architecture, strategy)
    weights = 2 * count(architecture).total if strategy.lora is None else 4 * trained
    each = weights + (12 if strategy.deepspeed else 8) * trained
    if save_every == "never" or each * (keep if isinstance(keep, int) else _SEVERAL) < _LARGE:
        return None
    cure = "run.save_every: never" if keep == 1 else "run.keep: 1"
    together = f"{gib(each * keep)} for run.keep: {keep}" if isinstance(keep, int) else "and all are kept"
    return f"a checkpoint takes about {gib(each)} of disk with its optimizer, {together}; {cure} takes less"


RULES = (save_every, keep, log_every, samples, report_to, output_dir, existing, checkpoints_take_disk)
