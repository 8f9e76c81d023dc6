"""What recipes bring at a large batch: steps to the target and validation metric, beside plain small batches."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.records.claims import RecipeRow
from critbatch.records.core import Estimate
from critbatch.reporting.figures.named_rows import colour_of
from critbatch.reporting.figures.theme import INK, MUTED, Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.lecture_readings import recipe_name
from critbatch.reports.translator import Translator


def recipes_picture(rows: Sequence[RecipeRow], small: int, metric: str, t: Translator) -> Picture | None:
    """One mark a recipe: to the left are fewer steps, above is a better metric; small batches are the star."""
    told = [(row, row.steps, row.validation_metric) for row in rows]
    known = [(row, steps, score) for row, steps, score in told if steps is not None and score is not None]
    if not known:
        return None
    held = [bound for _, steps, _ in known for bound in (steps.low, steps.value, steps.high)]
    figure = canvas(
        Axis(t("axis_steps"), t.about, most=6).layout(held),
        {"title": {"text": safe(t("axis_validation_metric", metric=metric))}},
    )
    others = [row for row, *_ in known if not is_base(row, small)]
    for row, steps, score in known:
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
    """Plain training with small batches, which recipes are held against."""
    return row.batch_size == small and row.tuned


def _bars(estimate: Estimate) -> dict[str, object]:
    return bars([estimate.value], [estimate.low], [estimate.high])
