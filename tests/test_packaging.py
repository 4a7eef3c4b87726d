"""The wheel holds what the tree holds, and mfc works from it as it does from a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mfc._version import __version__

from tests.conformance.environments import CONSTRAINED

ROOT = Path(__file__).parent.parent
SOURCES = {"compiler/mfc": "mfc", "targets": "mfc/targets", "schemas": "mfc/schemas"}
SUFFIXES = {".py", ".json", ".yaml", ".j2", ".css", ".js", ".typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project built from what git would take, in a clean folder."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    tree = folder / "tree"
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(tree)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **CONSTRAINED})
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_equals_the_tree(wheel: Path) -> None:
    expected = {}
    for source, home in SOURCES.items():
        for path in (ROOT / source).rglob("*"):
            inside = path.relative_to(ROOT / source)
            # `contract` folders hold the scripts that rebuild contracts: of use in a checkout only.
            if path.suffix in SUFFIXES and "__pycache__" not in inside.parts and "contract" not in inside.parts:
                expected[f"{home}/{inside.as_posix()}"] = path.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert held.keys() == expected.keys()
    assert held == expected


def test_an_installed_wheel_compiles_the_examples(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import mfc, pathlib\n"
        f"assert mfc.__file__.startswith({str(site)!r}), mfc.__file__\n"
        "for path in sys.argv[1:]:\n"
        "    for one in mfc.compile(path):\n"
        "        assert one.files, path\n"
    )
    # -S keeps an editable install's hooks out; the dependencies come by the path.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    names = ["qwen2.5-7b-lora-4x4090.yaml", "qwen2.5-7b-full-8xa100.yaml", "team/qwen3-8b.yaml"]
    examples = [str(ROOT / "examples" / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *examples],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(paths), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.framework  # installs the dependencies anew
def test_a_fresh_environment_has_all_that_the_wheel_needs(wheel: Path, tmp_path: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text((ROOT / "examples" / "qwen2.5-7b-lora-4x4090.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", tmp_path / "fresh")
    folder = tmp_path / "fresh" / "bin"
    run(folder / "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    assert run(folder / "mfc", "--version") == f"mfc {__version__}\n"
    assert "run/llamafactory/" in run(folder / "mfc", "compile", "run.yaml")
    assert (tmp_path / "run" / "llamafactory" / "launch.sh").is_file()
    if shutil.which("uv"):
        assert run("uv", "tool", "run", "--from", wheel, "mfc", "--version") == f"mfc {__version__}\n"
