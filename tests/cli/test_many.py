"""Many specs in one command: a process for each core, and everything told in the order of the specs."""

from __future__ import annotations

from pathlib import Path

import pytest
from mfc import cores
from mfc.cli import main

SPEC = """\
model: {model}
hardware: {{gpu: RTX 4090, count: {count}}}
data: {{path: train.jsonl, format: messages, max_length: 1024}}
train: {{method: lora, batch_size: 8}}
targets: [llamafactory, trl]
"""
MODELS = ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen9", "Qwen/Qwen2.5-0.5B-Instruct")


def compiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str, dict[str, str]]:
    """The exit code, what was printed and what was written for specs of which some cannot be compiled."""
    folder.mkdir()
    for number, model in enumerate(MODELS):
        (folder / f"run{number}.yaml").write_text(SPEC.format(model=model, count=number % 2 + 1), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["compile", *(str(path) for path in sorted(folder.glob("*.yaml")))])
    said = capsys.readouterr()
    written = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".mfc.json"
    }
    return stop.value.code, said.out.replace(str(folder), "."), said.err.replace(str(folder), "."), written


@pytest.mark.parametrize("count", [2, 3])
def test_it_is_as_if_one_had_come_after_the_other(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = compiled(tmp_path / "alone", capsys)
    assert alone[0] == 3
    assert "Qwen9" in alone[2]
    assert any(path.startswith("run3/trl/") for path in alone[3])
    monkeypatch.setattr(cores, "MANY", 2)
    monkeypatch.setattr(cores, "_cores", lambda: count)
    assert compiled(tmp_path / "together", capsys) == alone
