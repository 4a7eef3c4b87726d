"""Public reports of runs, tried as specs: what mfc must answer, and why.

`cases/field.yaml` holds them by name. `report` says where a run was told of and what came of it, `why` what the answer
rests on, and `must` what it has to be, for every target that the spec names, or by target. In `must`

    fits      whether a plan fits; one that does also compiles
    refused   text, or a list of texts, in the refusal of compiling
    gib       [low, high] of the card's memory that the run is said to take
    bound     [low, high] of the figure that the verdict rests on, GiB
    host      [low, high] of a node's memory, GiB
    length    [low, high] of the chosen max_length, tokens
    warned    text, or a list of texts, in the warnings
    silent    text that no warning holds
    offers    text in what would fit instead
    plan      field: value, as the plan has it
    expect    file: {key: value}, as tests/targets/cases.py has it

Figures are given room: a report says what came of a run, seldom a figure to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.errors import MfcError
from mfc.planner.plan import Plan
from mfc.report.text import relaxation_lines
from mfc.target import names

from tests.tables import table
from tests.targets.cases import at, read

FIELD: Mapping[str, Any] = table(Path(__file__).parent / "cases" / "field.yaml")
GIB = 1 << 30
WORDS = {"fits", "refused", "gib", "bound", "host", "length", "warned", "silent", "offers", "plan", "expect"}


def _answers() -> Iterator[tuple[str, str | None]]:
    for name, one in FIELD.items():
        for target in one["spec"].get("targets") or [None]:
            yield name, target


@pytest.mark.parametrize("name", FIELD)
def test_says_what_must_hold_and_why(name: str) -> None:
    one = FIELD[name]
    assert one.keys() - {"config"} == {"report", "spec", "must", "why"}
    assert one["report"]
    assert one["why"]
    targets = list(one["spec"].get("targets") or [])
    assert one["must"].keys() <= WORDS or list(one["must"]) == targets


@pytest.mark.parametrize(("name", "target"), list(_answers()))
def test_answer(name: str, target: str | None, tmp_path: Path) -> None:
    one = FIELD[name]
    must = one["must"].get(target, one["must"]) if target in names() else one["must"]
    spec = tmp_path / "run.yaml"
    spec.write_text(yaml.safe_dump(one["spec"]), encoding="utf-8")
    if "config" in one:
        spec.with_name("config.json").write_text(json.dumps(one["config"]), encoding="utf-8")
    if "refused" in must:
        with pytest.raises(MfcError) as refused:
            api.compile(spec, [target] if target else None)
        assert _missing(must["refused"], str(refused.value)) == []
        return
    plan = api.plan(spec, target)
    assert _differs(plan, must) == {}
    if plan.fits and target and plan.problem.spec.data.train:
        (made,) = api.compile(spec, [target])
        for file, wanted in must.get("expect", {}).items():
            data = read(file, made.files[file])
            assert {key: at(data, key) for key in wanted} == wanted, file


def _differs(plan: Plan, must: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan says where it must say something else."""
    memory, warnings = plan.memory, "\n".join(advice.message for advice in plan.warnings)
    ranges = {
        "gib": memory.process_bytes / GIB,
        "bound": memory.upper_bytes / GIB,
        "host": memory.host_bytes_per_node / GIB,
        "length": plan.strategy.max_length,
    }
    found: dict[str, Any] = {}
    if plan.fits != must.get("fits", plan.fits):
        found["fits"] = plan.fits
    for word, value in ranges.items():
        low, high = must.get(word, (value, value))
        if not low <= value <= high:
            found[word] = round(value, 2)
    for word, text in (("warned", warnings), ("offers", "\n".join(relaxation_lines(plan)))):
        if missing := _missing(must.get(word, []), text):
            found[word] = {"missing": missing, "in": text}
    if "silent" in must and must["silent"] in warnings:
        found["silent"] = warnings
    wanted = must.get("plan", {})
    found |= {field: plan.values[field] for field in wanted if plan.values[field] != wanted[field]}
    return found


def _missing(said: str | list[str], text: str) -> list[str]:
    return [one for one in ([said] if isinstance(said, str) else said) if one not in text]
