"""Compile specs into folders and hand them to the real framework, many at a time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mfc
import yaml
from mfc.emit.compiled import Compiled
from mfc.errors import CannotExpress, CannotFit, SpecError

from tests.conformance.environments import environment

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
PRINT = """#!/usr/bin/env python3
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One compiled output: its plan and where its files lie."""

    name: str
    compiled: Compiled
    folder: Path


def compile_all(specs: Iterable[tuple[str, Any]], target: str, into: Path) -> tuple[list[Case], dict[str, str]]:
    """Compile each spec for one target into a folder of its own; those that do not fit come back with the reason."""
    cases, too_big = [], {}
    for name, spec in specs:
        # Engines of clusters carry the folder of the spec to the nodes, and would start nothing that lies elsewhere.
        plain = ("run.launcher=torchrun",) if isinstance(spec, Path) else ()
        try:
            [made] = mfc.compile(spec, [target], plain, into / name)
        except CannotFit as error:
            too_big[name] = str(error)
            continue
        for path, text in made.files.items():
            file = into / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        cases.append(Case(name, made, into / name))
    return cases, too_big


def expressible(specs: Iterable[tuple[str, Any]], target: str, into: Path) -> list[Case]:
    """Compile those of drawn specs that a target can say; callers say how many these have to be."""
    cases = []
    for name, spec in specs:
        try:
            made, _ = compile_all([(name, spec)], target, into)
        except (CannotExpress, SpecError):
            continue
        cases += made
    return cases


def spoken(case: Case, program: str) -> list[str]:
    """The words that the launch script says to a program, in whose place a stand-in prints them."""
    programs = case.folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / program).write_text(PRINT, encoding="utf-8")
    (programs / program).chmod(0o755)
    given = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(["bash", "launch.sh"], cwd=case.folder, env=given, capture_output=True, text=True, check=True)
    said: list[str] = json.loads(done.stdout)
    return said


def examples(target: str) -> Iterable[tuple[str, Path]]:
    """The examples that name a target."""
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        whole = "model" in yaml.safe_load(path.read_text(encoding="utf-8"))  # others are bases to extend
        if whole and target in mfc.load(path).spec.targets:
            yield f"example-{path.stem}", path


def judge(driver: str, where: str, cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The verdicts of a driver in an environment, in the order of the cases."""
    done = environment(where).run(
        ["python", "-m", "tests.conformance.drivers.batch", driver],
        stdin=json.dumps(cases),
        timeout=1200,
        cwd=REPOSITORY,
    )
    verdicts: list[dict[str, Any]] = json.loads(done.stdout)
    return verdicts


def differences(read_back: dict[str, Any], planned: dict[str, Any]) -> str:
    """What the framework read otherwise than planned, in words; empty when nothing."""
    return ", ".join(f"{key} is {read_back[key]!r}, planned {v!r}" for key, v in planned.items() if read_back[key] != v)
