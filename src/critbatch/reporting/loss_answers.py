"""The answers of the records around the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from critbatch.records.loss_surface import (
    CriticalPoint,
    Curvature,
    Escape,
    EscapeCount,
    Landscape,
    Matrix,
    Sharpness,
    Shift,
    ShiftRise,
    SolutionSharpness,
    Standing,
)
from critbatch.reporting.blocks import Answer
from critbatch.reporting.figures.noise import has_signal
from critbatch.reporting.readings_of_loss import measure_name, shift_name
from critbatch.reporting.subjects import LossRecord, name_of
from critbatch.reporting.voice import Voice

# More solutions than these are told in the table alone.
MOST_NAMED = 8


def loss_answer(record: LossRecord, voice: Voice) -> Answer:
    return ANSWERS[type(record)](record, voice)


def _curvature(curvature: Curvature, voice: Voice) -> Answer:
    task = curvature.setup.task
    at = {"task": task, "label": name_of(curvature.solution, task, voice)}
    point = voice(
        "curvature_point",
        loss=voice.score(curvature.loss),
        norm=voice.about(curvature.gradient_norm),
        examples=voice.count(curvature.setup.examples),
    )
    if not curvature.largest:
        return Answer(voice("curvature_none", **at), (point,))
    largest = curvature.largest[0]
    lead = []
    if curvature.matrix is Matrix.GAUSS_NEWTON:
        lead.append(voice("curvature_gauss_newton"))
    elif curvature.smallest:
        smallest = curvature.smallest[0]
        told = voice.eigenvalue(smallest)
        up, down = smallest.value > smallest.residual, -smallest.value > smallest.residual
        lead.append(voice("curvature_down" if down else "curvature_up" if up else "curvature_open", smallest=told))
    more = [point]
    if curvature.trace is not None:
        trace = voice.estimate(curvature.trace, voice.score)
        more.append(voice("curvature_trace", parameters=voice.count(curvature.setup.parameters), trace=trace))
    if largest.value > largest.residual:
        more.append(voice("curvature_rate", rate=voice.rate(2 / largest.value)))
    headline = voice("curvature_headline", largest=voice.eigenvalue(largest), **at)
    return Answer(headline, tuple(lead), tuple(more))


def ranked(solutions: Sequence[SolutionSharpness]) -> list[tuple[float, SolutionSharpness]]:
    """The solutions that have a sharpness, the sharpest first, by the first box."""
    told = [(each.values[0].value.value, each) for each in solutions if each.values]
    return sorted((pair for pair in told if not math.isnan(pair[0])), key=lambda pair: -pair[0])


def _sharpness(sharpness: Sharpness, voice: Voice) -> Answer:
    task, order = sharpness.setup.task, ranked(sharpness.solutions)
    if not order:
        return Answer(voice("sharpness_none", task=task), ())

    def named(solution: SolutionSharpness) -> dict[str, str]:
        value = solution.values[0].value
        return {"label": name_of(solution.solution, task, voice), "value": voice.estimate(value, voice.about)}

    sharpest = order[0][1]
    measure = voice(
        "sharpness_measure", measure=measure_name(sharpest.values[0].box, sharpest.values[0].epsilon, voice)
    )
    metric = voice.metric(sharpness.metric_name)
    scores = tuple(
        voice(
            "sharpness_scores",
            label=name_of(each.solution, task, voice),
            metric=metric,
            validation=voice.score(each.validation_metric),
            train=voice.score(each.metric),
        )
        for each in sharpness.solutions[:MOST_NAMED]
    )
    if len(order) == 1:
        return Answer(voice("sharpness_one", task=task, **named(sharpest)), (measure,), scores)
    headline = voice("sharpness_headline", task=task, n=len(order), **named(sharpest))
    lead = (voice("sharpness_flattest", **named(order[-1][1])), measure)
    measures = _measures(sharpness.solutions)
    other = sum(max(values, key=lambda pair: pair[0])[1] != sharpest.solution.label for values in measures)
    key = "sharpness_disagree" if other else "sharpness_agree"
    return Answer(headline, lead, (voice(key, n=len(measures), other=other), *scores))


def _measures(solutions: Sequence[SolutionSharpness]) -> list[list[tuple[float, str]]]:
    """Each measure that all the solutions have, with its value at each label."""
    readings: list[Callable[[SolutionSharpness], float]] = [
        lambda each, i=i: each.values[i].value.value  # type: ignore[misc]
        for i in range(min(len(each.values) for each in solutions))
    ]
    if all(each.largest is not None for each in solutions):
        readings.append(lambda each: each.largest.value if each.largest is not None else math.nan)
    if all(each.trace is not None for each in solutions):
        readings.append(lambda each: each.trace.value if each.trace is not None else math.nan)
    found = [[(reading(each), each.solution.label) for each in solutions] for reading in readings]
    return [values for values in found if not any(math.isnan(value) for value, _ in values)]


def _landscape(landscape: Landscape, voice: Voice) -> Answer:
    task = landscape.setup.task
    told = [point for point in landscape.points if math.isfinite(point.train_loss)]
    if not told:
        return Answer(voice("landscape_none", task=task), ())
    names = [name_of(solution, task, voice) for solution in landscape.solutions]
    low, high = min(p.train_loss for p in told), max(p.train_loss for p in told)
    span = {"low": voice.score(low), "high": voice.score(high)}
    if landscape.kind != "line":
        headline = voice("landscape_plane", task=task, label=names[0], **span)
        middle = next((p for p in told if p.alpha == p.beta == 0), None)
        if middle is None:
            return Answer(headline, ())
        lowest = min(told, key=lambda point: point.train_loss)
        place = {"alpha": voice.about(lowest.alpha), "beta": voice.about(lowest.beta), "loss": voice.score(low)}
        lower = lowest.train_loss < middle.train_loss
        return Answer(headline, (voice("landscape_lower", **place) if lower else voice("landscape_lowest"),))
    ends = [next((p.train_loss for p in told if p.alpha == alpha), None) for alpha in (0.0, 1.0)]
    seen = [p for p in landscape.points if math.isfinite(p.validation_loss)]
    best = min(seen, key=lambda point: point.validation_loss, default=None)
    lead = []
    if best is not None:
        at_best = {"alpha": voice.about(best.alpha), "loss": voice.score(best.validation_loss)}
        lead.append(voice("landscape_best", **at_best))
    at: dict[str, Any] = {"task": task, "first": names[0], "second": names[-1]}
    if ends[0] is None or ends[1] is None:
        return Answer(voice("landscape_partial", **at, **span), tuple(lead))
    lead.insert(0, voice("landscape_ends", low=voice.score(ends[0]), high=voice.score(ends[1])))
    between = [p.train_loss for p in landscape.points if 0 < p.alpha < 1]
    highest = max((math.inf if math.isnan(loss) else loss for loss in between), default=-math.inf)
    if highest > max(ends[0], ends[1]):
        return Answer(voice("landscape_barrier", highest=voice.score(highest), **at), tuple(lead))
    return Answer(voice("landscape_no_barrier", **at), tuple(lead))


def _shift(shift: Shift, voice: Voice) -> Answer:
    task = shift.setup.task
    told = [rise for rise in shift.rises if rise.shift != "resampled" and math.isfinite(rise.rise.value)]
    if not told:
        return Answer(voice("shift_none", task=task), ())
    names = {each.solution.label: name_of(each.solution, task, voice) for each in shift.sharpness}

    def named(rise: ShiftRise) -> dict[str, str]:
        return {"label": names.get(rise.label, rise.label), "rise": voice.estimate(rise.rise, voice.about)}

    most = max(told, key=lambda rise: rise.rise.value)
    key = "shift_headline" if most.rise.value > 0 else "shift_fall"
    headline = voice(key, task=task, shift=shift_name(most.shift, most.strength, voice), **named(most))
    same = [rise for rise in told if (rise.shift, rise.strength) == (most.shift, most.strength)]
    lead = []
    if len(same) > 1:
        least = min(same, key=lambda rise: rise.rise.value)
        lead.append(voice("shift_least", **named(least)))
        if least.rise.high is not None and most.rise.low is not None and least.rise.high >= most.rise.low:
            lead.append(voice("shift_overlap"))
    if len(shift.sharpness) < 2 or not shift.predictions:
        return Answer(headline, (*lead, voice("shift_unranked")))
    ends = [prediction.correlation for prediction in shift.predictions]
    up = sum(each.low is not None and each.low > 0 for each in ends)
    down = sum(each.high is not None and each.high < 0 for each in ends)
    return Answer(headline, tuple(lead), (voice("shift_ranks", n=len(ends), up=up, down=down),))


def _critical_point(point: CriticalPoint, voice: Voice) -> Answer:
    headline = voice(f"critical_{point.standing}", task=point.setup.task)
    lead = [voice.reason(point.reason)] if point.reason else []
    ends = {"smallest": voice.eigenvalue(point.smallest), "largest": voice.eigenvalue(point.largest)}
    lead.append(voice("critical_eigenvalues", **ends))
    lead.append(
        voice(
            "critical_gradient",
            norm=voice.about(point.gradient_norm),
            drop=voice.about(point.expected_drop),
            loss=voice.score(point.loss),
        )
    )
    more = [
        voice(
            "critical_batches",
            n=each.n,
            batch_size=voice.count(each.batch_size),
            share=voice.percent(each.descending),
        )
        for each in point.batches
    ]
    if has_signal(point.noise):
        more.append(voice("critical_noise", noise=voice.noise(point.noise)))
    else:
        more.append(voice("critical_no_signal", pairs=point.noise.pairs))
    return Answer(
        headline, tuple(lead), (*more, *(voice("critical_try", hint=voice.reason(key)) for key in point.tries))
    )


def _escape(escape: Escape, voice: Voice) -> Answer:
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    if not counts or not escape.starts:
        return Answer(voice("escape_none", task=escape.task), ())
    shares = [
        voice(
            "escape_share",
            batch_size=voice.count(count.batch_size),
            share=voice.estimate(count.share, voice.percent),
        )
        for count in counts
    ]
    standings = (voice("comma")).join(
        voice("standing_count", standing=voice(f"standing_{name}"), n=number)
        for name, number in escape.standings.items()
        if name in set(Standing)
    )
    more = [
        voice("escape_started", n=escape.starts, standings=standings),
        voice("escape_equal_steps", steps=voice.count(escape.steps), rate=voice.rate(escape.learning_rate)),
    ]
    if len(counts) == 1:
        size = voice.count(counts[0].batch_size)
        return Answer(voice("escape_single", task=escape.task, batch_size=size), tuple(shares), tuple(more))
    whole = counts[-1]
    above = [count for count in counts[:-1] if _apart(count, whole)]
    below = [count for count in counts[:-1] if _apart(whole, count)]
    key = "escape_mixed" if above and below else "escape_more" if above else "escape_less" if below else "escape_open"
    sizes = voice("comma").join(voice.count(count.batch_size) for count in above or below)
    headline = voice(key, task=escape.task, sizes=sizes, whole=voice.count(whole.batch_size))
    return Answer(headline, tuple(shares[:1] + shares[-1:]), (*shares[1:-1], *more))


def _apart(higher: EscapeCount, lower: EscapeCount) -> bool:
    return higher.share.low is not None and lower.share.high is not None and higher.share.low > lower.share.high


ANSWERS: dict[type, Callable[[Any, Voice], Answer]] = {
    Curvature: _curvature,
    Sharpness: _sharpness,
    Landscape: _landscape,
    Shift: _shift,
    CriticalPoint: _critical_point,
    Escape: _escape,
}
