"""What an advice is asked for beside the target: which batch sizes that leaves, and whether the answer keeps to it.

Every objective makes the time to target small, over the sizes that it allows. Seconds on one device and device-seconds
are the same, so on one device the cheapest is the soonest; with several devices the fewest are the cheapest, and the
question is how few are soon enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from critbatch.errors import UserError
from critbatch.predict.choice import candidate_sizes, recommended_rate
from critbatch.predict.devices import checked_devices
from critbatch.predict.knee import step_seconds_at
from critbatch.predict.law import Array
from critbatch.predict.time_to_target import Posterior
from critbatch.records.core import AccuracyCheck, Goal, Objective, Speed
from critbatch.records.scaling import ScalePoint

SURE = 0.8
"""How likely a bound must be kept for a batch size to be allowed."""

FRUGAL = 1.1
"""Times the fewest examples: where no size keeps a limit, the largest that comes as near to it as this is allowed."""

MARGIN = 0.005
"""Of a metric between 0 and 1: half a per cent, about what two seeds differ by on the tasks of the documentation."""


def checked_objective(objective: Objective) -> Objective:
    """The same, or one whose margin is the usual one where none was given.

    Raises:
        UserError: if a bound is missing, not possible, or of another goal.
    """
    goal, bounds = (
        objective.goal,
        {
            Goal.CHEAPEST: ("within_seconds", objective.within_seconds),
            Goal.EXAMPLES: ("examples_limit", objective.examples_limit),
            Goal.ACCURACY: ("margin", objective.margin),
        },
    )
    for owner, (name, value) in bounds.items():
        if value is not None and owner is not goal:
            raise UserError(f"{name}={value:g} belongs to the objective {owner}, not to {goal}: give one or the other.")
        if value is not None and not (0 < value < math.inf):
            raise UserError(f"{name}={value:g} is not possible: use a number above 0.")
    if goal is Goal.EXAMPLES and objective.examples_limit is None:
        raise UserError("The objective examples needs a limit: give the number of examples.")
    price = objective.price_per_device_hour
    if (objective.devices != (1,) or price is not None) and goal is not Goal.CHEAPEST:
        raise UserError(f"Numbers of devices and a price belong to the objective {Goal.CHEAPEST}, not to {goal}.")
    if price is not None and not price >= 0:
        raise UserError(f"A price of {price} for an hour is not possible: use 0 or more.")
    checked_devices(objective.devices)
    if goal is Goal.ACCURACY and objective.margin is None:
        return replace(objective, margin=MARGIN)
    return objective


def allowed(
    speed: Speed, objective: Objective, posterior: Posterior | None, checks: Sequence[AccuracyCheck] = ()
) -> Speed:
    """The clock, with the batch sizes that the objective allows, one at least.

    Args:
        speed: of the machine.
        objective: what is asked.
        posterior: of the law; None where nothing is known of it, and all sizes are allowed.
        checks: of accuracy, made by now: a size whose metric falls, or may fall, forbids it and all above.
    """
    sizes = candidate_sizes(speed)
    if posterior is None or not posterior.reached or not sizes:
        return speed
    largest = sizes[-1]
    if objective.examples_limit is not None:
        kept = [size for size in sizes if chance_within_examples(posterior, size, objective.examples_limit) >= SURE]
        least = [float(np.median(examples_needed(posterior, size))) for size in sizes]
        frugal = [size for size, examples in zip(sizes, least, strict=True) if examples <= FRUGAL * min(least)]
        largest = max(kept or frugal)
    elif objective.goal is Goal.ACCURACY:
        forbidden = [check.batch_size for check in checks if check.falls is not False]
        small = max((check.small_batch_size for check in checks), default=sizes[0])
        largest = max((size for size in sizes if size < min(forbidden, default=math.inf)), default=sizes[0])
        largest = max(largest, small) if forbidden else largest
    return up_to(speed, largest)


def up_to(speed: Speed, largest: int) -> Speed:
    """The clock without the batch sizes above `largest`; its time is interpolated where it was not measured."""
    points = tuple(point for point in speed.points if point.batch_size <= largest)
    if largest in {point.batch_size for point in points} or len(points) == len(speed.points):
        return replace(speed, points=points)
    after = min((point for point in speed.fitting if point.batch_size > largest), key=lambda point: point.batch_size)
    between = replace(after, batch_size=largest, step_seconds=step_seconds_at(speed, largest), quartiles=None)
    return replace(speed, points=(*points, between))


def examples_needed(posterior: Posterior, batch_size: int) -> Array:
    """Examples that one more run at the recommended rate sees on its way to the target. Shape (draws,)."""
    return np.asarray(batch_size * posterior.stated_run(batch_size, recommended_rate(posterior, batch_size)))


def chance_within_examples(posterior: Posterior, batch_size: int, limit: float) -> float:
    """How likely one more run is to come to the target within so many examples; failing counts as not."""
    return _chance(posterior, batch_size, examples_needed(posterior, batch_size) <= limit)


def chance_within_seconds(posterior: Posterior, batch_size: int, step_seconds: float, within: float) -> float:
    """How likely one more run is to come to the target within so many seconds; failing counts as not."""
    steps = examples_needed(posterior, batch_size) / batch_size
    return _chance(posterior, batch_size, steps * step_seconds <= within)


def cheapest(points: Sequence[ScalePoint], within: float | None) -> tuple[ScalePoint, bool | None]:
    """The fewest device-hours within a time, by the median; the soonest where none is within it.

    Args:
        points: numbers of devices, each at the batch size that is best for it, with a time to target.
        within: seconds; None for any.

    Returns:
        The point, and whether it is within the time; None where no time was given.
    """
    soon = [point for point in points if within is None or _seconds(point) <= within]
    if soon:
        best = min(soon, key=lambda point: (point.device_hours or 0.0, _seconds(point)))
        return best, None if within is None else True
    return min(points, key=_seconds), False


def _seconds(point: ScalePoint) -> float:
    return point.seconds.value if point.seconds is not None else math.inf


def _chance(posterior: Posterior, batch_size: int, kept: np.ndarray) -> float:
    fails = posterior.failure(batch_size, recommended_rate(posterior, batch_size))
    return float(((1 - fails) * kept).mean())
