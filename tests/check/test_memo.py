"""The memo hits only when nothing that matters has changed, and anything odd is a miss."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mfc.check import memo
from mfc.emit import manifest

WHO = "someone"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec, a base and outputs, found clean."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("run.yaml", "base.yaml", "out/run.yaml", "out/.mfc.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    save(tmp_path)
    assert holds(tmp_path)
    return tmp_path


def save(top: Path, started: int | None = None) -> None:
    memo.save(
        str(top / "run.yaml"),
        WHO,
        inputs=[str(top / "run.yaml"), str(top / "base.yaml")],
        absent=[str(top / "config.json")],
        outputs={str(top / "out"): {name: state(top, name) for name in ("run.yaml", ".mfc.json")}},
        started=time.time_ns() + 10**9 if started is None else started,
    )


def state(top: Path, name: str) -> str:
    return memo.state(str(top / "out"), name, f"out/{name}".encode())


def holds(top: Path, folders: tuple[str, ...] = ("out",), who: str = WHO) -> bool:
    return memo.recall(str(top / "run.yaml"), [str(top / folder) for folder in folders], who, named=True) is not None


def entry(top: Path) -> Path:
    (path,) = (top / "cache" / "mfc" / "check").iterdir()
    return path


CHANGES: dict[str, Callable[[Path], object]] = {
    "spec": lambda top: (top / "run.yaml").write_text("other"),
    "base": lambda top: (top / "base.yaml").write_text("other"),
    "base gone": lambda top: (top / "base.yaml").unlink(),
    "probe": lambda top: (top / "config.json").write_text("{}"),
    "output": lambda top: (top / "out" / "run.yaml").write_text("other"),
    "output gone": lambda top: (top / "out" / "run.yaml").unlink(),
    "manifest": lambda top: (top / "out" / ".mfc.json").write_text("other"),
    "no entry": lambda top: entry(top).unlink(),
    "cut entry": lambda top: entry(top).write_bytes(entry(top).read_bytes()[:-20]),
    "empty entry": lambda top: entry(top).write_text(""),
    "list for entry": lambda top: entry(top).write_text("[1]"),
    "entry of another spec": lambda top: entry(top).write_text(entry(top).read_text().replace("/run.yaml", "/x.yaml")),
    "unreadable entry": lambda top: entry(top).write_bytes(b"\xff\xfe"),
    "others may write the entry": lambda top: entry(top).chmod(0o666),
    "others may write where entries are": lambda top: entry(top).parent.chmod(0o777),
    "entry is a link": lambda top: entry(top).symlink_to(entry(top).rename(top / "moved")),
    "entry that nests without end": lambda top: entry(top).write_text("[" * 100_000),
    "run bit": lambda top: (top / "out" / "run.yaml").chmod(0o755),
    "output is a link": lambda top: (top / "out" / "run.yaml").symlink_to(
        (top / "out" / "run.yaml").rename(top / "moved")
    ),
    "a write cut short": lambda top: (top / "out" / ".mfc-x.tmp").write_text(""),
    "no cache": lambda top: (top / "cache").rename(top / "moved"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_is_a_miss(kept: Path, change: Callable[[Path], object]) -> None:
    change(kept)
    assert not holds(kept)


def test_touching_is_no_change(kept: Path) -> None:
    os.utime(kept / "run.yaml")
    assert holds(kept)


def test_another_mfc_is_a_miss(kept: Path) -> None:
    assert not holds(kept, who="someone else")


def test_an_unknown_output_folder_is_a_miss(kept: Path) -> None:
    assert not holds(kept, ("out", "out2"))
    assert holds(kept, ())


def test_an_input_as_new_as_the_check_is_not_remembered(kept: Path) -> None:
    entry(kept).unlink()
    save(kept, started=(kept / "base.yaml").stat().st_mtime_ns)
    assert not holds(kept)


def test_a_cache_that_cannot_be_written_is_no_error(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept / "file"))
    save(kept)
    assert not holds(kept)


def test_two_writers_leave_one_whole_entry(kept: Path) -> None:
    save(kept)
    assert json.loads(entry(kept).read_text())["identity"] == WHO


def install(top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like mfc installed from a wheel, beside one dependency."""
    import mfc

    package = top / "site" / "mfc"
    for name in ("mfc/__init__.py", "mfc/emit/write.py", "mfc_compiler-1.dist-info/RECORD", "yaml-6.dist-info/RECORD"):
        (top / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "site" / name).write_text(name)
    monkeypatch.setattr(mfc, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(sys, "path", [str(top / "site")])
    return top / "site"


SIGNS: dict[str, Callable[[Path], object]] = {
    "a file of mfc's": lambda site: (site / "mfc/emit/write.py").write_text("changed"),
    "a new file of mfc's": lambda site: (site / "mfc/new.json").write_text(""),
    "a dependency upgraded": lambda site: (site / "yaml-6.dist-info").rename(site / "yaml-7.dist-info"),
    "a dependency reinstalled": lambda site: (site / "yaml-6.dist-info/RECORD").write_text("again"),
    "a package more": lambda site: (site / "other-1.dist-info").mkdir(),
    "an editable package more": lambda site: (site / "__editable__.other.pth").write_text(""),
    "python's environment": lambda site: os.environ.update(PYTHONHASHSEED="7"),
}


@pytest.mark.parametrize("change", SIGNS.values(), ids=SIGNS.keys())
def test_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    site = install(tmp_path, monkeypatch)
    before = memo.identity()
    assert before == memo.identity() is not None
    change(site)
    assert memo.identity() not in (before, None)


def test_an_editable_install_has_no_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = install(tmp_path, monkeypatch)
    (site / "mfc_compiler-1.dist-info").rename(tmp_path / "mfc_compiler-1.dist-info")
    assert memo.identity() is None
    assert memo.unchanged(()) is None


def test_a_hit_imports_no_dependency(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line on, in a fresh interpreter: only the identity is made up."""
    (kept / "run.yaml").write_text("mfc: 1\nmodel: a\nhardware: b\ntargets: [c]\n")
    recorded = manifest.Manifest("../run.yaml", "c", (), declared=True, version="0", inputs={}, files={})
    (kept / "out/.mfc.json").write_text(manifest.text(recorded))
    spec, out = str(kept / "run.yaml"), str(kept / "out")
    outputs = {out: {".mfc.json": memo.state(out, ".mfc.json", (kept / "out/.mfc.json").read_bytes())}}
    memo.save(spec, WHO, inputs=[spec], absent=[], outputs=outputs, started=time.time_ns() + 10**9)
    code = (
        "import sys\n"
        "loaded = set(sys.modules)\n"
        "from mfc.check import memo\n"
        f"memo.identity = lambda: {WHO!r}\n"
        "from mfc.cli import main\n"
        "try:\n    main(['check'])\n"
        "except SystemExit as end:\n    print(end.code, *(set(sys.modules) - loaded))\n"
    )
    fresh = [sys.executable, "-c", code]
    done = subprocess.run(fresh, cwd=kept, capture_output=True, text=True, check=True)
    exit_code, *modules = done.stdout.split()
    assert exit_code == "0", done.stderr
    assert done.stderr == "clean: 1 spec checked\n"
    heavy = {"click", "pydantic", "yaml", "jinja2", "jsonschema", "rich", "dataclasses", "pathlib", "inspect"}
    assert not heavy & set(modules)
