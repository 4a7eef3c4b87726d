"""The READMEs show what mfc really prints. `python tests/test_readme.py` writes the blocks anew."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import mfc
import pytest
from mfc import api
from mfc.report import glance
from mfc.report.bill import bill

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "examples" / "qwen2.5-7b-lora-4x4090.yaml"
NAME = "examples/qwen2.5-7b-lora-4x4090.yaml"
READMES = ("README.md", "README.zh.md")
SHOWN = (
    "enable_liger_kernel",
    "disable_gradient_checkpointing",
    "lora_alpha",
    "template",
    "learning_rate",
    "deepspeed",
)
BLOCK = re.compile(r"(<!-- shown: (\w+) -->\n```\w*\n)(.*?)(```\n)", re.DOTALL)


def blocks() -> dict[str, str]:
    """What the marked blocks must hold."""
    loaded = mfc.load(SPEC)
    (compiled,) = mfc.compile(loaded)
    plan = mfc.plan(loaded, "llamafactory")
    refused = mfc.plan(mfc.load(SPEC, ["train.method=full"]), "llamafactory")
    text = click.unstyle(glance.to_text([plan], NAME, [bill(plan, None)]))
    return {
        "spec": "".join(SPEC.read_text(encoding="utf-8").splitlines(keepends=True)[1:]),
        "yaml": "".join(excerpt(compiled.files["train.yaml"])),
        "plan": "".join(f"{line.rstrip()}\n" for line in text.splitlines()),
        "refusal": "\n".join([f"$ mfc compile {NAME} --set train.method=full", api.cannot_fit(refused, NAME), ""]),
    }


def excerpt(text: str) -> list[str]:
    """Some keys of the YAML with the comments above them."""
    lines, comments = [], []
    for line in text.splitlines(keepends=True):
        if line.startswith("# "):
            comments.append(line)
        else:
            if line.partition(":")[0] in SHOWN:
                lines += [*comments, line]
            comments = []
    return lines


def rewritten(text: str) -> str:
    shown = blocks()
    return BLOCK.sub(lambda match: match[1] + shown[match[2]] + match[4], text)


@pytest.mark.parametrize("name", READMES)
def test_the_readmes_show_what_mfc_prints(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert {match[2] for match in BLOCK.finditer(text)} == blocks().keys()
    assert text == rewritten(text), "run: python tests/test_readme.py"


@pytest.mark.parametrize("name", READMES)
def test_the_first_ten_minutes_run(name: str, tmp_path: Path) -> None:
    shown = re.search(r"<!-- run -->\n```sh\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(f"{json.dumps(row)}\n" * 8, encoding="utf-8")
    *commands, launch = (shlex.split(line, comments=True) for line in shown[1].splitlines())
    commands[0] += ["--gpu", "RTX 4090", "--count", "4"]  # the machine of the tests may have none
    for program, *words in commands:
        assert program == "mfc"
        done = subprocess.run(
            [sys.executable, "-m", "mfc", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert launch[0] == "bash"
    assert (tmp_path / launch[1]).is_file()


if __name__ == "__main__":
    for readme in READMES:
        path = ROOT / readme
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
