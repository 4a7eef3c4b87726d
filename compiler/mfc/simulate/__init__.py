"""The oracle: training memory from the real model code, traced on fake tensors on a CPU.

Needs the optional extra `mfc-compiler[simulate]` (torch, transformers, peft), which is imported only when a step is
traced. What it sees and what it cannot see is in docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfc.errors import SpecError
from mfc.simulate.alone import alone, setup
from mfc.simulate.comparison import Comparison, compare
from mfc.simulate.depth import cut, depths, extrapolate, moments

if TYPE_CHECKING:
    from mfc.memory import Run
    from mfc.simulate.setup import Setup

__all__ = ["Simulation", "simulate", "trace_moments"]


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated run beside its prediction. `depths` are the numbers of layers that were traced."""

    run: Run  # what was simulated
    comparison: Comparison
    left_out: tuple[str, ...]
    depths: tuple[int, ...]
    versions: Mapping[str, str]


def simulate(run: Run, config: Mapping[str, Any], *, whole: bool = False) -> Simulation:
    """Trace a run's step with the model that `config`, a Hugging Face config, describes, and compare it.

    Two shallow models stand for a deep one, unless `whole`. Raises SpecError when the extra is not installed, or when
    the libraries refuse the model.
    """
    require()
    try:
        from mfc.simulate.step import VERSIONS
    except ImportError as error:
        raise SpecError(
            f"error: the libraries here are too old to simulate with: {error}; pip install -U 'mfc-compiler[simulate]'"
        ) from error
    traced, left_out = alone(run)
    asked = setup(traced, dict(config))
    found, used = trace_moments(asked, traced.architecture.groups, whole=whole)
    return Simulation(traced, compare(traced, found), left_out, used, VERSIONS)


def trace_moments(
    asked: Setup, groups: Sequence[int], *, whole: bool = False
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Bytes of each moment of the step, and the depths that were traced; `groups` has the kind of each layer."""
    from dataclasses import replace

    from mfc.simulate.step import trace

    def at(layers: int, prefix: int = 0) -> dict[str, int]:
        shallow = replace(asked, config=cut(asked.config, layers)) if layers != len(groups) else asked
        made = trace(shallow)
        return moments({name: peak.size for name, peak in made.peaks.items()}, made.depth, prefix)

    plan = None if whole else depths(groups)
    if plan is None:
        return at(len(groups)), (len(groups),)
    return extrapolate(at(plan.low, plan.prefix), at(plan.high, plan.prefix), plan.steps), (plan.low, plan.high)


def require() -> None:
    """Raise SpecError when the optional extra is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]
    if missing:
        raise SpecError(f"error: simulating needs {', '.join(missing)}: pip install 'mfc-compiler[simulate]'")
