"""What frameworks refuse of the user's own keys beside a plan, from clashes.yaml of the targets that have such keys."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.errors import SpecError
from mfc.target import get, names

from tests.targets.cases import over_base, table

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
TABLES = {target: table(target, "clashes.yaml") for target in names() if get(target).CLASHES}
CLASHING = [(target, key, n) for target, keys in TABLES.items() for key, each in keys.items() for n in range(len(each))]
VALUES: dict[str, Any] = {  # all other keys are switches
    "batch_size": 8,
    "dpo_label_smoothing": 0.1,
    "early_stopping_patience": 3,
    "evals_per_epoch": 2,
    "liger_kernel_impl": "cutile",
    "loraplus_lr_ratio": 16.0,
    "saves_per_epoch": 2,
}


def clashing(target: str, key: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The spec of a clash, without the key and with it."""
    spec = over_base(target, {"model": SMALL, **TABLES[target][key][number]})
    spec.setdefault("targets", {}).setdefault(target, {}).setdefault("extra", {})
    with_key = copy.deepcopy(spec)
    with_key["targets"][target]["extra"][key] = VALUES.get(key, True)
    return spec, with_key


@pytest.mark.parametrize(("target", "key", "number"), CLASHING)
def test_what_the_framework_would_refuse_is_refused(target: str, key: str, number: int, tmp_path: Path) -> None:
    spec, with_key = clashing(target, key, number)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert api.compile(tmp_path / "run.yaml", [target])
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(with_key), encoding="utf-8")
    with pytest.raises(SpecError, match=rf"error: {key}: ") as refused:
        api.compile(tmp_path / "run.yaml", [target])
    assert str(refused.value).startswith(f"{tmp_path}/run.yaml:")


@pytest.mark.parametrize("target", TABLES)
def test_every_clash_has_a_case(target: str) -> None:
    met = set()
    for _, key, number in (one for one in CLASHING if one[0] == target):
        spec, with_key = clashing(target, key, number)
        (one,) = api.compile(spec, [target], out="out")
        for file in api.lower(api.load(spec), one.plan, Path("out"), with_key["targets"][target]["extra"]).files:
            data = file.said.data if file.said else {}
            met |= {clash for clash in get(target).CLASHES if clash.key == key in data and clash.when(one.plan, data)}
    assert met == set(get(target).CLASHES)
