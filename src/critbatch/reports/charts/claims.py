"""Charts of the claims report: effects with their intervals, networks, recipes, and seconds per step and epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from critbatch.claims.tables import PUBLISHED
from critbatch.records.claims import Claim, ClaimsReport, ClaimTest, ClaimVerdict, Measure, NetworkPair, RecipeRow
from critbatch.records.core import Estimate, Speed, SpeedPoint
from critbatch.reports.charts.common import beside, colour_of, row_axis
from critbatch.reports.charts.theme import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LOOK,
    MUTED,
    RED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    safe,
)
from critbatch.reports.derived.claims import (
    SIGNS,
    effect_text,
    hardware_name,
    network_name,
    number_of,
    recipe_name,
    signed,
    statement_label,
    subject_name,
)
from critbatch.reports.derived.runs import timed_points
from critbatch.reports.translator import Translator

# Each verdict has its own colour and its own symbol, so that either is enough to tell them apart.
LOOKS = {
    ClaimVerdict.HELD: (GREEN, "circle"),
    ClaimVerdict.NOT_HELD: (RED, "x-thin"),
    ClaimVerdict.UNDECIDED: (GREY, "diamond-open"),
}
# Limit of a logarithmic axis.
FURTHEST = 1e4
GAP = 0.06
SHORT = 20
# Share of the height for the axis of the upper panel, where panels are stacked on a phone.
STACKED_GAP = 0.14


def claims_overview(report: ClaimsReport, t: Translator) -> Picture | None:
    """One row per claim with the effects that decide it: ratios on the left, differences on the right."""
    marks = [(row, s) for row, claim in enumerate(report.claims) for s in _marks(claim)]
    names = [f"{SIGNS[c.holds]} {number_of(c.name)}. {t(f'claims_short_{c.name}')}" for c in report.claims]
    if not marks or not names:
        return None
    places = [_place([s for other, s in marks if other == row], statement, row) for row, statement in marks]
    ratios = [pair for pair in zip(places, marks, strict=True) if pair[1][1].measure is Measure.RATIO]
    others = [pair for pair in zip(places, marks, strict=True) if pair[1][1].measure is not Measure.RATIO]
    figure = go.Figure(layout={"template": LOOK})
    panels = [(chosen, log) for chosen, log in ((ratios, True), (others, False)) if chosen]
    verdicts_in_legend: set[ClaimVerdict] = set()
    for i, (chosen, log) in enumerate(panels):
        statements = [statement for _, (_, statement) in chosen]
        _effects_panel(figure, i, len(panels), _across(statements, t, log=log), names, t)
        _add(figure, i, report, statements, [place for place, _ in chosen], t, verdicts_in_legend)
    figure.update_layout(
        meta={"narrow": _stacked(len(panels)), "taller": 1.5, "narrow_taller": 1.1 + 0.8 * len(panels)}
    )
    at = {str(holds): sum(claim.holds is holds for claim in report.claims) for holds in ClaimVerdict}
    return Picture(t("title_claims", n=len(names), **at), t("alt_claims", n=len(names), **at), figure)


def effects_picture(report: ClaimsReport, statements: Sequence[ClaimTest], title: str, t: Translator) -> Picture | None:
    """One row per subject; all statements are of one kind."""
    drawable = [statement for statement in statements if _drawable(statement)]
    if not drawable:
        return None
    figure = go.Figure(layout={"template": LOOK})
    log = drawable[0].measure is Measure.RATIO
    names = [subject_name(statement, t) for statement in drawable]
    _effects_panel(figure, 0, 1, _across(drawable, t, log=log), names, t)
    _add(figure, 0, report, drawable, [float(row) for row in range(len(drawable))], t, set())
    return Picture(title, t("alt_effects", n=len(drawable)), figure)


def _drawable(statement: ClaimTest) -> bool:
    effect = statement.effect
    if effect is None or statement.measure is Measure.EXACT or not math.isfinite(effect.value):
        return False
    return statement.measure is not Measure.RATIO or effect.value > 0


def _marks(claim: Claim) -> list[ClaimTest]:
    """The statements that decide the claim and have a number to draw."""
    return [statement for statement in claim.statements if statement.main and _drawable(statement)]


def _place(row: Sequence[ClaimTest], statement: ClaimTest, height: int) -> float:
    return height + beside(next(i for i, each in enumerate(row) if each is statement), len(row))


def _across(statements: Sequence[ClaimTest], t: Translator, *, log: bool) -> dict[str, Any]:
    ends = [bound for s in statements if s.effect for bound in (s.effect.value, *_bounds(s)) if bound is not None]
    if log:
        return Axis(t("axis_ratio"), t.times, most=6).layout([*ends, 1.0])
    return Axis(t("axis_difference"), t.score, log=False).layout(ends)


def _bounds(statement: ClaimTest) -> tuple[float | None, float | None]:
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
    # The rows of a right panel, or of a single claim, have tick labels only.
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
    """Break a long name into two rows at the space nearest to its middle; Chinese breaks between any two letters."""
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
    report: ClaimsReport,
    statements: Sequence[ClaimTest],
    heights: Sequence[float],
    t: Translator,
    verdicts_in_legend: set[ClaimVerdict],
) -> None:
    """Add the marks of each verdict. `verdicts_in_legend` has the verdicts that the legend already names."""
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
            showlegend=holds not in verdicts_in_legend,
            hoverinfo="text",
            hovertext=[lines(statement_label(report, s, t), effect_text(report, s, t)) for s, _ in own],
            xaxis=_name("x", i),
            yaxis=_name("y", i),
        )
        verdicts_in_legend.add(holds)


# Small against large batches for each network: our results beside the paper's.


def differences_picture(networks: Sequence[NetworkPair], t: Translator) -> Picture | None:
    """One row per network: validation metric of small minus large batches, with the difference in the paper."""
    if not networks:
        return None
    metric = t.metric(networks[0].metric_name)
    x = {"title": {"text": safe(t("axis_metric_difference", metric=metric))}}
    figure = canvas(x, row_axis(t("column_network"), [network_name(pair) for pair in networks]))
    figure.add_vline(x=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    values = [pair.difference.value for pair in networks]
    write = signed(t.score)
    figure.add_scatter(
        x=values,
        y=[row - 0.12 for row in range(len(networks))],
        mode="markers",
        error_x=bars(values, [p.difference.low for p in networks], [p.difference.high for p in networks]),
        marker={"size": 10, "color": BLUE},
        name=safe(t("legend_ours")),
        hoverinfo="text",
        hovertext=[lines(network_name(p), t.estimate(p.difference, write)) for p in networks],
    )
    paper = [
        (row, pair.network, PUBLISHED[pair.network]) for row, pair in enumerate(networks) if pair.network in PUBLISHED
    ]
    if paper:
        figure.add_scatter(
            x=[each.test_small.mean - each.test_large.mean for *_, each in paper],
            y=[row + 0.12 for row, *_ in paper],
            mode="markers",
            marker={"size": 10, "color": GREY, "symbol": "diamond-open", "line": {"color": GREY, "width": 2}},
            name=safe(t("legend_paper")),
            hoverinfo="text",
            hovertext=[lines(name, write(each.test_small.mean - each.test_large.mean)) for _, name, each in paper],
        )
    at = {"metric": metric, "n": len(networks)}
    return Picture(t("title_networks", **at), t("alt_networks", **at), figure)


# Recipes at a large batch size: steps to the target and validation metric, beside plain training with small batches.


def recipes_picture(rows: Sequence[RecipeRow], small: int, metric: str, t: Translator) -> Picture | None:
    """One mark per recipe: fewer steps to the left, a better metric at the top. The star is the baseline."""
    results = [(row, row.steps, row.validation_metric) for row in rows]
    measured = [(row, steps, score) for row, steps, score in results if steps is not None and score is not None]
    if not measured:
        return None
    bounds = [bound for _, steps, _ in measured for bound in (steps.low, steps.value, steps.high)]
    figure = canvas(
        Axis(t("axis_steps"), t.about, most=6).layout(bounds),
        {"title": {"text": safe(t("axis_validation_metric", metric=metric))}},
    )
    others = [row for row, *_ in measured if not is_base(row, small)]
    for row, steps, score in measured:
        base = is_base(row, small)
        if base:
            figure.add_vline(x=steps.value, line={"color": MUTED, "width": 1.2, "dash": "dot"})
            figure.add_hline(y=score.value, line={"color": MUTED, "width": 1.2, "dash": "dot"})
        colour = INK if base else colour_of(others.index(row), len(others))
        symbol = "star" if base else "circle" if row.tuned else "circle-open"
        figure.add_scatter(
            x=[steps.value],
            y=[score.value],
            mode="markers",
            error_x=_bars(steps),
            error_y=_bars(score),
            marker={
                "size": 15 if base else 10,
                "color": colour,
                "symbol": symbol,
                "line": {"color": colour, "width": 1},
            },
            name=safe(recipe_name(row, t)),
            hoverinfo="text",
            hovertext=[
                lines(
                    recipe_name(row, t),
                    t("hover_steps", steps=t.estimate(steps, t.about)),
                    t("hover_value", name=metric, value=t.estimate(score, t.score)),
                )
            ],
        )
    at = {"metric": metric, "n": len(others)}
    return Picture(t("title_recipes", **at), t("alt_recipes", **at), figure)


def is_base(row: RecipeRow, small: int) -> bool:
    """Whether the row is plain training with small batches, the baseline of the recipes."""
    return row.batch_size == small and row.tuned


def _bars(estimate: Estimate) -> dict[str, object]:
    return bars([estimate.value], [estimate.low], [estimate.high])


# The lecture's two panels: seconds per update and per epoch, with one line per hardware.

MOST_TICKS = 6
# Keys: (per epoch, logarithmic axes).
TITLES = {
    (False, False): "title_update_linear",
    (True, False): "title_epoch_linear",
    (False, True): "title_update_log",
    (True, True): "title_epoch_log",
}
SYMBOLS = ("circle", "square", "diamond", "star")


def update_and_epoch(speeds: Sequence[Speed], t: Translator, *, log: bool) -> tuple[Picture, Picture] | None:
    """Both panels, on linear axes as in the lecture, or on logarithmic ones."""
    update = _speed_panel(speeds, t, per_epoch=False, log=log)
    epoch = _speed_panel(speeds, t, per_epoch=True, log=log)
    return (update, epoch) if update is not None and epoch is not None else None


def _speed_panel(speeds: Sequence[Speed], t: Translator, *, per_epoch: bool, log: bool) -> Picture | None:
    points_by_speed = [(speed, timed_points(speed)) for speed in speeds if timed_points(speed)]
    if not points_by_speed:
        return None
    sizes = sorted({float(point.batch_size) for _, points in points_by_speed for point in points})
    heights = [_seconds(speed, point, per_epoch)[0] for speed, points in points_by_speed for point in points]
    across = Axis(t("axis_batch_size", unit=t.units(points_by_speed[0][0].unit)), t.count, log=log, ticks=sizes)
    title = t("axis_epoch_seconds" if per_epoch else "axis_step_seconds")
    upward = Axis(title, t.seconds, log=log).layout(heights)
    figure = canvas(across.layout(sizes), upward if log else {**upward, **_from_zero(max(heights), t)})
    for rank, (speed, points) in enumerate(points_by_speed):
        triples = [_seconds(speed, point, per_epoch) for point in points]
        values = [value for value, _, _ in triples]
        figure.add_scatter(
            x=[float(point.batch_size) for point in points],
            y=values,
            mode="lines+markers",
            error_y=bars(values, [low for _, low, _ in triples], [high for _, _, high in triples]),
            line={"color": colour_of(rank, len(points_by_speed)), "width": 2},
            marker={"size": 8, "symbol": SYMBOLS[rank % len(SYMBOLS)]},
            name=safe(hardware_name(speed, t)),
            hoverinfo="text",
            hovertext=[_hover(speed, point, t) for point in points],
        )
    speed, points = points_by_speed[-1]
    first, last = (t.seconds(_seconds(speed, point, per_epoch)[0]) for point in (points[0], points[-1]))
    ends = {"low": t.count(points[0].batch_size), "high": t.count(points[-1].batch_size)}
    at = {**ends, "first": first, "last": last}
    return Picture(t(TITLES[per_epoch, log], **at), t("alt_hardware", n=len(points_by_speed), **at), figure)


def _from_zero(highest: float, t: Translator) -> dict[str, Any]:
    """Range and ticks of an axis that starts at zero, as in the lecture."""
    step = next(s for s in (10.0**d * k for d in range(-9, 9) for k in (1, 2, 5)) if highest / s <= MOST_TICKS)
    ticks = [step * i for i in range(MOST_TICKS + 1) if step * i <= 1.05 * highest]
    # Rounded, so that a tick is 0.3 and not 0.30000000000000004.
    rounded = [float(f"{tick:.6g}") for tick in ticks]
    return {
        "range": [-0.03 * highest, 1.08 * highest],
        "tickvals": rounded,
        "ticktext": ["0", *(safe(t.seconds(tick)) for tick in rounded[1:])],
    }


def _seconds(speed: Speed, point: SpeedPoint, per_epoch: bool) -> tuple[float, float | None, float | None]:
    """Value and interval of the seconds per update, or per epoch."""
    step = point.step_seconds
    assert step is not None
    scale = speed.examples / point.batch_size if per_epoch else 1.0
    low, high = (bound * scale if bound is not None else None for bound in (step.low, step.high))
    return step.value * scale, low, high


def _hover(speed: Speed, point: SpeedPoint, t: Translator) -> str:
    step = point.step_seconds
    assert step is not None
    return lines(
        hardware_name(speed, t),
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_step", seconds=t.estimate(step, t.seconds)),
        t("hover_epoch", seconds=t.seconds(speed.epoch_seconds(point))),
    )
