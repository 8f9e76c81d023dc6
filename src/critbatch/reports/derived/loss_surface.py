"""What a chapter of the report can be of, and what the records around the loss are called in it."""

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

# What pictures and sentences read off records of the loss: names of measures and shifts, orders, verdicts.

SHIFTS = ("resampled", "validation", "noise", "moved")


def measures(solutions: Sequence[SolutionSharpness]) -> list[tuple[Box, float]]:
    """Every box and epsilon, in their order."""
    return list(dict.fromkeys((value.box, value.epsilon) for solution in solutions for value in solution.values))


def measure_name(box: Box, epsilon: float, t: Translator) -> str:
    return t(f"measure_{box}", epsilon=t.rate(epsilon))


def name_of_measure(measure: str, t: Translator) -> str:
    """The name of what a prediction says it ranks by, such as "full 0.001" or "trace"."""
    name, _, epsilon = measure.partition(" ")
    if name in ("largest", "trace"):
        return t(f"measure_{name}")
    try:
        return measure_name(Box(name), float(epsilon), t)
    except ValueError:
        return measure


def shifts(shift: Shift) -> list[tuple[str, float]]:
    """Every shift with its strength, in their order."""
    return list(dict.fromkeys((rise.shift, rise.strength) for rise in shift.rises))


def shift_name(name: str, strength: float, t: Translator) -> str:
    """What stands in the place of the training set; a set of the user's own keeps its name."""
    if name in SHIFTS:
        return t(f"shift_{name}", strength=t.rate(strength), n=strength)
    return t("shift_own", name=name)


def leading_shift(shift: Shift) -> list[ShiftRise]:
    """The rises of the shift to tell of first, small ones first: validation data, or the one that raises most."""
    sound = [rise for rise in shift.rises if math.isfinite(rise.rise.value)]
    if not sound:
        return []
    own = [rise for rise in sound if rise.shift == "validation"]
    most = max(sound, key=lambda rise: rise.rise.value)
    chosen = own or [rise for rise in sound if (rise.shift, rise.strength) == (most.shift, most.strength)]
    return sorted(chosen, key=lambda rise: rise.rise.value)


def on_log_axis(landscape: Landscape) -> bool:
    """Whether losses are drawn on a log axis: where none is negative, as those of some surfaces are."""
    return all(not point.train_loss < 0 and not point.validation_loss < 0 for point in landscape.points)


def finite_points(landscape: Landscape) -> list[LandscapePoint]:
    """The points whose training loss the axis can show."""
    points = [point for point in landscape.points if math.isfinite(point.train_loss)]
    return [point for point in points if point.train_loss > 0] if on_log_axis(landscape) else points


def name_of(solution: Solution, task: str, t: Translator) -> str:
    """The solution's label; where it is only that of the task, a word for the weights that were given."""
    return t("given_weights") if solution.label == task else solution.label
