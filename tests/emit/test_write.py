"""Writing keeps what is not mfc's, is whole or seen to be cut short, and stays in its folder."""

import json
import os
from pathlib import Path

import pytest
from mfc import emit
from mfc.emit import manifest, place
from mfc.errors import Fault, FileInTheWay, MfcError

from tests.emit.samples import compiled


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("model: a\n")
    return path


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_files_and_manifest_are_written(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "deep" / "out"
    one = compiled(
        out, {"b/run.yaml": "é: 1\n", "launch.sh": "x\n"}, spec=spec, overrides=["a=1"], executable=["launch.sh"]
    )
    report = emit.write(one)
    assert report.written == ("b/run.yaml", "launch.sh")
    assert content(out).keys() == {".mfc.json", "b/run.yaml", "launch.sh"}
    assert (out / "b/run.yaml").read_bytes() == "é: 1\n".encode()
    assert os.access(out / "launch.sh", os.X_OK)
    assert not os.access(out / "b/run.yaml", os.X_OK) or os.name == "nt"
    assert json.loads((out / ".mfc.json").read_text()) == {
        "schema": 1,
        "mfc": manifest.of(one).version,
        "spec": "../../run.yaml",
        "target": "sample",
        "declared": True,
        "overrides": ["a=1"],
        "inputs": {"../../run.yaml": manifest.digest(spec.read_bytes())},
        "files": {"b/run.yaml": manifest.digest("é: 1\n".encode()), "launch.sh": manifest.digest(b"x\n")},
    }


def test_writing_again_touches_nothing(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    emit.write(compiled(out, spec=spec))
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    report = emit.write(compiled(out, {"launch.sh": "echo\n", "run.yaml": "a: 1\n"}, spec=spec))
    assert report.written == ()
    assert set(report.unchanged) == {"run.yaml", "launch.sh"}
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_own_files_are_replaced_and_left_ones_removed(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    emit.write(compiled(out, {"run.yaml": "a: 1\n", "old.json": "{}\n", "edited.json": "{}\n"}, spec=spec))
    (out / "edited.json").write_text("mine")
    (out / "user.txt").write_text("mine")
    report = emit.write(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec))
    assert (report.written, report.removed, report.kept) == (("run.yaml",), ("old.json",), ("edited.json",))
    assert content(out).keys() == {".mfc.json", "run.yaml", "edited.json", "user.txt"}
    assert emit.compare(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec)) == []


@pytest.mark.parametrize("first", [True, False], ids=["edited", "foreign"])
def test_what_is_not_mfcs_is_kept(tmp_path: Path, spec: Path, first: bool) -> None:
    out = tmp_path / "out"
    if first:
        emit.write(compiled(out, spec=spec))
    out.mkdir(exist_ok=True)
    (out / "run.yaml").write_text("by hand\n")
    before = content(out)
    with pytest.raises(
        FileInTheWay, match=r"run\.yaml.*by hand" if first else r"run\.yaml.*not written by mfc"
    ) as error:
        emit.write(compiled(out, {"run.yaml": "a: 2\n", "launch.sh": "new\n"}, spec=spec))
    assert error.value.exit_code == 1
    assert content(out) == before
    emit.write(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec), force=True)
    assert (out / "run.yaml").read_text() == "a: 2\n"


def test_a_foreign_file_with_the_same_content_is_adopted(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.yaml").write_text("a: 1\n")
    assert emit.write(compiled(out, spec=spec)).unchanged == ("run.yaml",)


def test_one_folder_holds_the_outputs_of_one_spec_and_target(tmp_path: Path, spec: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other.yaml"
    other.write_text("model: b\n")
    emit.write(compiled(out, spec=spec))
    for one in (compiled(out, spec=other), compiled(out, spec=spec, target="second")):
        with pytest.raises(FileInTheWay, match=r"holds the outputs of \.\./run\.yaml for sample"):
            emit.write(one)
    spec.rename(tmp_path / "renamed.yaml")
    emit.write(compiled(out, spec=tmp_path / "renamed.yaml"))


@pytest.mark.parametrize("crash_at", [0, 1, 2])
def test_a_crash_between_renames_is_seen(
    tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    out = tmp_path / "out"
    emit.write(compiled(out, spec=spec))
    new = compiled(out, {"run.yaml": "a: 2\n", "launch.sh": "new\n"}, spec=spec)
    rename = os.replace
    done: list[Path] = []

    def failing(source: Path, to: Path) -> None:
        if len(done) == crash_at:
            raise OSError(28, "No space left on device", os.fspath(to))
        done.append(to)
        rename(source, to)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(MfcError, match=r"cannot write .*No space left"):
        emit.write(new)
    monkeypatch.undo()
    assert content(out).keys() == {".mfc.json", "run.yaml", "launch.sh"}  # no temporary file is left
    assert {finding.path.name: finding.verdict for finding in emit.compare(new)} == [
        {"run.yaml": "stale", "launch.sh": "stale"},
        {"launch.sh": "stale", ".mfc.json": "stale"},
        {".mfc.json": "stale"},
    ][crash_at]
    emit.write(new)  # and mended without force: what is half written is mfc's own
    assert emit.compare(new) == []


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "", ".", "a/./b", "a//b", "c:\\x", "a\\..\\b", "C:x", "a\0"]
)
def test_paths_stay_below_the_folder(tmp_path: Path, spec: Path, path: str) -> None:
    assert not place.safe(path)
    with pytest.raises(Fault, match="not a path inside"):
        emit.write(compiled(tmp_path / "out", {path: "x"}, spec=spec))


def test_links_are_not_followed(tmp_path: Path, spec: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (outside / "run.yaml").write_text("precious")
    (out / "sub").symlink_to(outside, target_is_directory=True)
    with pytest.raises(FileInTheWay, match="leads out"):
        emit.write(compiled(out, {"sub/run.yaml": "x"}, spec=spec), force=True)
    (out / "run.yaml").symlink_to(outside / "run.yaml")
    with pytest.raises(FileInTheWay):
        emit.write(compiled(out, {"run.yaml": "x"}, spec=spec))
    emit.write(compiled(out, {"run.yaml": "x"}, spec=spec), force=True)
    assert (outside / "run.yaml").read_text() == "precious"
    assert not (out / "run.yaml").is_symlink()


def test_a_folder_or_a_file_in_the_way(tmp_path: Path, spec: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileInTheWay, match="is a file"):
        emit.write(compiled(tmp_path / "file", spec=spec), force=True)
    with pytest.raises(MfcError):
        emit.write(compiled(tmp_path / "file" / "below", spec=spec), force=True)
    (tmp_path / "out" / "run.yaml").mkdir(parents=True)
    with pytest.raises(FileInTheWay, match="is a folder"):
        emit.write(compiled(tmp_path / "out", spec=spec), force=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "<<<<<<< HEAD\n",
        '{"schema": 2}',
        '{"schema": 1, "mfc": "0", "spec": "s", "target": "t", "declared": true, "overrides": [], "inputs": {}, '
        '"files": {"../precious": "0"}}',
    ],
)
def test_a_broken_manifest_is_in_the_way_until_forced(tmp_path: Path, spec: Path, text: str) -> None:
    out = tmp_path / "out"
    emit.write(compiled(out, spec=spec))
    (out / ".mfc.json").write_text(text)
    with pytest.raises(FileInTheWay, match=r"\.mfc\.json"):
        emit.write(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec))
    emit.write(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec), force=True)
    assert emit.compare(compiled(out, {"run.yaml": "a: 2\n"}, spec=spec)) == []


def test_an_output_never_replaces_an_input(tmp_path: Path, spec: Path) -> None:
    before = spec.read_text()
    with pytest.raises(FileInTheWay, match="is an input"):
        emit.write(compiled(tmp_path, spec=spec), force=True)
    assert spec.read_text() == before


def test_manifests_are_the_same_whatever_the_order(tmp_path: Path, spec: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("x: 1\n")
    texts = set()
    for inputs, files in (([base], ["a", "b"]), ([base, base], ["b", "a"])):
        one = compiled(tmp_path / "out", dict.fromkeys(files, "x\n"), spec=spec, inputs=inputs)
        texts.add(manifest.text(manifest.of(one)))
    assert len(texts) == 1
    assert manifest.parse(texts.pop().encode()) == manifest.of(one)


def test_a_spec_that_is_no_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    emit.write(compiled(out))
    assert json.loads((out / ".mfc.json").read_text())["spec"] == ""
    assert emit.compare(compiled(out)) == []


def test_a_folder_reached_through_a_link(tmp_path: Path, spec: Path) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "deep", target_is_directory=True)
    emit.write(compiled(tmp_path / "near" / "out", spec=spec))
    recorded = manifest.read(tmp_path / "near" / "out")
    assert recorded is not None
    assert recorded.spec == "../../../run.yaml"
    assert recorded.spec_from(str(tmp_path / "near" / "out")) == str(spec)
