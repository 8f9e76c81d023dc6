"""The chapters of sharpness, the loss landscape, and shifts of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from critbatch.records.loss_surface import (
    Landscape,
    Setup,
    Sharpness,
    Shift,
    ShiftRise,
    SolutionSharpness,
)
from critbatch.reports.charts.landscape import landscape_picture
from critbatch.reports.charts.loss_surface import can_be_drawn, sharpness_and_rise, sharpness_picture, shift_picture
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.loss_surface import (
    finite_points,
    leading_shift,
    measure_name,
    name_of,
    name_of_measure,
    shift_name,
)
from critbatch.reports.model import (
    DINH,
    GOODFELLOW,
    KESKAR,
    KWON,
    LI,
    Answer,
    Block,
    Cell,
    Chart,
    Method,
    Section,
    Table,
    Text,
    Tile,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import (
    MOST_TILES,
    Parts,
    RecordView,
    cell,
    chart,
    notes,
    open_eigenvalues,
    open_reasons_of,
    setup_lines,
    view,
)

# With more solutions, the answer does not list them; the table does.
MOST_NAMED = 8


def ranked(solutions: Sequence[SolutionSharpness]) -> list[tuple[float, SolutionSharpness]]:
    """The solutions with their sharpness in the first box, the sharpest first."""
    pairs = [(each.values[0].value.value, each) for each in solutions if each.values]
    return sorted((pair for pair in pairs if not math.isnan(pair[0])), key=lambda pair: -pair[0])


def _measures(solutions: Sequence[SolutionSharpness]) -> list[list[tuple[float, str]]]:
    """For each measure that all solutions have, its value and the label of each solution."""
    readings: list[Callable[[SolutionSharpness], float]] = [
        lambda each, i=i: each.values[i].value.value  # type: ignore[misc]
        for i in range(min(len(each.values) for each in solutions))
    ]
    if all(each.largest is not None for each in solutions):
        readings.append(lambda each: each.largest.value if each.largest is not None else math.nan)
    if all(each.trace is not None for each in solutions):
        readings.append(lambda each: each.trace.value if each.trace is not None else math.nan)
    columns = [[(reading(each), each.solution.label) for each in solutions] for reading in readings]
    return [values for values in columns if not any(math.isnan(value) for value, _ in values)]


# Section of a loss landscape.


def landscape_section(landscape: Landscape, t: Translator) -> Section:
    """A table of the points: one row per point of a line, or a grid of the training loss on a plane."""
    line = landscape.kind == "line"
    metric = t.metric(landscape.metric_name)
    blocks: list[Block] = [Text(t("landscape_line_text" if line else "landscape_plane_text"))]
    if landscape.points:
        blocks.append(_line_table(landscape, metric, t) if line else _grid(landscape, t))
    else:
        blocks.append(Text(t("landscape_nothing")))
    examples = t.count(landscape.validation_examples)
    lines = setup_lines(landscape.setup, t)
    lines.append(t("method_line" if line else "method_plane", metric=metric, examples=examples))
    if landscape.batch_norm_recomputed:
        lines.append(t("method_recomputed"))
    papers = (KESKAR, GOODFELLOW) if line else (LI,)
    return Section("landscape", t("section_landscape"), (*blocks, Method(tuple(lines), papers)))


def _line_table(landscape: Landscape, metric: str, t: Translator) -> Table:
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    rows = tuple(
        (
            Cell(t.about(point.alpha)),
            *(
                Cell(t.score(value))
                for value in (point.train_loss, point.validation_loss, point.train_metric, point.validation_metric)
            ),
        )
        for point in sorted(landscape.points, key=lambda point: point.alpha)
    )
    header = (t("column_alpha"), *(t(key, metric=metric) for key in names))
    return Table(t("landscape_caption"), header, rows, folded=True)


def _grid(landscape: Landscape, t: Translator) -> Table:
    alphas, betas = (sorted({getattr(p, name) for p in landscape.points}) for name in ("alpha", "beta"))
    by_place = {(point.alpha, point.beta): point.train_loss for point in landscape.points}
    rows = tuple(
        (
            Cell(t.about(beta)),
            *(Cell(t.about(by_place[alpha, beta]) if (alpha, beta) in by_place else "–") for alpha in alphas),
        )
        for beta in betas
    )
    header = ("", *(t.about(alpha) for alpha in alphas))
    return Table(t("landscape_caption"), header, rows, (t("landscape_grid_note"),), folded=True)


def sharpness_section(sharpness: Sharpness, t: Translator) -> Section:
    """An introduction to sharpness, the table of the solutions, and the method."""
    blocks: list[Block] = [Text(t("sharpness_text"))]
    if sharpness.solutions:
        blocks.append(solutions_table(sharpness.solutions, sharpness.setup, sharpness.metric_name, t))
    keys = ("method_sharpness", "method_boxes", "method_rescaling")
    lines = (*setup_lines(sharpness.setup, t), *(t(key) for key in keys))
    return Section("sharpness", t("section_sharpness"), (*blocks, Method(lines, (KESKAR, DINH, KWON))))


def solutions_table(solutions: Sequence[SolutionSharpness], setup: Setup, metric_name: str, t: Translator) -> Table:
    """One row per solution: losses, metrics, every sharpness, and the largest eigenvalue and trace."""
    boxes = list(
        dict.fromkeys(measure_name(value.box, value.epsilon, t) for each in solutions for value in each.values)
    )
    metric = t.metric(metric_name)
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    spectrum = any(each.largest is not None or each.trace is not None for each in solutions)
    header = (
        t("column_solution"),
        *boxes,
        *((t("measure_largest"), t("measure_trace")) if spectrum else ()),
        *(t(key, metric=metric) for key in names),
    )
    rows = []
    for each in solutions:
        by_box = {measure_name(value.box, value.epsilon, t): value.value for value in each.values}
        ends = []
        if spectrum:
            ends = [
                Cell(t.score(each.largest.value), t.within(each.largest)) if each.largest else Cell("–"),
                cell(each.trace, t.score, t),
            ]
        scores = (each.loss, each.validation_loss, each.metric, each.validation_metric)
        rows.append(
            (
                Cell(name_of(each.solution, setup.task, t)),
                *(cell(by_box.get(box), t.about, t) for box in boxes),
                *ends,
                *(Cell(t.score(score)) for score in scores),
            )
        )
    estimates = [value.value for each in solutions for value in each.values]
    return Table(
        t("sharpness_caption"),
        header,
        tuple(rows),
        notes([*estimates, *(e.trace for e in solutions)], t),
        folded=True,
    )


# Section of a data shift.


def shift_section(shift: Shift, t: Translator) -> Section:
    """The rise of the loss against sharpness, rank correlations, and their tables."""
    blocks: list[Block] = [Text(t("shift_text"))]
    if (picture := sharpness_and_rise(shift, t)) is not None:
        blocks.append(Chart(picture, t("shift_scatter_note")))
    if shift.predictions:
        blocks += [Text(t("shift_predicts")), _predictions(shift, t)]
    if shift.rises:
        blocks.append(_rises(shift, t))
    if shift.sharpness:
        blocks.append(solutions_table(shift.sharpness, shift.setup, shift.metric_name, t))
    lines = [*setup_lines(shift.setup, t), t("method_shift"), t("method_sharpness")]
    if shift.predictions:
        lines.append(t("method_correlation"))
    return Section("shift", t("section_shift"), (*blocks, Method(tuple(lines), (KESKAR,))))


def _predictions(shift: Shift, t: Translator) -> Table:
    rows = tuple(
        (
            Cell(name_of_measure(each.measure, t)),
            Cell(shift_name(each.shift, each.strength, t)),
            cell(each.correlation, t.about, t),
        )
        for each in shift.predictions
    )
    header = tuple(t(key) for key in ("column_measure", "column_shift", "column_correlation"))
    table_notes = notes([each.correlation for each in shift.predictions], t)
    return Table(t("shift_predictions_caption"), header, rows, table_notes, folded=True)


def _rises(shift: Shift, t: Translator) -> Table:
    names = {each.solution.label: name_of(each.solution, shift.setup.task, t) for each in shift.sharpness}
    rows = tuple(
        (
            Cell(names.get(rise.label, rise.label)),
            Cell(shift_name(rise.shift, rise.strength, t)),
            cell(rise.rise, t.about, t),
            Cell(t.score(rise.loss)),
            Cell(t.score(rise.metric)),
        )
        for rise in shift.rises
    )
    header = (
        *(t(key) for key in ("column_solution", "column_shift", "column_rise", "column_loss")),
        t.metric(shift.metric_name),
    )
    return Table(t("shift_caption"), header, rows, notes([rise.rise for rise in shift.rises], t), folded=True)


def _of_solutions(solutions: Iterable[SolutionSharpness]) -> list[str]:
    all_solutions = list(solutions)
    values = [value.value for each in all_solutions for value in each.values]
    keys = ["not_finite"] if not all(math.isfinite(value.value) for value in values) else []
    keys += open_reasons_of(values) + open_reasons_of(each.trace for each in all_solutions)
    return keys + open_eigenvalues(each.largest for each in all_solutions if each.largest is not None)


@view(Sharpness)
class SharpnessView(RecordView[Sharpness]):
    """The sharpness of solutions."""

    of_loss_surface = True

    def name(self, sharpness: Sharpness, /) -> str:
        return sharpness.setup.task

    def answer(self, sharpness: Sharpness, t: Translator) -> Answer:
        task, order = sharpness.setup.task, ranked(sharpness.solutions)
        if not order:
            return Answer(t("sharpness_none", task=task), ())

        def named(solution: SolutionSharpness) -> dict[str, str]:
            value = solution.values[0].value
            return {"label": name_of(solution.solution, task, t), "value": t.estimate(value, t.about)}

        sharpest = order[0][1]
        measure = t("sharpness_measure", measure=measure_name(sharpest.values[0].box, sharpest.values[0].epsilon, t))
        metric = t.metric(sharpness.metric_name)
        scores = tuple(
            t(
                "sharpness_scores",
                label=name_of(each.solution, task, t),
                metric=metric,
                validation=t.score(each.validation_metric),
                train=t.score(each.metric),
            )
            for each in sharpness.solutions[:MOST_NAMED]
        )
        if len(order) == 1:
            return Answer(t("sharpness_one", task=task, **named(sharpest)), (measure,), scores)
        headline = t("sharpness_headline", task=task, n=len(order), **named(sharpest))
        lead = (t("sharpness_flattest", **named(order[-1][1])), measure)
        measures = _measures(sharpness.solutions)
        other = sum(max(values, key=lambda pair: pair[0])[1] != sharpest.solution.label for values in measures)
        key = "sharpness_disagree" if other else "sharpness_agree"
        return Answer(headline, lead, (t(key, n=len(measures), other=other), *scores))

    def parts(self, sharpness: Sharpness, t: Translator) -> Parts:
        order = [each for _, each in ranked(sharpness.solutions)]
        chosen = order if len(order) <= MOST_TILES else [*order[:2], *order[-2:]]
        metric = t.metric(sharpness.metric_name)
        tiles = [
            Tile(
                name_of(each.solution, sharpness.setup.task, t),
                t.about(each.values[0].value.value),
                t("tile_validation", metric=metric, value=t.score(each.validation_metric)),
            )
            for each in chosen
        ]
        not_drawn = sum(not can_be_drawn(value) for each in sharpness.solutions for value in each.values)
        note = t("hero_note_sharpness") if not not_drawn else t("sharpness_zero", n=not_drawn)
        return tiles, chart(sharpness_picture(sharpness, t), note), [sharpness_section(sharpness, t)]

    def cautions(self, sharpness: Sharpness, /) -> list[str]:
        return [*_of_solutions(sharpness.solutions), "found_by_climbing", "scale_of_weights", "one_task"]

    def figure(self, sharpness: Sharpness, t: Translator, /) -> Picture | None:
        return sharpness_picture(sharpness, t)


@view(Landscape)
class LandscapeView(RecordView[Landscape]):
    """The loss along a line or over a plane."""

    of_loss_surface = True

    def name(self, landscape: Landscape, /) -> str:
        return landscape.setup.task

    def answer(self, landscape: Landscape, t: Translator) -> Answer:
        task = landscape.setup.task
        points = [point for point in landscape.points if math.isfinite(point.train_loss)]
        if not points:
            return Answer(t("landscape_none", task=task), ())
        names = [name_of(solution, task, t) for solution in landscape.solutions]
        low, high = min(p.train_loss for p in points), max(p.train_loss for p in points)
        span = {"low": t.score(low), "high": t.score(high)}
        if landscape.kind != "line":
            headline = t("landscape_plane", task=task, label=names[0], **span)
            middle = next((p for p in points if p.alpha == p.beta == 0), None)
            if middle is None:
                return Answer(headline, ())
            lowest = min(points, key=lambda point: point.train_loss)
            place = {"alpha": t.about(lowest.alpha), "beta": t.about(lowest.beta), "loss": t.score(low)}
            lower = lowest.train_loss < middle.train_loss
            return Answer(headline, (t("landscape_lower", **place) if lower else t("landscape_lowest"),))
        ends = [next((p.train_loss for p in points if p.alpha == alpha), None) for alpha in (0.0, 1.0)]
        validation_points = [p for p in landscape.points if math.isfinite(p.validation_loss)]
        best = min(validation_points, key=lambda point: point.validation_loss, default=None)
        lead = []
        if best is not None:
            at_best = {"alpha": t.about(best.alpha), "loss": t.score(best.validation_loss)}
            lead.append(t("landscape_best", **at_best))
        at: dict[str, Any] = {"task": task, "first": names[0], "second": names[-1]}
        if ends[0] is None or ends[1] is None:
            return Answer(t("landscape_partial", **at, **span), tuple(lead))
        lead.insert(0, t("landscape_ends", low=t.score(ends[0]), high=t.score(ends[1])))
        between = [p.train_loss for p in landscape.points if 0 < p.alpha < 1]
        highest = max((math.inf if math.isnan(loss) else loss for loss in between), default=-math.inf)
        if highest > max(ends[0], ends[1]):
            return Answer(t("landscape_barrier", highest=t.score(highest), **at), tuple(lead))
        return Answer(t("landscape_no_barrier", **at), tuple(lead))

    def parts(self, landscape: Landscape, t: Translator) -> Parts:
        points = [point for point in landscape.points if math.isfinite(point.train_loss)]
        tiles = []
        line = landscape.kind == "line"
        names = [name_of(solution, landscape.setup.task, t) for solution in landscape.solutions]
        for alpha, name in zip((0.0, 1.0), names, strict=False):
            at = next((point for point in points if (point.alpha, point.beta) == (alpha, 0.0)), None)
            if at is not None:
                tiles.append(Tile(t("tile_loss_at", label=name), t.score(at.train_loss), ""))
        between = [point for point in points if 0 < point.alpha < 1] if line else points
        if between:
            highest = max(between, key=lambda point: point.train_loss)
            key = "tile_highest" if line else "tile_highest_seen"
            where = t("tile_alpha", alpha=t.about(highest.alpha)) if line else ""
            tiles.append(Tile(t(key), t.score(highest.train_loss), where))
        not_finite = len(landscape.points) - len(finite_points(landscape))
        note = t("landscape_left_out", n=not_finite) if not_finite else t(f"hero_note_{'line' if line else 'plane'}")
        return tiles, chart(landscape_picture(landscape, t), note), [landscape_section(landscape, t)]

    def cautions(self, landscape: Landscape, /) -> list[str]:
        losses = [loss for point in landscape.points for loss in (point.train_loss, point.validation_loss)]
        return [*([] if all(map(math.isfinite, losses)) else ["not_finite"]), "one_direction", "one_task"]

    def figure(self, landscape: Landscape, t: Translator, /) -> Picture | None:
        return landscape_picture(landscape, t)


@view(Shift)
class ShiftView(RecordView[Shift]):
    """The effect of a data shift on solutions."""

    of_loss_surface = True

    def name(self, shift: Shift, /) -> str:
        return shift.setup.task

    def answer(self, shift: Shift, t: Translator) -> Answer:
        task = shift.setup.task
        rises = [rise for rise in shift.rises if rise.shift != "resampled" and math.isfinite(rise.rise.value)]
        if not rises:
            return Answer(t("shift_none", task=task), ())
        names = {each.solution.label: name_of(each.solution, task, t) for each in shift.sharpness}

        def named(rise: ShiftRise) -> dict[str, str]:
            return {"label": names.get(rise.label, rise.label), "rise": t.estimate(rise.rise, t.about)}

        most = max(rises, key=lambda rise: rise.rise.value)
        key = "shift_headline" if most.rise.value > 0 else "shift_fall"
        headline = t(key, task=task, shift=shift_name(most.shift, most.strength, t), **named(most))
        same = [rise for rise in rises if (rise.shift, rise.strength) == (most.shift, most.strength)]
        lead = []
        if len(same) > 1:
            least = min(same, key=lambda rise: rise.rise.value)
            lead.append(t("shift_least", **named(least)))
            if least.rise.high is not None and most.rise.low is not None and least.rise.high >= most.rise.low:
                lead.append(t("shift_overlap"))
        if len(shift.sharpness) < 2 or not shift.predictions:
            return Answer(headline, (*lead, t("shift_unranked")))
        ends = [prediction.correlation for prediction in shift.predictions]
        up = sum(each.low is not None and each.low > 0 for each in ends)
        down = sum(each.high is not None and each.high < 0 for each in ends)
        return Answer(headline, tuple(lead), (t("shift_ranks", n=len(ends), up=up, down=down),))

    def parts(self, shift: Shift, t: Translator) -> Parts:
        same = leading_shift(shift)
        names = {each.solution.label: name_of(each.solution, shift.setup.task, t) for each in shift.sharpness}
        tiles = [
            Tile(
                t("tile_rise", label=names.get(rise.label, rise.label)),
                t.about(rise.rise.value),
                t("tile_with", shift=shift_name(rise.shift, rise.strength, t)),
            )
            for rise in same[:MOST_TILES]
        ]
        return tiles, chart(shift_picture(shift, t), t("hero_note_shift")), [shift_section(shift, t)]

    def cautions(self, shift: Shift, /) -> list[str]:
        keys = [*_of_solutions(shift.sharpness), *open_reasons_of(each.rise for each in shift.rises)]
        keys += open_reasons_of(each.correlation for each in shift.predictions)
        return [*keys, *(["many_intervals"] if len(shift.predictions) > 1 else []), "one_task"]

    def figure(self, shift: Shift, t: Translator, /) -> Picture | None:
        return shift_picture(shift, t)
