"""The report for those who move through it by keyboard, or listen to it."""

from __future__ import annotations

from pathlib import Path

import pytest

import sample_records as sample
from critbatch.reporting import page
from critbatch.reporting.blocks import Answer, Cell, Chapter, Section, Table, Text
from html_page import written


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
