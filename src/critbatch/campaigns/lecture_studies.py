"""The lecture's two studies: batch sizes at three budgets, and the ways of shuffling."""

from __future__ import annotations

from pathlib import Path

from critbatch.campaigns.lecture_jobs import Part, make_study
from critbatch.campaigns.lecture_size import STUDY_SEEDS, Sizes
from critbatch.campaigns.pool import Job
from critbatch.recipes import usual_rate
from critbatch.records.study import Study
from critbatch.tasks.sampler import Order


def study_of_sizes(
    part: Part,
    sizes: Sizes,
    *,
    recipe: str,
    seeds: tuple[int, ...],
    folder: Path,
    until: float | None,
    command: str,
) -> Job:
    """The rate tuned at each size, and the usual one of the smallest at all of them, with all seeds.

    Several processes that are given this job share it.
    """
    one = float(f"{usual_rate(recipe, sizes.study_sizes[0]):.2g}")  # a rung of the search at that size
    settings = {
        "part": part,
        "out": folder,
        "batch_sizes": sizes.study_sizes,
        "search": "widening",
        "learning_rates": [one],
        "seeds": seeds[:STUDY_SEEDS],
        "epochs": sizes.study_epochs,
        "steps": sizes.study_steps,
        "seconds": sizes.study_seconds,
        "stops_at_target": False,
        "until": until,
        "command": command,
    }
    return Job("study of batch sizes", make_study, settings)


def study_of_orders(
    part: Part,
    sizes: Sizes,
    study: Study,
    *,
    seeds: tuple[int, ...],
    folder: Path,
    until: float | None,
    command: str,
) -> Job:
    """Steps to the target with every order, at the size of the study that is nearest to the small one and its rate."""
    tuned = [size for size in (study.analysis.sizes if study.analysis is not None else ()) if size.learning_rate]
    near = min(tuned, key=lambda size: abs(size.batch_size - sizes.small), default=None)
    settings = {
        "part": part,
        "out": folder,
        "batch_sizes": [near.batch_size if near is not None else sizes.small],
        "learning_rates": [near.learning_rate] if near is not None else None,
        "seeds": seeds,
        "epochs": sizes.order_epochs,
        "varied": {"order": [str(order) for order in Order]},
        "until": until,
        "command": command,
    }
    return Job("ways of shuffling", make_study, settings)
