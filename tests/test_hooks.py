"""The hooks under real pre-commit: mfc installed from this tree as any user's hook would be."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conformance.environments import CONSTRAINED

ROOT = Path(__file__).parent.parent
SPEC = """\
mfc: 1
model: Qwen/Qwen2.5-7B-Instruct
hardware: 2x A100-80G
data: {train: train.jsonl, max_length: 2048}
targets:
  deepspeed: {out: configs/ds}
"""
IDENTITY = ["-c", "user.name=someone", "-c", "user.email=someone@example.com"]

Hook = Callable[..., tuple[int, str]]


def git(*words: str, at: Path) -> str:
    done = subprocess.run(["git", *IDENTITY, *words], cwd=at, check=True, capture_output=True, text=True)
    return done.stdout


pytestmark = pytest.mark.framework  # pre-commit builds an environment of its own


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this working tree as its one commit."""
    top = tmp_path_factory.mktemp("source")
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", at=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, top / name)
    git("init", "-q", at=top)
    git("add", "--all", "--force", at=top)
    git("commit", "-q", "-m", "all", at=top)
    return top


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    top = tmp_path_factory.mktemp("project")
    (top / "train.yaml").write_text(SPEC)
    hooks = [{"id": "mfc-check"}, {"id": "mfc-compile", "stages": ["manual"]}]
    repo = {"repo": str(source), "rev": git("rev-parse", "HEAD", at=source).strip(), "hooks": hooks}
    (top / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [repo]}))
    git("init", "-q", at=top)
    git("add", ".", at=top)
    return top


@pytest.fixture(scope="module")
def hook(project: Path, home: Path) -> Hook:
    """Run one hook on what is staged; its exit code and all that pre-commit said."""
    folders = {"PRE_COMMIT_HOME": str(home / "pre-commit"), "XDG_CACHE_HOME": str(home / "cache")}
    environment = {**os.environ, **CONSTRAINED, **folders}
    environment.pop("PYTHONPATH", None)

    def run(name: str, stage: str = "pre-commit") -> tuple[int, str]:
        git("add", ".", at=project)
        command = [sys.executable, "-m", "pre_commit", "run", name, "--hook-stage", stage, "--color=never"]
        done = subprocess.run(command, check=False, cwd=project, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_hooks_keep_outputs_true(project: Path, home: Path, hook: Hook) -> None:
    """One story, for the environment of the hooks is built only once."""
    code, said = hook("mfc-check")
    assert (code, "configs/ds/ds_config.json: missing" in said) == (1, True), said

    code, said = hook("mfc-compile", "manual")
    assert code == 0, said
    assert (project / "configs/ds/ds_config.json").is_file()
    assert hook("mfc-check")[0] == 0
    assert len(list((home / "cache/mfc/check").iterdir())) == 1

    (project / "train.yaml").write_text(SPEC.replace("max_length: 2048", "max_length: 4096").replace("2x", "8x"))
    code, said = hook("mfc-check")
    assert code == 1
    assert "configs/ds/ds_config.json: stale" in said
    assert re.search(
        r"^-  \"train_micro_batch_size_per_gpu\"|^-  \"gradient_accumulation_steps\"", said, re.MULTILINE
    ), said
    assert "to mend: mfc compile train.yaml" in said
    code, said = hook("mfc-compile", "manual")
    assert (code, "files were modified by this hook" in said) == (1, True), said
    assert hook("mfc-check")[0] == 0
    assert hook("mfc-compile", "manual")[0] == 0

    generated = project / "configs/ds/ds_config.json"
    good = generated.read_text()
    generated.write_text(good.replace("{", "{ ", 1))
    code, said = hook("mfc-check")
    assert (code, "ds_config.json: edited" in said) == (1, True), said
    code, said = hook("mfc-compile", "manual")
    assert (code, "edited by hand" in said) == (1, True), said
    generated.write_text(good)

    (project / "train.yaml").rename(home / "train.yaml")
    code, said = hook("mfc-check")
    assert (code, "ds_config.json: orphaned (train.yaml is gone)" in said) == (1, True), said
    (home / "train.yaml").rename(project / "train.yaml")
    assert hook("mfc-check")[0] == 0


def test_with_nothing_changed_the_installed_check_loads_no_dependency(project: Path, home: Path, hook: Hook) -> None:
    (python,) = (home / "pre-commit").glob("repo*/py_env-*/bin/python")
    script = python.with_name("mfc")
    # As the hook starts it: with the folder of the script in front, for the identity of the installation counts that.
    code = (
        "import runpy, sys\n"
        f"sys.argv[:], sys.path[0] = [{str(script)!r}, 'check'], {str(script.parent)!r}\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    print(end.code, *sys.modules)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("PYTHONPATH", None)
    subprocess.run([script, "check"], cwd=project, env=environment, check=True)
    done = subprocess.run(
        [python, "-c", code], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    exit_code, *modules = done.stdout.split()
    assert exit_code == "0", done.stderr
    assert not {"click", "pydantic", "yaml", "jinja2", "jsonschema", "rich", "dataclasses", "pathlib", "inspect"} & set(
        modules
    )
