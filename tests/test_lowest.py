"""mfc's libraries at both ends: the lowest versions that it allows, and the newest, which `constraints.txt` pins."""

import re
from pathlib import Path

import pytest

from tests.conformance.environments import environment, pinned
from tests.typecheck import link

ROOT = Path(__file__).parent.parent
INSTALL = "pip install -c constraints.txt -e '.[dev]'"
# Where the libraries are used: pydantic and PyYAML read specs, Click runs commands, Jinja2 renders every case of every
# target, jsonschema checks them, tree-sitter parses scripts.
WHERE = (
    *("spec", "cli", "emit/test_render.py", "emit/test_quote.py", "emit/test_contract.py", "emit/test_extra.py"),
    *("targets/test_files.py", "imports/test_cases.py"),
)


def bounds() -> dict[str, str]:
    """The lowest version of each library that mfc needs."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert listed
    found = re.findall(r'^  "([\w-]+)>=([\d.]+)",$', listed[1], re.MULTILINE)
    assert len(found) == len(listed[1].splitlines()), "a lower bound each, and nothing else"
    return dict(found)


def version(text: str) -> tuple[int, ...]:
    """A version as numbers, 6.0 and 6.0.0 alike."""
    return tuple(map(int, re.sub(r"(\.0)+$", "", text).split(".")))


def test_the_lists_are_those_of_pyproject() -> None:
    newest = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lowest = (ROOT / "tests/conformance/requirements/lowest.txt").read_text(encoding="utf-8")
    assert "://" not in newest + lowest, "which package index to ask is for the user to say"
    assert "--index" not in newest + lowest
    for name, bound in bounds().items():
        assert version(pinned("lowest")[name]) == version(bound)
        (pin,) = re.findall(rf"^{name}==([\d.]+)$", newest, re.MULTILINE)
        assert version(pin) > version(bound)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md"])
def test_what_developers_install_is_pinned(name: str) -> None:
    commands = re.findall(r"pip install [^\n]*'\.\[dev\]'", (ROOT / name).read_text(encoding="utf-8"))
    assert commands == [INSTALL]


@pytest.mark.framework
def test_the_lowest_versions_do(tmp_path: Path) -> None:
    link(tmp_path / "mfc")
    command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "-m", "not framework"]
    # Outside CI, tests leave out what needs the extras, which are not in this environment.
    environment("lowest").run(
        [*command, *(f"tests/{name}" for name in WHERE)],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "CI": ""},
        timeout=1200,
    )
