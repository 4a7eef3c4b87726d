"""The page of `mfc report` in a real browser, at two widths, light and dark."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests import browser as browsers
from tests.browser import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.framework

SPECS: dict[str, dict[str, object]] = {
    "fits.yaml": {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": {"gpu": "RTX 4090", "count": 2, "host_memory": "128GiB", "price": "$0.40/h"},
        "data": {"train": [{"path": "a.jsonl", "samples": 50000}], "mean_length": 700},
        "targets": ["llamafactory", "xtuner", "ms-swift"],
    },
    "too-large.yaml": {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": "RTX 4090",
        "train": {"method": "full"},
        "targets": ["llamafactory"],
    },
    "wrong.yaml": {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 9999", "<b>x</b>": 1},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    for name, spec in SPECS.items():
        (folder / name).write_text(json.dumps(spec), encoding="utf-8")
    out = folder / "report.html"
    words = [sys.executable, "-m", "mfc", "report", *SPECS]
    assert subprocess.run(words, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode == 3
    return out.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as one:
        yield one


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", browsers.SIZES)
def test_it_is_whole_at_every_size(size: str, scheme: browsers.Scheme, browser: Browser, page: str) -> None:
    with browsers.opened(browser, page, size, scheme) as seen:
        for language in ("English", "中文"):
            seen.page.get_by_label(language).check()
            assert browsers.overflowing(seen.page) == []
            assert browsers.contrast(seen.page) == []
        assert seen.said == []
        assert seen.asked == [page]
        dark = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == ("rgb(18, 23, 30)" if scheme == "dark" else "rgb(246, 248, 251)")


def test_charts_have_names_descriptions_and_tables(browser: Browser, page: str) -> None:
    with browsers.opened(browser, page, "desktop") as seen:
        here = seen.page
        for chart in ("Memory per GPU at each moment", "Memory of one GPU", "Memory against time"):
            found = here.get_by_role("img", name=chart)
            assert found.count() == 4, chart
        tree = here.locator("body").aria_snapshot()
        assert "Stacked bars" not in tree  # a description, not a name
        svg = here.get_by_role("img", name="Memory per GPU at each moment, llamafactory").first
        assert "Stacked bars, one per moment" in str(
            svg.evaluate("one => document.getElementById(one.getAttribute('aria-describedby')).textContent")
        )
        unnamed = here.evaluate(
            """() => [...document.querySelectorAll("svg")].filter((one) =>
                one.getAttribute("aria-hidden") !== "true" && one.getAttribute("role") !== "img").length"""
        )
        assert unnamed == 0
        here.get_by_text("The same as a table").first.click()
        expect(here.get_by_role("cell", name="19.92 GiB").first).to_be_visible()
        for heading in ("What could change your results", "The price of each lever", "Files", "What would fit"):
            assert here.get_by_role("heading", name=heading).count() >= 1
        levels = here.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((one) => +one.tagName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_language_is_switched_without_a_script(browser: Browser, page: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    here = context.new_page()
    here.goto(page)
    expect(here.get_by_role("heading", name="Memory against time").first).to_be_visible()
    assert here.get_by_role("heading", name="显存与时间的取舍").count() == 0
    here.get_by_label("中文").check()
    expect(here.get_by_role("heading", name="显存与时间的取舍").first).to_be_visible()
    assert here.get_by_role("heading", name="Memory against time").count() == 0
    assert here.get_by_role("img", name="显存").count() > 0
    assert here.get_by_role("img", name="Memory").count() == 0
    context.close()


def test_the_keyboard_reaches_everything(browser: Browser, page: str) -> None:
    with browsers.opened(browser, page, "desktop") as seen:
        here = seen.page
        here.keyboard.press("Tab")
        expect(here.get_by_role("link", name="Skip to the plans")).to_be_focused()
        here.keyboard.press("Tab")
        expect(here.get_by_label("English")).to_be_focused()
        here.keyboard.press("ArrowRight")
        expect(here.get_by_label("中文")).to_be_checked()
        here.keyboard.press("ArrowLeft")
        here.keyboard.press("Tab")
        expect(here.get_by_role("link", name="Details of llamafactory").first).to_be_focused()
        summary = here.locator("summary", has_text="train.yaml").first
        summary.focus()
        here.keyboard.press("Enter")
        expect(summary.locator("xpath=..").locator("pre")).to_be_visible()
        scrolling = here.evaluate(
            """() => [...document.querySelectorAll(".wide, pre")].filter((one) =>
                one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0).length"""
        )
        assert scrolling == 0


def test_paper_shows_what_is_folded(browser: Browser, page: str) -> None:
    with browsers.opened(browser, page, "desktop") as seen:
        seen.page.emulate_media(media="print")
        expect(seen.page.get_by_label("English")).to_be_hidden()
        folded = seen.page.locator("details.file pre").first
        assert folded.evaluate("one => one.checkVisibility({ contentVisibilityAuto: true })")
        assert folded.bounding_box() is not None


def test_words_of_a_stranger_are_shown_as_they_are(browser: Browser, page: str) -> None:
    with browsers.opened(browser, page, "desktop") as seen:
        expect(seen.page.get_by_role("article").filter(has_text="wrong.yaml")).to_contain_text("<b>x</b>")
