"""The page of a lecture in a real browser: whole, quiet, readable on a phone, and open to everyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sample_claims
import sample_records as sample
from browser.test_report_access import OPEN_ALL, found_by_axe
from critbatch.records.claims import ClaimVerdict
from critbatch.reports.derived.claims import count_of, verdict
from critbatch.reports.translator import Translator
from critbatch.reports.write import report as write_report
from report_visits import IN_A_BROWSER, SHOWN, Visit, launched

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report([sample_claims.lecture()], tmp_path_factory.mktemp("lecture") / "report.html").as_uri()


@pytest.mark.parametrize("width", [1100, 360], ids=["desk", "phone"])
@pytest.mark.parametrize("chinese", [False, True], ids=["en", "zh"])
def test_every_figure_is_drawn_without_a_complaint_and_the_page_scrolls_only_downwards(
    browser: Any, address: str, chinese: bool, width: int
):
    seen = Visit(browser, address, width=width, chinese=chinese)
    seen.read_all()
    assert seen.page.locator(f"{SHOWN} .plot").count() > 15
    assert seen.complaints == []
    assert seen.requests == [address]
    assert seen.run("document.documentElement.scrollWidth") == width
    seen.close()


@pytest.mark.parametrize(("width", "dark", "chinese"), [(1100, False, False), (1100, True, True), (360, False, True)])
def test_axe_finds_nothing(browser: Any, address: str, width: int, dark: bool, chinese: bool):
    seen = Visit(browser, address, width=width, dark=dark, chinese=chinese)
    seen.run(OPEN_ALL)
    assert found_by_axe(seen) == []
    seen.close()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_claim_has_its_verdict_and_leads_to_its_section(browser: Any, address: str, language: str):
    record, t = sample_claims.lecture(), Translator(language)
    seen = Visit(browser, address, chinese=language == "zh")
    badges = seen.page.locator(f"{SHOWN} #{language}-1-lecture table tbody tr")
    assert badges.count() == 10
    told = badges.all_inner_texts()
    for holds in ClaimVerdict:
        assert sum(verdict(holds, t) in row for row in told) == count_of(record, holds)
    for claim, row in zip(record.claims, badges.all(), strict=True):
        row.locator("a").press("Enter")
        assert seen.run("location.hash") == f"#{language}-1-claim-{claim.name}"
        assert seen.page.locator(f"#{language}-1-claim-{claim.name}").is_visible()
    seen.close()


def test_a_task_with_tags_in_its_name_is_shown_letter_for_letter(browser: Any, tmp_path: Path):
    seen = Visit(browser, write_report([sample_claims.hostile()], tmp_path / "report.html").as_uri())
    seen.read_all()
    assert sample.HOSTILE in seen.page.locator(f"{SHOWN} h1").inner_text()
    assert seen.complaints == []
    seen.close()


def test_print_holds_every_figure_and_no_control(browser: Any, address: str):
    seen = Visit(browser, address)
    seen.page.emulate_media(media="print")
    seen.page.pdf()
    assert seen.run(f"document.querySelectorAll('{SHOWN} .plot:not(:has(.main-svg))').length") == 0
    assert not seen.page.locator(f"{SHOWN} .switch").is_visible()
    assert seen.complaints == []
    seen.close()
