"""A run of one framework as another's: what both can say stays, and what does not is told with its reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from mfc import emit, imports
from mfc.cli import main
from mfc.errors import CannotExpress, SpecError
from mfc.fields import place
from mfc.imports import converted
from mfc.imports.convert import Converted, convert
from mfc.target import imports as imports_of
from mfc.target import names

from tests.targets import cases

DRAWN, MOST = 2, 8  # runs of each framework that are converted to another, and those that are tried
TRAIN = """\
model_name_or_path: Qwen/Qwen2.5-7B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
dataset: rows
template: qwen
cutoff_len: 2048
bf16: true
per_device_train_batch_size: 1
gradient_accumulation_steps: 4
plot_loss: true
"""
INFO = '{"rows": {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": {"messages": "conversations"}}}'


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(INFO, encoding="utf-8")
    (tmp_path / "train.yaml").write_text(TRAIN, encoding="utf-8")
    return Path("train.yaml")


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


def untold(one: Converted) -> set[str]:
    """Fields that the spec says, that became others, and of which no refusal tells."""
    told = [each.path for each in one.loosened]  # fields, and whole sections
    said = {each.field for each in one.shifts if cases.at(one.source.spec, place(each.field)) is not cases.MISSING}
    return {name for name in said if not any(f"{place(name)}.".startswith(f"{path}.") for path in told)}


@pytest.mark.parametrize("source", [name for name in names() if imports_of(name)])
def test_what_both_can_say_stays(source: str, folder: Path) -> None:
    rng = random.Random(source)
    tried, able = 0, False
    good = cases.good(source)
    for name in rng.sample(good, k=min(MOST, len(good))):
        if tried == DRAWN:
            break
        made = cases.compiled(source, name, folder)
        emit.write(made, True)
        one = imports.read(cases.started(made), None, "{gpu: A100-80G, interconnect: {inter: 100Gbps}}", made.out)
        able = able or "model" in one.spec  # the file of an engine alone names none
        for to in rng.sample([other for other in names() if other != source], k=2):
            try:
                other = convert(one, to)
            except (SpecError, CannotExpress):
                continue
            tried += 1
            assert untold(other) == set()
            assert converted.text(other)
            assert converted.document(other)["to"]["target"] == to
    assert tried or not able


def test_the_table_tells_what_differs(train: Path) -> None:
    one = convert(imports.read(str(train), None, "2x RTX 4090"), "ms-swift")
    assert one.loosened == ()
    assert one.same["micro_batch"] == 1
    assert {each.key: (each.usual, each.value) for each in one.defaults}["lora_dropout"] == (0.05, 0.0)
    assert [row.key for row in one.own] == ["plot_loss"]


def test_what_the_other_cannot_say_is_told(train: Path) -> None:
    train.write_text(TRAIN + "max_samples: 100\n", encoding="utf-8")
    one = convert(imports.read(str(train), None, "2x RTX 4090"), "trl")
    assert [each.path for each in one.loosened] == [
        "data.train[0].samples",
        "data.train[0].format",
        "strategy.loss",
    ]
    assert "cannot say data.train[0].samples" in one.loosened[0].why


def test_a_spec_and_its_files_are_written(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", train, "--to", "ms-swift", "--hardware", "2x RTX 4090", "-o", "run.yaml") == 0
    assert "lora_dropout" in capsys.readouterr().out
    assert Path("run/ms-swift/train.sh").is_file() or list(Path("run/ms-swift").glob("*.sh"))
    assert run("check", "run.yaml") == 0
    assert run("convert", train, "--to", "ms-swift", "--hardware", "2x RTX 4090") == 0
    out = capsys.readouterr()
    assert "lora_dropout" in out.err
    assert "swift" in out.out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--to", "ms-swift"], 2, "does not tell the GPU"),
        (["--to", "llamafactory", "--hardware", "RTX 4090"], 2, "is a run of LLaMA-Factory already"),
        (["--to", "ms-swfit", "--hardware", "RTX 4090"], 2, "did you mean"),
        (["--to", "ms-swift", "--hardware", "RTX 4060 Ti 16GB"], 3, "--set train.method=qlora"),
        (["--to", "ms-swift", "--hardware", "RTX 4060 Ti 16GB", "--set", "train.method=qlora"], 0, "ms-swift"),
    ],
)
def test_refusals(options: list[str], code: int, said: str, train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", train, *options) == code
    assert said in capsys.readouterr().err
