"""The READMEs show a real spec and what it becomes. `python tests/test_readme.py` writes the blocks anew; the commands
that they show are run by tests/publish."""

from __future__ import annotations

import re
from pathlib import Path

import mfc
import pytest
from mfc.planner.search import SPEED_ERROR

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "examples" / "qwen2.5-7b-lora-4x4090.yaml"
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
    return {
        "spec": "".join(SPEC.read_text(encoding="utf-8").splitlines(keepends=True)[1:]),
        "yaml": "".join(excerpt(compiled.files["train.yaml"])),
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
def test_the_error_of_times_is_the_one_that_the_search_allows_for(name: str) -> None:
    (said,) = re.findall(r"[(（](\d+) %", (ROOT / name).read_text(encoding="utf-8").partition("\n## ")[2][:6000])
    assert int(said) == round(100 * SPEED_ERROR)


if __name__ == "__main__":
    for readme in READMES:
        path = ROOT / readme
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
