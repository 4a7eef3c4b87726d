"""ModelScope's ids find the models of the catalogue."""

import json
from pathlib import Path

import pytest
from mfc.catalog import models, modelscope

IDS = json.loads((Path(modelscope.__file__).with_name("modelscope.json")).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("hub", "scope"), IDS.items())
def test_both_ids_are_one_model(hub: str, scope: str) -> None:
    assert modelscope.theirs(hub) == scope
    own = modelscope.ours(scope.lower())
    assert own is not None
    assert models.find(scope).architecture == models.find(own).architecture == models.find(hub).architecture


def test_other_ids_are_the_same_on_both() -> None:
    assert modelscope.theirs("Qwen/Qwen2.5-7B") is modelscope.ours("Qwen/Qwen2.5-7B") is None
