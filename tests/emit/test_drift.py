"""Every row of the verdict table."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mfc import emit
from mfc.emit import drift, manifest

from tests.emit.samples import compiled

OLD = {"run.yaml": "a: 1\nb: 2\n", "launch.sh": "go\n"}


def nothing(out: Path) -> None:
    pass


def edit(out: Path) -> None:
    (out / "run.yaml").write_text("a: 1\nb: 3\n")


def delete(name: str) -> Callable[[Path], None]:
    return lambda out: (out / name).unlink()


def delete_all(out: Path) -> None:
    for path in out.iterdir():
        path.unlink()


def catch_up(out: Path) -> None:
    (out / "run.yaml").write_text("a: 9\n")


def upgrade(out: Path) -> None:
    path = out / ".mfc.json"
    recorded = manifest.read(out)
    assert recorded
    path.write_text(manifest.text(recorded._replace(version="0.0.1", inputs={"../run.yaml": "0" * 64})))


def add_file(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def merge_marks(out: Path) -> None:
    (out / ".mfc.json").write_text("<<<<<<< HEAD\n")


def as_folder(out: Path) -> None:
    (out / "run.yaml").unlink()
    (out / "run.yaml").mkdir()


SAME, CHANGED = OLD, {**OLD, "run.yaml": "a: 9\n"}
TABLE: list[tuple[str, Callable[[Path], None], dict[str, str], dict[str, str]]] = [
    ("clean", nothing, SAME, {}),
    ("a newer mfc, a comment in the spec", upgrade, SAME, {}),
    ("a file of the user's beside them", add_file, SAME, {}),
    ("stale", nothing, CHANGED, {"run.yaml": "stale"}),
    ("edited", edit, SAME, {"run.yaml": "edited"}),
    ("edited and the spec changed", edit, CHANGED, {"run.yaml": "edited"}),
    ("a write cut short", catch_up, CHANGED, {".mfc.json": "stale"}),
    ("missing", delete("launch.sh"), SAME, {"launch.sh": "missing"}),
    ("missing and stale", delete("launch.sh"), CHANGED, {"launch.sh": "missing", "run.yaml": "stale"}),
    ("all missing", delete_all, SAME, {"launch.sh": "missing", "run.yaml": "missing", ".mfc.json": "missing"}),
    ("no manifest", delete(".mfc.json"), SAME, {".mfc.json": "missing"}),
    ("no manifest and other content", delete(".mfc.json"), CHANGED, {".mfc.json": "missing", "run.yaml": "edited"}),
    ("merge marks", merge_marks, SAME, {".mfc.json": "edited"}),
    ("no longer produced", nothing, {"run.yaml": OLD["run.yaml"]}, {"launch.sh": "orphaned"}),
    ("no longer produced, deleted", delete("launch.sh"), {"run.yaml": OLD["run.yaml"]}, {".mfc.json": "stale"}),
    ("newly produced", nothing, {**OLD, "ds.json": "{}\n"}, {"ds.json": "missing"}),
    ("a folder in its place", as_folder, SAME, {"run.yaml": "edited"}),
]


@pytest.mark.parametrize(("change", "now", "verdicts"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_verdicts(
    tmp_path: Path, change: Callable[[Path], None], now: dict[str, str], verdicts: dict[str, str]
) -> None:
    spec, out = tmp_path / "run.yaml", tmp_path / "out"
    spec.write_text("model: a\n")
    emit.write(compiled(out, OLD, spec=spec))
    change(out)
    found = emit.compare(compiled(out, now, spec=spec))
    assert {finding.path.relative_to(out).as_posix(): finding.verdict for finding in found} == verdicts


def test_another_owner_or_other_overrides_make_the_manifest_stale(tmp_path: Path) -> None:
    spec, out = tmp_path / "run.yaml", tmp_path / "out"
    spec.write_text("model: a\n")
    emit.write(compiled(out, OLD, spec=spec))
    for other in (compiled(out, OLD, spec=spec, overrides=["a=1"]), compiled(out, OLD, spec=spec, target="other")):
        assert [(finding.path.name, finding.verdict) for finding in emit.compare(other)] == [(".mfc.json", "stale")]


def test_the_diff_leads_from_the_file_to_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec, out = tmp_path / "run.yaml", tmp_path / "out"
    spec.write_text("model: a\n")
    emit.write(compiled(out, OLD, spec=spec))
    (finding,) = emit.compare(compiled(out, {**OLD, "run.yaml": "a: 1\nb: x\u2028y\n"}, spec=spec))
    assert finding.diff == (
        "--- out/run.yaml (as it is)\n+++ out/run.yaml (from the spec)\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: x\u2028y\n"
    )


def test_all_that_is_left_is_orphaned_when_the_spec_is_gone(tmp_path: Path) -> None:
    spec, out = tmp_path / "run.yaml", tmp_path / "out"
    spec.write_text("model: a\n")
    emit.write(compiled(out, OLD, spec=spec))
    (out / "launch.sh").unlink()
    recorded = manifest.read(out)
    assert recorded
    found = drift.orphans(out, recorded, "gone")
    assert {(finding.path.name, finding.verdict) for finding in found} == {
        ("run.yaml", "orphaned"),
        (".mfc.json", "orphaned"),
    }
