"""The target that targets/README.md tells how to write: registered by a package of its own, held by the suite.

Its files are those of the README, word for word, so the recipe cannot go out of date.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "targets" / "README.md"
BLOCK = re.compile(r"^`(?P<path>[\w./]+)`: [^\n]*\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SPEC = "model: Qwen/Qwen2.5-1.5B-Instruct\nhardware: 2x RTX 3090\ndata: rows.jsonl\ntrain: {batch_size: 8}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the module path that holds the package, installed as pip would have it."""
    folder = tmp_path_factory.mktemp("site")
    for found in BLOCK.finditer(README.read_text(encoding="utf-8")):
        path = folder / "mfc_outline" / found["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"], encoding="utf-8")
    info = folder / "mfc_outline-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mfc-outline\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[mfc.targets]\noutline = mfc_outline\n", encoding="utf-8")
    done = run(folder, "tests.targets.test_readme")
    assert done.returncode == 0, done.stderr
    return folder


def run(site: Path, module: str, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *words]
    path = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def test_the_readme_has_all_files(site: Path) -> None:
    made = {str(path.relative_to(site / "mfc_outline")) for path in (site / "mfc_outline").rglob("*") if path.is_file()}
    assert made >= {"__init__.py", "train.sh.j2", "README.md", "cases/files.yaml", "cases/rules.yaml"}


def test_it_compiles_through_the_entry_point(site: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SPEC, encoding="utf-8")
    done = run(site, "mfc", "compile", "run.yaml", "--target", "outline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "run" / "outline" / "train.sh").read_text(encoding="utf-8")
    assert "  --batch " in script
    assert "  --dtype bfloat16\n" in script
    assert run(site, "mfc", "check", "run.yaml", cwd=tmp_path).returncode == 0


CANNOT = {
    "strategy.sharding=zero3": "outline 1.0 has no sharding zero3; it knows ddp",
    "strategy.offload.optimizer=cpu": "outline 1.0 has no offload_optimizer cpu; it knows none",
    "data.packing=true": "outline 1.0 has no packing true; it knows false",
    "strategy.sequence_parallel=2": "outline 1.0 has no sequence_parallel 2; it knows 1",
    "train.task=dpo": "outline 1.0 has no task dpo; it knows sft",
    "train.method=qlora": "outline 1.0 has no method qlora; it knows full and lora",
    "run.existing=resume": "outline 1.0 has no existing resume; it knows fail and overwrite",
    "run.report_to=wandb": "outline 1.0 has no report_to wandb; it knows none",
}
# Compiles a spec with each of some edits, in one process, and prints what each ends with.
COMPILES = """
import contextlib, io, json, sys
from mfc.cli import main
ends = {}
for edit in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        main(["compile", "run.yaml", "--target", "outline", "--set", edit])
    ends[edit] = said.getvalue()
print(json.dumps(ends))
"""


def test_it_refuses_what_it_cannot_say(site: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "compiles.py").write_text(COMPILES, encoding="utf-8")
    done = run(site, "compiles", *CANNOT, cwd=tmp_path)
    ends = json.loads(done.stdout)
    assert {edit: said in ends[edit] for edit, said in CANNOT.items()} == dict.fromkeys(CANNOT, True)
    assert not (tmp_path / "run").exists()


def test_the_suite_holds_it(site: Path) -> None:
    where = ["tests/targets", "tests/imports", "tests/rules", "tests/emit/test_hostile.py"]
    done = run(site, "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *where, "-k", "outline and not test_outline")
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


BROKEN = {
    "an unknown field": ('"method": ("full", "lora"),', '"metod": ("full",),', "supports names metod"),
    "an unknown value": ('("full", "lora")', '("full", "loar")', "supports says method loar"),
    "a key that carries nothing known": (
        'same("learning_rate")',
        'same("lerning_rate")',
        "key lr carries lerning_rate",
    ),
    "a place for nothing known": ('"timeout_seconds": "', '"timeout": "', "ELSEWHERE names timeout"),
    "no tuple of values": ('("full", "lora")', '"full"', "which is no tuple of values"),
    "a profile of another": ("target=NAME", 'target="outlin"', "its profile is that of outlin"),
    "a key that this plan does not write": (
        'Key("seed", same("seed"))',
        'Key("seed", same("seed"), given("max_steps"))',
        "what the plan decides: seed (42)",
    ),
    "a key that is taken out again": (
        "    script = {",
        '    del made.data["seed"]\n    script = {',
        "seed was written and taken out again",
    ),
    "a key that cannot be written": (
        'path("model.id")',
        'path("model.idd")',
        "target outline: key model cannot be written",
    ),
    "a decision that is said nowhere": ('Key("seed", same("seed")),', "", "what the plan decides: seed (42)"),
}


def changed(site: Path, folder: Path, old: str, new: str) -> Path:
    """The package with one thing written differently."""
    shutil.copytree(site, folder / "site")
    module = folder / "site" / "mfc_outline" / "__init__.py"
    text = module.read_text(encoding="utf-8")
    assert old in text
    module.write_text(text.replace(old, new), encoding="utf-8")
    (folder / "run.yaml").write_text(SPEC, encoding="utf-8")
    return folder / "site"


@pytest.mark.parametrize("case", BROKEN)
def test_a_target_that_is_wrong_is_told_so(case: str, site: Path, tmp_path: Path) -> None:
    """A fault of the target's is an error that names it, never a file that says less than the plan."""
    old, new, said = BROKEN[case]
    broken = changed(site, tmp_path, old, new)
    done = run(broken, "mfc", "compile", "run.yaml", "--target", "outline", cwd=tmp_path)
    assert done.returncode == 70, done.stdout + done.stderr
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_only_the_spec_says_is_not_dropped(site: Path, tmp_path: Path) -> None:
    silent = changed(site, tmp_path, "if spec.model.adapter or spec.model.revision:", "if spec.model.adapter:")
    words = ("mfc", "compile", "run.yaml", "--target", "outline", "--set", "model.revision=abc")
    done = run(silent, *words, cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "outline 1.0 has no way to say model.revision: abc\n  targets that can: " in done.stderr


def test_a_broken_target_stops_no_other(site: Path, tmp_path: Path) -> None:
    broken = changed(site, tmp_path, 'NAME = "outline"', "import nothing_of_that_name")
    done = run(broken, "mfc", "compile", "run.yaml", "--target", "deepspeed", "--set", "train.task=grpo", cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "targets that can: ms-swift" in done.stderr
    listed = run(broken, "mfc", "targets", cwd=tmp_path)
    assert "llamafactory" in listed.stdout
    assert "target outline cannot be loaded" in listed.stderr
