"""Which files are taken for specs, and which outputs are found."""

import subprocess
from pathlib import Path

import pytest
from mfc import emit
from mfc.check import discover

from tests.emit.samples import compiled

WHOLE = "model: a/b\nhardware: 4x RTX 4090\ntargets: [sample]\n"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (WHOLE, True),
        ("mfc: 1\n" + WHOLE, True),
        ("\ufeff# a comment\n\n" + WHOLE, True),
        ('"mfc": 1\n"model": a\n"hardware" : b\n"targets":\n  x: {}\n', True),
        ("mfc: 1\nextends: base.yaml\n", True),
        ("extends: base.yaml\nhardware: 2x L4\n", True),
        ("extends: base.yaml\ntrain: {batch_size: 8}\n", True),
        ("extends: [a.yml, b.yml]\n", True),
        ("model: a/b\rhardware: 4x RTX 4090\rtargets: [sample]\r", True),
        ("  model: a/b\n  hardware: T4\n  targets: [x]\n", True),
        ("# flow\n---\n{model: a/b,\n hardware: T4, targets: [x]}\n", True),
        ('{"model": "a/b", "hardware": "T4", "targets": ["x"]}', True),
        ("? model\n: a/b\n? hardware\n: T4\n? targets\n: [x]\n", True),
        ("!!map\n &a model: a/b\n 'hardware': T4\n targets: [x]\n", True),
        ("{extends: base.yaml, train: {epochs: 1}}", True),
        ("job:\n  extends: base.yaml\n  train: 1\n", False),
        ("jobs: [{model: a, hardware: b, targets: c}]\n", False),
        ("model: [a\n  hardware: b\n  targets: c\n", False),
        ("a: {model: b, hardware: c}\ntargets: [x]\n", False),
        ("mfc: 1\nmodel: a\nhardware: b\n", False),  # names no targets
        ("mfc: 1\nhardware: b\ntargets: [sample]\n", False),  # a base
        ("extends: [google]\nrules: {}\n", False),
        ("model: a\nhardware: b\n", False),
        ("run:\n  mfc: 1\n  model: a\n  hardware: b\n  targets: c\n", False),
        ("- model: a\n", False),
        ("", False),
    ],
)
def test_candidates_by_their_text(tmp_path: Path, text: str, taken: bool) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    assert discover.asks(str(path)) is taken


def test_other_files_are_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(WHOLE)
    assert not discover.asks(str(tmp_path / "run.json"))
    assert not discover.asks(str(tmp_path / "gone.yaml"))


@pytest.fixture(params=["git", "no git"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    for name in ("a.yaml", "sub/b.yml", "node_modules/c.yaml"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(WHOLE)
    (top / "docker.yaml").write_text("services: {}\n")
    emit.write(compiled(top / "a" / "sample", spec=top / "a.yaml"))
    emit.write(compiled(top / "sub" / "b" / "sample", spec=top / "sub" / "b.yml"))
    if request.param == "git":
        subprocess.run(["git", "init", "-q"], cwd=top, check=True)
        (top / ".gitignore").write_text("node_modules\n")
        subprocess.run(["git", "add", "a.yaml", "a"], cwd=top, check=True)
    else:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(top)
    return top


def test_specs_are_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discover.specs() == [Path("a.yaml"), Path("sub/b.yml")]
    monkeypatch.chdir(project / "sub")
    assert discover.specs() == [Path("b.yml")]


def test_whole_specs_are_told_from_bases(project: Path) -> None:
    (project / "base.yaml").write_text("mfc: 1\nextends: deep.yaml\ntargets: [sample]\n")
    (project / "deep.yaml").write_text("hardware: 4x RTX 4090\n")
    (project / "child.yaml").write_text("extends: base.yaml\nmodel: a/b\n")
    (project / "silent.yaml").write_text("mfc: 1\nextends: deep.yaml\nmodel: a/b\n")
    (project / "wrong.yaml").write_text(WHOLE + "colour: blue\n")
    specs, errors = discover.whole()
    assert specs == [Path("a.yaml"), Path("child.yaml"), Path("sub/b.yml")]
    assert ["wrong.yaml:4:1" in str(error) for error in errors] == [True]


def test_outputs_are_found_by_their_spec(project: Path) -> None:
    specs, outputs = discover.scope(())
    assert specs == [str(project / "a.yaml"), str(project / "sub" / "b.yml")]
    assert outputs == {
        str(project / "a.yaml"): [str(project / "a" / "sample")],
        str(project / "sub" / "b.yml"): [str(project / "sub" / "b" / "sample")],
    }


def test_only_what_is_asked_for(project: Path) -> None:
    specs, outputs = discover.scope(["sub/../a.yaml"])
    assert specs == [str(project / "a.yaml")]
    assert outputs == {str(project / "a.yaml"): [str(project / "a" / "sample")]}


def test_deleted_specs_leave_their_outputs(project: Path) -> None:
    (project / "a.yaml").unlink()
    specs, outputs = discover.scope(())
    assert specs == [str(project / "sub" / "b.yml")]
    assert str(project / "a.yaml") in outputs


def test_outputs_with_a_broken_manifest_have_no_spec(project: Path) -> None:
    (project / "a" / "sample" / ".mfc.json").write_text("{")
    assert discover.scope(())[1][""] == [str(project / "a" / "sample")]
