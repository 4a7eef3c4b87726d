"""The promises of SECURITY.md that are of no one module: nothing that mfc reads is executed."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "compiler" / "mfc"
# Who starts programs, and which; who imports modules by name: commands, launchers, targets, NVML, never what is read.
# The runner of a probe starts the run's own scripts where it was written; no command of mfc imports it.
STARTS = {
    "check/discover.py": {"git"},
    "machine/nvidia.py": {"nvidia-smi"},
    "probe/runner.py": {"bash", "nvidia-smi"},
}
IMPORTS = {"__init__.py", "cli/__init__.py", "launchers/__init__.py", "target/__init__.py", "machine/nvidia.py"}
EXECUTE = {"eval", "exec", "execfile", "__import__", "system", "popen", "spawn", "fork", "run_path", "run_module"}
LOADERS = {"pickle", "marshal", "shelve", "dill", "joblib", "runpy", "pty", "code"}


def sources() -> list[tuple[str, ast.Module]]:
    files = [*CORE.rglob("*.py"), *(file for file in (ROOT / "targets").rglob("*.py") if "contract" not in file.parts)]
    return [
        (file.relative_to(CORE if CORE in file.parents else ROOT).as_posix(), ast.parse(file.read_text("utf-8")))
        for file in files
    ]


def test_what_is_written_to_run_elsewhere_is_imported_by_nothing() -> None:
    for name, tree in sources():
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        } | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {"mfc.probe.runner", "mfc.probe.meter", "runner", "meter"} & imported, name


def test_nothing_executes() -> None:
    """No module executes text, loads pickles or starts a program but those that are known."""
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not modules & LOADERS, f"{name}:{node.lineno}"
                assert "subprocess" not in modules or name in STARTS, f"{name}:{node.lineno}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called.rpartition(".")[2] not in EXECUTE, f"{name}:{node.lineno}: {called}"
                assert "import_module" not in called or name in IMPORTS, f"{name}:{node.lineno}: {called}"
                assert not any(word.arg == "shell" for word in node.keywords), f"{name}:{node.lineno}"
                if called.endswith("yaml.load"):
                    assert "SafeLoader" in ast.unparse(node) or "loader" in ast.unparse(node), f"{name}:{node.lineno}"


WATCH = """\
import os, sys
TOP = os.path.realpath(sys.argv.pop(1))
def watch(event, words):
    if event in ("os.system", "os.exec", "os.posix_spawn", "os.startfile", "pty.spawn"):
        print("BROKEN", event, words, file=sys.stderr)
    if event == "subprocess.Popen" and words[0] not in ("git", b"git"):
        print("BROKEN", event, words, file=sys.stderr)
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("BROKEN", event, words, file=sys.stderr)
    if event == "exec" and words[0].co_filename.startswith(TOP):
        print("BROKEN", event, words, file=sys.stderr)
from mfc.cli import main
sys.addaudithook(watch)
main()
"""
TOUCH = "open('was-run', 'w')"
FILES = {
    "run.yaml": "model: {id: ./model, config: model}\nhardware: 1x A100-80G\ndata: a.jsonl\ntargets: [trl]\n",
    "tags.yaml": f'!!python/object/apply:eval ["{TOUCH}"]\n',
    "tagged.yaml": f'model: !!python/object/apply:os.system ["touch was-run"]\nhardware: 1x T4 # {TOUCH}\n',
    "config.py": f"import os\nos.system('touch was-run')\n{TOUCH}\npretrained_model_name_or_path = {TOUCH}.name\n",
    "train.sh": "touch was-run\nX=$(touch was-run)\nllamafactory-cli train `touch was-run` $(touch was-run)\n",
    "train.yaml": f"model_name_or_path: ./model\nstage: sft\ndataset: '{{{{ {TOUCH} }}}}'\n",
    "model/modeling.py": TOUCH,
    "model/tokenizer_config.json": json.dumps(
        {"chat_template": "{{ cycler.__init__.__globals__.os.system('touch was-run') }}"}
    ),
    "a.jsonl": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
    **dict.fromkeys(("sitecustomize.py", "yaml.py", "click.py", "torch.py", "mfc.py", "pynvml.py"), TOUCH),
}
CONFIG = {
    "model_type": "qwen2",
    "architectures": ["Own"],
    "auto_map": {"AutoModelForCausalLM": "modeling.Own", "AutoConfig": "modeling.Own"},
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "num_hidden_layers": 24,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
}


@pytest.mark.parametrize("command", ["plan", "compile", "explain", "check", "import", "lint", "convert", "data"])
def test_a_strangers_repository_runs_nothing(command: str, tmp_path: Path) -> None:
    """Each command on each file of a repository in which everything wants to run, whatever it says of it."""
    top, beside = tmp_path / "project", tmp_path / "watch.py"
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "model/config.json").write_text(json.dumps(CONFIG))
    beside.write_text(WATCH)
    specs = ["run.yaml", "tags.yaml", "tagged.yaml"]
    frameworks = ["config.py", "train.sh", "train.yaml", "tags.yaml"]
    each = frameworks if command in ("import", "lint", "convert") else specs
    words = {"explain": ["lora_rank"], "convert": ["--to", "trl"]}.get(command, [])
    for file in each:
        done = subprocess.run(
            [sys.executable, str(beside), str(top), command, file, *words],
            cwd=top, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert "BROKEN" not in done.stderr, done.stderr
        assert done.returncode in (0, 1, 2, 3, 4), done.stderr
    assert not (top / "was-run").exists()


def test_each_promise_names_tests_that_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = re.findall(r"^- \*\*.*?(?=^- |\n\n)", text, re.MULTILINE | re.DOTALL)
    assert len(promises) == 7
    for promise in promises:
        named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", promise)
        assert named, promise
        folder = ""
        for name in named:
            folder = name.rpartition("/")[0] if "/" in name else folder
            assert (ROOT / folder / name.rpartition("/")[2]).is_file(), name
