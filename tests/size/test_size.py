"""`mfc size`: what it says fits is what `mfc plan` finds there, in the order that it promises."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import mfc
import mfc.schemas
import pytest
from mfc.catalog import models as catalogue
from mfc.cli import main
from mfc.errors import MfcError
from mfc.plans import attempt
from mfc.size import cards, models
from mfc.size.attempts import Attempts, Fitting
from mfc.size.schema import json_schema

SCHEMA = Path(mfc.schemas.__path__[0], "size.schema.json")
SPECS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "adapters": (
        {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 3090", "data": {"max_length": 4096}},
        *("llamafactory", ("RTX 3060 Ti", "MI300X")),
    ),
    "what is said of the own cards does not hold elsewhere": (
        {
            "model": "Qwen/Qwen3-4B",
            "hardware": {
                "gpu": {"name": "A100 SXM 80GB", "memory": "40GiB", "tflops": 200},
                "count": 2,
                "devices": [0, 2],
                "gpu_reserved": "30GiB",
                "interconnect": {"intra": "nvlink"},
            },
            "train": {"method": "full"},
        },
        *("trl", ("RTX 4090D", "H100 PCIe")),
    ),
    "a batch that not all numbers divide": (
        {"model": "Qwen/Qwen2.5-14B", "hardware": "RTX 4090", "train": {"batch_size": 12}},
        *("ms-swift", ("RTX 3090 Ti",)),
    ),
    "several machines": (
        {"model": "meta-llama/Llama-3.1-70B", "hardware": "8x H100", "train": {"method": "full"}},
        *("llamafactory", ("A100 SXM 80GB",)),
    ),
}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(each) for each in arguments])
    return int(end.value.code or 0)


def agrees(spec: dict[str, Any], target: str, one: Fitting) -> None:
    """What fits by `mfc size` is what `mfc plan` makes of the edited spec."""
    sets = [f"{path}={str(value).lower() if isinstance(value, bool) else value}" for path, value in one.edit.items()]
    plan = mfc.plan(spec, target, sets)
    assert plan.fits
    assert plan.strategy == one.strategy
    assert plan.memory.upper_bytes == pytest.approx(one.upper_bytes, abs=2)
    assert plan.speed.seconds_per_step == pytest.approx(one.seconds_per_step)
    assert plan.problem.hardware == one.hardware


@pytest.mark.parametrize("name", SPECS)
def test_what_is_offered_is_what_planning_finds(name: str) -> None:
    spec, target, named = SPECS[name]
    loaded = mfc.load(spec)
    attempts = Attempts(loaded, target, {})
    asked = cards.candidates({}, named, False)
    found = [offer for offer in cards.offers(loaded, attempts, asked) if offer]
    if name == "several machines":
        assert not found
        found = [offer for offer in cards.clusters(loaded, attempts, asked) if offer]
    assert found
    for offer in found:
        agrees(spec, target, offer.fitting[0])
        agrees(spec, target, offer.fitting[-1])
        for one in offer.fitting:
            assert one.hardware.memory_bytes == offer.gpu.usable_bytes
    for gpu in asked:
        counts = [one.hardware.world_size for offer in found if offer.gpu == gpu for one in offer.fitting]
        if 1 not in counts and name != "several machines":
            sets = [f"{path}={value}" for path, value in cards.edit(loaded, gpu, 1, 1).items()]
            made = attempt(partial(mfc.plan, spec, target, sets))
            assert isinstance(made, MfcError) or not made.fits


def test_the_smallest_machines_come_first() -> None:
    spec, target, named = SPECS["adapters"]
    loaded = mfc.load(spec)
    asked = cards.candidates({}, ("L40S", "T4", *named[:1]), False)
    found = cards.ranked([one for one in cards.offers(loaded, Attempts(loaded, target, {}), asked) if one])
    memory = [one.fitting[0].hardware.world_size * one.gpu.memory_bytes >> 30 for one in found]
    assert memory == sorted(memory)


def test_laptops_are_offered_where_they_are_named() -> None:
    assert not [gpu for gpu in cards.candidates({}, (), False) if "Laptop" in gpu.name]
    assert [gpu for gpu in cards.candidates({}, ("4090 laptop",), False) if "Laptop" in gpu.name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.yaml").write_text("RTX 4090: $0.40/h\nA100 80GB: $1.50/h\nA10: $0.2/h\n", encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(
        "model: Qwen/Qwen2.5-7B-Instruct\nhardware: {gpu: RTX 4090, price: prices.yaml}\n"
        "data: {train: [{path: a.jsonl, samples: 20000}], max_length: 2048, mean_length: 700}\n",
        encoding="utf-8",
    )
    (tmp_path / "any.yaml").write_text("model: any\nhardware: RTX 4090\n", encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_file_of_prices_is_what_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("size", "spec.yaml", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, json_schema())
    assert said["asked"] == 3
    by_gpu: dict[str, float] = {}
    for one in said["fitting"]:
        run_ = one["run"]
        gpus_ = one["gpus_per_node"] * one["nodes"]
        assert run_["cost"]["run"] == pytest.approx(run_["cost"]["an_hour"] * gpus_ * run_["seconds"] / 3600)
        by_gpu[one["gpu"]] = min(by_gpu.get(one["gpu"], 1e9), run_["cost"]["run"])
    assert list(by_gpu) == sorted(by_gpu, key=by_gpu.__getitem__)
    assert run("size", "spec.yaml") == 0
    shown = capsys.readouterr().out
    assert f"${min(by_gpu.values()):.2f} with" in shown
    assert "the whole run, 20,000 rows" in shown


@pytest.mark.usefixtures("folder")
def test_any_model_is_asked_by_its_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("size", "any.yaml", "smollm2", "qwen2.5-14b", "qwen2.5-72b", "-t", "ms-swift", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, json_schema())
    methods = {one["model"]: one["method"] for one in said["fitting"]}
    assert methods["HuggingFaceTB/SmolLM2-135M"] == "full"
    assert methods["Qwen/Qwen2.5-14B"] == "qlora"
    assert not [model for model in methods if "72B" in model]
    sizes = [one["parameters"] for one in said["fitting"]]
    assert sizes == sorted(sizes, reverse=True)
    for one in (said["fitting"][0], said["fitting"][-1]):
        plan = mfc.plan("any.yaml", "ms-swift", [f"{path}={value}" for path, value in one["set"].items()])
        assert plan.fits
        assert plan.memory.upper_bytes == pytest.approx(one["upper_bytes"], abs=2)
    assert run("size", "any.yaml", "smollm2") == 0
    assert "full: up to" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("size", "spec.yaml", "RTX 9999"), 2, "no card whose name contains RTX 9999"),
        (("size", "any.yaml", "gpt-9"), 2, "no model whose id contains gpt-9"),
        (("size", "any.yaml", "Qwen2.5-72B", "--set", "train.method=full"), 3, "can train 0 of"),
        (("size", "spec.yaml", "GTX 1070", "--set", "model=moonshotai/Kimi-K2-Instruct"), 3, "fits on none of 1"),
        (("plan", "any.yaml"), 2, "mfc size answers that"),
    ],
)
def test_what_cannot_be_answered_says_so(
    arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_shapes_are_asked_once() -> None:
    found = models.candidates(["qwen2.5-7b"])
    assert len({entry.architecture for entry in found}) == len({(one.architecture, one.quantization) for one in found})
    assert len(found) < len([entry for entry in catalogue.all_models() if "qwen2.5-7b" in entry.id.lower()])


def test_the_schema_is_the_generated_one() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()
