"""Each target that lies here has a how-to in both languages, with an example that names it."""

import pytest
from mfc import api
from mfc.target import get, names

from publish.howto import EXAMPLES, page
from publish.root import ROOT

SHIPPED = [name for name in names() if get(name).folder.parent == ROOT / "targets"]


def test_every_target_has_an_example() -> None:
    assert sorted(EXAMPLES) == sorted(SHIPPED)


@pytest.mark.parametrize("target", SHIPPED)
def test_its_readme_is_there_in_chinese_with_the_same_files(target: str) -> None:
    assert target in api.load(ROOT / "examples" / f"{EXAMPLES[target]}.yaml").spec.targets
    english, chinese = (
        (get(target).folder / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")
    )
    first = english.partition("\n## ")[0].split("| file | what |")
    if len(first) == 2:
        files = [line.split("|")[1].strip() for line in first[1].splitlines() if line.startswith("| `")]
        assert all(f"| {file} |" in chinese for file in files)


def test_the_example_stands_before_the_first_section_and_keys_after_the_last() -> None:
    text = (get("trl").folder / "README.zh.md").read_text(encoding="utf-8")
    made = page("trl", text, "zh")
    assert made.index("## 完整示例") < made.index("## 数据") < made.index("## 键的对照")
    assert "--target trl" in made
    assert "accelerate.yaml" in made
