"""A study: every batch size with every learning rate and every seed, one run after the other, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from critbatch.campaigns.forecast import best_of, forecast
from critbatch.campaigns.question import keys_of, pose
from critbatch.campaigns.store import Store
from critbatch.campaigns.terms import Key, Terms, lowest_validation_loss
from critbatch.device import pick_device
from critbatch.errors import UserError
from critbatch.evaluation import Evaluation
from critbatch.interruption import Interruption
from critbatch.progress import Display, duration
from critbatch.provenance import Stopwatch
from critbatch.recipes import find_recipe
from critbatch.records import Outcome, Run, Target
from critbatch.study_records import Question, Study
from critbatch.task import Task
from critbatch.training import Training


def sweep(
    task: Task,
    *,
    out: Path,
    batch_sizes: Sequence[int] | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: str | None = None,
    epochs: float = 20.0,
    target: Target | Literal["task"] | None = "task",
    storage: str | None = None,
    device: torch.device | None = None,
    budget: float | None = None,
    evaluation: Evaluation | None = None,
    compiled: bool | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Study:
    """Train at every batch size with every learning rate and every seed.

    The same call again goes on where the last one ended, however that was: by itself, by Ctrl-C, by the end of its
    budget or of the machine. A call that asks for more makes what is missing.

    Args:
        task: what is trained.
        out: the study's folder: its runs lie there, and the checkpoint of one that was broken off.
        batch_sizes: None for steps of a factor 4, from 4 (from 16, above 10,000 examples) to the whole data set.
        learning_rates: None for the recipe's ladder (`critbatch.campaigns.question.LADDERS`).
        seeds: of the weights and of the order of the examples.
        recipe: its name; None for the task's own.
        epochs: how long a run is that does not reach its target.
        target: a run ends there. "task" for the task's own, None for runs that all go to their last epoch.
        storage: the URL of another database than the SQLite file in `out`.
        device: the accelerator where there is one, unless given.
        budget: seconds of wall clock for this call; the runs that it leaves are counted in `Study.left`.
        evaluation: when a run is evaluated, and on what.
        compiled: as that of `Training`. None decides by the clock, so that runs are equal to rounding, not to the bit.
        progress: where to show how far it is.
        command: as the user gave it, for the record.

    Returns:
        The runs that there are by now, those of earlier calls too. `left` says how many are missing.

    Raises:
        UserError: if the question cannot be asked of this task, or the folder cannot be used.
    """
    if budget is not None and budget <= 0:
        raise UserError(f"A budget of {budget} seconds allows nothing: use a number above 0.")
    watch = Stopwatch()
    device, evaluation, show = device or pick_device(), evaluation or Evaluation(), progress or Display()
    deadline = None if budget is None else watch.began + budget
    question = pose(
        task,
        batch_sizes=batch_sizes,
        learning_rates=learning_rates,
        seeds=seeds,
        recipe=recipe or task.recipe,
        epochs=epochs,
        target=task.target if target == "task" else target,
    )
    keys = keys_of(question)
    assert question.epochs is not None
    most_examples = int(question.epochs * task.examples)

    def make(key: Key, checkpoint: Path) -> Run:
        plan = find_recipe(question.recipe)(
            batch_size=key.batch_size, learning_rate=key.learning_rate, epochs=question.epochs
        )
        training = Training(
            task,
            plan,
            seed=key.seed,
            device=device,
            target=question.target,
            evaluation=evaluation,
            checkpoint=checkpoint,
            compiled=compiled,
            progress=show.watch,
        )
        training.advance(pause_at=deadline)
        return training.record()

    show.update(stage=f"sweep of {task.name}", total=len(keys), deadline=deadline)
    with Store.open(out, terms_of(question, evaluation, device), url=storage) as store, Interruption(deadline) as stop:
        made = {key: run for key in keys if (run := store.find(key)) is not None}
        missing = [key for key in keys if key not in made]
        while missing and not stop.asked:
            _tell(show, list(made.values()), missing, examples=most_examples)
            run = store.run(missing[0], partial(make, missing[0]))
            if run.outcome is Outcome.INTERRUPTED:
                break
            made[missing.pop(0)] = run
    show.update(trying="", part=None, done=len(made))
    return Study(
        question=question,
        unit=task.unit,
        examples=task.examples,
        runs=tuple(made[key] for key in keys if key in made),
        left=len(missing),
        provenance=watch.provenance(command=command, seed=question.seeds[0], device=device),
    )


def terms_of(question: Question, evaluation: Evaluation, device: torch.device) -> Terms:
    """What the runs of this question share. Those of another kind of device have other seconds: they are kept apart."""
    return Terms(
        task=question.task,
        fingerprint=question.fingerprint,
        recipe=question.recipe,
        target=question.target,
        epochs=question.epochs or 0.0,
        settings={**asdict(evaluation), "device": device.type},
    )


def _tell(show: Display, runs: Sequence[Run], missing: Sequence[Key], *, examples: int) -> None:
    best = best_of(runs)
    show.update(
        trying=str(missing[0]),
        part=0.0,
        done=len(runs),
        best=describe(best) if best is not None else "",
        left=forecast(runs, [key.batch_size for key in missing], examples=examples),
    )


def describe(run: Run) -> str:
    """A run and how good it was, in words."""
    if run.crossing is not None:
        result = f"at the target after {duration(run.crossing.seconds)} of training, {run.crossing.step:.0f} steps"
    else:
        result = f"validation loss {lowest_validation_loss(run):.4g}"
    return f"batch size {run.batch_size}, learning rate {run.learning_rate:g}: {result}"
