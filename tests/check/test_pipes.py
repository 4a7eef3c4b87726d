"""Pipes, devices and manifests that mfc did not write end in errors: nothing waits for them, nothing crashes."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from mfc import api, emit
from mfc.cli import main
from mfc.emit import manifest
from mfc.errors import MfcError

SPEC = "model: {id: Qwen/Qwen2.5-7B-Instruct}\nhardware: 8x H100\ndata: a.jsonl\ntargets: [trl]\n"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


odd = pytest.mark.parametrize("make", [pipe, device])


@odd
@pytest.mark.parametrize("what", ["spec", "base", "config"])
def test_inputs(what: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    spec, other = tmp_path / "run.yaml", tmp_path / "other"
    make(spec if what == "spec" else other)
    if what == "base":
        spec.write_text(f"extends: other\n{SPEC}")
    elif what == "config":
        spec.write_text(SPEC.replace("Instruct}", "Instruct, config: other}"))
    with pytest.raises(MfcError, match="a pipe or a device"):
        api.compile(spec)


@odd
@pytest.mark.parametrize("name", ["train.yaml", manifest.NAME])
def test_outputs(name: str, make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(SPEC)
    (one,) = api.compile("run.yaml")
    one.out.mkdir(parents=True)
    make(one.out / name)
    with pytest.raises(MfcError):
        emit.write(one)
    with pytest.raises(SystemExit) as ended:
        main(["check"])
    assert ended.value.code == 1


@pytest.mark.parametrize("seed", range(40))
def test_odd_manifests(seed: int, tmp_path: Path) -> None:
    """Whatever stands in a manifest, it is read or said to be broken, and lists nothing outside its folder."""
    draw = random.Random(seed)
    names = ["", ".", "./x", "a//b", "../x", "/x", "a\\..\\b", "nul\0", "\ud800", "x/", "train.yaml"]
    content = {
        "schema": draw.choice([1, 1, 1, 2, None]),
        "mfc": "0",
        "spec": draw.choice(["../run.yaml", "\0", "\ud800", "", 7]),
        "target": draw.choice(["trl", None, []]),
        "declared": True,
        "overrides": draw.choice([[], ["a\0=b"], 3]),
        "inputs": draw.choice([{}, [], {"": ""}]),
        "files": {draw.choice(names): "0"},
    }
    text = "[" * 100_000 if seed == 0 else json.dumps(content)
    (tmp_path / manifest.NAME).write_text(text)
    try:
        found = manifest.read(tmp_path)
    except manifest.Broken:
        return
    assert found
    assert list(found.files) == ["train.yaml"]


@odd
@pytest.mark.parametrize("command", ["import", "lint"])
def test_files_of_frameworks(command: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "train.yaml")
    with pytest.raises(SystemExit) as ended:
        main([command, str(tmp_path / "train.yaml")])
    assert ended.value.code == 2


@odd
def test_what_a_file_of_a_framework_names(make: Callable[[Path], None], tmp_path: Path) -> None:
    """What cannot be read counts as not there."""
    (tmp_path / "train.sh").write_text("llamafactory-cli train train.yaml\n")
    make(tmp_path / "train.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["import", str(tmp_path / "train.sh")])
    assert ended.value.code == 2


@odd
def test_what_stands_where_a_spec_would_go(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "spec.yaml")
    words = ["--gpu", "T4", "--count", "1", "--model", "Qwen/Qwen2.5-0.5B", "-o", str(tmp_path / "spec.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(["init", *words])
    assert ended.value.code == 1
