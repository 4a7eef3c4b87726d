"""`mfc ui` in a real browser: what a user changes is planned, shown and saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import browser as browsers
from tests.browser import expect
from tests.ui.server import SPEC, Client, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as one:
        yield one


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with running(tmp_path) as one:
        yield one


def control(page: Page, name: str) -> Locator:
    """What a screen reader calls by this name."""
    found = [page.get_by_role(role, name=name, exact=True) for role in ("combobox", "textbox", "spinbutton")]
    return found[0].or_(found[1]).or_(found[2])


def planned(page: Page) -> None:
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true", timeout=60_000)
    expect(page.get_by_role("status")).to_have_text("planned", use_inner_text=True, timeout=60_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", browsers.SIZES)
def test_a_card_is_changed_and_the_verdict_follows(
    size: str, scheme: browsers.Scheme, browser: Browser, client: Client
) -> None:
    with browsers.opened(browser, client.address, size, scheme) as seen:
        here = seen.page
        expect(here.get_by_text("✓ fits")).to_be_visible()
        expect(here.get_by_role("button", name="Save the spec")).to_be_disabled()
        control(here, "Card").fill("A100 SXM 80GB")
        here.keyboard.press("Tab")
        planned(here)
        here.locator(".changes summary", has_text="llamafactory/train.yaml").first.click()
        expect(here.locator(".changes .add").first).to_be_visible()
        control(here, "Card").fill("RTX 4090")
        here.keyboard.press("Tab")
        control(here, "Method").select_option("full")
        expect(here.get_by_text("✗ does not fit")).to_be_visible(timeout=60_000)
        planned(here)
        assert browsers.overflowing(here) == []
        assert browsers.contrast(here) == []
        assert seen.said == []
        assert all(address.startswith(f"http://{client.host}/") for address in seen.asked)


def test_a_change_is_saved_and_another_taken_back(browser: Browser, client: Client, tmp_path: Path) -> None:
    with browsers.opened(browser, client.address, "desktop") as seen:
        here = seen.page
        control(here, "Cards in a machine").fill("4")
        here.get_by_label("ms-swift").check()
        planned(here)
        here.get_by_role("button", name="Save the spec").click()
        expect(here.get_by_role("status")).to_have_text("saved", use_inner_text=True)
        expect(here.get_by_role("button", name="Save the spec")).to_be_disabled()
        wanted = SPEC.replace("2x RTX 4090", "4x RTX 4090").replace("[llamafactory]", "[llamafactory, ms-swift]")
        assert (tmp_path / "spec.yaml").read_text(encoding="utf-8") == wanted
        control(here, "Cards in a machine").fill("8")
        planned(here)
        here.get_by_role("button", name="Back to the spec").click()
        expect(control(here, "Cards in a machine")).to_have_value("4")
        planned(here)
        (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
        control(here, "Cards in a machine").fill("8")
        planned(here)
        here.get_by_role("button", name="Save the spec").click()
        expect(here.get_by_role("status")).to_contain_text("was changed on disk since this page read it")
        assert (tmp_path / "spec.yaml").read_text(encoding="utf-8") == SPEC


def test_what_would_fit_is_tried_by_keyboard(browser: Browser, client: Client) -> None:
    with browsers.opened(browser, client.address, "desktop") as seen:
        here = seen.page
        control(here, "Method").select_option("full")
        planned(here)
        row = here.get_by_role("row").filter(has_text="--set hardware.host_memory")
        row.get_by_role("button", name="Try").focus()
        here.keyboard.press("Enter")
        planned(here)
        expect(here.get_by_text("✓ fits")).to_be_visible()
        expect(here.get_by_text("hardware.host_memory:")).to_be_visible()
        here.get_by_role("button", name="undo").click()
        planned(here)
        expect(here.get_by_text("✗ does not fit")).to_be_visible()


def test_every_control_has_a_name_in_both_languages(browser: Browser, client: Client) -> None:
    with browsers.opened(browser, client.address, "desktop") as seen:
        here = seen.page
        for name in ("Card", "Cards in a machine", "Machines", "Model", "Task", "Method", "Tokens of a row at most"):
            expect(control(here, name)).to_be_visible()
        here.get_by_label("中文").check()
        for name in ("显卡", "每台机器的卡数", "模型", "任务", "方法"):
            expect(control(here, name)).to_be_visible()
        control(here, "方法").select_option("qlora")
        expect(here.get_by_role("status")).to_have_text("规划完成", use_inner_text=True, timeout=60_000)
        expect(here.get_by_label("中文")).to_be_checked()


def test_what_is_wrong_is_told_and_mended(browser: Browser, client: Client) -> None:
    with browsers.opened(browser, client.address, "desktop") as seen:
        here = seen.page
        control(here, "Model").fill("<img src=x onerror=alert(1)>")
        here.keyboard.press("Tab")
        expect(here.get_by_text("only models of the catalogue are tried here")).to_be_visible(timeout=60_000)
        here.get_by_role("button", name="Back to the spec").click()
        expect(here.get_by_text("✓ fits")).to_be_visible(timeout=60_000)
        assert seen.said == []


def test_without_the_token_there_is_no_page(browser: Browser, client: Client) -> None:
    with browsers.opened(browser, f"http://{client.host}/", "desktop") as seen:
        expect(seen.page.get_by_text("open the address that the terminal shows")).to_be_visible()
