"""How-tos: of each target what its README says, with an example of the repository worked through."""

from __future__ import annotations

from pathlib import PurePosixPath

import click
from mfc import api
from mfc.report import glance
from mfc.report.bill import bill
from mfc.target import get
from mfc.target.keys import mapping_table

from publish.root import ROOT

EXAMPLES = {
    "axolotl": "qwen2.5-14b-qlora-2x4090-axolotl",
    "deepspeed": "qwen2.5-7b-full-8xa100",
    "glm4": "glm4-9b-lora-1x3090",
    "llamafactory": "qwen2.5-7b-lora-4x4090",
    "mgm": "mini-gemini-2b-full-4x4090",
    "minimind": "minimind-3-grpo-rtx3090",
    "ms-swift": "qwen2-7b-grpo-4x3090",
    "trl": "qwen3-8b-dpo-4xl40s-trl",
    "unsloth": "qwen3-14b-qlora-t4-unsloth",
    "xtuner": "mixtral-lora-12k-8xa100-40g",
    "xtuner-v1": "qwen3-8b-full-8xh100-xtuner-v1",
}
LANGUAGES = {".yaml": "yaml", ".json": "json", ".sh": "sh", ".py": "python"}  # of files, for colours
WORDS = {
    "en": {
        "example": "A worked example",
        "spec": "`examples/{name}.yaml` says",
        "plan": "What mfc makes of it, and what it needs:",
        "files": "`mfc compile` writes, of which `{launch}` starts the run:",
    },
    "zh": {
        "example": "完整示例",
        "spec": "`examples/{name}.yaml` 写着",
        "plan": "mfc 由此得出的方案与所需资源：",
        "files": "`mfc compile` 写出下列文件，用 `{launch}` 启动：",
        "keys": "键的对照",
        "keys note": "备注取自代码，目前只有英文。",
    },
}


def page(target: str, text: str, language: str) -> str:
    """The README of a target with the example before its first section; in translations the table of keys follows."""
    head, mark, rest = text.partition("\n## ")
    whole = f"{head}\n{example(target, language)}{mark}{rest}"
    words = WORDS[language]
    if "keys" in words and "<!-- keys:" not in text:
        whole += f"\n## {words['keys']}\n\n{words['keys note']}\n\n{mapping_table(get(target).KEYS)}"
    return whole


def example(target: str, language: str) -> str:
    """A section: the spec, the plan, and every file that is written."""
    words, name = WORDS[language], EXAMPLES[target]
    shown = f"examples/{name}.yaml"
    loaded = api.load(ROOT / shown)
    (compiled,) = api.compile(loaded, [target])
    plan = click.unstyle(glance.to_text([compiled.plan], shown, [bill(compiled.plan, None)])).rstrip()
    return "\n".join(
        [
            f"## {words['example']}\n",
            words["spec"].format(name=name) + "\n",
            f"```yaml\n{(ROOT / shown).read_text(encoding='utf-8')}```\n",
            words["plan"] + "\n",
            f"```console\n$ mfc plan {shown} --target {target}\n{plan}\n```\n",
            words["files"].format(launch=compiled.launch) + "\n",
            *(_folded(file, text) for file, text in compiled.files.items()),
        ]
    )


def _folded(name: str, text: str) -> str:
    """A file that is shown when asked for."""
    kind = LANGUAGES.get(PurePosixPath(name).suffix, "text")
    block = f"````{kind}\n{text.rstrip()}\n````"
    return f'??? note "{name}"\n\n' + "".join(f"    {line}\n" if line else "\n" for line in block.splitlines())
