"""Every model of the catalogue gets, on every target, the chat template that the framework itself has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from mfc import api
from mfc.catalog import models
from mfc.catalog.models import Entry
from mfc.catalog.parameters import count
from mfc.errors import SpecError
from mfc.problem import Model
from mfc.rules.engine import Value
from mfc.target import get, names
from mfc.target.templates import likely
from mfc.targets.llamafactory import templates as llamafactory
from mfc.targets.ms_swift import models as ms_swift
from mfc.targets.xtuner import facts as xtuner

ENTRIES = models.all_models()
Ids = Mapping[str, Iterable[str]]
LISTS: dict[tuple[str, str], Ids] = {
    **{("llamafactory", version): llamafactory.known(version) for version in ("0.9.5", "0.9.4")},
    **{("ms-swift", version): ms_swift.templates(version) for version in ("4.6.0", "3.12.6")},
    ("xtuner", "0.2.0"): xtuner.templates(),
}
# A reasoning model made of another maker's model: the chat template is never that of what it was made of.
DISTILLED = tuple(one for one in ENTRIES if "r1-distill" in one.id.lower() or "r1-0528-qwen3" in one.id.lower())
TARGETS = [name for name in names() if any(rule.writes == "template" for rule in get(name).RULES)]
OF_THE_BASE = {"qwen", "qwen2_5", "qwen3", "qwen_chat", "llama3", "llama3_2", "llama3_chat"}


def template(target: str, version: str) -> Callable[[Model], str | None]:
    """What the rule of a target derives for a model in supervised fine-tuning."""
    (rule,) = (rule for rule in get(target).RULES if rule.writes == "template")
    profile = get(target).profile(version, {})

    def of(model: Model) -> str | None:
        known = {"model": model, "architecture": model.architecture, "profile": profile, "task": "sft"}
        known |= {"freeze_parts": ("vision", "projector")}
        made = rule.function(*(known[name] for name in rule.reads))
        assert isinstance(made, Value)
        return made.value if made.value is None else str(made.value)

    return of


def as_model(one: Entry, name: str | None = None) -> Model:
    known = Model(one.id, one.architecture, count(one.architecture).total, one.instruct)
    return known._replace(name=name, like=one.id) if name else known


@pytest.mark.parametrize(("target", "version"), LISTS)
def test_a_listed_model_has_the_template_of_the_list(target: str, version: str) -> None:
    listed: dict[str, set[str]] = {}
    for name, ids in LISTS[target, version].items():
        for each in ids:
            listed.setdefault(each.rpartition("/")[2].lower(), set()).add(name)
    told = template(target, version)
    found = {one.id: told(as_model(one)) for one in ENTRIES}
    wanted = {one.id: listed.get(one.id.rpartition("/")[2].lower(), set()) for one in ENTRIES}
    wrong = {each: (found[each], names) for each, names in wanted.items() if len(names) == 1 and {found[each]} != names}
    assert wrong == {}
    assert sum(len(names) == 1 for names in wanted.values()) >= (30 if target == "xtuner" else 150)


@pytest.mark.parametrize("target", TARGETS)
def test_a_distilled_model_never_gets_the_template_of_its_base(target: str) -> None:
    told = template(target, get(target).VERSIONS[0])
    assert len(DISTILLED) >= 6
    assert {told(as_model(one)) for one in DISTILLED}.isdisjoint(OF_THE_BASE)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["./copies/mine", "mirror/{last}-AWQ", "/models/{last}"])
def test_a_copy_has_the_template_of_what_it_is_like(target: str, name: str) -> None:
    told = template(target, get(target).VERSIONS[0])
    for one in ENTRIES[::7]:
        assert told(as_model(one, name.format(last=one.id.rpartition("/")[2]))) == told(as_model(one)), one.id


def test_likely_templates_are_of_the_line_or_of_its_maker() -> None:
    found = likely(llamafactory.known("0.9.5"), ("openbmb/MiniCPM3-4B", "minicpm3"))
    assert set(found) == {"minicpm_o", "minicpm_v", "minicpm_v_4_6", "cpm4"}
    assert likely(xtuner.templates(), ("nobody/strange", "strange")) == []


SPEC = {
    "model": "openbmb/MiniCPM3-4B",
    "hardware": "1x RTX 3090",
    "data": {"path": "sft.jsonl", "format": "messages", "template": "minicpm"},
    "targets": {"llamafactory": {"template": "cpm4"}, "ms-swift": {}},
}


def test_a_template_may_be_said_for_one_target(tmp_path: Path) -> None:
    made = api.plans(api.load(SPEC), ["llamafactory", "ms-swift"])
    assert [plan.values["template"] for plan in made] == ["cpm4", "minicpm"]
    assert "targets.llamafactory.template" in made[0].decisions["template"].because
    assert "data.template" in made[1].decisions["template"].because
    wrong = {**SPEC, "targets": {"llamafactory": {"template": "cmp4"}}}
    with pytest.raises(SpecError, match=r"template: cmp4 is impossible here.*did you mean cpm4"):
        api.plan(wrong, "llamafactory")
