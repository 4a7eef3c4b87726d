"""`mfc verify`: what it needs, and what it says where the libraries are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from mfc.cli import main

from tests.conformance.environments import environment

ROOT = Path(__file__).parents[2]
CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 512,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
SPEC = """
model: {id: acme/new, config: config.json}
hardware: RTX 4090
data: {max_length: 1024, template: qwen3}
train: {method: lora}
strategy: {micro_batch: 4, loss: plain, gradient_checkpointing: false}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_it_must_be_told_how(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--simulate" in refused(capsys, "verify", spec)


def test_the_extra_is_named_when_it_is_missing(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without_torch(name: str, *rest: Any) -> Any:
        return None if name == "torch" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    said = refused(capsys, "verify", spec, "--simulate")
    assert "torch" in said
    assert "pip install 'mfc-compiler[simulate]'" in said


@pytest.mark.framework
def test_a_model_of_ones_own(spec: Path, tmp_path: Path) -> None:
    oracle = environment("oracle")
    package = tmp_path / "source" / "mfc"  # as an installed mfc lies, targets and schemas inside
    package.mkdir(parents=True)
    for entry in (*(ROOT / "compiler" / "mfc").iterdir(), ROOT / "targets", ROOT / "schemas"):
        (package / entry.name).symlink_to(entry)
    command: list[str | Path] = ["python", "-m", "mfc", "verify", spec, "--simulate"]
    variables = {"PYTHONPATH": str(package.parent)}
    done = oracle.run([*command, "--format", "json"], env=variables)
    (made,) = json.loads(done.stdout)["verified"]
    assert made["agrees"]
    assert made["layers_traced"] == [3, 4]
    assert abs(made["peak"]["difference_pct"]) < 1.5
    assert made["left_out"] == []
    said = oracle.run([*command, "--target", "llamafactory"], env=variables).stdout
    assert "agrees" in said
    assert "traced 3 and 4 of 6 layers" in said
    (spec.parent / "config.json").write_text(json.dumps({**CONFIG, "model_type": "brand_new"}), encoding="utf-8")
    refused_there = oracle.run(command, env=variables, check=False)
    assert refused_there.returncode == 2
    assert "brand_new" in refused_there.stderr
