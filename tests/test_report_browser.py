"""The report in a real browser, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sample_records as sample
import sample_studies
from critbatch.reporting import write_report
from critbatch.reporting.figures.theme import DARK, PAPER
from critbatch.reporting.voice import Voice
from sample_gaps import hostile

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EN, ZH = Voice("en"), Voice("zh")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: install it to run these tests"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("browser") / "report.html"
    return write_report([hostile()], path).as_uri()


class Visit:
    """A page that was opened offline, with all that it asked for and complained of."""

    def __init__(self, browser: Any, address: str, *, width: int = 1100, dark: bool = False) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        scheme = "dark" if dark else "light"
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(address)
        self.page.wait_for_selector(".plot .main-svg")

    def read_all(self) -> None:
        """Scroll through the page, so that every figure is drawn."""
        for plot in self.page.locator(".half:not([hidden]) .plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator(".main-svg").first.wait_for()

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    visits: list[Visit] = []

    def go(**options: Any) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield go
    for each in visits:
        each.context.close()


def test_the_whole_page_is_drawn_without_a_complaint_and_nothing_leaves(visit: Any, address: str):
    seen = visit()
    seen.read_all()
    assert seen.complaints == []
    assert seen.requests == [address]


def test_names_with_tags_are_shown_letter_for_letter(visit: Any):
    seen = visit()
    seen.read_all()
    labels = seen.run("[...document.querySelectorAll('svg text')].map(text => text.textContent)")
    legends = seen.run("[...document.querySelectorAll('.legend')].map(list => list.textContent)")
    assert any(sample.HOSTILE in label for label in labels)
    assert any(sample.HOSTILE in legend for legend in legends)
    assert seen.run("document.querySelectorAll('.legend b, svg script, svg [style*=bold], .headline *').length") == 0


def test_the_switch_changes_sentences_and_figures_and_comes_back(visit: Any):
    seen = visit()
    shown = ".half:not([hidden])"
    english = seen.page.locator(f"{shown} h1").inner_text()
    seen.page.locator(f"{shown} .switch").focus()
    seen.page.keyboard.press("Enter")
    chinese = seen.page.locator(f"{shown} h1").inner_text()
    seen.page.wait_for_selector(f"{shown} .plot .xtitle")
    assert english.startswith("Train ")
    assert chinese.startswith("训练 ")
    assert seen.run("document.documentElement.lang") == "zh-Hans"
    assert ZH("batch_size") in seen.page.locator(f"{shown} .plot .xtitle").first.text_content()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator(f"{shown} h1").inner_text() == english
    assert seen.run("document.documentElement.lang") == "en"


@pytest.mark.parametrize("press", [0, 1], ids=["en", "zh"])
def test_a_phone_scrolls_the_page_only_downwards(visit: Any, press: int):
    seen = visit(width=360)
    for _ in range(press):
        seen.page.click(".half:not([hidden]) .switch")
    seen.read_all()
    assert seen.run("document.documentElement.scrollWidth") == 360
    wide = "[...document.querySelectorAll('.half:not([hidden]) .main-svg')].filter(svg => svg.clientWidth > 360).length"
    assert seen.run(wide) == 0


def test_figures_follow_the_colours_that_the_reader_prefers(visit: Any):
    ground = "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"

    def as_css(colour: str) -> str:
        return "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))

    seen = visit(dark=True)
    assert seen.run(ground) == as_css(DARK[PAPER])
    seen.page.emulate_media(color_scheme="light")
    # A few frames, since the change comes as an event. Playwright's own wait needs eval, which the page forbids.
    seen.run("new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 100))")
    assert seen.run(ground) == as_css(PAPER)


def test_pointing_at_the_best_size_shows_its_numbers(visit: Any):
    seen = visit()
    seen.page.locator(".large .plot").first.scroll_into_view_if_needed()
    box = seen.page.locator(".large .plot .trace path[style*='rgb(209, 81, 10)']").first.bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = seen.page.locator(".large .hovertext").first
    told.wait_for()
    best = sample.advice().best
    assert best is not None
    assert EN("hover_time", seconds=EN.estimate(best.seconds, EN.seconds)) in told.text_content()


def test_the_legend_hides_what_is_pressed(visit: Any):
    seen = visit()
    button = seen.page.locator(".large .legend button", has_text=EN("legend_time")).first
    button.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    hidden = "document.querySelector('.plot').data.filter(trace => trace.visible === false).map(trace => trace.name)"
    assert seen.run(hidden) == [EN("legend_time")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("study") / "report.html"
    return write_report([sample_studies.study(), sample_studies.fit()], path).as_uri()


@pytest.mark.parametrize("width", [1100, 360])
def test_the_three_budgets_are_side_by_side_on_a_desk_and_below_each_other_on_a_phone(
    browser: Any, study: str, width: int
):
    seen = Visit(browser, study, width=width)
    seen.read_all()
    panels = "[...document.querySelectorAll('.half:not([hidden]) .plot:has(.x3y3) .cartesianlayer > .subplot')]"
    boxes = seen.run(
        f"{panels}.map(panel => panel.querySelector('.plot, .xy, rect, path').getBoundingClientRect().toJSON())"
    )
    assert seen.complaints == []
    assert seen.requests == [study]
    assert seen.run("document.documentElement.scrollWidth") == width
    assert len(boxes) == 3
    lefts, tops = ([round(box[side]) for box in boxes[:3]] for side in ("left", "top"))
    assert sorted(set(lefts if width > 560 else tops)) == sorted(lefts if width > 560 else tops)
    seen.context.close()


def test_the_numbers_of_a_figure_can_be_saved(browser: Any, study: str):
    seen = Visit(browser, study)
    plot = seen.page.locator(".large .plot").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    with seen.page.expect_download() as csv:
        plot.locator(f"[data-title='{EN('button_csv')}']").click()
    rows = csv.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert rows[0] == "series,panel,x,y,low,high"
    first = sample_studies.size_result(8).steps
    assert first is not None and first.low is not None
    (row,) = [row for row in rows if row.startswith(f'"{EN("legend_steps_of_sizes")}",1,8,')]
    assert [float(number) for number in row.split(",")[3:]] == pytest.approx([first.value, first.low, first.high])
    with seen.page.expect_download() as svg:
        plot.locator(f"[data-title='{EN('button_svg')}']").click()
    assert svg.value.suggested_filename.endswith(".svg")
    assert seen.complaints == []
    seen.context.close()


def test_print_is_light_holds_every_figure_and_opens_the_methods(visit: Any):
    seen = visit(dark=True)
    seen.run("dispatchEvent(new Event('beforeprint'))")
    plots = seen.page.locator(".half:not([hidden]) .plot")
    widths = seen.run("[...document.querySelectorAll('.half:not([hidden]) .main-svg')].map(svg => svg.clientWidth)")
    assert plots.count() == seen.page.locator(".half:not([hidden]) .plot:has(.main-svg)").count()
    assert max(widths) <= 640
    assert seen.run("document.querySelector('.half details.method').open") is True
    seen.run("dispatchEvent(new Event('afterprint'))")
    assert seen.run("document.querySelector('.half details.method').open") is False
