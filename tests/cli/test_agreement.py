"""`mfc plan` refuses what `mfc compile` refuses, and of several targets one refusal does not silence the others."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import mfc.schemas
import pytest
import yaml
from mfc import api
from mfc.cli import main
from mfc.errors import CannotFit, MfcError
from mfc.planner.plan import Plan
from mfc.report.schema import json_schema
from mfc.target import commonest, get, names

from tests.targets.cases import ALL, good, over_base, written
from tests.targets.cases import case as the_case

REFUSED = [(target, name) for target, name in ALL if "refused" in the_case(target, name)]


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def planned(source: Any, target: str) -> str:
    """What `mfc plan` refuses, in full; empty when all is well."""
    try:
        loaded = api.load(source)
        (made,) = api.plan_each(loaded, [target], hub_cache=False)
        if isinstance(made, Plan):
            if not made.fits:
                return f"{CannotFit.__name__}: {api.cannot_fit(made, loaded.name)}"
            api.writable(loaded, made)
            return ""
    except MfcError as error:
        made = error
    return f"{type(made).__name__}: {made}"


def compiled(source: Any, target: str) -> str:
    """What `mfc compile` refuses, in full."""
    try:
        (made,) = api.compile_each(api.load(source), [target], out="out")
    except MfcError as error:
        made = error
    return f"{type(made).__name__}: {made}" if isinstance(made, MfcError) else ""


@pytest.mark.parametrize(("target", "name"), REFUSED)
def test_a_plan_refuses_what_compiling_refuses(target: str, name: str, tmp_path: Path) -> None:
    path = written(target, name, tmp_path)
    assert planned(path, target) == compiled(path, target) != ""


def keys(target: str) -> list[str]:
    """Keys of the newest contracts of a target, and keys that mfc writes itself."""
    found = {key.name for key in get(target).KEYS}
    for path in Path(mfc.schemas.__path__[0], "contracts").glob(f"{target}-*{get(target).VERSIONS[0]}.json"):
        found |= json.loads(path.read_text(encoding="utf-8")).get("properties", {}).keys()
    return sorted(found)


def drawn(seed: int) -> tuple[str, dict[str, Any]]:
    """A spec that compiles, changed by a native key, a template, a model or a GPU that it may not go with."""
    draw = random.Random(seed)
    target = draw.choice(names())
    chosen = [name for name in good(target) if "config" not in the_case(target, name)]
    spec = over_base(target, the_case(target, draw.choice(chosen)).get("spec", {}))
    match draw.choice(("key", "key", "misspelt", "template", "model", "gpu")):
        case "template":
            spec["data"] = {**spec["data"], "template": draw.choice(("qwen", "qwen2_5", "llama3", "nonesuch"))}
        case "model":
            spec["model"] = draw.choice(("Qwen/Qwen2-VL-2B-Instruct", "baichuan-inc/Baichuan-7B"))
        case "gpu":
            spec["hardware"] = {"gpu": draw.choice(("T4", "GTX 1080 Ti", "MI300X", "H200"))}
        case other:
            key = draw.choice(keys(target))
            key = key if other == "key" else f"{key[:3]}x{key[3:]}"
            extra = {key: draw.choice((True, 1, 0.5, "word", [1]))}
            spec["targets"] = {target: {**(spec.get("targets") or {}).get(target, {}), "extra": extra}}
    return target, spec


@pytest.mark.parametrize("seed", range(60))
def test_they_agree_on_drawn_specs(seed: int) -> None:
    target, spec = drawn(seed)
    assert planned(spec, target) == compiled(spec, target)


@pytest.mark.parametrize("target", [name for name in names() if get(name).TURN])
def test_a_plan_needs_no_data_and_checks_the_rest_all_the_same(target: str) -> None:
    spec = over_base(target, {})
    bare = {**spec, "data": {key: value for key, value in spec["data"].items() if key not in ("train", "path")}}
    assert planned(bare, target) == ""
    assert "data is needed to compile" in compiled(bare, target)
    bare["targets"] = {target: {"extra": {"nonesuch": 1}}}
    assert "nonesuch" in planned(bare, target)


GRPO = ("--set", "train.method=lora", "--set", "train.rollout.rewards=[accuracy]")


def test_a_spec_without_targets_is_planned_for_the_most_used_that_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: Qwen/Qwen3-8B\nhardware: 1x RTX 3060\ntrain: {method: qlora}\n", encoding="utf-8")
    first = commonest()[0]
    assert run("plan", path) == 0
    assert capsys.readouterr().out.startswith(f"{path} for {first} {get(first).VERSIONS[0]} (no target is named")
    assert run("explain", path, "micro_batch") == 0
    assert run("explain", path, "nonesuch") == 2
    assert "no value called 'nonesuch'" in capsys.readouterr().err
    assert run("plan", path, "--set", "train.task=grpo", *GRPO) in (0, 3)
    assert f"for {first} " not in capsys.readouterr().out.partition("\n")[0]
    assert run("plan", path, "-t", first) == 0
    assert capsys.readouterr().out.startswith(f"{path} for {first} {get(first).VERSIONS[0]}: fits")


MIXED = """\
model: microsoft/phi-4
hardware: {gpu: A100 40GB, count: 1}
data: {path: data/sft.jsonl, format: alpaca, max_length: 4096}
train: {method: lora, lora: {rank: 16}, batch_size: 32, epochs: 2}
targets: [xtuner, llamafactory, xtuner-v1, ms-swift]
"""


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two targets write it, on one it does not fit, one cannot say it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(MIXED, encoding="utf-8")
    return Path("run.yaml")


def test_what_fits_is_written_and_the_worst_code_is_returned(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", mixed) == 4
    assert sorted(path.name for path in Path("run").iterdir()) == ["llamafactory", "ms-swift"]
    said = capsys.readouterr().err
    assert "run.yaml: error: xtuner 0.2.0: nothing fits" in said
    assert "run.yaml: error: xtuner-v1 1.0.1 " in said
    assert run("compile", mixed, "--set", "targets=[xtuner, llamafactory]", "--check") == 3
    assert run("compile", mixed, "-t", "llamafactory", "-t", "ms-swift") == 0


def test_what_stands_in_the_way_of_one_target_leaves_the_others(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run", "llamafactory").mkdir(parents=True)
    Path("run", "llamafactory", "train.yaml").write_text("mine", encoding="utf-8")
    assert run("compile", mixed, "-t", "llamafactory", "-t", "ms-swift") == 1
    assert f"{Path('run/llamafactory/train.yaml')}: not written by mfc; kept" in capsys.readouterr().err
    assert Path("run", "llamafactory", "train.yaml").read_text(encoding="utf-8") == "mine"
    assert Path("run", "ms-swift", "train.sh").exists()
    assert run("compile", mixed, "-t", "llamafactory", "-t", "ms-swift", "--force") == 0


def test_plans_of_some_are_shown_though_others_refuse(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", mixed, "--format", "json") == 4
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, json_schema())
    plans = {plan["target"]: plan["fits"] for plan in said["plans"]}
    assert plans == {"xtuner": False, "llamafactory": True, "ms-swift": True}
    (refused,) = said["refused"]
    assert (refused["target"], refused["exit_code"]) == ("xtuner-v1", 4)
    assert "run.yaml: error: xtuner-v1 1.0.1 " in refused["error"]
    assert run("explain", mixed, "micro_batch") == 4
    assert "== llamafactory" in capsys.readouterr().out


def test_a_wrong_spec_is_refused_in_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: Qwen/Qwen3-8B\n", encoding="utf-8")
    assert run("plan", path, "--format", "json") == 2
    (refused,) = json.loads(capsys.readouterr().out)["refused"]
    assert (refused["spec"], refused["target"], refused["exit_code"]) == (str(path), None, 2)


def test_one_error_of_all_targets_is_told_once(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edits = ("--set", "hardware.gpu=T4", "--set", "train.precision=bf16", "--set", "targets=[llamafactory, ms-swift]")
    assert run("compile", mixed, *edits) == 2
    said = capsys.readouterr().err
    assert said.count("train.precision: bf16 is impossible here") == 1
    assert "  target: llamafactory, ms-swift\n" in said


ROOM = """\
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: A100 PCIe 40GB, count: 4, host_memory: 256GiB}
data: {path: train.jsonl, max_length: {min: 1024, max: 16384}}
train: {method: lora, batch_size: 32}
"""


def test_a_target_that_cannot_has_no_part_in_what_is_agreed(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    lengths = []
    for targets in ("[llamafactory, ms-swift]", "[llamafactory, ms-swift, xtuner-v1]"):
        path.write_text(f"{ROOM}targets: {targets}\n", encoding="utf-8")
        made = api.plan_each(api.load(path), yaml.safe_load(targets))
        lengths.append([plan.strategy.max_length for plan in made if isinstance(plan, Plan)])
    assert lengths[0] == lengths[1]
    assert len(set(lengths[0])) == 1
    assert isinstance(made[-1], MfcError)
