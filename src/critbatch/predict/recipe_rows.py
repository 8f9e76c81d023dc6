"""What each recipe brings at a large batch, from studies with equal tuning."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.predict.effects import mean
from critbatch.records.claims import RecipeRow
from critbatch.records.core import Estimate, Outcome, Run
from critbatch.records.study import Study

ENDED = (Outcome.FINISHED, Outcome.REACHED)


def recipe_row(study: Study) -> RecipeRow | None:
    """A study of one recipe at one batch size: its best rate by steps to the target, and by what its runs end with.

    Recipes may end before their last epoch, so runs are read at their ends. None where no run came to its end.
    """
    if study.analysis is None or not study.analysis.sizes:
        return None
    size = study.analysis.sizes[-1]
    best = _best_in_the_end([run for run in study.runs if run.batch_size == size.batch_size])
    if not best:
        return None
    return RecipeRow(
        recipe=study.question.recipe,
        batch_size=size.batch_size,
        tuned=True,
        learning_rate=size.learning_rate if size.learning_rate is not None else best[0].learning_rate,
        runs=size.runs,
        seeds=size.seeds,
        reached=size.reached,
        steps=size.steps,
        epochs=size.epochs,
        seconds=size.seconds,
        train_metric=_ends(best, "train_metric"),
        validation_metric=_ends(best, "validation_metric"),
    )


def _best_in_the_end(runs: Sequence[Run]) -> list[Run]:
    """Those of the rate with the best mean validation metric in the end, of rates at which every run came there and
    that were tried with the most seeds."""
    by_rate: dict[float, list[Run]] = {}
    for run in runs:
        by_rate.setdefault(run.learning_rate, []).append(run)
    whole = [alike for alike in by_rate.values() if all(run.outcome in ENDED and run.curve for run in alike)]
    most = max(map(len, whole), default=0)
    several = [alike for alike in whole if len(alike) == most]
    return max(several, key=lambda alike: _ends(alike, "validation_metric").value, default=[])


def untuned_row(study: Study, rate: float) -> RecipeRow | None:
    """The same recipe at the same batch size, at a rate that was tuned for another one. None without such runs."""
    runs = [run for run in study.runs if run.learning_rate == rate and run.curve]
    if not runs:
        return None
    reached = [run.crossing for run in runs if run.crossing is not None]
    whole = len(reached) == len(runs)
    return RecipeRow(
        recipe=study.question.recipe,
        batch_size=runs[0].batch_size,
        tuned=False,
        learning_rate=rate,
        runs=len(runs),
        seeds=len(runs),
        reached=len(reached),
        steps=mean([crossing.step for crossing in reached]) if whole else None,
        epochs=mean([crossing.epoch for crossing in reached]) if whole else None,
        seconds=mean([crossing.seconds for crossing in reached]) if whole else None,
        train_metric=_ends(runs, "train_metric"),
        validation_metric=_ends(runs, "validation_metric"),
    )


def _ends(runs: Sequence[Run], quantity: str) -> Estimate:
    return mean([float(getattr(run.curve[-1], quantity)) for run in runs])
