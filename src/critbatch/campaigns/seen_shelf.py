"""The runs of a store as somebody sees them who takes no part: how far each is, and whether its maker lives."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from critbatch.campaigns.database import Database
from critbatch.campaigns.forecast import best_of_each_size, forecast
from critbatch.campaigns.lengths import lengths_of
from critbatch.campaigns.presence import SECONDS_BETWEEN_BEATS, Presence
from critbatch.campaigns.search import choose
from critbatch.campaigns.shelf import Shelf
from critbatch.campaigns.stock import Row
from critbatch.campaigns.terms import Brief, Key, Terms
from critbatch.records.core import Quantity, Run
from critbatch.records.monitor import RunAtWork, SizeSoFar, StudySoFar
from critbatch.records.study import Study
from critbatch.runtime.progress import Forecast


class Onlooker(Presence):
    """Sees which processes live, and is no presence itself: it has no name and no file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[int, float]] = {}


class SeenShelf(Shelf):
    """The runs of the same terms, and whether those who make them live."""

    def __init__(self, database: Database, study: int, terms: Terms, onlooker: Onlooker) -> None:
        super().__init__(database, study, terms)
        self._onlooker = onlooker

    def _is_being_made(self, row: Row) -> bool:
        return row.state == "RUNNING" and not self._onlooker.is_dead(row.owner, row.beat)

    def so_far(self) -> StudySoFar | None:
        """What is known by now; None where no run was begun and none is asked for."""
        study = self.told()
        if study is not None:
            self.judge = study.question.target
        stock = self.look()
        made, left, missing = stock.finished, None, [key.batch_size for key in stock.running]
        if study is not None:
            choice = choose(study.question, stock)
            made = {key: stock.finished[key] for key in choice.keys if key in stock.finished}
            missing = [key.batch_size for key in choice.keys if key not in made]
            left = len(missing) + choice.later
        elif not (made or stock.running or stock.broken):
            return None
        best = best_of_each_size(made)
        runs = {size: run for size, (key, _) in best.items() if (run := self.find(key)) is not None}
        loss = self.judge is not None and self.judge.quantity is Quantity.VALIDATION_LOSS
        curves_of = (Quantity.VALIDATION_LOSS if loss or not _have_metric(runs) else Quantity.VALIDATION_METRIC).value
        sizes = sorted({key.batch_size for key in made} | set(study.question.batch_sizes if study is not None else ()))
        rest = self._forecast(study, made, missing, workers=max(1, len(stock.running))) if missing else None
        return StudySoFar(
            where=self.where,
            task=self.terms.task,
            recipe=self.terms.recipe,
            target=self.judge,
            metric_name=next((run.metric_name for run in runs.values()), "metric"),
            question=study.question if study is not None else None,
            done=len(made),
            failed=sum(brief.failed for brief in made.values()),
            broken_off=len(stock.broken),
            left=left,
            seconds_left=None if rest is None else rest.seconds,
            at_most=rest is not None and rest.at_most,
            at_work=self._at_work(stock.running, made),
            curves_of=curves_of,
            sizes=tuple(_size_so_far(size, made, best.get(size), runs.get(size), curves_of) for size in sizes),
        )

    def _forecast(
        self, study: Study | None, made: dict[Key, Brief], missing: list[int], *, workers: int
    ) -> Forecast | None:
        if study is None:
            return None
        question = study.question
        lengths = {size: self.agreed(f"lengths {size}") for size in question.batch_sizes}
        if question.seconds is None:
            epochs = lengths_of(question, study.examples, None)
        elif all(lengths.values()):
            epochs = {size: float(json.loads(text)) for size, text in lengths.items() if text}
        else:
            return None
        return forecast(
            made, missing, examples={size: length * study.examples for size, length in epochs.items()}, workers=workers
        )

    def _at_work(self, running: set[Key], made: dict[Key, Brief]) -> tuple[RunAtWork, ...]:
        took: defaultdict[int, list[float]] = defaultdict(list)
        for key, brief in made.items():
            if not brief.failed:
                took[key.batch_size].append(brief.wall_seconds)
        rows = [row for row in self._rows.known.values() if row.key in running]
        return tuple(
            RunAtWork(
                batch_size=row.key.batch_size,
                learning_rate=row.key.learning_rate,
                seed=row.key.seed,
                options=dict(row.key.options),
                host=row.owner.rpartition(".")[0],
                at_least_seconds=row.beat * SECONDS_BETWEEN_BEATS,
                expected_seconds=fmean(seconds) if (seconds := took[row.key.batch_size]) else None,
            )
            for row in rows
        )


def _have_metric(runs: dict[int, Run]) -> bool:
    return any(math.isfinite(point.validation_metric) for run in runs.values() for point in run.curve)


def _size_so_far(
    size: int, made: dict[Key, Brief], best: tuple[Key, Brief] | None, run: Run | None, curves_of: str
) -> SizeSoFar:
    briefs = [brief for key, brief in made.items() if key.batch_size == size]
    failed = sum(brief.failed for brief in briefs)
    if best is None or run is None:
        return SizeSoFar(batch_size=size, made=len(briefs), failed=failed)
    key, brief = best
    curve = tuple(
        (point.epoch, value) for point in run.curve if math.isfinite(value := float(getattr(point, curves_of)))
    )
    values = [value for _, value in curve]
    lowest = curves_of == Quantity.VALIDATION_LOSS
    return SizeSoFar(
        batch_size=size,
        made=len(briefs),
        failed=failed,
        learning_rate=key.learning_rate,
        options=dict(key.options),
        seed=key.seed,
        outcome=brief.outcome,
        reached=not brief.missed,
        steps=brief.steps if brief.missed else brief.steps_to_target,
        seconds=brief.seconds if brief.crossing_seconds is None else brief.crossing_seconds,
        best_value=(min(values) if lowest else max(values)) if values else None,
        curve=curve,
    )
