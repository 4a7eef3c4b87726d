"""Output that cannot be written, encodings that lack a letter, names that are no text: said, and no fault."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest

SPEC = "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 8x H100\ndata: a.jsonl\ntargets: [trl]\n"
FULL = Path("/dev/full")


def mfc(
    *words: str | bytes, at: Path, encoding: str = "", stdout: int | IO[str] = PIPE, stderr: int | IO[str] = PIPE
) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    command = [sys.executable, "-m", "mfc", *words]
    return subprocess.run(command, cwd=at, env=environment, check=False, stdout=stdout, stderr=stderr)


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [["--help"], ["gpus"], ["compile", "run.yaml"]])
def test_a_full_disk_is_no_fault(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SPEC)
    with FULL.open("w") as full:
        done = mfc(*words, at=tmp_path, stdout=full)
    assert done.returncode == 2
    assert b"error: cannot print all that there is to say: No space left on device" in done.stderr
    assert b"fault" not in done.stderr
    assert b"Traceback" not in done.stderr
    if words[0] == "compile":
        assert (tmp_path / "run/trl/.mfc.json").is_file()


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_errors_that_nobody_can_read_keep_their_exit_code(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        assert mfc("plan", "nothere.yaml", at=tmp_path, stderr=full).returncode == 2


def test_letters_that_the_output_lacks(tmp_path: Path) -> None:
    """Text is escaped, JSON stays JSON, and files are UTF-8 whatever the encoding of the output."""
    (tmp_path / "配置😀.yaml").write_text(SPEC.replace("a.jsonl", "数据.jsonl"), encoding="utf-8")
    done = mfc("compile", "配置😀.yaml", at=tmp_path, encoding="ascii")
    assert done.returncode == 0, done.stderr
    assert rb"\u914d\u7f6e\U0001f600/trl" in done.stdout
    shown = mfc("check", "配置😀.yaml", "--no-cache", "--format", "json", at=tmp_path, encoding="ascii")
    assert json.loads(shown.stdout)["clean"]
    files = mfc("compile", "配置😀.yaml", "--stdout", at=tmp_path, encoding="ascii")
    assert "数据.jsonl" in files.stdout.decode("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = b"sp\xffec.yaml"
    (tmp_path / os.fsdecode(name)).write_text(SPEC)
    assert mfc("plan", name, at=tmp_path).returncode == 0
    done = mfc("compile", name, at=tmp_path)
    assert (done.returncode, b"this name is not UTF-8" in done.stderr) == (2, True), done.stderr
    assert b"sp\\udcffec.yaml" in done.stderr
    assert not (tmp_path / os.fsdecode(b"sp\xffec")).exists()
    done = mfc("plan", "run.yaml", "--set", b"a\xff=1", at=tmp_path)
    assert done.returncode == 2


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    code = "import os, sys, mfc.cli as c; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); c.main(sys.argv[1:])"
    for word in ("check", "compile"):
        done = subprocess.run([sys.executable, "-c", code, word], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (2, b"error: the current folder is gone: go to one that is there\n")


@pytest.mark.parametrize("seed", range(12))
def test_drawn_words(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths and overrides drawn from what systems and terminals are bad at: an error, never a fault."""
    from mfc.cli import main

    draw = random.Random(seed)
    monkeypatch.chdir(tmp_path)
    odd = [
        "x" * 300,
        "x/" * 3000,
        "",
        ".",
        "..",
        "/",
        "a\0b",
        "\udcff",
        "\ud83d",
        "~nobody/x",
        "-",
        "./x//y",
        "\n",
        "😀",
    ]
    word = draw.choice(odd)
    fields = {
        "spec": [word],
        "set": ["run.yaml", "--set", f"model.config={word}"],
        "key": ["run.yaml", "--set", ".".join(["a"] * draw.choice([2, 25, 3000])) + f"={word}"],
        "model": ["run.yaml", "--set", f"model.id={word}"],
        "adapter": ["run.yaml", "--set", f"model.adapter={word}"],
        "base": ["base.yaml"],
    }
    Path("run.yaml").write_text(SPEC)
    Path("base.yaml").write_text(f"extends: {json.dumps(word)}\n")
    for words in fields.values():
        for command in ("plan", "compile", "check", "import"):
            with pytest.raises(SystemExit) as ended:
                main([command, *(words if command in ("plan", "compile") else words[:1])])
            assert ended.value.code in (0, 1, 2, 3, 4), (command, words)
