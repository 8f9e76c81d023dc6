"""Names and orders of measures, shifts and solutions in the records of the loss surface."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.loss_surface import (
    Box,
    Landscape,
    LandscapePoint,
    Shift,
    ShiftRise,
    Solution,
    SolutionSharpness,
)
from critbatch.reports.translator import Translator

SHIFTS = ("resampled", "validation", "noise", "moved")


def measures(solutions: Sequence[SolutionSharpness]) -> list[tuple[Box, float]]:
    """Every pair of box and epsilon, in order."""
    return list(dict.fromkeys((value.box, value.epsilon) for solution in solutions for value in solution.values))


def measure_name(box: Box, epsilon: float, t: Translator) -> str:
    return t(f"measure_{box}", epsilon=t.rate(epsilon))


def name_of_measure(measure: str, t: Translator) -> str:
    """The name of a measure of a prediction, such as "full 0.001" or "trace"."""
    name, _, epsilon = measure.partition(" ")
    if name in ("largest", "trace"):
        return t(f"measure_{name}")
    try:
        return measure_name(Box(name), float(epsilon), t)
    except ValueError:
        return measure


def shifts(shift: Shift) -> list[tuple[str, float]]:
    """Every shift with its strength, in order."""
    return list(dict.fromkeys((rise.shift, rise.strength) for rise in shift.rises))


def shift_name(name: str, strength: float, t: Translator) -> str:
    """The name of the shifted data; a data set of the user keeps its own name."""
    if name in SHIFTS:
        return t(f"shift_{name}", strength=t.rate(strength), n=strength)
    return t("shift_own", name=name)


def leading_shift(shift: Shift) -> list[ShiftRise]:
    """The rises of the main shift, in ascending order: validation data, or else the shift with the largest rise."""
    sound = [rise for rise in shift.rises if math.isfinite(rise.rise.value)]
    if not sound:
        return []
    own = [rise for rise in sound if rise.shift == "validation"]
    most = max(sound, key=lambda rise: rise.rise.value)
    chosen = own or [rise for rise in sound if (rise.shift, rise.strength) == (most.shift, most.strength)]
    return sorted(chosen, key=lambda rise: rise.rise.value)


def on_log_axis(landscape: Landscape) -> bool:
    """Whether losses are drawn on a logarithmic axis: only if none is negative."""
    return all(not point.train_loss < 0 and not point.validation_loss < 0 for point in landscape.points)


def finite_points(landscape: Landscape) -> list[LandscapePoint]:
    """The points with a training loss that the axis can show."""
    points = [point for point in landscape.points if math.isfinite(point.train_loss)]
    return [point for point in points if point.train_loss > 0] if on_log_axis(landscape) else points


def name_of(solution: Solution, task: str, t: Translator) -> str:
    """The label of the solution, or a word for the given weights if the label is only the task."""
    return t("given_weights") if solution.label == task else solution.label
