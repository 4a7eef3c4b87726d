"""What is said of a text that is not YAML is mfc's own, whichever parser reads it."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.errors import SpecError
from mfc.spec import malformed, yaml12
from mfc.spec.marks import Source

from tests.tables import table

HERE = Path(__file__).parent
TEXTS: dict[str, list[str]] = table(HERE / "malformed.yaml")
SPECS = [case["spec"] for name in ("good.yaml", "bad.yaml") for case in table(HERE / name) if "spec" in case]
# What breaks YAML when it stands in the wrong place.
SHARDS = [
    *"\t\n \"'[]{},:-?&*!|>%@`#\\<0",
    "- ",
    "? ",
    ": ",
    "\n- ",
    "\n  ",
    "\n---\n",
    "...\n",
    "%YAML 1.3\n",
    "%TAG ! x\n",
]
SHARDS += ["!<", "!a!b ", "|0", '"\\q"', '"\\xz"', '"\\ud800"', '"\\U00110000"', "[" * 1100, "{a: " * 30]


@pytest.fixture(params=["libyaml", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "_Parser", {"libyaml": yaml.CSafeLoader, "Python": yaml.SafeLoader}[request.param])


def said(text: str) -> str:
    """What is said after "not valid YAML", or "" when the text is YAML or refused for another reason."""
    try:
        yaml12.parse(text, Source("text"))
    except SpecError as error:
        return str(error).split("\n")[0].partition("error: not valid YAML: ")[2]
    return ""


@pytest.mark.parametrize("sentence", TEXTS)
def test_a_sentence(sentence: str, parser: None) -> None:
    assert [said(text) for text in TEXTS[sentence]] == [sentence] * len(TEXTS[sentence])


def test_every_sentence_has_a_text() -> None:
    assert TEXTS.keys() == {known.text for known in malformed.COMPLAINTS}


@pytest.mark.parametrize("seed", range(2))
def test_broken_specs_get_no_other_sentence(seed: int, parser: None) -> None:
    draw = random.Random(seed)
    heard = set()
    for _ in range(400):
        text = draw.choice(SPECS)
        for _ in range(draw.randint(1, 3)):
            start = draw.randint(0, len(text))
            text = text[:start] + draw.choice(["", *SHARDS]) + text[start + draw.choice((0, 0, 0, 1, 5)) :]
        heard.add(said(text))
    assert heard <= TEXTS.keys() | {""}
    assert len(heard) > 10


class Stranger:
    """A parser with words of its own."""

    def __init__(self, text: str) -> None:
        self.words = text

    def get_event(self) -> Any:
        raise yaml.MarkedYAMLError(problem=self.words)


def test_words_that_nobody_knows_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "_Parser", Stranger)
    assert said("the flux has come undone") == malformed.UNKNOWN.text


@pytest.mark.parametrize("links", [2, 20, 60, 400])
@pytest.mark.parametrize("levels", [1, 20])
def test_aliases_do_not_nest_deeper_than_text_may(links: int, levels: int) -> None:
    """A chain of aliases, each a few levels below the next: as deep as a spec may be, or one error at its place."""
    lines = ["a0: &a0 1"]
    lines += [f"a{i}: &a{i} {'{x: ' * levels}*a{i - 1}{'}' * levels}" for i in range(1, links)]
    text = "\n".join(lines)
    if (links - 1) * levels < yaml12.MAX_DEPTH:
        assert yaml12.parse(text, Source("text"))
    else:
        with pytest.raises(SpecError, match=r"levels deep, aliases expanded|values, aliases expanded"):
            yaml12.parse(text, Source("text"))
