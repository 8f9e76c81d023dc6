"""What the figures of a study share: a batch size with all that was found, single runs, the colours of the regimes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from critbatch.records.core import Estimate
from critbatch.records.study import GoalPoint, Regime, SizeResult
from critbatch.reporting.figures.theme import AMBER, GREEN, GREY, RED, bars, lines, safe
from critbatch.reporting.findings import Findings
from critbatch.reports.translator import Translator

REGIME_COLOURS = {
    Regime.PERFECT_SCALING: GREEN,
    Regime.DIMINISHING_RETURNS: AMBER,
    Regime.MAXIMAL_PARALLELISM: RED,
}
# An interval that goes further than this from its value would leave no room for the rest of the figure.
FURTHEST = 30.0


def hover_of_size(size: SizeResult, t: Translator) -> str:
    """Everything that was found at one batch size."""
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
    """Intervals, as far as a logarithmic axis can show them."""
    values = [each.value for each in estimates]
    lows = [shown_low(each) for each in estimates]
    return bars(values, lows, [shown_high(each) for each in estimates])


def shown_low(estimate: Estimate) -> float | None:
    low = estimate.low
    return max(low, estimate.value / FURTHEST) if low is not None and not math.isnan(low) else None


def shown_high(estimate: Estimate) -> float | None:
    high = estimate.high
    return min(high, estimate.value * FURTHEST) if high is not None and not math.isnan(high) else None


def held(estimates: Iterable[Estimate]) -> list[float | None]:
    """All that an axis has to hold of them."""
    return [value for each in estimates for value in (each.value, shown_low(each), shown_high(each))]


def add_dots(figure: go.Figure, findings: Findings, t: Translator) -> list[float]:
    """Single runs at the best rates, those that missed the target as open triangles. Returns their heights."""
    key = "amount_epochs" if findings.in_epochs else "amount_steps"
    heights: list[float] = []
    for censored in (False, True):
        told = [
            (point, amount)
            for point in findings.dots
            if point.censored is censored and (amount := amount_of(point, in_epochs=findings.in_epochs)) is not None
        ]
        if not told:
            continue
        heights += [amount for _, amount in told]
        state = "hover_point_missed" if censored else "hover_point_reached"
        figure.add_scatter(
            x=[point.batch_size for point, _ in told],
            y=[amount for _, amount in told],
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
                for point, amount in told
            ],
        )
    return heights


def amount_of(point: GoalPoint, *, in_epochs: bool) -> float | None:
    """Steps or epochs of a point; where only examples are known, steps follow from them."""
    found = point.epochs if in_epochs else point.steps
    if found is None and not in_epochs and point.examples is not None:
        found = point.examples / point.batch_size
    return found if found is not None and math.isfinite(found) and found > 0 else None
