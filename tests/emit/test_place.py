"""Outputs go where the spec says, in its own repository."""

import json
import os
import random
import unicodedata
from pathlib import Path

import pytest
from mfc import api
from mfc.emit import place
from mfc.errors import SpecError

SPEC = "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\n"


def spec(folder: Path, out: str | None, name: str = "run.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    setting = "{}" if out is None else f"{{out: {out}}}"
    (folder / name).write_text(f"{SPEC}targets:\n  sample: {setting}\n")
    return folder / name


def declared(path: Path) -> Path:
    return place.declared(api.load(path), "sample")


def test_the_default_is_beside_the_spec(tmp_path: Path) -> None:
    assert declared(spec(tmp_path, None)) == tmp_path / "run" / "sample"


def test_out_is_relative_to_the_file_that_says_so(tmp_path: Path) -> None:
    spec(tmp_path / "bases", "made/here", "base.yaml")
    child = tmp_path / "run.yaml"
    child.write_text("extends: bases/base.yaml\nhardware: 2x RTX 4090\n")
    assert declared(child) == tmp_path / "bases" / "made" / "here"


@pytest.mark.parametrize("out", ["..", "../other", "/tmp/elsewhere", "a/../../other", "link/below"])
def test_outside_of_a_repository_it_stays_below_the_spec(tmp_path: Path, out: str) -> None:
    home = tmp_path / "home"
    path = spec(home, out)
    (home / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(SpecError, match="outside") as error:
        declared(path)
    assert f"{path}:4:" in str(error.value)


def test_in_a_repository_it_stays_there(tmp_path: Path) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert declared(spec(tmp_path / "repo" / "specs", "../configs")) == tmp_path / "repo" / "configs"
    with pytest.raises(SpecError, match="outside"):
        declared(spec(tmp_path / "repo" / "specs", "../../configs"))


@pytest.mark.parametrize("out", [".git/hooks", ".GIT/hooks"])
def test_never_in_gits_own_folder(tmp_path: Path, out: str) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(SpecError, match="git's own"):
        declared(spec(tmp_path, out))


NAMES = ("a", "A", "b", "a/b", "A/B/c", "ab", "é", "e\u0301", "É/x", ".", "a/../b", "run", "run/two")


@pytest.mark.parametrize("seed", range(60))
def test_targets_share_no_folder(tmp_path: Path, seed: int) -> None:
    """Drawn folders are refused where some file system takes one for the other, or for a part of it."""
    one, two = random.Random(seed).choices((None, *NAMES), k=2)
    settings = {"one": {"out": one}, "two": {"out": two}}
    path = tmp_path / "run.yaml"
    path.write_text(f"{SPEC}targets: {json.dumps(settings)}\n", encoding="utf-8")
    folded = [
        unicodedata.normalize("NFC", os.path.normpath(tmp_path / (out or f"run/{name}"))).casefold().split(os.sep)
        for name, out in (("one", one), ("two", two))
    ]
    shared = all(mine == theirs for mine, theirs in zip(*folded, strict=False))
    loaded = api.load(path)
    for name in ("one", "two"):
        if shared:
            with pytest.raises(SpecError, match="a folder for each target"):
                place.declared(loaded, name)
        else:
            place.declared(loaded, name)


def test_only_what_the_spec_asks_for_is_declared(tmp_path: Path) -> None:
    loaded = api.load(spec(tmp_path, None))
    assert place.is_declared(loaded, "sample", tmp_path / "run" / ".." / "run" / "sample")
    assert not place.is_declared(loaded, "sample", tmp_path / "elsewhere")
    assert not place.is_declared(loaded, "other", tmp_path / "run" / "other")
