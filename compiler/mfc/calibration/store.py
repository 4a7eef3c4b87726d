"""The local file of measured runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mfc.errors import SpecError
from mfc.files import read as read_file

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

SCHEMA = 1

Kind = Literal["process", "allocated"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What runs must share for one to tell about the other."""

    target: str  # with its version
    attention: str
    loss: str
    quantization: str
    gpu: str

    @classmethod
    def of(cls, plan: Plan) -> Condition:
        """The key of a plan."""
        strategy = plan.strategy
        quantization = strategy.quantization
        return cls(
            target=f"{plan.profile.target} {plan.profile.version}".strip(),
            attention=strategy.attention,
            loss=strategy.loss,
            quantization=quantization.kind if quantization else "none",
            gpu=plan.problem.hardware.gpu.name,
        )

    def __str__(self) -> str:
        return (
            f"{self.target}, {self.attention} attention, {self.loss} loss, "
            f"{'no quantisation' if self.quantization == 'none' else self.quantization}, {self.gpu}"
        )


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One measured run beside what the same mfc predicted for it, in bytes of one GPU.

    `process` figures are of the whole process, as nvidia-smi shows it; `allocated` ones of tensors alone.
    """

    key: Condition
    spec: str  # its name, for people
    spec_sha256: str  # what was compiled, overrides included
    kind: Kind
    measured_bytes: int
    predicted_bytes: int
    mfc: str  # version that made the prediction

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured_bytes / self.predicted_bytes

    @property
    def identity(self) -> tuple[Condition, str, Kind]:
        """Measuring the same again replaces, it does not add."""
        return self.key, self.spec_sha256, self.kind


def load(file: Path) -> tuple[MeasuredRun, ...]:
    """All runs in the file, none when it is not there. Raises SpecError for a file that mfc did not write."""
    try:
        content = json.loads(read_file(file))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{file}: cannot read the calibration: {error}; delete it to begin anew") from None
    try:
        if content["schema"] != SCHEMA:
            raise SpecError(f"{file}: written by another mfc (schema {content['schema']}, not {SCHEMA})")
        return tuple(_run(row) for row in content["runs"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{file}: not a calibration that mfc wrote ({error}); delete it to begin anew") from None


def save(file: Path, runs: Sequence[MeasuredRun]) -> None:
    """Write the file anew, whole or not at all. Of runs with the same identity the last stays."""
    last = {run.identity: run for run in runs}
    content = {"schema": SCHEMA, "runs": [asdict(run) for run in last.values()]}
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SpecError(f"{file}: cannot write the calibration: {error.strerror}") from None


def _run(row: Mapping[str, Any]) -> MeasuredRun:
    made = MeasuredRun(**{**row, "key": Condition(**row["key"])})
    if made.measured_bytes <= 0 or made.predicted_bytes <= 0 or made.kind not in ("process", "allocated"):
        raise TypeError(f"run of {made.spec}")
    return made
