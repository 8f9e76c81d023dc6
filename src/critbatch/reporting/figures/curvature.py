"""Where the eigenvalues lie."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from critbatch.records.loss_surface import Curvature, Density, Eigenvalue
from critbatch.reporting.figures.theme import BLUE, GREEN, MUTED, RED, Axis, Picture, bars, canvas, lines, safe
from critbatch.reports.translator import Translator

PLACES = 400


def curvature_picture(curvature: Curvature, t: Translator) -> Picture | None:
    """The spectral density with the extreme eigenvalues; the eigenvalues alone where there is no density."""
    found = _found(curvature)
    picture = _density(curvature, found, t)
    return picture or (_eigenvalues(curvature, found, t) if found else None)


def kernel_width(density: Density) -> float:
    """A hundredth of what the nodes span: the widening of each."""
    low, high = min(density.nodes), max(density.nodes)
    return (high - low) / 100 or max(abs(high), 1e-12) / 100


def has_density(curvature: Curvature) -> bool:
    density = curvature.density
    return density is not None and bool(density.nodes) and all(map(math.isfinite, (*density.nodes, *density.weights)))


def _found(curvature: Curvature) -> list[Eigenvalue]:
    return [each for each in (*curvature.largest, *curvature.smallest) if math.isfinite(each.value)]


def _density(curvature: Curvature, found: list[Eigenvalue], t: Translator) -> Picture | None:
    density = curvature.density
    if density is None or not has_density(curvature):
        return None
    width = kernel_width(density)
    ends = [*density.nodes, *(each.value for each in found)]
    low, high = min(ends) - 4 * width, max(ends) + 4 * width
    places = [low + (high - low) * i / PLACES for i in range(PLACES + 1)]
    heights = density.at(places, width=width)
    # Where less than a tenth of one eigenvalue would show, the curve is the tail of its own widening.
    floor = 0.1 / (curvature.setup.parameters * width * math.sqrt(2 * math.pi))
    floor = min(floor, max(heights) / 10)
    shown = [height if height >= floor else None for height in heights]
    y = Axis(t("axis_density"), t.rate).layout([floor, *shown])
    figure = canvas({"title": {"text": safe(t("axis_eigenvalue"))}}, y)
    figure.add_scatter(
        x=places,
        y=shown,
        mode="lines",
        line={"color": BLUE, "width": 2},
        name=safe(t("legend_density")),
        hoverinfo="text",
        hovertext=[
            lines(t("hover_density", density=t.rate(height), value=t.rate(place)))
            for place, height in zip(places, heights, strict=True)
        ],
    )
    _add_ends(figure, curvature, t, height=floor)
    figure.add_vline(x=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    at = {"low": t.score(min(ends)), "high": t.score(max(ends))}
    largest = t.eigenvalue(curvature.largest[0]) if curvature.largest else t.score(max(ends))
    title = t("title_density", n=t.count(curvature.setup.parameters), largest=largest)
    return Picture(title, t("alt_density", **at), figure)


def _eigenvalues(curvature: Curvature, found: list[Eigenvalue], t: Translator) -> Picture:
    count = max(len(curvature.largest), len(curvature.smallest))
    x = {
        "title": {"text": safe(t("axis_rank"))},
        "tickvals": list(range(1, count + 1)),
        "range": [0.5, count + 0.5],
    }
    figure = canvas(x, {"title": {"text": safe(t("axis_eigenvalue"))}})
    _add_ends(figure, curvature, t, height=None)
    figure.add_hline(y=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    values = [each.value for each in found]
    at = {"low": t.score(min(values)), "high": t.score(max(values))}
    largest = t.eigenvalue(max(found, key=lambda each: each.value))
    return Picture(t("title_eigenvalues", n=len(found), largest=largest), t("alt_eigenvalues", **at), figure)


def _add_ends(figure: go.Figure, curvature: Curvature, t: Translator, height: float | None) -> None:
    """The extreme eigenvalues along the bottom of a density, or over their numbers where there is none."""
    for key, ends, colour, symbol in (
        ("legend_largest_eigenvalues", curvature.largest, RED, "diamond"),
        ("legend_smallest_eigenvalues", curvature.smallest, GREEN, "square"),
    ):
        told = [(rank, each) for rank, each in enumerate(ends, start=1) if math.isfinite(each.value)]
        if not told:
            continue
        values = [each.value for _, each in told]
        error = bars(values, [e.value - e.residual for _, e in told], [e.value + e.residual for _, e in told])
        across = height is not None
        figure.add_scatter(
            x=values if across else [rank for rank, _ in told],
            y=[height] * len(told) if across else values,
            mode="markers",
            **{"error_x" if across else "error_y": error},
            marker={"symbol": symbol, "size": 9, "color": colour},
            cliponaxis=False,
            name=safe(t(key)),
            hoverinfo="text",
            hovertext=[lines(t("hover_eigenvalue", value=t.eigenvalue(each))) for _, each in told],
        )
