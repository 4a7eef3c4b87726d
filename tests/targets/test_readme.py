"""The table in a target's README is that of its keys; run as a program, this writes all of them anew."""

import re
from pathlib import Path

import pytest
from mfc.target import get, names
from mfc.target.keys import mapping_table

TABLE = re.compile(r"(<!-- keys: python -m tests.targets.test_readme -->\n)(.*)(<!-- end -->)", re.DOTALL)


def readme(target: str) -> Path:
    return get(target).folder / "README.md"


def with_table(target: str) -> str:
    text = readme(target).read_text(encoding="utf-8")
    return TABLE.sub(lambda found: f"{found[1]}{mapping_table(get(target).KEYS)}{found[3]}", text)


@pytest.mark.parametrize("target", names())
def test_the_table_is_up_to_date(target: str) -> None:
    text = readme(target).read_text(encoding="utf-8")
    assert TABLE.search(text)
    assert text == with_table(target)


if __name__ == "__main__":
    for name in names():
        readme(name).write_text(with_table(name), encoding="utf-8")
