"""Runs by the words of their names, what mfc predicts of each, and what tracing the real framework shows."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import mfc
import yaml
from mfc.emit.compiled import Compiled
from mfc.memory import costs, overhead, prepare
from mfc.memory.prepared import Prepared
from mfc.memory.stack import Tiles
from mfc.planner.costing import run_of

from tests.conformance.environments import pinned
from tests.conformance.starts.cover import Run, cover, fits, possible
from tests.conformance.starts.runs import DRIVERS, Machine, Matrix, matrix, merged, warmed
from tests.oracle.frameworks import rows

CASES = Path(__file__).parents[2] / "cases" / "oracle"
TRACER = Path(__file__).parent / "tracer"
VALUES: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "values.yaml").read_text(encoding="utf-8"))
MODELS = CASES / "models.json"
USUAL = {factor: next(iter(values)) for factor, values in VALUES.items()}
FACTOR = {word: factor for factor, values in VALUES.items() for word in values}
ALWAYS = ("model", "method")  # factors that every name says
STEPS = 2
SECONDS = 3600  # until a run counts as hanging: tracing takes time, and machines are busy
LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "deepspeed")
BASE: dict[str, Any] = {
    "hardware": {"gpu": "A100 SXM 80GB", "count": 1, "host_memory": "256GiB"},
    "data": {"max_length": rows.LENGTH, "rows": "text"},
    "train": {"max_steps": STEPS},
    "strategy": {"loss": "plain", "micro_batch": 2},
    "run": {"log_every": 1},
}


class Target(NamedTuple):
    """How a target's runs start, as in its matrix of starts; words of the command line and of specs are its own."""

    of: Matrix
    named: list[str]

    def names(self) -> list[str]:
        """Every run: those that are named, and those drawn so that every two values of two factors meet."""
        drawn = cover(possible(self.of.factors, [one["when"] for one in self.of.never]))
        return [*dict.fromkeys([*self.named, *map(name_of, map(filled, drawn))])]

    def models(self) -> list[str]:
        """The tiny models that the runs need, and the one that the tracer is checked by."""
        return sorted({"small", *(run_named(name)["model"] for name in self.names())})

    def versions(self) -> dict[str, str]:
        """What the runs were made with."""
        every = pinned(self.of.environment)
        name, _, version = self.of.environment.rpartition("-")
        return {name: version, **{one: every[one] for one in LIBRARIES if one in every}}


@functools.cache
def target(name: str) -> Target:
    """The runs in `tests/cases/oracle/<name>.yaml`."""
    said = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    like = matrix(name)
    variables = {**like.variables, **said.pop("variables", {})}
    names = said.pop("named").split()
    path = f"{TRACER}:{variables['PYTHONPATH']}"
    return Target(like._replace(**said, variables={**variables, "PYTHONPATH": path}), names)


def targets() -> list[str]:
    """The names of all that have runs."""
    others = ("values", "deviations")
    return sorted(path.stem for path in CASES.glob("*.yaml") if path.stem not in others)


def run_named(name: str) -> Run:
    """The values that a name stands for."""
    return {**USUAL, **{FACTOR[word]: word for word in name.split("-")}}


def filled(run: Mapping[str, str]) -> Run:
    """A run with a value for every factor."""
    return {**USUAL, **run}


def name_of(run: Run) -> str:
    """A run's name: what it has that is not usual."""
    return "-".join(value for factor, value in run.items() if factor in ALWAYS or value != USUAL[factor])


def spec_of(name: str, of: Target) -> dict[str, Any]:
    """The spec that a name stands for."""
    run = run_named(name)
    added = (one["add"] for one in of.of.specs if fits(run, one.get("when", {})))
    made = merged(BASE, *added, *(VALUES[factor][value] for factor, value in run.items()))
    ranks = made["hardware"]["count"]
    made["train"]["batch_size"] = made["strategy"]["micro_batch"] * made.pop("accumulate") * ranks
    made["data"]["train"] = f"rows/{made['data'].pop('rows')}/{made['data']['train']}"
    return made


def compiled(name: str, of: Target, out: Path) -> Compiled:
    """A run's files, not yet written; beside the current folder's models."""
    [made] = mfc.compile(spec_of(name, of), [of.of.target], out=out)
    return made


def predicted(made: Compiled, of: Target) -> dict[str, int]:
    """Bytes in tensors at each moment, as mfc counts them; without what cuBLAS holds, which no trace shows."""
    plan = made.plan
    asked = run_of(plan.strategy, plan.problem, plan.profile)
    if tiles := of.of.variables.get("MFC_TRACE_TILES"):
        asked = asked._replace(stack=asked.stack._replace(tiles=Tiles(*map(int, tiles.split()))))
    prepared, batch = prepare(asked, every=True), plan.strategy.micro_batch
    workspace = overhead.workspace_bytes(asked.gpu)
    lines = zip(prepared.phases, prepared.tensors, strict=True)
    moments = {phase.name: int(fixed + slope * batch) - workspace for phase, (fixed, slope) in lines}
    if plan.strategy.rollout:
        moments["generation"] = generation(made, prepared) - workspace
    return moments


def generation(made: Compiled, prepared: Prepared) -> int:
    """Bytes of the card while the trainer itself generates, without the bound's factor and what no allocator holds."""
    share, between = made.plan.decisions["rollout_share"].value, costs.between(prepared)
    own = share.generating_bytes - between.idle - between.whole  # the cache of keys and values, and a step's work
    return int((between.idle + between.whole) / prepared.factor - prepared.outside + own)


def offloads(made: Compiled) -> bool:
    """Whether states wait in host memory."""
    return made.plan.strategy.offload_optimizer != "none"


def on_host(made: Compiled) -> int:
    """Bytes of host memory in which the states of one GPU wait, as mfc counts them."""
    plan = made.plan
    return int(prepare(run_of(plan.strategy, plan.problem, plan.profile)).placement.host)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """With a folder as the current one."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def ready(of: Target, folder: Path) -> Iterator[Machine]:
    """A target's machine, with tiny models and rows of data in a folder."""
    rows.make(folder / "rows")
    with warmed(of.of, folder / "programs") as machine:
        make = ["python", str(DRIVERS / "make_models.py"), ".", str(MODELS), *of.models()]
        made = machine.start(make, folder)
        assert made.code == 0, made.said[-4000:]
        yield machine


def traced(name: str, of: Target, machine: Machine, folder: Path, by: str = "tracer") -> dict[str, Any]:
    """Compile a run beside a folder's models, start it as it is, and read what its first process held.

    `by` is who counts: the tracer, or PyTorch's profiler.
    """
    out, place = folder / "out" / name, folder / "traces" / name
    shutil.rmtree(out, ignore_errors=True)
    with inside(folder):
        made = compiled(name, of, out)
    for path, text in made.files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text, encoding="utf-8")
    place.parent.mkdir(exist_ok=True)
    run = run_named(name)
    words = " ".join(one["say"] for one in of.of.arguments if fits(run, one.get("when", {})))
    command = ["bash", of.of.script, *Template(words).substitute(run, DRIVERS=DRIVERS).split()]
    said = {"MFC_TRACE": str(place), "MFC_TRACE_BY": by, **({"MFC_TRACE_OFFLOAD": "1"} if offloads(made) else {})}
    tracing = machine._replace(variables={**machine.variables, **said})
    left = tracing.start(command, out, SECONDS)
    Path(f"{place}.log").write_text(left.said, encoding="utf-8")
    assert left.code == 0, f"{name}: {left.code}\n{left.said[-6000:]}"
    found: dict[str, Any] = json.loads(Path(f"{place}.0.json").read_text(encoding="utf-8"))
    return found
