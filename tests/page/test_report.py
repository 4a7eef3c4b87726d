"""`mfc report`: one page that loads and runs nothing, speaks both languages, and holds what strangers write."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from mfc import api
from mfc.cli import main
from mfc.errors import SpecError
from mfc.memory import phases
from mfc.page import html, words
from mfc.page.sheet import Refused, Sheet, sheets

SPEC = """\
model: Qwen/Qwen2.5-7B-Instruct
hardware: {gpu: RTX 4090, count: 2, price: $0.40/h}
data: {train: [{path: a.jsonl, samples: 5000}], mean_length: 700}
targets: [llamafactory, ms-swift]
"""
HOSTILE = "<img src=x onerror=alert(1)>&quot;'\"</style></pre><script>alert(1)</script>\u202e{{ 7 * 7 }}"
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """What is in a page: its elements, balanced, with ids and what refers to them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["report", *args])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def test_a_page_is_whole_and_loads_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("spec.yaml") == 0
    assert capsys.readouterr().out == "wrote report.html: 2 plans\n"
    text = (here / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "style", "srcset")]
    assert all(value.startswith("#") for value in page.values("href"))
    assert "url(" not in text
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    said = [*page.values("aria-labelledby"), *page.values("aria-describedby"), *page.values("for")]
    assert {each for one in said for each in one.split()} <= set(ids)
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)
    (policy,) = (value for value in page.values("content") if "default-src" in value)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{html.digest(style)}'; base-uri 'none'")


def test_the_same_spec_gives_the_same_bytes(here: Path) -> None:
    assert run("spec.yaml") == 0
    first = (here / "report.html").read_bytes()
    assert run("spec.yaml") == 0
    assert (here / "report.html").read_bytes() == first


def test_everything_that_a_plan_says_is_there(here: Path) -> None:
    assert run("spec.yaml") == 0
    text = (here / "report.html").read_text(encoding="utf-8")
    for sheet in sheets(api.load("spec.yaml")):
        assert isinstance(sheet, Sheet)
        assert sheet.compiled is not None
        for decision in sheet.plan.decisions.values():
            assert f"<code>{decision.field}</code>" in text
            assert str(words.shown(words.Said(decision.source, decision.source))) in text
        for name in sheet.compiled.files:
            assert f"<summary><code>{name}</code></summary>" in text
        for moment in sheet.moments:
            assert words.named("moments", moment).zh in text
    assert "$0." in text
    assert "5 × " not in text


def test_what_is_refused_is_a_page_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "wrong.yaml").write_text("model: [\n", encoding="utf-8")
    words = [
        "spec.yaml",
        "wrong.yaml",
        "--set",
        "train.method=full",
        "--set",
        "hardware.count=1",
        "-o",
        "out/page.html",
    ]
    assert run(*words) == 3
    assert capsys.readouterr().out == "wrote out/page.html: 3 plans, 3 refused\n"
    text = (here / "out" / "page.html").read_text(encoding="utf-8")
    Page(text)
    assert "--set train.method=lora" in text
    assert "放不下" in text
    assert "wrong.yaml:2:1: error" in text or "wrong.yaml:1" in text


def test_a_spec_without_data_says_how_to_see_files(here: Path) -> None:
    (here / "bare.yaml").write_text("model: Qwen/Qwen2.5-0.5B\nhardware: RTX 4090\n", encoding="utf-8")
    assert run("bare.yaml") == 0
    assert "name the data in the spec to see the files" in (here / "report.html").read_text(encoding="utf-8")


def test_only_its_own_page_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("spec.yaml", "-o", "spec.yaml") == 1
    assert "is there already, and no page of mfc report; choose another name for -o" in capsys.readouterr().err
    assert (here / "spec.yaml").read_text(encoding="utf-8") == SPEC
    assert run("spec.yaml", "-o", ".") == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["model", "path", "native", "prompt", "file name"])
def test_a_strangers_words_stay_words(place: str, here: Path) -> None:
    plain = {
        "model": {"id": "Qwen/Qwen2.5-0.5B"},
        "hardware": {"gpu": "RTX 4090"},
        "data": {"train": [{"path": "a.jsonl", "format": "messages"}]},
        "targets": {"llamafactory": {}},
    }
    name = "spec.yaml"
    if place == "model":
        plain["model"] = {"id": f"./{HOSTILE}", "like": "Qwen/Qwen2.5-0.5B"}
    elif place == "path":
        plain["data"]["train"][0]["path"] = f"{HOSTILE}.jsonl"  # type: ignore[index]
    elif place == "native":
        plain["targets"] = {"llamafactory": {"extra": {"train.yaml": {HOSTILE: HOSTILE}}}}
    elif place == "prompt":
        plain["run"] = {"output_dir": HOSTILE}
    else:
        name = "<script>alert(1)<!-- & .yaml"
    (here / name).write_text(json.dumps(plain), encoding="utf-8")
    assert run(name) in (0, 2)
    text = (here / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "img"}
    assert "\u202e" not in text
    assert "<script" not in text
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_letters_that_no_page_can_hold_are_marked() -> None:
    error = Refused("a\udcffb.yaml", "", SpecError("x\x00y\x1b[31m\x85"))
    text = html.report("\udcff", [error])
    text.encode()
    assert "a\ufffdb.yaml" in text
    assert "x\ufffdy\ufffd[31m\ufffd" in text


def test_every_phrase_has_both_languages_and_is_used() -> None:
    folder = Path(words.__file__).parent
    known = yaml.safe_load((folder / "words.yaml").read_text(encoding="utf-8"))
    files = [*folder.iterdir(), *(folder.parent / "ui").glob("*.py")]
    sources = "".join(file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".j2"))
    nested = [pair for group in known.values() if isinstance(group, dict) for pair in group.items()]
    for key, pair in [*known.items(), *nested]:
        if isinstance(pair, dict):
            continue
        english, chinese = pair
        names = re.compile(r"{\w+}")
        assert sorted(names.findall(english)) == sorted(names.findall(chinese)) or not english, key
        assert not re.search("[\u4e00-\u9fff][,;:()]|[,;:()][\u4e00-\u9fff]", chinese), "wide punctuation in Chinese"
    prefixes = ("bound_", "short_")
    made = {"calibrated", "extrapolated", "unmodelled"}
    for key, pair in known.items():
        assert isinstance(pair, dict) or key.startswith(prefixes) or key in made or f'"{key}"' in sources, key


def test_every_moment_of_the_model_has_a_name() -> None:
    source = Path(phases.__file__).read_text(encoding="utf-8")
    known = yaml.safe_load(Path(words.__file__).with_name("words.yaml").read_text(encoding="utf-8"))["moments"]
    found = re.findall(r'Phase\(\s*"([^"]+)"', source) + re.findall(r'\.plus\(\s*"([^"]+)"', source)
    assert len(found) > 15
    assert set(found) <= known.keys()
