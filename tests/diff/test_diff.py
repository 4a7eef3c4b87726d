"""What diff tells of two runs: `tests/cases/diff.yaml`, and laws over the cases of all targets.

files     name: text; the first two are compared
hardware  what the user adds
code      exit code
fits      whether each run fits
result, cost, run  field: [text, text] where the two values stand, for fields that differ
own       keys of a framework's own that differ
same      fields that do not differ
text      texts in what is printed
saves     the field that alone saves most of the first run's memory
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import diff, emit
from mfc.cli import main
from mfc.diff import show, words
from mfc.errors import SpecError
from mfc.fields import FIELDS
from mfc.target import imports as imports_of
from mfc.target import names

from tests.targets import cases

CASES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent.parent / "cases" / "diff.yaml").read_text(encoding="utf-8")
)
WHOLE = [name for name in names() if (found := imports_of(name)) and found.whole]
DRAWN = 2  # cases of each target
OTHERWISE = {"xtuner-v1": {"save_every"}}  # its files say steps where a plan says epoch


def laid(name: str, folder: Path) -> tuple[str, str]:
    for file, text in CASES[name]["files"].items():
        (folder / file).write_text(text, encoding="utf-8")
    first, second = CASES[name]["files"]
    return first, second


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_what_is_told(name: str, here: Path) -> None:
    case = CASES[name]
    one = diff.diff(*laid(name, here), None, case.get("hardware"))
    assert one.exit_code == case["code"], show.text(one)
    if "fits" in case:
        assert [side.plan.fits for side in (one.a, one.b) if side.plan] == case["fits"]
    found = {each.field: each for each in one.differences}
    for kind in ("result", "cost", "run"):
        for field, said in case.get(kind, {}).items():
            assert found[field].kind == kind
            for text, stated in zip(said, (found[field].a, found[field].b), strict=True):
                assert text in stated.where, field
    assert {*case.get("own", ())} == {own.key for own in one.own}
    assert {*case.get("same", ())} <= one.same.keys()
    for text in case.get("text", ()):
        assert text in show.text(one)
    if "saves" in case:
        costs = {each.field: each.cost.bytes for each in one.differences if each.cost}
        assert min(costs, key=lambda field: costs[field]) == case["saves"]
    kinds = [each.kind for each in one.differences]
    assert kinds == sorted(kinds, key=["result", "cost", "run"].index)


@pytest.mark.parametrize("name", CASES)
def test_the_other_way_round_the_same_differs(name: str, here: Path) -> None:
    first, second = laid(name, here)
    one = diff.diff(first, second, None, CASES[name].get("hardware"))
    other = diff.diff(second, first, None, CASES[name].get("hardware"))
    assert {(each.field, each.a, each.b) for each in one.differences} == {
        (each.field, each.b, each.a) for each in other.differences
    }
    assert diff.diff(first, first, None, CASES[name].get("hardware")).equal


@pytest.mark.parametrize("target", WHOLE)
def test_a_spec_and_its_own_files_do_the_same(target: str, tmp_path: Path) -> None:
    rng = random.Random(target)
    for name in rng.sample(cases.good(target), k=DRAWN):
        made = cases.compiled(target, name, tmp_path)
        emit.write(made, True)
        one = diff.diff(str(made.spec), cases.started(made))
        told = {each.field for each in one.differences} - OTHERWISE.get(target, set())
        assert not told, (name, show.text(one))
        assert not one.own


def test_every_field_to_compare_has_its_reason() -> None:
    # said by others: `lora` is the adapters' parts, `rollout` those of generation
    told = {field.name for field in FIELDS if field.decided and field.compared}
    assert told <= words.EFFECTS.keys()


def test_the_command_ends_as_diff_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*args: str) -> int:
        with pytest.raises(SystemExit) as stop:
            main(["diff", *args])
        return int(stop.value.code or 0)

    first, second = laid("no-hardware-tells-no-memory", here)
    assert run(first, first, "--hardware", "RTX 4090") == 0
    assert run(first, second, "--format", "json") == 1
    document = json.loads(capsys.readouterr().out.partition("they do the same\n")[2])
    assert document["a"]["predicted"] is None
    assert [each["field"] for each in document["differences"]][:2] == ["method", "learning_rate"]
    assert run(first, "no.yaml") == 2
    (here / "no.yaml").write_text("a: b\n", encoding="utf-8")
    assert run(first, "no.yaml") == 2
    assert "no key of it tells whose config it is" in capsys.readouterr().err


def test_a_spec_that_is_wrong_is_told_by_its_place(here: Path) -> None:
    (here / "run.yaml").write_text("model: no/model\nhardware: RTX 4090\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"run\.yaml:1"):
        diff.diff("run.yaml", "run.yaml")
