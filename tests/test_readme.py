"""The READMEs show what mfc really prints. `python tests/test_readme.py` writes the blocks anew."""

from __future__ import annotations

import re
from pathlib import Path

import mfc
import pytest
from mfc.report import text as report

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
    plan = mfc.plan(loaded, "llamafactory")
    refused = mfc.plan(mfc.load(SPEC, ["train.method=full"]), "llamafactory")
    text = report.to_text(plan, "examples/qwen2.5-7b-lora-4x4090.yaml")
    arithmetic = [report.shortfall(refused), *report.relaxation_lines(refused)]
    return {
        "spec": "".join(SPEC.read_text(encoding="utf-8").splitlines(keepends=True)[1:]),
        "yaml": "".join(excerpt(compiled.files["train.yaml"])),
        "plan": text.partition("\nwarnings\n")[0].rstrip() + "\n",
        "refusal": "\n".join(
            ["$ mfc plan examples/qwen2.5-7b-lora-4x4090.yaml --set train.method=full", *arithmetic, ""]
        ),
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


if __name__ == "__main__":
    for readme in READMES:
        path = ROOT / readme
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
