"""Parts that several charts share: markers of runs and batch sizes, hover texts, row axes, error bars, colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Advice, Estimate, Outcome, Run, TimePoint
from critbatch.records.study import GoalPoint, Regime, SizeResult
from critbatch.reports.charts.theme import AMBER, BLUE, GREEN, GREY, RED, bars, lines, safe, shade
from critbatch.reports.derived.runs import MISSED
from critbatch.reports.derived.study import StudyResults
from critbatch.reports.translator import Translator

# Markers and hover texts of runs and batch sizes.


def all_points(advice: Advice) -> list[TimePoint]:
    """Every batch size of the advice once, including the best, the current and the largest one."""
    main_points = [point for point in (advice.current, advice.largest, advice.best) if point is not None]
    by_size = {point.batch_size: point for point in (*advice.points, *main_points)}
    return [by_size[size] for size in sorted(by_size)]


def add_runs(
    figure: go.Figure,
    runs: Sequence[Run],
    heights: Sequence[float],
    name: str,
    t: Translator,
    marker: dict[str, Any] | None = None,
) -> None:
    """Add one marker per run at `heights`, with its hover text."""
    if not runs:
        return
    figure.add_scatter(
        x=[run.batch_size for run in runs],
        y=list(heights),
        mode="markers",
        marker=marker or {"size": 6, "color": f"{GREY}b0"},
        name=safe(name),
        hoverinfo="text",
        hovertext=[hover_of_run(run, t) for run in runs],
    )


def add_outcomes(figure: go.Figure, runs: Sequence[Run], heights: Sequence[float], t: Translator) -> None:
    """Add one marker per run; the symbol shows the outcome."""
    kinds: tuple[tuple[str, tuple[Outcome, ...], dict[str, Any]], ...] = (
        ("legend_reached", (Outcome.REACHED,), {"symbol": "circle", "color": f"{GREEN}d0", "size": 9}),
        (
            "legend_not_reached",
            MISSED,
            {"symbol": "triangle-up-open", "color": AMBER, "size": 10, "line": {"color": AMBER, "width": 2}},
        ),
        (
            "legend_diverged",
            (Outcome.DIVERGED,),
            {"symbol": "x-thin", "color": RED, "size": 9, "line": {"color": RED, "width": 2.2}},
        ),
    )
    for key, outcomes, marker in kinds:
        chosen = [(run, height) for run, height in zip(runs, heights, strict=True) if run.outcome in outcomes]
        if chosen:
            add_runs(figure, [r for r, _ in chosen], [h for _, h in chosen], t(key), t, marker)


def hover_of(point: TimePoint, t: Translator) -> str:
    """Hover text of a batch size of an advice."""
    return lines(
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_time", seconds=t.estimate(point.seconds, t.seconds)),
        t("hover_steps", steps=t.estimate(point.steps, t.about)),
        t("hover_step", seconds=t.estimate(point.step_seconds, t.seconds)),
        t("hover_learning_rate", rate=t.estimate(point.learning_rate, t.rate)),
        t("hover_runs", n=point.runs) if point.runs else t("hover_predicted"),
    )


def hover_of_run(run: Run, t: Translator) -> str:
    """Hover text of a run, in three lines."""
    end = run.crossing
    return lines(
        t("hover_batch_size", batch_size=t.count(run.batch_size)),
        t("hover_learning_rate_and_seed", rate=t.rate(run.learning_rate), seed=run.seed),
        t(
            "hover_stopped_early" if run.pruned else f"hover_{run.outcome}",
            steps=t.about(end.step if end else run.diverged_at or run.steps),
            epochs=t.about(end.epoch if end else run.epochs),
            seconds=t.seconds(end.seconds if end else run.seconds),
        ),
    )


# Figures with named rows, where several marks may share a row.

# Longest name on an axis; a longer one leaves no room for the marks.
LONGEST_NAME = 28
FEW_COLOURS = (BLUE, RED, GREEN, AMBER)


def row_axis(title: str, names: Sequence[str]) -> dict[str, Any]:
    """The vertical axis with the row names, the first on top."""
    return {
        "title": {"text": safe(title)},
        "range": [len(names) - 0.4, -0.6],
        "tickvals": list(range(len(names))),
        "ticktext": [lines(*_halves(short(name))) for name in names],
        "showgrid": False,
    }


def short(name: str) -> str:
    """Shorten a long name in the middle, since labels differ at their ends as often as at their beginnings."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"


def _halves(name: str) -> list[str]:
    """Break a long name into two rows at the comma nearest to its middle."""
    commas = [i for i, letter in enumerate(name) if letter in ",，"]
    if len(name) <= LONGEST_NAME // 2 or not commas:
        return [name]
    at = min(commas, key=lambda i: abs(i - len(name) / 2)) + 1
    return [name[:at], name[at:].lstrip()]


def beside(rank: int, of: int) -> float:
    """Offset of mark number `rank` of `of` from the middle of its row."""
    return 0.5 * ((rank + 0.5) / of - 0.5)


def colour_of(rank: int, of: int) -> str:
    """Colour number `rank` of `of`: distinct colours if there are few, else a ramp."""
    return FEW_COLOURS[rank] if of <= len(FEW_COLOURS) else shade(rank, of)


REGIME_COLOURS = {
    Regime.PERFECT_SCALING: GREEN,
    Regime.DIMINISHING_RETURNS: AMBER,
    Regime.MAXIMAL_PARALLELISM: RED,
}
# Longest interval, as a factor of its value; a longer one leaves no room for the rest of the figure.
FURTHEST = 30.0


def hover_of_size(size: SizeResult, t: Translator) -> str:
    """Hover text of a batch size of a study."""
    rows = [t("hover_batch_size", batch_size=t.count(size.batch_size))]
    if size.steps is not None:
        rows.append(t("hover_steps", steps=t.estimate(size.steps, t.about)))
    if size.epochs is not None:
        rows.append(t("hover_epochs_to_target", epochs=t.estimate(size.epochs, t.about)))
    if size.examples is not None:
        rows.append(t("hover_examples", examples=t.about(size.examples.value)))
    if size.seconds is not None:
        rows.append(t("hover_time", seconds=t.estimate(size.seconds, t.seconds)))
    if size.bound is not None and size.steps is None:
        rows.append(t("hover_bound", steps=t.about(size.bound)))
    if size.learning_rate is not None:
        rows.append(t("hover_at_best_rate", rate=t.rate(size.learning_rate)))
    if size.options:
        rows.append(t("hover_options", options=t.options(size.options)))
    if size.seeds:
        rows.append(t("hover_seeds_reached", reached=size.reached, n=size.seeds))
    if size.regime is not None:
        rows.append(t("hover_regime", regime=t(f"regime_{size.regime}")))
    return lines(*rows)


def error_bars(estimates: Sequence[Estimate]) -> dict[str, object]:
    """Error bars of the intervals, cut where a logarithmic axis cannot show them."""
    values = [each.value for each in estimates]
    lows = [shown_low(each) for each in estimates]
    return bars(values, lows, [shown_high(each) for each in estimates])


def shown_low(estimate: Estimate) -> float | None:
    low = estimate.low
    return max(low, estimate.value / FURTHEST) if low is not None and not math.isnan(low) else None


def shown_high(estimate: Estimate) -> float | None:
    high = estimate.high
    return min(high, estimate.value * FURTHEST) if high is not None and not math.isnan(high) else None


def values_and_bounds(estimates: Iterable[Estimate]) -> list[float | None]:
    """The values and interval bounds that an axis has to show."""
    return [value for each in estimates for value in (each.value, shown_low(each), shown_high(each))]


def add_dots(figure: go.Figure, findings: StudyResults, t: Translator) -> list[float]:
    """Add single runs at the best rates; open triangles missed the target. Returns their heights."""
    key = "amount_epochs" if findings.in_epochs else "amount_steps"
    heights: list[float] = []
    for censored in (False, True):
        dots = [
            (point, amount)
            for point in findings.dots
            if point.censored is censored and (amount := amount_of(point, in_epochs=findings.in_epochs)) is not None
        ]
        if not dots:
            continue
        heights += [amount for _, amount in dots]
        state = "hover_point_missed" if censored else "hover_point_reached"
        figure.add_scatter(
            x=[point.batch_size for point, _ in dots],
            y=[amount for _, amount in dots],
            mode="markers",
            marker={"size": 6, "symbol": "triangle-up-open" if censored else "circle", "color": f"{GREY}b0"},
            name=safe(t("legend_bound" if censored else "legend_runs_at_best")),
            showlegend=not censored or not findings.missed,
            hoverinfo="text",
            hovertext=[
                lines(
                    t("hover_batch_size", batch_size=t.count(point.batch_size)),
                    t(state, amount=t(key, value=t.about(amount))),
                    t("hover_learning_rate", rate=t.rate(point.learning_rate)) if point.learning_rate else "",
                    t("hover_seed", seed=point.seed) if point.seed is not None else "",
                )
                for point, amount in dots
            ],
        )
    return heights


def amount_of(point: GoalPoint, *, in_epochs: bool) -> float | None:
    """Steps or epochs of a point; steps follow from the examples if only those are known."""
    amount = point.epochs if in_epochs else point.steps
    if amount is None and not in_epochs and point.examples is not None:
        amount = point.examples / point.batch_size
    return amount if amount is not None and math.isfinite(amount) and amount > 0 else None
