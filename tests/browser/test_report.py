"""The report in a real browser, without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from plotly import graph_objects

import sample_loss_surface
import sample_records as sample
import sample_studies
from critbatch.reports.charts.theme import DARK, PAPER
from critbatch.reports.html import HERE
from critbatch.reports.translator import Translator
from critbatch.reports.write import report as write_report
from report_visits import IN_A_BROWSER, SHOWN, Visit, launched
from sample_gaps import hostile

EN, ZH = Translator("en"), Translator("zh")

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("browser") / "report.html"
    return write_report([hostile()], path).as_uri()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    visits: list[Visit] = []

    def go(**options: Any) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield go
    for each in visits:
        each.close()


def test_the_whole_page_is_drawn_without_a_complaint_and_nothing_leaves(visit: Any, address: str):
    seen = visit()
    seen.read_all()
    assert seen.complaints == []
    assert seen.requests == [address]


def test_the_library_of_the_page_draws_every_kind_of_mark_that_figures_use(visit: Any):
    sources = [path.read_text(encoding="utf-8") for path in (HERE / "charts").glob("*.py")]
    used = {kind.lower() for text in sources for kind in re.findall(r"(?:\bgo\.|\.add_)([A-Za-z]+)\(", text)}
    kinds = used & set(graph_objects.Figure().layout.template.data)
    assert {"scatter", "contour"} <= kinds
    assert kinds <= set(visit().run("Object.keys(Plotly.PlotSchema.get().traces)"))


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
    english = seen.page.locator(f"{SHOWN} h1").inner_text()
    seen.page.locator(f"{SHOWN} .switch").focus()
    seen.page.keyboard.press("Enter")
    chinese = seen.page.locator(f"{SHOWN} h1").inner_text()
    seen.page.wait_for_selector(f"{SHOWN} .plot .xtitle")
    assert english.startswith("Train ")
    assert chinese.startswith("训练 ")
    assert seen.run("document.documentElement.lang") == "zh-Hans"
    assert ZH("batch_size") in seen.page.locator(f"{SHOWN} .plot .xtitle").first.text_content()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator(f"{SHOWN} h1").inner_text() == english
    assert seen.run("document.documentElement.lang") == "en"


@pytest.mark.parametrize("press", [0, 1], ids=["en", "zh"])
def test_a_phone_scrolls_the_page_only_downwards(visit: Any, press: int):
    seen = visit(width=360)
    for _ in range(press):
        seen.page.click(f"{SHOWN} .switch")
    seen.read_all()
    assert seen.run("document.documentElement.scrollWidth") == 360
    wide = f"[...document.querySelectorAll('{SHOWN} .main-svg')].filter(svg => svg.clientWidth > 360).length"
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
    panels = "[...document.querySelectorAll('.translation:not([hidden]) .plot:has(.x3y3) .cartesianlayer > .subplot')]"
    boxes = seen.run(
        f"{panels}.map(panel => panel.querySelector('.plot, .xy, rect, path').getBoundingClientRect().toJSON())"
    )
    assert seen.complaints == []
    assert seen.requests == [study]
    assert seen.run("document.documentElement.scrollWidth") == width
    assert len(boxes) == 3
    lefts, tops = ([round(box[side]) for box in boxes[:3]] for side in ("left", "top"))
    assert sorted(set(lefts if width > 560 else tops)) == sorted(lefts if width > 560 else tops)
    seen.close()


def test_the_numbers_of_a_figure_can_be_saved(browser: Any, study: str):
    seen = Visit(browser, study)
    told = seen.saved(seen.page.locator(".large [data-save=csv]").first).read_text(encoding="utf-8-sig").splitlines()
    assert told[0] == "series,panel,x,y,low,high"
    first = sample_studies.size_result(8).steps
    assert first is not None and first.low is not None
    (row,) = [row for row in told if row.startswith(f'"{EN("legend_steps_of_sizes")}",1,8,')]
    assert [float(number) for number in row.split(",")[3:]] == pytest.approx([first.value, first.low, first.high])
    assert seen.complaints == []
    seen.close()


def test_the_numbers_of_a_surface_are_saved_place_by_place(browser: Any, tmp_path: Path):
    plane = sample_loss_surface.plane()
    seen = Visit(browser, write_report([plane], tmp_path / "report.html").as_uri())
    saved = [
        seen.saved(button).read_text(encoding="utf-8-sig").splitlines()
        for button in seen.page.locator(f"{SHOWN} [data-save=csv]").all()
    ]
    (surface,) = [rows for rows in saved if rows[0] == "series,panel,x,y,low,high,z"]
    places = {tuple(round(float(end), 6) for end in row.split(",")[2:4]) for row in surface[1:] if row[-1] != ","}
    assert places == {(round(point.alpha, 6), round(point.beta, 6)) for point in plane.points}
    seen.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_saved_picture_stands_alone_light_with_title_and_legend(browser: Any, study: str, dark: bool):
    seen = Visit(browser, study, dark=dark)
    figure = seen.page.locator(".large").first
    drawing = ElementTree.parse(seen.saved(figure.locator("[data-save=svg]"))).getroot()
    words = "".join(drawing.itertext())
    assert figure.locator("figcaption").inner_text() in words
    assert EN("legend_steps_of_sizes") in words
    assert EN("axis_steps") in words
    assert drawing.get("width") == "900"
    with Image.open(seen.saved(figure.locator("[data-save=png]"))) as picture:
        seen_colours = picture.convert("RGB").getcolors(1 << 24)
        assert picture.format == "PNG"
        assert picture.size == (1800, 2 * int(drawing.get("height", "0")))
    assert seen_colours is not None
    colours = [colour for _, colour in sorted(seen_colours, reverse=True)]
    assert colours[0] == (255, 255, 255)
    assert (10, 111, 176) in colours  # the blue of the light page, which the dark one has in another shade
    assert seen.complaints == []
    seen.close()


def test_a_part_that_was_drawn_large_is_drawn_whole_again_by_keyboard(visit: Any):
    seen = visit()
    plot = seen.page.locator(".large .plot").first
    plot.scroll_into_view_if_needed()
    axis = "document.querySelector('.large .plot')._fullLayout.xaxis.range.map(end => Math.round(1e6 * end))"
    whole, box = seen.run(axis), plot.bounding_box()
    back = seen.page.locator(".large [data-save=reset]").first
    assert not back.is_visible()
    seen.page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    seen.page.mouse.up()
    back.wait_for()
    assert seen.run(axis) != whole
    back.press("Enter")
    assert seen.run(axis) == whole
    assert not back.is_visible()
    assert seen.complaints == []


def test_figures_of_the_language_shown_are_drawn_by_and_by_and_those_of_the_other_are_not(visit: Any):
    seen = visit()
    left = f"document.querySelectorAll('{SHOWN} .plot:not(:has(.main-svg))').length"
    seen.wait_until(f"{left} === 0")
    assert seen.page.locator(f"{SHOWN} .plot").count() > 3
    assert seen.page.locator(".translation[hidden] .main-svg").count() == 0
    seen.page.click(f"{SHOWN} .switch")
    seen.wait_until(f"{left} === 0")


def test_nothing_moves_when_a_figure_is_drawn(visit: Any):
    seen = visit(width=360)
    heights = f"[...document.querySelectorAll('{SHOWN} figure')].map(figure => figure.offsetHeight)"
    seen.wait_until(f"[...document.querySelectorAll('{SHOWN} .tools')].every(tools => !tools.hidden)")
    before = seen.run(heights)
    seen.read_all()
    assert seen.run(heights) == before


def test_a_page_that_a_browser_has_saved_opens_again(browser: Any, visit: Any, tmp_path: Path):
    seen = visit()
    seen.read_all()
    pictures = f"document.querySelectorAll('{SHOWN} .main-svg').length"
    before = seen.run(pictures)
    (tmp_path / "saved.html").write_text(seen.page.content(), encoding="utf-8")
    again = Visit(browser, (tmp_path / "saved.html").as_uri())
    again.read_all()
    assert again.run(pictures) == before
    assert again.complaints == []
    again.close()


def test_every_figure_is_on_the_paper_when_the_page_is_printed(visit: Any):
    seen = visit(dark=True)
    seen.run(
        "addEventListener('beforeprint', () => (window.paper = "
        f"[...document.querySelectorAll('{SHOWN} .plot')].map(plot => plot.querySelector('.main-svg').clientWidth)))"
    )
    assert seen.page.pdf(format="A4").startswith(b"%PDF")
    widths = seen.run("window.paper")
    assert len(widths) == seen.page.locator(f"{SHOWN} .plot").count()
    assert min(widths) > 0 and max(widths) <= 640
    seen.read_all()
    assert (
        seen.run(f"Math.max(...[...document.querySelectorAll('{SHOWN} .main-svg')].map(svg => svg.clientWidth))") > 640
    )


def test_print_is_light_holds_every_figure_and_opens_the_methods(visit: Any):
    seen = visit(dark=True)
    seen.run("dispatchEvent(new Event('beforeprint'))")
    plots = seen.page.locator(f"{SHOWN} .plot")
    widths = seen.run(
        "[...document.querySelectorAll('.translation:not([hidden]) .main-svg')].map(svg => svg.clientWidth)"
    )
    assert plots.count() == seen.page.locator(f"{SHOWN} .plot:has(.main-svg)").count()
    assert max(widths) <= 640
    assert seen.run("document.querySelector('.translation details.method').open") is True
    seen.run("dispatchEvent(new Event('afterprint'))")
    assert seen.run("document.querySelector('.translation details.method').open") is False
