"""What each recipe brings at a large batch, from studies with equal tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from critbatch.claims.effects import mean
from critbatch.records.claims import RecipeRow
from critbatch.records.core import Estimate, Outcome, Run
from critbatch.records.study import Study

# What Keskar et al. 2016 found of six networks: arXiv:1609.04836, tables 2 and 3, means and deviations of five runs.
#
# Small is batch size 256, large a tenth of the training set. Accuracies are shares here and percentages there.

SMALL_BATCH_SIZE = 256
LARGE_SHARE = 0.1


@dataclass(frozen=True)
class Published:
    """A mean over five runs, and their standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """A row of table 2, and that of table 3: sharpness in the full box, for each epsilon."""

    train_small: Published
    train_large: Published
    test_small: Published
    test_large: Published
    sharpness: dict[float, tuple[Published, Published]]


def _network(accuracies: tuple[float, ...], wide: tuple[float, ...], narrow: tuple[float, ...]) -> PublishedNetwork:
    """From the tables' digits: pairs of mean and deviation, in percent in table 2."""
    pairs = zip(accuracies[::2], accuracies[1::2], strict=True)
    published = [Published(round(mean / 100, 6), round(deviation / 100, 6)) for mean, deviation in pairs]
    return PublishedNetwork(
        train_small=published[0],
        train_large=published[1],
        test_small=published[2],
        test_large=published[3],
        sharpness={
            epsilon: (Published(*row[:2]), Published(*row[2:])) for epsilon, row in ((1e-3, wide), (5e-4, narrow))
        },
    )


PUBLISHED: dict[str, PublishedNetwork] = {
    "F1": _network(
        (99.66, 0.05, 99.92, 0.01, 98.03, 0.07, 97.81, 0.07),
        (1.23, 0.83, 205.14, 69.52),
        (0.61, 0.27, 42.90, 17.14),
    ),
    "F2": _network(
        (99.99, 0.03, 98.35, 2.08, 64.02, 0.20, 59.45, 1.05),
        (1.39, 0.02, 310.64, 38.46),
        (0.90, 0.05, 93.15, 6.81),
    ),
    "C1": _network(
        (99.89, 0.02, 99.66, 0.20, 80.04, 0.12, 77.26, 0.42),
        (28.58, 3.13, 707.23, 43.04),
        (7.08, 0.88, 227.31, 23.23),
    ),
    "C2": _network(
        (99.99, 0.04, 99.99, 0.01, 89.24, 0.12, 87.26, 0.07),
        (8.68, 1.32, 925.32, 38.29),
        (2.07, 0.86, 175.31, 18.28),
    ),
    "C3": _network(
        (99.56, 0.44, 99.88, 0.30, 49.58, 0.39, 46.45, 0.43),
        (29.85, 5.98, 258.75, 8.96),
        (8.56, 0.99, 105.11, 13.22),
    ),
    "C4": _network(
        (99.10, 1.23, 99.57, 1.84, 63.08, 0.50, 57.81, 0.17),
        (12.83, 3.84, 421.84, 36.97),
        (4.07, 0.87, 109.35, 16.57),
    ),
}


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
