"""docs/tour.md names what exists, and shows what mfc writes."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.target.codecs import Reader
from mfc.target.reading import read

TEXT = (Path(__file__).parent.parent / "docs" / "tour.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(mfc(?:\.\w+)+)`", TEXT)))


@pytest.mark.parametrize("name", NAMES)
def test_the_name_exists(name: str) -> None:
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            fields = getattr(found, "model_fields", {})
            found = fields[part] if part in fields else getattr(found, part)
        return
    raise AssertionError(name)


def test_the_file_says_what_the_tour_shows() -> None:
    spec, shown = (re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL) for kind in ("yaml", "text"))
    assert spec
    assert shown
    (one,) = api.compile(yaml.safe_load(spec[1]), ["xtuner"])
    assert shown[1] in one.files["train.py"]
    assert one.plan.problem.pins["lora_rank"] == one.plan.values["lora_rank"] == 32
    assert one.plan.values["lora_alpha"] == 64
    (file, *_) = api.lower(api.load(yaml.safe_load(spec[1])), one.plan, one.out).files
    assert file.said
    assert '    Key("model.lora.r", same("lora_rank"), ADAPTERS)' in TEXT
    assert [key.codec.fields for key in file.said.keys if key.name == "model.lora.r"] == [("lora_rank",)]
    values = read(file.said.keys, Reader(one.plan.profile, ".", file.said.data)).values
    assert (values["lora_rank"], values["method"]) == ((32,), ("lora", "qlora"))
