"""What holds for every output of every target: over all cases that compile, and over strings that would escape."""

from __future__ import annotations

import ast
import random
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mfc.schemas
import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.emit.quote import plain
from mfc.errors import CannotExpress, MfcError, SpecError
from mfc.target import File, contracts, get, names

from tests.targets.cases import GOOD, at, compiled, data_called, good, lowered, over_base, read
from tests.targets.launching import NASTY, launch

every_target = pytest.mark.parametrize("target", names())
every_output = pytest.mark.parametrize(("target", "name"), GOOD)


def scripts(one: Compiled) -> set[str]:
    return {file for file in one.files if file.endswith(".sh")}


def leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, Mapping):
        for value in data.values():
            yield from leaves(value)
    elif isinstance(data, list):
        for value in data:
            yield from leaves(value)
    else:
        yield data


@every_output
def test_what_carries_no_field_says_the_same_in_every_plan(target: str, name: str, folder: Path) -> None:
    here, there = (unfounded(lowered(target, one, folder)) for one in (name, good(target)[0]))
    assert {key: there[key] for key in here.keys() & there.keys()} == {
        key: here[key] for key in here.keys() & there.keys()
    }


def spelt(value: Any) -> Any:
    """A value as a reader has it that takes the items of a list for words."""
    return list(map(str, value)) if isinstance(value, list) else (type(value) is bool, value)


def unfounded(files: tuple[File, ...]) -> dict[str, Any]:
    """What keys say that carry no field."""
    return {
        key: at(file.said.data, key)
        for file in files
        if file.said
        for key, fields in file.said.cites.items()
        if not fields
    }


@every_output
def test_files_say_what_the_keys_say(target: str, name: str, folder: Path) -> None:
    """So `mfc explain KEY` tells what stands in the file; nothing is edited on the way."""
    one = compiled(target, name, folder)
    for file in lowered(target, name, folder):
        if file.said is None or file.path.endswith((".sh", ".py")):
            continue
        data = read(file.path, one.files[file.path])
        for key in file.said.cites:
            assert spelt(at(data, key)) == spelt(plain(at(file.said.data, key))), key


@every_output
def test_the_batch_is_held_and_nothing_is_auto(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    strategy, size = one.plan.strategy, one.plan.values["batch_size"]
    rows = strategy.micro_batch * strategy.gradient_accumulation * strategy.world_size
    assert size * strategy.sequence_parallel == rows
    for file in one.files.keys() - scripts(one):
        assert "auto" not in set(leaves(read(file, one.files[file]))), file


@every_output
def test_the_launcher_is_sound(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    assert one.executable == scripts(one) != set()
    for file in one.executable:
        subprocess.run(["bash", "-n"], input=one.files[file], text=True, check=True)


@every_target
def test_several_nodes_ask_who_they_are(target: str, tmp_path: Path) -> None:
    hardware = {"count": 2, "nodes": 2, "interconnect": {"inter": "100Gbps"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(over_base(target, {"hardware": hardware})), encoding="utf-8")
    try:
        (one,) = api.compile(tmp_path / "run.yaml", [target])
    except CannotExpress:
        return
    for file in one.executable:
        done = launch(one, tmp_path / "out", file, "train.py")
        assert done.returncode != 0
        assert "set NODE_RANK" in done.stderr


@every_target
def test_up_to_64_nodes_of_8_gpus(target: str, tmp_path: Path) -> None:
    """Drawn counts, each under an engine that starts it: the batch is held, and every node starts its processes."""
    draw = random.Random(target)
    for nodes in (1, *sorted(draw.sample(range(2, 64), 2)), 64):
        inter = {"interconnect": {"inter": "400Gbps"}} if nodes > 1 else {}
        engine = draw.choice(("torchrun", "slurm", "ray", "skypilot"))
        spec = over_base(target, {"hardware": {"count": 8, "nodes": nodes, "host_memory": "2TiB", **inter}})
        spec["train"] = {**spec.get("train", {}), "batch_size": draw.choice(("auto", 32 * nodes * draw.randint(1, 3)))}
        words = {} if engine == "torchrun" else {"arguments": ["train.py"]}  # some start scripts want a script's name
        spec["run"] = {**spec.get("run", {}), "launcher": {"engine": engine, **words}}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        try:
            (one,) = api.compile(tmp_path / "run.yaml", [target])
        except CannotExpress:
            return
        plan = one.plan
        assert plan.fits
        assert plan.strategy.world_size == 8 * nodes
        assert plan.strategy.micro_batch * plan.strategy.gradient_accumulation * 8 * nodes == (
            plan.values["batch_size"] * plan.strategy.sequence_parallel
        )
        assert 1e-7 < plan.values["learning_rate"] < 1e-2
        assert 0 < plan.memory.upper_bytes <= plan.budget_bytes


def words(target: str, text: str, folder: Path) -> Compiled:
    """The base with one text as its output folder and in the name of its data."""
    folder.mkdir(exist_ok=True)
    spec = over_base(target, {"run": {"output_dir": text}})
    spec["data"] = data_called(target, text)
    (folder / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(folder / "run.yaml", [target])
    return one


def said(one: Compiled, text: str) -> dict[str, int]:
    """How often each file holds a text in its strings."""
    strings: dict[str, Iterator[Any]] = {}
    for file, written in one.files.items():
        if file.endswith(".py"):
            strings[file] = (node.value for node in ast.walk(ast.parse(written)) if isinstance(node, ast.Constant))
        elif not file.endswith(".sh"):
            strings[file] = leaves(read(file, written))
    return {file: sum(text in value for value in found if isinstance(value, str)) for file, found in strings.items()}


@every_target
@pytest.mark.parametrize(("text", "other"), [("o[1]", "o1"), ("o?*", "o12")])
def test_only_the_runs_own_checkpoints_are_found(target: str, text: str, other: str, tmp_path: Path) -> None:
    """The output folder is a name: no other that it would match as a pattern counts as its own."""
    try:
        plain, odd = words(target, "word", tmp_path / "plain"), words(target, text, tmp_path / "odd")
    except (CannotExpress, SpecError):
        return
    for file in odd.executable:
        assert stopped(odd, file, text) == stopped(plain, file, "word"), file
        assert not stopped(odd, file, other), file


def stopped(one: Compiled, script: str, folder: str) -> bool:
    """Whether a script stops before it starts anything, where this folder holds a checkpoint."""
    assert one.spec
    home = Path(tempfile.mkdtemp(dir=one.spec.parent))
    for each in (home / "out" / folder, home / "out" / "outputs" / folder):
        (each / "checkpoint-1").mkdir(parents=True)
    return "move " in launch(one, home / "out", script, "train.py").stderr


@cache
def benign(target: str, folder: Path) -> dict[str, int]:
    """How often each file of a target's holds a word that is no trouble to anyone."""
    return said(words(target, "word", folder / f"{target}-word"), "word")


@every_target
@pytest.mark.parametrize("text", NASTY)
def test_strings_stay_in_their_place(target: str, text: str, folder: Path, tmp_path: Path) -> None:
    expected = benign(target, folder)
    try:
        one = words(target, text, tmp_path)
    except (CannotExpress, SpecError):
        return
    assert said(one, text) == expected
    for file in one.executable:
        subprocess.run(["bash", "-n"], input=one.files[file], text=True, check=True)
        launch(one, tmp_path / "out", file)
    assert not list(tmp_path.rglob("pwned"))


@every_target
def test_unmodelled_keys_exist_and_are_not_ours(target: str, folder: Path) -> None:
    module = get(target)
    assert {key.name for key in module.KEYS} & module.UNMODELLED == set()
    named = {file.contract for name in good(target) for file in lowered(target, name, folder)}
    families = {one.rpartition("-")[0] for one in named if one and one.startswith(f"{target}-")}
    wanted = {f"{family}-{version}" for family in families for version in module.VERSIONS}
    there = {file.stem for file in Path(mfc.schemas.__path__[0], "contracts").glob("*.json")}
    schemas = [contracts.load(one) for one in sorted(wanted & there)]
    assert [key for key in module.UNMODELLED if schemas and not any(describes(one, key) for one in schemas)] == []


def describes(schema: Mapping[str, Any], key: str) -> bool:
    """Whether a contract knows a dotted key, or leaves open what stands there."""
    first, _, rest = key.partition(".")
    inner = schema.get("properties", {}).get(first)
    return "$ref" in schema or (inner is not None and (not rest or describes(inner, rest)))


CARETS = {
    "an unknown model": ("model: Qwen/Qwen9\nhardware: T4\n", "1:8"),
    "an unknown model of a mapping": ("model:\n  revision: main\n  id: Qwen/Qwen9\nhardware: T4\n", "3:7"),
    "a config that is not there": ("model: {id: a/b, config: none.json}\nhardware: T4\n", "1:26"),
    "an unknown GPU": ("model: Qwen/Qwen3-8B\nhardware:\n  gpu: RTX 4900\n", "3:8"),
    "a link that the GPU lacks": (
        "model: Qwen/Qwen3-8B\nhardware: {gpu: T4, count: 2, interconnect: nvlink}\n",
        "2:45",
    ),
}


@every_target
@pytest.mark.parametrize("case", CARETS)
def test_errors_point_at_the_value(target: str, case: str, tmp_path: Path) -> None:
    text, place = CARETS[case]
    (tmp_path / "run.yaml").write_text(f"{text}data: a.jsonl\n", encoding="utf-8")
    with pytest.raises(MfcError) as refused:
        api.compile(tmp_path / "run.yaml", [target])
    assert str(refused.value).startswith(f"{tmp_path}/run.yaml:{place}: error: ")
