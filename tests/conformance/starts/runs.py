"""Runs as data: what a target's matrix draws, the spec of each, and what starting it showed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import mfc
from mfc.emit.compiled import Compiled

from tests.conformance.environments import environment
from tests.conformance.starts.cover import Run, cover, fits, possible
from tests.conformance.warm import Warm, warm
from tests.tables import table

DRIVERS = Path(__file__).parents[1] / "drivers"
CASES = Path(__file__).parents[2] / "cases" / "starts"
VALUES: dict[str, dict[str, Any]] = table(CASES / "values.yaml")
OTHERS = ("values", "not_started")  # files that are no target's
STEPS = 2
SECONDS = 600  # until a run counts as hanging; generous, since machines are busy
BASE: dict[str, Any] = {
    "hardware": {"gpu": "A100 SXM 80GB", "host_memory": "256GiB"},
    "data": {"max_length": 64, "train": "messages.jsonl"},
    "train": {"max_steps": STEPS},
    "strategy": {"loss": "plain", "attention": "sdpa", "micro_batch": 1},
    "run": {"log_every": 1},
}


class Matrix(NamedTuple):
    """One target's factors, and how it is started on a CPU."""

    target: str
    environment: str
    factors: dict[str, list[str]]
    never: list[dict[str, Any]]  # combinations, each with who says no: `refused` by mfc, or not `on_cpu`
    script: str
    scripts: list[str]  # console scripts that the launch script and the framework call
    imports: list[str]
    arguments: list[dict[str, Any]]  # what the command line adds: words to `say`, and for which runs
    variables: dict[str, str]
    imported_with: dict[str, str]  # what launch scripts set and imports read: libraries are imported with it
    specs: list[dict[str, Any]]  # what specs `add`, and for which runs
    probed: list[dict[str, Any]]  # whose probes are started: the first possible run for each, and what they `set`

    def runs(self) -> list[Run]:
        """The runs that are drawn."""
        return cover(possible(self.factors, [one["when"] for one in self.never]))

    def probes(self) -> list[tuple[Run, list[str]]]:
        """The runs whose probes are started, and with which overrides."""
        runs = possible(self.factors, [one["when"] for one in self.never])
        return [(next(run for run in runs if fits(run, one["when"])), one.get("set", [])) for one in self.probed]

    def models(self) -> list[str]:
        """The tiny models that the runs need."""
        return sorted({VALUES["model"][value]["model"]["id"].removeprefix("./") for value in self.factors["model"]})

    def command(self, run: Run) -> list[str]:
        """The launch script, with the words that move a run to the CPU and stop it."""
        said = [one["say"] for one in self.arguments if fits(run, one.get("when", {}))]
        return ["bash", self.script, *shlex.split(Template(" ".join(said)).substitute(run, DRIVERS=DRIVERS))]


class Started(NamedTuple):
    """What is left of a run: its exit code (None: it hung), what it said, and where it ran."""

    code: int | None
    said: str
    folder: Path


def matrix(name: str) -> Matrix:
    """The matrix in `tests/cases/starts/<name>.yaml`."""
    said = table(CASES / f"{name}.yaml")
    return Matrix(**{"variables": {}, "imported_with": {}, "specs": [], "never": [], "probed": [], **said})


def matrices() -> dict[str, Matrix]:
    """Every target's."""
    return {path.stem: matrix(path.stem) for path in sorted(CASES.glob("*.yaml")) if path.stem not in OTHERS}


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings laid over each other, the last on top."""
    made: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            made[key] = merged(made.get(key, {}), value) if isinstance(value, Mapping) else value
    return made


def spec_of(run: Run, of: Matrix) -> dict[str, Any]:
    """The spec that a run stands for: two micro-batches on each process."""
    added = (one["add"] for one in of.specs if fits(run, one.get("when", {})))
    made = merged(BASE, *added, *(VALUES[factor][value] for factor, value in run.items()))
    made["train"]["batch_size"] = 2 * made["hardware"].get("count", 1) // made["strategy"].get("sequence_parallel", 1)
    if made["model"].get("adapter"):
        made["model"]["adapter"] = f"runs/{made['model']['id'].rpartition('/')[2]}/checkpoint-2"
    made["data"]["train"] = f"rows/{made['data'].pop('rows')}/{made['data']['train']}"
    return made


def compiled(run: Run, of: Matrix, into: Path, overrides: Sequence[str] = ()) -> Compiled:
    """Compile a run, and write its files."""
    [made] = mfc.compile(spec_of(run, of), [of.target], overrides, out=into)
    for path, text in made.files.items():
        file = into / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return made


class Machine(NamedTuple):
    """A target's environment where processes start without imports, and what their variables are."""

    warm: Warm
    variables: dict[str, str]

    def told(self, **variables: str) -> Machine:
        """The same with more variables; what `PATH` names goes before all else."""
        path = os.pathsep.join(filter(None, [variables.pop("PATH", ""), self.variables["PATH"]]))
        return self._replace(variables={**self.variables, **variables, "PATH": path})

    def start(self, arguments: list[str], folder: Path, seconds: float = SECONDS) -> Started:
        """Run a program in a folder; when it hangs, it is ended with all that it has started."""
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**self.variables, **self.warm.mark, "MASTER_PORT": _free_port()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
            return Started(process.returncode, said, folder)
        except subprocess.TimeoutExpired:
            self.warm.abort()
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            return Started(None, said, folder)


@contextlib.contextmanager
def warmed(of: Matrix, folder: Path) -> Iterator[Machine]:
    """The machine that a target's runs start on."""
    where = environment(of.environment)
    variables = {name: Template(value).substitute(DRIVERS=DRIVERS) for name, value in of.variables.items()}
    with warm(where, folder, of.scripts, of.imports, {**variables, **of.imported_with}) as server:
        given = where.variables(variables)
        yield Machine(server, {**given, "PATH": f"{server.programs}{os.pathsep}{given['PATH']}"})


def losses(said: str) -> list[float]:
    """The losses of the steps in a log, as the frameworks print them."""
    return [float(loss) for loss in re.findall(r"\bloss'?: '?([0-9.e+-]+|nan|inf)", said)]


def samples_a_step(folder: Path, rows: int) -> float | None:
    """Rows of each optimizer step, out of what the Trainer says about the share of an epoch that it has seen."""
    states = sorted(folder.rglob("trainer_state.json"))
    if not states:
        return None
    state = json.loads(states[-1].read_text(encoding="utf-8"))
    return float(state["epoch"]) * rows / int(state["global_step"])


def _free_port() -> str:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return str(asked.getsockname()[1])


__all__ = ["Matrix", "Run", "Started", "fits", "matrices", "matrix", "warmed"]
