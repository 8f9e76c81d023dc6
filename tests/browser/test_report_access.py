"""The report for those who move through it by keyboard, or listen to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sample_loss_surface
import sample_records as sample
import sample_studies
from critbatch.reports import html as page
from critbatch.reports.model import Answer, Cell, Chapter, Section, Table, Text
from critbatch.reports.write import report as write_report
from html_page import written
from report_visits import IN_A_BROWSER, SHOWN, Visit, launched

CONTROLS = "a[href], button, summary, [tabindex='0']"
OPEN_ALL = "document.querySelectorAll('details').forEach(part => (part.open = true))"


def in_a_browser(test: Any) -> Any:
    for mark in IN_A_BROWSER:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [
        sample.advice(),
        sample_studies.study(),
        sample.speed(),
        sample.noise(),
        sample_loss_surface.curvature(),
        sample_loss_surface.plane(),
        sample_loss_surface.escape(),
    ]
    return write_report(records, tmp_path_factory.mktemp("access") / "report.html").as_uri()


@in_a_browser
@pytest.mark.parametrize("width", [1100, 360], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("chinese", [False, True], ids=["en", "zh"])
def test_axe_finds_nothing(browser: Any, address: str, chinese: bool, dark: bool, width: int):
    seen = Visit(browser, address, width=width, dark=dark, chinese=chinese)
    seen.run(OPEN_ALL)
    seen.page.locator(f"{SHOWN} .legend button").first.press("Enter")
    assert found_by_axe(seen) == []
    seen.close()


@in_a_browser
def test_axe_finds_what_is_not_accessible(browser: Any, address: str):
    seen = Visit(browser, address)
    seen.run("document.querySelector('.switch').replaceChildren()")
    seen.run("document.querySelector('.switch').removeAttribute('aria-label')")
    seen.run("(document.querySelector('.lead').style.color = '#ddd')")
    assert {"button-name", "color-contrast"} <= {name for name, _, _ in found_by_axe(seen)}
    seen.close()


def found_by_axe(seen: Visit) -> list[tuple[str, str, str]]:
    """The rule, how grave it is, and the first element that breaks it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(seen.page).response
    assert len(found["passes"]) > 20
    return [(rule["id"], rule["impact"], rule["nodes"][0]["html"]) for rule in found["violations"]]


@in_a_browser
@pytest.mark.parametrize("chinese", [False, True], ids=["en", "zh"])
def test_every_control_is_reached_by_keyboard_in_its_order_and_is_seen_to_be(browser: Any, address: str, chinese: bool):
    seen = Visit(browser, address, chinese=chinese)
    seen.read_all()
    seen.run(OPEN_ALL)
    seen.run(
        f"window.controls = [...document.querySelectorAll(`{SHOWN} :is({CONTROLS})`)]"
        ".filter(one => one.checkVisibility())"
    )
    count = seen.run("controls.length")
    assert count > 50
    seen.run("(document.body.tabIndex = -1, document.body.focus())")
    reached = []
    for _ in range(count):
        seen.page.keyboard.press("Tab")
        reached.append(
            seen.run(
                "[controls.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle, "
                "getComputedStyle(document.activeElement).outlineWidth]"
            )
        )
    assert reached == [[place, "solid", "3px"] for place in range(count)]
    seen.close()


@in_a_browser
def test_controls_do_by_keyboard_what_they_do_by_pointer(browser: Any, address: str):
    seen = Visit(browser, address)
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert seen.run("location.hash") == "#en-main"
    summary = seen.page.locator(f"{SHOWN} details.method summary").first
    summary.press("Enter")
    assert seen.run(f"document.querySelector(`{SHOWN} details.method`).open") is True
    with seen.page.expect_download() as saved:
        seen.page.locator(f"{SHOWN} [data-save=csv]").first.press("Enter")
    assert saved.value.suggested_filename == "figure-1.csv"
    seen.page.locator(f"{SHOWN} .switch").press("Space")
    assert seen.run("document.documentElement.lang") == "zh-Hans"
    assert seen.run("document.activeElement.className") == "switch"
    assert seen.complaints == []
    seen.close()


@in_a_browser
def test_every_figure_has_a_name_and_a_description_in_place_of_its_drawing(browser: Any, address: str):
    seen = Visit(browser, address)
    seen.read_all()
    told = seen.run(
        f"[...document.querySelectorAll('{SHOWN} figure')].map(figure => [...['labelledby', 'describedby'].map(kind => "
        "document.getElementById(figure.getAttribute(`aria-${kind}`)).textContent.trim()), "
        "[...figure.querySelectorAll('.main-svg')].every(svg => svg.ariaHidden === 'true')])"
    )
    assert len(told) > 10
    for name, description, hidden in told:
        assert name and description and name != description
        assert hidden
    seen.close()


def test_a_cell_leads_to_the_section_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = (Cell("<b>claim</b>", target="speed", marks=("held",)), Cell("plain"))
    table = Table(caption="Claims", header=("Claim", "Value"), rows=(row,))
    sections = (Section("claims", "Claims", (table,)), Section("speed", "Speed", (Text("told"),)))
    told = Chapter(name="task", answer=Answer(headline="Yes", lead=()), tiles=(), hero=None, sections=sections)
    monkeypatch.setattr(page, "chapter", lambda *_: told)
    read = written(tmp_path, sample.noise())
    cells = [href for tag, attributes in read.elements if tag == "a" and (href := attributes.get("href"))]
    assert cells.count("#en-1-speed") == cells.count("#zh-1-speed") == 2  # the contents and the cell
    assert {"en-1-speed", "zh-1-speed"} <= set(read.all("id"))
    assert "<b>claim</b>" in read.words
