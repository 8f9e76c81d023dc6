"""Marks and hover texts that several figures share: a run by how it ended, a batch size with all that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Advice, Outcome, Run, TimePoint
from critbatch.reporting.figures.theme import AMBER, GREEN, GREY, RED, lines, safe
from critbatch.reporting.readings import MISSED
from critbatch.reports.translator import Translator


def all_points(advice: Advice) -> list[TimePoint]:
    """Every batch size of the advice once, those of the best, the current and the largest among them."""
    named = [point for point in (advice.current, advice.largest, advice.best) if point is not None]
    by_size = {point.batch_size: point for point in (*advice.points, *named)}
    return [by_size[size] for size in sorted(by_size)]


def add_runs(
    figure: go.Figure,
    runs: Sequence[Run],
    heights: Sequence[float],
    name: str,
    t: Translator,
    marker: dict[str, Any] | None = None,
) -> None:
    """Marks of runs at `heights`, each with its hover text."""
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
    """One mark a run, by how it ended."""
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
    """Everything that is known of one batch size."""
    return lines(
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_time", seconds=t.estimate(point.seconds, t.seconds)),
        t("hover_steps", steps=t.estimate(point.steps, t.about)),
        t("hover_step", seconds=t.estimate(point.step_seconds, t.seconds)),
        t("hover_learning_rate", rate=t.estimate(point.learning_rate, t.rate)),
        t("hover_runs", n=point.runs) if point.runs else t("hover_predicted"),
    )


def hover_of_run(run: Run, t: Translator) -> str:
    """A run in three lines."""
    end = run.crossing
    return lines(
        t("hover_batch_size", batch_size=t.count(run.batch_size)),
        t("hover_learning_rate_and_seed", rate=t.rate(run.learning_rate), seed=run.seed),
        t(
            "hover_stopped_early" if run.stopped_early else f"hover_{run.outcome}",
            steps=t.about(end.step if end else run.diverged_at or run.steps),
            epochs=t.about(end.epoch if end else run.epochs),
            seconds=t.seconds(end.seconds if end else run.seconds),
        ),
    )
