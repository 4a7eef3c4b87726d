"""The tables in the READMEs of the targets are those of their keys; run as a program, this writes them anew."""

import re
from pathlib import Path

import pytest
from mfc.target import get
from mfc.target.keys import mapping_table

TARGETS = Path(__file__).parent.parent.parent / "targets"
TABLE = re.compile(r"(<!-- keys: .* -->\n)(.*)(<!-- end -->)", re.DOTALL)


def with_table(name: str) -> str:
    text = (TARGETS / name / "README.md").read_text(encoding="utf-8")
    return TABLE.sub(lambda found: f"{found[1]}{mapping_table(get(name).KEYS)}{found[3]}", text)


@pytest.mark.parametrize("name", ["deepspeed", "llamafactory"])
def test_the_table_is_up_to_date(name: str) -> None:
    text = (TARGETS / name / "README.md").read_text(encoding="utf-8")
    assert TABLE.search(text)
    assert text == with_table(name)


if __name__ == "__main__":
    for target in ("deepspeed", "llamafactory"):
        (TARGETS / target / "README.md").write_text(with_table(target), encoding="utf-8")
