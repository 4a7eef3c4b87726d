"""Simulated beside predicted, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mfc.memory import Run, prepare
from mfc.memory.overhead import workspace_bytes

MOMENTS = ("loss forward", "loss backward", "layers backward", "embedding backward", "optimizer step")


@dataclass(frozen=True, slots=True)
class Moment:
    """Bytes in tensors at one moment of the step, cuBLAS workspaces counted on both sides."""

    name: str
    simulated: int
    predicted: int

    @property
    def difference(self) -> float:
        """How far the prediction lies above the simulation, in percent of the latter."""
        return 100 * (self.predicted / self.simulated - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`peak` is the largest of `moments` on either side, which need not be the same moment."""

    moments: tuple[Moment, ...]
    peak: Moment

    def agrees(self, tolerance: float) -> bool:
        """Whether the peaks differ by at most `tolerance` percent."""
        return abs(self.peak.difference) <= tolerance


def compare(run: Run, simulated: Mapping[str, int]) -> Comparison:
    """Compare the moments of a trace (depth.moments) with the closed forms for the same run."""
    workspace = workspace_bytes(run.gpu)
    predicted = predicted_moments(run)
    found: dict[str, int] = {}
    for name, size in simulated.items():
        moment = _moment_of(name)
        found[moment] = max(found.get(moment, 0), size + workspace)
    both = [name for name in MOMENTS if name in found and name in predicted]
    moments = tuple(Moment(name, found[name], predicted[name]) for name in both)
    at = max(found, key=lambda name: found[name])
    return Comparison(moments, Moment(at, found[at], max(predicted.values())))


def predicted_moments(run: Run) -> dict[str, int]:
    """What the closed forms give for each of MOMENTS that the run has."""
    prepared = prepare(run, every=True)
    batch = run.strategy.micro_batch
    made: dict[str, int] = {}
    for phase, (fixed, slope) in zip(prepared.phases, prepared.tensors, strict=True):
        name = {
            "gather": "loss forward",
            "loss": "loss forward" if phase.name == "loss forward" else "loss backward",
            "layers": "layers backward",
            "embedding": "embedding backward",
            "optimizer": "optimizer step",
        }[phase.where]
        made[name] = max(made.get(name, 0), int(fixed + slope * batch))
    return made


def _moment_of(name: str) -> str:
    if name.startswith("layer "):
        return "layers backward"
    return {"embedding": "embedding backward", "optimizer": "optimizer step"}.get(name, name)
