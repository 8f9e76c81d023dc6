"""What an answer does not know, as keys of the report's table of reasons."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.predict.time_to_target import Posterior
from critbatch.records.core import Outcome, Run, Speed, SpeedPoint, TimePoint

NEAR = 1.5
"""A batch size within this factor of one that was run is not extrapolated."""

UNSTEADY = 2.0
"""Between the quartiles of a step's seconds: on a machine of one's own they differ by some per cent."""


def find_cautions(posterior: Posterior, speed: Speed, runs: Sequence[Run], best: TimePoint | None) -> list[str]:
    """Each key once, those of the answer first. `best` is None where there is no answer."""
    if best is None:
        found = [_why_none(posterior, runs)]
    else:
        found = _of_best(speed, runs, best)
        if speed.check is None and any(_unsteady(point) for point in speed.fitting):
            found.append("unsteady_times")
        if posterior.reason:
            found.append(posterior.reason)
        if len({run.seed for run in runs if run.crossing is not None}) == 1:
            found.append("one_seed")
        if posterior.noise is None:
            found.append("no_noise_measured")
    found += speed.check.signs if speed.check is not None else ()
    if len(speed.fitting) < len(speed.points) or any(run.outcome is Outcome.OUT_OF_MEMORY for run in runs):
        found.append("out_of_memory")
    return found


def _why_none(posterior: Posterior, runs: Sequence[Run]) -> str:
    if posterior.reached:
        return "clock_unusable"
    return "all_diverged" if {run.outcome for run in runs} == {Outcome.DIVERGED} else "no_run_reached_target"


def _of_best(speed: Speed, runs: Sequence[Run], best: TimePoint) -> list[str]:
    found = []
    timed = [point.batch_size for point in speed.fitting]
    if len(timed) > 1 and best.batch_size in (min(timed), max(timed)):
        found.append("best_at_edge")
    near = [run for run in runs if 1 / NEAR <= run.batch_size / best.batch_size <= NEAR]
    came = [run for run in near if run.crossing is not None]
    if not came:
        return [*found, "extrapolated"]
    fastest = min(came, key=lambda run: run.crossing.step if run.crossing else 0.0)
    rates = [run.learning_rate for run in near]
    if fastest.learning_rate in (min(rates), max(rates)):
        found.append("rate_at_edge")
    return found


def _unsteady(point: SpeedPoint) -> bool:
    """Whether a quarter of the steps took more than UNSTEADY times as long as another quarter."""
    return point.quartiles is not None and point.quartiles[1] > UNSTEADY * point.quartiles[0]
