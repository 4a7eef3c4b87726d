"""Runs the commands of the READMEs and of docs/, and writes the outputs that these show anew:
`python -m tests.publish.documents [DOCUMENT...]`.

Every block of a document that is marked `sh` or `console` is run, in order, in a folder of the document's own. A line
of `sh` is a command; in `console` commands follow a `$`, and what they print stands below them. A comment before a
block may say

    <!-- file: NAME -->         what the block holds is written to that file, not run
    <!-- ends with 3 -->        the exit code of its last command
    <!-- not run: REASON -->    it needs what tests do not have

Commands of mfc run in this process. `data/train.jsonl`, the examples and, where the document makes none, a `spec.yaml`
are there; a model's tokenizer and a GPU are not.
A translation repeats blocks of its English original, but for comments; it gets the original's outputs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import click
from mfc.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if not path.name.endswith(".zh.md")
)
TRANSLATIONS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.zh.md"), *ROOT.glob("docs/**/*.zh.md"))
)
BLOCK = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^| +)#( .*)?$", re.MULTILINE)
ROW = {"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model." * 40}]}
# The machine of the tests may have no GPU.
MACHINE = ["--gpu", "RTX 4090", "--count", "4"]


class Block(NamedTuple):
    """One fenced block, and the comment before it."""

    note: str
    kind: str
    body: str

    @property
    def bare(self) -> Block:
        """Without comments, which a translation translates."""
        return self._replace(body=COMMENT.sub("", self.body)) if self.kind in ("sh", "yaml") else self

    @property
    def runs(self) -> bool:
        return self.kind in ("sh", "console") and not self.note.startswith(("not run:", "file:"))


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a document."""
    return [Block(*(part or "" for part in found.groups())) for found in BLOCK.finditer(text)]


@contextlib.contextmanager
def folder(*, spec: bool) -> Iterator[None]:
    """Where a document's commands run: with data and the examples, and without what this machine has in its caches."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        work = Path(name) / "work"
        (work / "data").mkdir(parents=True)
        (work / "data" / "train.jsonl").write_text(f"{json.dumps(ROW)}\n" * 200, encoding="utf-8")
        (work / "examples").symlink_to(ROOT / "examples")
        if spec:
            shutil.copy(ROOT / "examples" / "qwen2.5-7b-lora-4x4090.yaml", work / "spec.yaml")
        inside = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home), "HF_HOME": str(home)}
        outside = ("MFC_CALIBRATION", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "COLUMNS", "FORCE_COLOR")
        with mock.patch.dict(os.environ, inside):
            for variable in outside:
                os.environ.pop(variable, None)
            os.chdir(work)
            try:
                yield
            finally:
                os.chdir(before)


def performed(block: Block) -> str:
    """What a block holds after its commands were run, outputs written anew. Runs in the current folder."""
    if block.note.startswith("file: "):
        path = Path(block.note.removeprefix("file: "))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
        return block.body
    if not block.runs:
        return block.body
    expected = int(block.note.removeprefix("ends with ")) if block.note.startswith("ends with ") else 0
    lines, code = [], 0
    for command, shown in _commands(block):
        assert code == 0, f"a command before {command!r} failed"
        code, output = run(command)
        assert code in (0, expected), f"{command}: exit code {code}\n{output}"
        assert not re.search(r"^(?:\$ |```)", output, re.MULTILINE), f"{command}: its output looks like a command"
        output = output if not output or output.endswith("\n") else f"{output}\n"
        lines.append(f"{shown}\n" + (output if block.kind == "console" else ""))
    assert code == expected, f"exit code {code}, not {expected}"
    return "".join(lines)


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with its line."""
    joined = re.sub(r"\\\n", "\\\\\0", block.body)
    for line in joined.splitlines():
        if block.kind == "console" and not line.startswith("$ "):
            continue
        shown = line.replace("\0", "\n")
        yield line.removeprefix("$ ").replace("\\\0", " "), shown


def run(command: str) -> tuple[int, str]:
    """Exit code and output of one command; of a pipe, mfc's own part runs here and the rest in a shell."""
    if re.fullmatch(r"bash \S+\.sh( +#.*)?", command):  # training needs the framework
        command = command.replace("bash", "bash -n", 1)
    first, bar, rest = command.partition(" | ")
    if not first.startswith("mfc "):
        return _shell(command, "")
    code, output = _mfc(shlex.split(first, comments=True)[1:])
    return (code, _shell(rest, output)[1]) if bar else (code, output)


def _mfc(words: list[str]) -> tuple[int, str]:
    if words[0] == "init" and "--gpu" not in words:
        words = [*words, *MACHINE]
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    text = click.unstyle(screen.getvalue())
    return code, "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())


def _shell(command: str, given: str) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        input=given,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def rewritten(text: str) -> str:
    """An English document with the outputs of its commands as they are now."""
    makes_one = any(block.runs and "mfc init" in block.body for block in blocks(text))
    with folder(spec=not makes_one):

        def anew(found: re.Match[str]) -> str:
            block = Block(*(part or "" for part in found.groups()))
            return found[0].removesuffix(f"{block.body}```") + performed(block) + "```"

        return BLOCK.sub(anew, text)


def translated(text: str, original: str) -> str:
    """A translation with the outputs of its original."""
    known = {_asked(block): block.body for block in blocks(original) if block.kind == "console"}

    def anew(found: re.Match[str]) -> str:
        block = Block(*(part or "" for part in found.groups()))
        body = known.get(_asked(block), block.body) if block.kind == "console" else block.body
        return found[0].removesuffix(f"{block.body}```") + body + "```"

    return BLOCK.sub(anew, text)


def _asked(block: Block) -> tuple[str, ...]:
    return (block.note, *(command for command, _ in _commands(block)))


def write(names: list[str]) -> None:
    """Write the outputs of documents and of their translations anew."""
    for name in names or DOCUMENTS:
        path = ROOT / name
        text = rewritten(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        other = path.with_suffix(".zh.md")
        if other.is_file():
            other.write_text(translated(other.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1:])
