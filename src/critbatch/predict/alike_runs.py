"""Runs of a study in groups that differ by their seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critbatch.records.core import Run, Setting


@dataclass(frozen=True, kw_only=True)
class AlikeRuns:
    """Runs of one batch size with one learning rate and the same options.

    Args:
        options: of recipe and plan, those that are not the same for all runs of the study.
    """

    batch_size: int
    learning_rate: float
    options: dict[str, Setting]
    runs: tuple[Run, ...]


def alike_runs(runs: Sequence[Run]) -> dict[int, list[AlikeRuns]]:
    """By batch size, ascending, with the learning rates of each ascending."""
    varied = _varied_options(runs)
    groups: dict[tuple[int, float, str], list[Run]] = {}
    for run in runs:
        others = repr([run.options.get(name) for name in varied])
        groups.setdefault((run.batch_size, run.learning_rate, others), []).append(run)
    found: dict[int, list[AlikeRuns]] = {}
    for (size, rate, _), alike in sorted(groups.items()):
        options = {name: alike[0].options.get(name) for name in varied}
        group = AlikeRuns(batch_size=size, learning_rate=rate, options=options, runs=tuple(alike))
        found.setdefault(size, []).append(group)
    return found


def _varied_options(runs: Iterable[Run]) -> list[str]:
    told = [run.options for run in runs]
    names = sorted({name for options in told for name in options})
    return [name for name in names if len({repr(options.get(name)) for options in told}) > 1]
