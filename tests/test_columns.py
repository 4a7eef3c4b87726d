"""Cases are read by people: no line of theirs is over 120 columns."""

from pathlib import Path

FILES = sorted(Path(__file__).parent.rglob("*.yaml"))


def test_no_line_of_a_case_is_over_120_columns() -> None:
    lines = [(file, line) for file in FILES for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines
    assert [(file.name, line) for file, line in lines if len(line) > 120] == []
