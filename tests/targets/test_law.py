"""The law of keys that go both ways: reading what a plan wrote contains the plan.

Over all cases of all targets, and over specs drawn by a fixed seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.errors import MfcError
from mfc.planner.plan import Plan
from mfc.target import Lowered, names
from mfc.target.codecs import Reader
from mfc.target.reading import read
from mfc.target.values import equal, held

from tests.conformance.specs import specs
from tests.targets.cases import GOOD, compiled

DRAWN = 4  # specs that compile, for each target that can say so many


def law(plan: Plan, lowered: Lowered, out_to_spec: str) -> None:
    """Every file read back holds the plan; what cannot be read says why, and nothing contradicts."""
    for file in lowered.files:
        if file.said is None:
            continue
        found = read(file.said.keys, Reader(plan.profile, out_to_spec, file.said.data))
        one_way = {key.name: key.codec.one_way for key in file.said.keys if key.codec.one_way}
        assert found.notes == {name: why for name, why in one_way.items() if name in file.said.cites}, file.path
        wrong = {
            field: (values, held(plan, field))
            for field, values in found.values.items()
            if not any(equal(value, held(plan, field)) for value in values)
        }
        assert wrong == {}, file.path


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_reading_what_a_plan_wrote_contains_the_plan(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    back = Path(*[".."] * 2).as_posix()
    assert one.out == folder / target / name / "run" / target
    law(one.plan, api.lower(api.load(one.spec), one.plan, one.out), back)


@pytest.mark.parametrize("target", names())
def test_drawn_specs_are_read_back(target: str, tmp_path: Path) -> None:
    drawn = [spec for _, spec in specs()]
    random.Random(target).shuffle(drawn)
    compiled = (_compiles(target, spec, tmp_path / f"{number}.yaml") for number, spec in enumerate(drawn))
    deque(islice(filter(None, compiled), DRAWN))  # each is held to the law as it is drawn


def _compiles(target: str, spec: Mapping[str, Any], path: Path) -> bool:
    path.write_text(yaml.safe_dump(dict(spec)), encoding="utf-8")
    try:
        (one,) = api.compile(path, [target])
    except MfcError:
        return False
    law(one.plan, api.lower(api.load(path), one.plan, one.out), "../..")
    return True
