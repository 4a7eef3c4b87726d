"""Spec -> native files, from tests/cases/targets; and what holds for all of them."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.errors import MfcError
from mfc.target import contracts, get
from mfc.target.keys import native, overlay
from mfc.targets.deepspeed.keys import ENGINE
from mfc.targets.deepspeed.rules import ELSEWHERE as DEEPSPEED_ELSEWHERE
from mfc.targets.deepspeed.rules import SCRIPT
from mfc.targets.llamafactory.keys import ELSEWHERE as LLAMAFACTORY_ELSEWHERE

FOLDER = Path(__file__).parent.parent / "cases" / "targets"
TABLES: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in FOLDER.glob("*.yaml")
    if path.stem != "rules"
}
ALL = [(target, name) for target, table in sorted(TABLES.items()) for name in table["cases"]]
GOOD = [(target, name) for target, name in ALL if "refused" not in TABLES[target]["cases"][name]]
MISSING = object()


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(base)
    overlay(made, over)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs")


@cache
def compiled(target: str, name: str, folder: Path) -> Compiled:
    table = TABLES[target]
    case = table["cases"][name]
    home = folder / target / name
    home.mkdir(parents=True, exist_ok=True)
    if "config" in case:
        (home / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
    spec = merge(table["base"], case.get("spec", {}))
    spec["data"] = {key: value for key, value in spec["data"].items() if value is not None}
    (home / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(home / "run.yaml", [target])
    return one


def read(one: Compiled, file: str) -> Any:
    text = one.files[file]
    return yaml.safe_load(text) if file.endswith(".yaml") else json.loads(text)


def at(data: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return MISSING
        data = data[part]
    return data


@pytest.mark.parametrize(("target", "name"), ALL)
def test_case(target: str, name: str, folder: Path) -> None:
    case = TABLES[target]["cases"][name]
    if "refused" in case:
        with pytest.raises(MfcError) as refused:
            compiled(target, name, folder)
        assert case["refused"] in str(refused.value)
        return
    one = compiled(target, name, folder)
    for file, wanted in case.get("expect", {}).items():
        data = read(one, file)
        assert {path: at(data, path) for path in wanted} == wanted, file
    for file, paths in case.get("absent", {}).items():
        data = read(one, file)
        assert [path for path in paths if at(data, path) is not MISSING] == [], file
    lines = one.files["launch.sh"].splitlines()
    assert [line for line in case.get("launch", []) if line not in lines] == []
    assert [text for text in case.get("no_launch", []) if text in one.files["launch.sh"]] == []
    if "warned" in case:
        assert case["warned"] in [advice.id for advice in one.plan.warnings]


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_every_key_is_cited_and_every_decision_carried(target: str, name: str, folder: Path) -> None:
    plan = compiled(target, name, folder).plan
    module = get(target)
    for key in native(module.KEYS, plan).cites.values():
        assert key, "a key without a plan field"
    carried = {field for key in (*module.KEYS, *ENGINE) for field in key.fields}
    elsewhere = {*SCRIPT, *DEEPSPEED_ELSEWHERE} if target == "deepspeed" else set(LLAMAFACTORY_ELSEWHERE)
    decided = [field for field in plan.decisions if plan.values[field] is not None]
    assert [field for field in decided if field not in carried and field not in elsewhere] == []


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_the_batch_is_held_and_nothing_is_auto(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    strategy, size = one.plan.strategy, one.plan.values["batch_size"]
    assert size == strategy.micro_batch * strategy.gradient_accumulation * strategy.world_size
    if "ds_config.json" in one.files:
        config = read(one, "ds_config.json")
        assert config["train_batch_size"] == size
        assert "auto" not in set(leaves(config))
        if "train.yaml" in one.files:
            run = read(one, "train.yaml")
            assert config["train_micro_batch_size_per_gpu"] == run["per_device_train_batch_size"]
            assert config["gradient_accumulation_steps"] == run["gradient_accumulation_steps"]
            assert config["gradient_clipping"] == run["max_grad_norm"]
            assert config.get("bf16", {"enabled": False})["enabled"] == run["bf16"]
            assert config.get("fp16", {"enabled": False})["enabled"] == run["fp16"]


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_the_launcher_is_sound(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    assert one.executable == {"launch.sh"}
    subprocess.run(["bash", "-n"], input=one.files["launch.sh"], text=True, check=True)


def leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, Mapping):
        for value in data.values():
            yield from leaves(value)
    elif isinstance(data, list):
        yield from data
    else:
        yield data


def test_unmodelled_keys_do_not_verify(folder: Path) -> None:
    """A key that memory does not count is passed, and the plan says that its bound no longer holds."""
    home = folder / "unmodelled"
    home.mkdir()
    spec = merge(TABLES["llamafactory"]["base"], {"targets": {"llamafactory": {"extra": {"use_unsloth_gc": True}}}})
    (home / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(home / "run.yaml")
    assert read(one, "train.yaml")["use_unsloth_gc"] is True
    assert not one.plan.verified


@pytest.mark.parametrize("target", sorted(TABLES))
def test_unmodelled_keys_exist_and_are_not_ours(target: str) -> None:
    module = get(target)
    known = [contracts.load(f"{target}-{version}") for version in module.VERSIONS]
    for path in module.UNMODELLED:
        assert any(at(schema, f"properties.{'.properties.'.join(path.split('.'))}") is not MISSING for schema in known)
    owned = {key.name for key in module.KEYS}
    assert not owned & module.UNMODELLED


@pytest.mark.parametrize("target", ["llamafactory", "ms-swift", "xtuner"])
def test_an_unknown_template_stops_compiling_not_planning(target: str, tmp_path: Path) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config |= {"intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 4096}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    text = "model: {id: org/strange, config: config.json}\nhardware: RTX 4090\ndata: rows.jsonl\n"
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    plan = api.plan(tmp_path / "run.yaml", target)
    assert plan.fits
    assert "to compile, set data.template" in plan.decisions["template"].because
    with pytest.raises(MfcError, match=r"set data\.template"):
        api.compile(tmp_path / "run.yaml", [target])


CARETS = {
    "an unknown model": ("model: Qwen/Qwen9\nhardware: T4\n", "1:8"),
    "an unknown model of a mapping": ("model:\n  revision: main\n  id: Qwen/Qwen9\nhardware: T4\n", "3:7"),
    "a config that is not there": ("model: {id: a/b, config: none.json}\nhardware: T4\n", "1:26"),
    "an unknown GPU": ("model: Qwen/Qwen3-8B\nhardware:\n  gpu: RTX 4900\n", "3:8"),
    "a link that the GPU lacks": (
        "model: Qwen/Qwen3-8B\nhardware: {gpu: T4, count: 2, interconnect: nvlink}\n",
        "2:45",
    ),
    "a word for the parser": (
        "model: Qwen/Qwen3-8B\nhardware: RTX 4090\nrun:\n  output_dir: ${HOME}/out\n",
        "4:15",
    ),
}


@pytest.mark.parametrize("case", CARETS)
def test_errors_point_at_the_value(case: str, tmp_path: Path) -> None:
    text, place = CARETS[case]
    (tmp_path / "run.yaml").write_text(f"{text}data: a.jsonl\n", encoding="utf-8")
    with pytest.raises(MfcError) as refused:
        api.compile(tmp_path / "run.yaml", ["llamafactory"])
    assert str(refused.value).startswith(f"{tmp_path}/run.yaml:{place}: error: ")
