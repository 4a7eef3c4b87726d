"""A real browser for tests: the distribution's Chromium, which may reach nothing but what is tested."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from tests.data import optional

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_driver: Any = optional("playwright.sync_api")
expect = _driver.expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that is not there is a failure, never a skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("no Chromium here: apt-get install chromium")
    with _driver.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


class Seen(NamedTuple):
    """A page and what went on in it."""

    page: Page
    said: list[str]  # by its console, and errors of its scripts
    asked: list[str]  # addresses


@contextmanager
def opened(browser: Browser, address: str, size: str, scheme: Scheme = "light") -> Iterator[Seen]:
    """A page at an address."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    seen = Seen(page, [], [])
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.goto(address)
    yield seen
    context.close()


def overflowing(page: Page) -> list[str]:
    """Elements that stick out to the right of the page, and are not within one that scrolls."""
    found: list[str] = page.evaluate(
        """() => [...document.body.querySelectorAll("*")].filter((one) => {
            if (one.closest("svg") || one.closest(".wide, pre, .skip, legend, thead")) return false;
            return one.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
        }).map((one) => one.outerHTML.slice(0, 120))"""
    )
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return found + (["the page itself scrolls sideways"] if wide else [])


def contrast(page: Page) -> list[str]:
    """Texts of less than 4.5 : 1 against what is behind them (WCAG 2.1, 1.4.3)."""
    found: list[str] = page.evaluate(
        """() => {
            const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
                .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
                .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
            const behind = (one) => {
                for (let at = one; at; at = at.parentElement) {
                    const colour = parts(getComputedStyle(at).backgroundColor);
                    if (colour.length < 4 || colour[3] > 0.99) return colour;
                }
                return [255, 255, 255];
            };
            return [...document.querySelectorAll("main *, header *, form *")].filter((one) => {
                const text = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
                if (!text || one.closest("svg, option, :disabled") || !one.checkVisibility()) return false;
                const [a, b] = [light(parts(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
                return (a + 0.05) / (b + 0.05) < 4.5;
            }).map((one) => one.outerHTML.slice(0, 120));
        }"""
    )
    return found
