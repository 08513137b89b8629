"""The page of `inv report` in a real Chromium: wide and narrow, light and dark, printed; nothing leaves it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.report import write_page
from fleet.problems import Problem
from lab import chromium
from lab.chromium import Page, Screen
from tests.fleet.test_report import DOWN, HELD, HOSTILE, all_well, contrast, figures, page, row

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(chromium.find() is None, reason="no chromium here; ./inv test --long installs it"),
]
SCREENS = [Screen(width, 900, scheme) for width in (1280, 400) for scheme in ("light", "dark")]
TEXT_AND_GROUND = """
[...document.querySelectorAll("body *")].filter(one => one.checkVisibility() && [...one.childNodes].some(
  child => child.nodeType === 3 && child.textContent.trim())).map(one => {
    let ground = one;
    while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    const below = getComputedStyle(ground || document.body).backgroundColor;
    return [one.outerHTML.slice(0, 80), getComputedStyle(one).color, below];
  })
"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with chromium.opened() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a relay that is down, a list that is held, and names that are hostile."""
    folder = tmp_path_factory.mktemp("report")
    rows = (row("acme", "mx1", HELD, Problem(HOSTILE, HOSTILE)), row("acme", "mx2"))
    return write_page(folder, page(folder, all_well(*rows, mx2=DOWN), mx1=figures(1)))


def hexadecimal(colour: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen.width}-{screen.scheme}")
def test_the_page_fits_its_screen_asks_for_nothing_and_can_be_read(tab: Page, file: Path, screen: Screen) -> None:
    tab.requests.clear()
    tab.complaints.clear()
    tab.show(screen)
    tab.open(file)
    assert {url for url in tab.requests if url != "data:,"} == {file.as_uri()}
    assert tab.complaints == []
    assert tab.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    pairs: list[list[str]] = tab.evaluate(TEXT_AND_GROUND)
    assert len(pairs) > 50
    weak = [pair for pair in pairs if contrast(hexadecimal(pair[1]), hexadecimal(pair[2])) < 4.5]
    assert weak == []
    assert (hexadecimal(tab.evaluate("getComputedStyle(document.body).backgroundColor")) == "#ffffff") == (
        screen.scheme == "light"
    )


def test_a_picture_of_the_whole_page_has_the_last_customer_on_it(tab: Page, file: Path) -> None:
    """Chromium leaves out what is drawn as it is scrolled to; only a page of more than 100 customers is."""
    tab.show(SCREENS[0])
    tab.open(file)
    drawn = "getComputedStyle(document.querySelector('.customer')).contentVisibility"
    assert tab.evaluate(drawn) == "visible"
    tab.evaluate("document.querySelector('main').className = 'many'")
    assert tab.evaluate(drawn) == "auto"


def test_a_click_sorts_a_table_and_another_turns_it_round(tab: Page, file: Path) -> None:
    tab.show(Screen())
    tab.open(file)
    names = "[...document.querySelectorAll('#fleet tbody tr')].map(row => row.cells[0].textContent)"
    click = "document.querySelector('#fleet th .sorter').click()"
    tab.evaluate(click)
    assert tab.evaluate(names) == ["acme", "bolt"]
    tab.evaluate(click)
    assert tab.evaluate(names) == ["bolt", "acme"]
    assert tab.evaluate("document.querySelector('#fleet th').getAttribute('aria-sort')") == "descending"


def test_the_filter_hides_the_rows_and_the_sections_of_the_others(tab: Page, file: Path) -> None:
    tab.show(Screen())
    tab.open(file)
    assert read_visible_customers(tab) == ["acme", "bolt"]
    tab.evaluate("search.value = 'BOLT'; search.dispatchEvent(new Event('input'))")
    assert read_visible_customers(tab) == ["bolt"]
    tab.evaluate("search.value = ''; only.click()")
    assert read_visible_customers(tab) == ["acme"]


def read_visible_customers(tab: Page) -> Any:
    sections = "[...document.querySelectorAll('.customer')]"
    return sorted(tab.evaluate(f"{sections}.filter(one => !one.hidden).map(one => one.id.slice(2))"))


def printed(tab: Page) -> str:
    """Return the words of the page as it is printed."""
    done = subprocess.run(["pdftotext", "-", "-"], input=tab.pdf(), capture_output=True, check=True)
    return " ".join(done.stdout.decode().split())


def test_the_page_can_be_read_without_its_script(tab: Page, file: Path) -> None:
    tab.show(Screen())
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.load(file)
        text = printed(tab)
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "Show customers with" not in text
    assert "What needs a person" in text


def test_the_page_is_printed_in_dark_ink_on_white_whatever_the_screen_shows(tab: Page, file: Path) -> None:
    tab.show(Screen(scheme="dark", media="print"))
    tab.open(file)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert tab.evaluate("getComputedStyle(document.getElementById('tools')).display") == "none"
    words = printed(tab)
    assert [text for text in ("Good upload", "exchange-5.5", "no figures: not reached") if text not in words] == []
