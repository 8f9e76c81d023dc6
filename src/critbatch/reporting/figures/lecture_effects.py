"""Effects with their intervals, one row each, beside the line of no effect: of one claim, or of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from critbatch.records.claims import Claim, Holds, Lecture, Measure, Statement
from critbatch.reporting.figures.named_rows import beside, row_axis
from critbatch.reporting.figures.theme import GREEN, GREY, LOOK, MUTED, RED, Axis, Picture, bars, lines, safe
from critbatch.reporting.lecture_readings import SIGNS, effect_text, number_of, stated, subject_name
from critbatch.reports.translator import Translator

# Colour and mark by verdict, so that either is enough.
LOOKS = {Holds.HELD: (GREEN, "circle"), Holds.NOT_HELD: (RED, "x-thin"), Holds.UNDECIDED: (GREY, "diamond-open")}
# On a logarithmic axis nothing lies beyond.
FURTHEST = 1e4
GAP = 0.06
SHORT = 20
# Stacked on a phone, so much of the height is the axis of the upper panel.
STACKED_GAP = 0.14


def claims_overview(lecture: Lecture, t: Translator) -> Picture | None:
    """A row for each claim with the effects that decide it: ratios on the left, differences on the right."""
    told = [(row, s) for row, claim in enumerate(lecture.claims) for s in _marks(claim)]
    names = [f"{SIGNS[c.holds]} {number_of(c.name)}. {t(f'lecture_short_{c.name}')}" for c in lecture.claims]
    if not told or not names:
        return None
    places = [_place([s for other, s in told if other == row], statement, row) for row, statement in told]
    ratios = [pair for pair in zip(places, told, strict=True) if pair[1][1].measure is Measure.RATIO]
    others = [pair for pair in zip(places, told, strict=True) if pair[1][1].measure is not Measure.RATIO]
    figure = go.Figure(layout={"template": LOOK})
    panels = [(chosen, log) for chosen, log in ((ratios, True), (others, False)) if chosen]
    named: set[Holds] = set()
    for i, (chosen, log) in enumerate(panels):
        statements = [statement for _, (_, statement) in chosen]
        _effects_panel(figure, i, len(panels), _across(statements, t, log=log), names, t)
        _add(figure, i, lecture, statements, [place for place, _ in chosen], t, named)
    figure.update_layout(
        meta={"narrow": _stacked(len(panels)), "taller": 1.5, "narrow_taller": 1.1 + 0.8 * len(panels)}
    )
    at = {str(holds): sum(claim.holds is holds for claim in lecture.claims) for holds in Holds}
    return Picture(t("title_lecture", n=len(names), **at), t("alt_lecture", n=len(names), **at), figure)


def effects_picture(lecture: Lecture, statements: Sequence[Statement], title: str, t: Translator) -> Picture | None:
    """A row for each subject of statements that are of one kind."""
    told = [statement for statement in statements if _drawable(statement)]
    if not told:
        return None
    figure = go.Figure(layout={"template": LOOK})
    log = told[0].measure is Measure.RATIO
    names = [subject_name(statement, t) for statement in told]
    _effects_panel(figure, 0, 1, _across(told, t, log=log), names, t)
    _add(figure, 0, lecture, told, [float(row) for row in range(len(told))], t, set())
    return Picture(title, t("alt_effects", n=len(told)), figure)


def _drawable(statement: Statement) -> bool:
    effect = statement.effect
    if effect is None or statement.measure is Measure.EXACT or not math.isfinite(effect.value):
        return False
    return statement.measure is not Measure.RATIO or effect.value > 0


def _marks(claim: Claim) -> list[Statement]:
    """Those that decide the claim and are a number."""
    return [statement for statement in claim.statements if statement.main and _drawable(statement)]


def _place(row: Sequence[Statement], statement: Statement, height: int) -> float:
    return height + beside(next(i for i, each in enumerate(row) if each is statement), len(row))


def _across(statements: Sequence[Statement], t: Translator, *, log: bool) -> dict[str, Any]:
    ends = [bound for s in statements if s.effect for bound in (s.effect.value, *_bounds(s)) if bound is not None]
    if log:
        return Axis(t("axis_ratio"), t.times, most=6).layout([*ends, 1.0])
    return Axis(t("axis_difference"), t.score, log=False).layout(ends)


def _bounds(statement: Statement) -> tuple[float | None, float | None]:
    effect = statement.effect
    if effect is None or effect.low is None or effect.high is None:
        return None, None
    if statement.measure is Measure.RATIO:
        return max(effect.low, 1 / FURTHEST), min(effect.high, FURTHEST)
    return effect.low, effect.high


def _name(axis: str, i: int) -> str:
    return axis if i == 0 else f"{axis}{i + 1}"


def _effects_panel(
    figure: go.Figure, i: int, of: int, across: dict[str, Any], names: Sequence[str], t: Translator
) -> None:
    width = (1 - GAP * (of - 1)) / of
    x, y = _name("x", i), _name("y", i)
    # The rows of a panel on the right, or of one claim, are named by their ticks alone.
    rows = row_axis(t("axis_claim") if i == 0 and of > 1 else " ", names)
    rows["ticktext"] = [lines(*halves(name)) for name in names]
    figure.update_layout(
        {
            f"xaxis{x[1:]}": {**across, "domain": [i * (width + GAP), i * (width + GAP) + width], "anchor": y},
            f"yaxis{y[1:]}": {**rows, "anchor": x, "showgrid": True, "showticklabels": i == 0},
        }
    )
    none = 1.0 if across["type"] == "log" else 0.0
    line = {"color": MUTED, "width": 1.2, "dash": "dot"}
    figure.add_shape(type="line", x0=none, x1=none, y0=0, y1=1, xref=x, yref=f"{y} domain", line=line)


def halves(name: str) -> list[str]:
    """A long name in two rows, broken at the space nearest to its middle; between two Chinese letters without one."""
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in name)
    if len(name) <= (SHORT // 2 if chinese else SHORT):
        return [name]
    spaces = [i for i, letter in enumerate(name) if letter == " "]
    at = len(name) // 2 + 2 if chinese else min(spaces, key=lambda i: abs(i - len(name) / 2), default=len(name) // 2)
    return [name[:at], name[at:].lstrip()]


def _stacked(of: int) -> dict[str, dict[str, Any]]:
    height = (1 - STACKED_GAP * (of - 1)) / of
    axes: dict[str, dict[str, Any]] = {}
    for i in range(of):
        top = 1 - i * (height + STACKED_GAP)
        axes[f"xaxis{_name('x', i)[1:]}"] = {"domain": [0, 1]}
        axes[f"yaxis{_name('y', i)[1:]}"] = {
            "domain": [top - height, top],
            "showticklabels": True,
            "title": {"text": ""},
        }
    return axes


def _add(
    figure: go.Figure,
    i: int,
    lecture: Lecture,
    statements: Sequence[Statement],
    heights: Sequence[float],
    t: Translator,
    named: set[Holds],
) -> None:
    """Marks by verdict; `named` are those that the legend holds already."""
    for holds, (colour, symbol) in LOOKS.items():
        own = [(s, height) for s, height in zip(statements, heights, strict=True) if s.holds is holds]
        if not own:
            continue
        values = [s.effect.value for s, _ in own if s.effect is not None]
        ends = [_bounds(s) for s, _ in own]
        figure.add_scatter(
            x=values,
            y=[height for _, height in own],
            mode="markers",
            error_x=bars(values, [low for low, _ in ends], [high for _, high in ends]),
            marker={"size": 10, "color": colour, "symbol": symbol, "line": {"color": colour, "width": 2.2}},
            name=safe(t(f"holds_{holds}")),
            legendgroup=str(holds),
            showlegend=holds not in named,
            hoverinfo="text",
            hovertext=[lines(stated(lecture, s, t), effect_text(lecture, s, t)) for s, _ in own],
            xaxis=_name("x", i),
            yaxis=_name("y", i),
        )
        named.add(holds)
