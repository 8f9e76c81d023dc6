"""The menu of languages in the page, where there are more than two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import sample_records as sample
import sample_studies
from browser.test_report_access import found_by_axe
from critbatch.reports.translator import Translator
from critbatch.reports.write import report as write_report
from pseudo_language import CODE, END, NAME, third_language
from report_visits import IN_A_BROWSER, SHOWN, Visit, launched

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with third_language(tmp_path_factory.mktemp("messages")) as code:
        yield code


@pytest.fixture(scope="module")
def address(language: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("third") / "report.html"
    return write_report([sample.advice(), sample_studies.study()], path).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


def test_the_menu_shows_the_page_in_each_language_and_comes_back(browser: Any, address: str):
    visit = Visit(browser, address)
    menu = visit.page.locator(f"{SHOWN} select.switch")
    assert menu.locator("option").all_inner_texts() == ["English", NAME, "中文"]
    english = visit.page.locator(f"{SHOWN} h1").inner_text()
    for code, lang in ((CODE, CODE), ("zh", "zh-Hans"), (CODE, CODE), ("en", "en")):
        menu.select_option(code)
        assert visit.run("document.documentElement.lang") == lang
        assert visit.page.locator(".translation:not([hidden])").count() == 1
        assert menu.input_value() == code
        visit.page.wait_for_selector(f"{SHOWN} .plot .xtitle")
        title = visit.page.locator(f"{SHOWN} .plot .xtitle").first.text_content()
        assert Translator(code)("batch_size").removesuffix(END) in title
    assert visit.page.locator(f"{SHOWN} h1").inner_text() == english
    assert visit.complaints == []
    visit.close()


def test_the_menu_is_reached_and_used_by_keyboard(browser: Any, address: str):
    visit = Visit(browser, address, width=360)
    visit.page.locator(f"{SHOWN} select.switch").focus()
    visit.page.keyboard.press("ArrowDown")
    assert visit.run("document.documentElement.lang") == CODE
    assert visit.run("document.activeElement.className") == "switch"
    assert visit.run("document.documentElement.scrollWidth") == 360
    assert found_by_axe(visit) == []
    visit.close()
