"""Charts of the loss surface: batch gradients, escapes, eigenvalues, sharpness, and the effect of a data shift."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from critbatch.records.loss_surface import (
    Box,
    CriticalPoint,
    Curvature,
    Density,
    Eigenvalue,
    Escape,
    Sharpness,
    SharpnessValue,
    Shift,
)
from critbatch.reports.charts.common import beside, colour_of, row_axis
from critbatch.reports.charts.theme import AMBER, BLUE, GREEN, MUTED, RED, Axis, Picture, bars, canvas, lines, safe
from critbatch.reports.derived.loss_surface import leading_shift, measure_name, measures, shift_name, shifts
from critbatch.reports.translator import Translator

# Critical points: gradients of single batches, and how often training escapes.


def critical_picture(point: CriticalPoint, t: Translator) -> Picture | None:
    """Norms of batch gradients, median and quartiles, against batch size, with the norm of the full gradient."""
    batches = sorted((b for b in point.batches if math.isfinite(b.median) and b.median > 0), key=lambda b: b.batch_size)
    if not batches:
        return None
    sizes, medians = [float(batch.batch_size) for batch in batches], [batch.median for batch in batches]
    full = point.gradient_norm if math.isfinite(point.gradient_norm) and point.gradient_norm > 0 else None
    # A logarithmic axis cannot show a quartile of zero.
    lows = [max(batch.quartiles[0], batch.median / 100) for batch in batches]
    highs = [batch.quartiles[1] for batch in batches]
    x = Axis(t("axis_batch_size", unit=t.units("example")), t.count, ticks=sizes).layout(sizes)
    y = Axis(t("axis_gradient_norm"), t.rate).layout([*medians, *lows, *highs, full])
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=medians,
        mode="lines+markers",
        error_y=bars(medians, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        name=safe(t("legend_quartiles")),
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(batch.batch_size)),
                t(
                    "hover_gradients",
                    n=batch.n,
                    median=t.rate(batch.median),
                    span=t.span(*batch.quartiles, t.rate),
                ),
            )
            for batch in batches
        ],
    )
    if full is not None:
        # A trace instead of a shape, since the legend names traces only.
        figure.add_scatter(
            x=[10.0**end for end in x["range"]],
            y=[full, full],
            mode="lines",
            line={"color": RED, "width": 2, "dash": "dash"},
            name=safe(t("legend_full_gradient")),
            hoverinfo="skip",
        )
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1])}
    alt = t("alt_critical", first=t.rate(medians[0]), last=t.rate(medians[-1]), **at)
    return Picture(t("title_critical", norm=t.rate(point.gradient_norm)), alt, figure)


def escape_picture(escape: Escape, t: Translator) -> Picture | None:
    """Share of starts that escaped, against batch size, with exact intervals."""
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    if not counts:
        return None
    sizes, shares = [float(count.batch_size) for count in counts], [count.share.value for count in counts]
    x = Axis(t("axis_batch_size", unit=t.units(escape.unit)), t.count, ticks=sizes).layout(sizes)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    y = {
        "title": {"text": safe(t("axis_escaped"))},
        "range": [-0.04, 1.04],
        "tickvals": ticks,
        "ticktext": [t.percent(tick) for tick in ticks],
    }
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=shares,
        mode="lines+markers",
        error_y=bars(shares, [count.share.low for count in counts], [count.share.high for count in counts]),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(count.batch_size)),
                t("hover_escaped", share=t.estimate(count.share, t.percent)),
            )
            for count in counts
        ],
    )
    at = {
        "low": t.count(sizes[0]),
        "high": t.count(sizes[-1]),
        "first": t.percent(shares[0]),
        "last": t.percent(shares[-1]),
    }
    return Picture(t("title_escape", **at), t("alt_escape", **at), figure)


PLACES = 400


def curvature_picture(curvature: Curvature, t: Translator) -> Picture | None:
    """The spectral density with the extreme eigenvalues, or the eigenvalues alone if there is no density."""
    eigenvalues = _finite_eigenvalues(curvature)
    picture = _density(curvature, eigenvalues, t)
    return picture or (_eigenvalues(curvature, eigenvalues, t) if eigenvalues else None)


def kernel_width(density: Density) -> float:
    """Width of the kernel at each node: a hundredth of the range of the nodes."""
    low, high = min(density.nodes), max(density.nodes)
    return (high - low) / 100 or max(abs(high), 1e-12) / 100


def has_density(curvature: Curvature) -> bool:
    density = curvature.density
    return density is not None and bool(density.nodes) and all(map(math.isfinite, (*density.nodes, *density.weights)))


def _finite_eigenvalues(curvature: Curvature) -> list[Eigenvalue]:
    return [each for each in (*curvature.largest, *curvature.smallest) if math.isfinite(each.value)]


def _density(curvature: Curvature, eigenvalues: list[Eigenvalue], t: Translator) -> Picture | None:
    density = curvature.density
    if density is None or not has_density(curvature):
        return None
    width = kernel_width(density)
    ends = [*density.nodes, *(each.value for each in eigenvalues)]
    low, high = min(ends) - 4 * width, max(ends) + 4 * width
    places = [low + (high - low) * i / PLACES for i in range(PLACES + 1)]
    heights = density.at(places, width=width)
    # A density below a tenth of one eigenvalue is only the tail of the kernel.
    floor = 0.1 / (curvature.setup.parameters * width * math.sqrt(2 * math.pi))
    floor = min(floor, max(heights) / 10)
    visible_heights = [height if height >= floor else None for height in heights]
    y = Axis(t("axis_density"), t.rate).layout([floor, *visible_heights])
    figure = canvas({"title": {"text": safe(t("axis_eigenvalue"))}}, y)
    figure.add_scatter(
        x=places,
        y=visible_heights,
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


def _eigenvalues(curvature: Curvature, eigenvalues: list[Eigenvalue], t: Translator) -> Picture:
    count = max(len(curvature.largest), len(curvature.smallest))
    x = {
        "title": {"text": safe(t("axis_rank"))},
        "tickvals": list(range(1, count + 1)),
        "range": [0.5, count + 0.5],
    }
    figure = canvas(x, {"title": {"text": safe(t("axis_eigenvalue"))}})
    _add_ends(figure, curvature, t, height=None)
    figure.add_hline(y=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    values = [each.value for each in eigenvalues]
    at = {"low": t.score(min(values)), "high": t.score(max(values))}
    largest = t.eigenvalue(max(eigenvalues, key=lambda each: each.value))
    return Picture(t("title_eigenvalues", n=len(eigenvalues), largest=largest), t("alt_eigenvalues", **at), figure)


def _add_ends(figure: go.Figure, curvature: Curvature, t: Translator, height: float | None) -> None:
    """Add the extreme eigenvalues: along the bottom of a density, or against their rank if there is none."""
    for key, ends, colour, symbol in (
        ("legend_largest_eigenvalues", curvature.largest, RED, "diamond"),
        ("legend_smallest_eigenvalues", curvature.smallest, GREEN, "square"),
    ):
        ranked_values = [(rank, each) for rank, each in enumerate(ends, start=1) if math.isfinite(each.value)]
        if not ranked_values:
            continue
        values = [each.value for _, each in ranked_values]
        error = bars(
            values, [e.value - e.residual for _, e in ranked_values], [e.value + e.residual for _, e in ranked_values]
        )
        across = height is not None
        figure.add_scatter(
            x=values if across else [rank for rank, _ in ranked_values],
            y=[height] * len(ranked_values) if across else values,
            mode="markers",
            **{"error_x" if across else "error_y": error},
            marker={"symbol": symbol, "size": 9, "color": colour},
            cliponaxis=False,
            name=safe(t(key)),
            hoverinfo="text",
            hovertext=[lines(t("hover_eigenvalue", value=t.eigenvalue(each))) for _, each in ranked_values],
        )


# Rise of the loss against sharpness.


def sharpness_and_rise(shift: Shift, t: Translator) -> Picture | None:
    """Rise of the loss against sharpness in the first box, one mark per solution; on validation data if available."""
    by_label = {rise.label: rise for rise in leading_shift(shift)}
    labels = [each.solution.label for each in shift.sharpness]
    pairs = [
        (each, each.values[0], by_label[each.solution.label])
        for each in shift.sharpness
        if each.values and 0 < each.values[0].value.value < math.inf and each.solution.label in by_label
    ]
    if len(pairs) < 2:
        return None
    box = measure_name(pairs[0][1].box, pairs[0][1].epsilon, t)
    name = shift_name(pairs[0][2].shift, pairs[0][2].strength, t)
    x = Axis(t("hover_sharpness", measure=t("axis_sharpness"), value=box), t.rate)
    y = {"title": {"text": safe(t("axis_rise"))}}
    figure = canvas(x.layout(value.value.value for _, value, _ in pairs), y)
    for each, value, rise in pairs:
        label = each.solution.label
        figure.add_scatter(
            x=[value.value.value],
            y=[rise.rise.value],
            mode="markers",
            error_y=bars([rise.rise.value], [rise.rise.low], [rise.rise.high]),
            marker={"size": 10, "color": colour_of(labels.index(label), len(labels))},
            name=safe(label),
            hoverinfo="text",
            hovertext=[
                lines(
                    label,
                    t("hover_sharpness", measure=box, value=t.estimate(value.value, t.rate)),
                    t("hover_rise", shift=name, rise=t.estimate(rise.rise, t.rate)),
                )
            ],
        )
    at = {"shift": name, "n": len(pairs)}
    return Picture(t("title_sharp_rise", **at), t("alt_sharp_rise", **at), figure)


# Sharpness of the solutions.

COLOURS = {Box.FULL: BLUE, Box.RANDOM: AMBER, Box.ADAPTIVE: GREEN}
SYMBOLS = ("circle", "diamond", "square", "star")


def can_be_drawn(value: SharpnessValue) -> bool:
    """Whether a logarithmic axis can show the value."""
    return math.isfinite(value.value.value) and value.value.value > 0


def sharpness_picture(sharpness: Sharpness, t: Translator) -> Picture | None:
    """Sharpness on a logarithmic axis: one row per solution, one mark per box and epsilon."""
    labels = [solution.solution.label for solution in sharpness.solutions]
    all_values = [value for solution in sharpness.solutions for value in solution.values if can_be_drawn(value)]
    if not all_values:
        return None
    floor = min(value.value.value for value in all_values) / 10
    lows = [max(value.value.low, floor) for value in all_values if value.value.low is not None]
    highs = [value.value.high for value in all_values if value.value.high is not None]
    x = Axis(t("axis_sharpness"), t.rate).layout([*(value.value.value for value in all_values), *lows, *highs])
    figure = canvas(x, row_axis(t("axis_solution"), labels))
    kinds = measures(sharpness.solutions)
    epsilons = sorted({epsilon for _, epsilon in kinds}, reverse=True)
    for rank, (box, epsilon) in enumerate(kinds):
        marks = [
            (row, value)
            for row, solution in enumerate(sharpness.solutions)
            for value in solution.values
            if (value.box, value.epsilon) == (box, epsilon) and can_be_drawn(value)
        ]
        if not marks:
            continue
        values = [value.value.value for _, value in marks]
        low_bounds = [max(v.value.low, floor) if v.value.low is not None else None for _, v in marks]
        name = measure_name(box, epsilon, t)
        figure.add_scatter(
            x=values,
            y=[row + beside(rank, len(kinds)) for row, _ in marks],
            mode="markers",
            error_x=bars(values, low_bounds, [v.value.high for _, v in marks]),
            marker={"size": 9, "color": COLOURS[box], "symbol": SYMBOLS[epsilons.index(epsilon) % len(SYMBOLS)]},
            name=safe(name),
            hoverinfo="text",
            hovertext=[
                lines(
                    labels[row],
                    t("hover_sharpness", measure=name, value=t.estimate(v.value, t.rate)),
                )
                for row, v in marks
            ],
        )
    at = {"low": t.rate(min(v.value.value for v in all_values)), "high": t.rate(max(v.value.value for v in all_values))}
    return Picture(t("title_sharpness", n=len(labels)), t("alt_sharpness", **at), figure)


# Rise of the loss under shifts of the data.


def shift_picture(shift: Shift, t: Translator) -> Picture | None:
    """Rise of the loss: one row per shift, one colour per solution."""
    rises = [rise for rise in shift.rises if math.isfinite(rise.rise.value)]
    if not rises:
        return None
    rows = [kind for kind in shifts(shift) if any((rise.shift, rise.strength) == kind for rise in rises)]
    labels = list(dict.fromkeys(rise.label for rise in rises))
    figure = canvas(
        {"title": {"text": safe(t("axis_rise"))}},
        row_axis(t("axis_shift"), [shift_name(*kind, t) for kind in rows]),
    )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    for rank, label in enumerate(labels):
        own = [rise for rise in rises if rise.label == label]
        values = [rise.rise.value for rise in own]
        figure.add_scatter(
            x=values,
            y=[rows.index((rise.shift, rise.strength)) + beside(rank, len(labels)) for rise in own],
            mode="markers",
            error_x=bars(values, [rise.rise.low for rise in own], [rise.rise.high for rise in own]),
            marker={"size": 9, "color": colour_of(rank, len(labels))},
            name=safe(label),
            hoverinfo="text",
            hovertext=[
                lines(
                    label,
                    t(
                        "hover_rise",
                        shift=shift_name(rise.shift, rise.strength, t),
                        rise=t.estimate(rise.rise, t.rate),
                    ),
                    t(
                        "hover_loss_and_metric",
                        loss=t.score(rise.loss),
                        metric=t.metric(shift.metric_name),
                        value=t.score(rise.metric),
                    ),
                )
                for rise in own
            ],
        )
    values = [rise.rise.value for rise in rises]
    at = {"low": t.rate(min(values)), "high": t.rate(max(values))}
    return Picture(t("title_shift", n=len(rows)), t("alt_shift", **at), figure)
