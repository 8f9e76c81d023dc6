"""An advice carried over to several devices: the fewest that are soon enough."""

from __future__ import annotations

from dataclasses import replace

from critbatch.law.objective import cheapest
from critbatch.measure.device_scaling import scale
from critbatch.records.core import Advice, Estimate
from critbatch.tasks.task import Task


def on_devices(task: Task, advice: Advice) -> Advice:
    """The advice for the number of devices that its objective makes best; as it is where it allows one alone.

    Seconds of a step on several devices are those of `critbatch scale` with its usual link: predicted, not measured.
    The steps are those of the law, and the learning rate is that of the nearest size that was timed.
    """
    objective = advice.objective
    if objective.devices == (1,) or not advice.answered or advice.best is None:
        return advice
    offers = scale(task, advice, devices=objective.devices, price=objective.price_per_device_hour).best
    if not offers:
        return advice
    best, met = cheapest(offers, objective.within_seconds)
    if best.devices == 1:
        return replace(advice, met=met)
    sizes = [point.batch_size for point in advice.points]
    nearest = min(advice.points, key=lambda point: abs(point.batch_size - best.batch_size))
    point = advice.points[sizes.index(best.batch_size)] if best.batch_size in sizes else nearest
    return replace(
        advice,
        best=replace(
            point,
            batch_size=best.batch_size,
            steps=best.steps or point.steps,
            step_seconds=_as_predicted(best.step_seconds),
            seconds=best.seconds or point.seconds,
        ),
        within_ten_percent=None,
        micro_batch_size=best.micro_batch_size,
        accumulation=best.passes,
        devices=best.devices,
        device_hours=best.device_hours,
        met=met,
        chance=None,
        cautions=("devices_predicted", *advice.cautions),
    )


def _as_predicted(seconds: float) -> Estimate:
    return Estimate(value=seconds, n=0, reason="predicted_only")
