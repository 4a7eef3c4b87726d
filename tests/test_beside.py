"""What exists beside the spec is a path, however it looks; names that are not there stay names of a hub."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from mfc import api

SPEC = {
    "model": {"id": "Qwen/Qwen2.5-7B-Instruct", "adapter": "out/sft"},
    "hardware": "2x RTX 4090",
    "data": {"path": "train.jsonl", "format": "messages"},
    "train": {"batch_size": 16},
    "run": {"output_dir": "Qwen"},
    "targets": ["llamafactory", "ms-swift"],
}


def written(folder: Path, *folders: str) -> Path:
    for name in folders:
        (folder / name).mkdir(parents=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("folders", "model", "adapter"),
    [
        ((), "Qwen/Qwen2.5-7B-Instruct", "out/sft"),
        (("out/sft",), "Qwen/Qwen2.5-7B-Instruct", "../../out/sft"),
        (("Qwen/Qwen2.5-7B-Instruct", "out"), "../../Qwen/Qwen2.5-7B-Instruct", "out/sft"),
    ],
)
def test_folders_beside_the_spec_are_paths(folders: tuple[str, ...], model: str, adapter: str, tmp_path: Path) -> None:
    one, two = api.compile(written(tmp_path, *folders))
    yaml_of = yaml.safe_load(one.files["train.yaml"])
    assert (yaml_of["model_name_or_path"], yaml_of["adapter_name_or_path"]) == (model, adapter)
    other = yaml.safe_load(two.files["run.yaml"])
    assert (other["model"], other["adapters"]) == (model, [adapter])
    assert yaml_of["template"] == "qwen"
    warned = {warning.id for warning in one.plan.warnings}
    assert ("model/folders-beside-the-spec" in warned) is any(name.count("/") for name in folders)


def test_what_would_change_the_answer_is_looked_for(tmp_path: Path) -> None:
    (one, _) = api.compile(written(tmp_path, "out/sft"))
    assert [os.path.relpath(path, tmp_path) for path in one.probes] == ["Qwen/Qwen2.5-7B-Instruct"]


def test_models_that_score_answers_are_folders_too(tmp_path: Path) -> None:
    train = {"task": "grpo", "rollout": {"rewards": ["accuracy", "org/judge"]}}
    (tmp_path / "org/judge").mkdir(parents=True)
    (tmp_path / "accuracy").mkdir()
    spec = {**SPEC, "model": "Qwen/Qwen2.5-0.5B-Instruct", "train": train, "targets": ["ms-swift"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert api.plan(tmp_path / "run.yaml", "ms-swift").values["rewards"] == ("accuracy", "./org/judge")
