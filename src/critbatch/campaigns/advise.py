"""The main job: measure, race, predict, check, and say which batch size and learning rate reach the target soonest."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import torch

from critbatch.campaigns.clock import Clock
from critbatch.campaigns.race import Race
from critbatch.campaigns.store import Store
from critbatch.campaigns.terms import Key, Terms
from critbatch.device import pick_device
from critbatch.errors import UserError
from critbatch.evaluation import Evaluation
from critbatch.examples import count
from critbatch.predict.choice import best_size, recommended_rate
from critbatch.predict.recommend import advise_record, first_rates, first_size, next_races
from critbatch.predict.time_to_target import fit
from critbatch.progress import Display
from critbatch.provenance import Stopwatch
from critbatch.recipes import find_recipe
from critbatch.records import Advice, Run
from critbatch.task import Task
from critbatch.training import Training

BUDGET = 600.0
EPOCHS = 200.0
NOISE_EVERY = 4
# A sample as large as this moves an accuracy of 0.97 by 0.4 % (one standard error), the same way at every batch size.
EVALUATION = Evaluation(growth=1.1, validation_examples=2000, train_examples=1000)
CHECKS = (1, 2)  # added to the seed


def advise(
    task: Task,
    *,
    out: Path,
    recipe: str | None = None,
    current: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    budget: float | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Advice:
    """Which batch size, with which learning rate, reaches the task's target soonest on this machine?

    Seconds per step are measured at every batch size. A race over learning rates at one small size finds a rate that
    reaches the target, and the noise scale along the way. A law of steps to target, fitted to all the runs, times the
    measured seconds gives the best size; a race over three rates there corrects it, and another one if the answer has
    moved. Runs with other seeds at the recommendation check it. How well such advice does is measured in
    `benchmarks/advisor.py`; the law is in `critbatch.records.Law`.

    The same call again goes on where the last one ended: all its runs are in the store.

    Args:
        task: what is trained; its `target` is what "soonest" means.
        out: the folder of the runs.
        recipe: its name; None for the task's own.
        current: the batch size in use today, to compare with.
        seed: of the first runs; the checks take others.
        device: the accelerator where there is one, unless given.
        budget: seconds of wall clock. When it ends, the answer is from what is known by then, and says so.
        progress: where to show how far it is.
        command: as the user gave it, for the record.

    Returns:
        The answer, or with `answered=False` why there is none.

    Raises:
        UserError: if the settings are not possible, or the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C; what was learned is in the store.
    """
    watch, show = Stopwatch(), progress or Display()
    device = device or pick_device()
    name = recipe or task.recipe
    make = find_recipe(name)
    budget = BUDGET if budget is None else budget
    if budget <= 0:
        raise UserError(f"budget={budget} allows nothing: use a number of seconds above 0.")
    if current is not None and not 1 <= current <= task.examples:
        raise UserError(f"current={current} is not possible: use a batch size from 1 to {task.examples}.")
    deadline = watch.began + budget
    clock = Clock(task, recipe=name, device=device, seed=seed, folder=out, budget=budget, show=show, command=command)
    speed = clock.take()
    terms = Terms(
        task=task.name,
        fingerprint=task.fingerprint(),
        parts=task.fingerprints(),
        recipe=name,
        target=task.target,
        epochs=EPOCHS,
        settings={**asdict(EVALUATION), "device": device.type},
    )

    def start(key: Key, checkpoint: Path, noise_every: int) -> Training:
        plan = make(batch_size=key.batch_size, learning_rate=key.learning_rate, epochs=EPOCHS)
        return Training(
            task,
            plan,
            seed=key.seed,
            device=device,
            target=task.target,
            evaluation=EVALUATION,
            noise_every=noise_every,
            checkpoint=checkpoint,
            compiled=False,
            progress=show.watch,
        )

    with Store.open(out, terms, alone=True) as store:
        race = Race(
            store,
            start,
            target=task.target,
            pause_at=deadline,
            tell=lambda key: show.update(trying=str(key), part=0.0),
        )
        show.update(stage=f"{task.name}: race over learning rates", deadline=deadline, total=None)
        runs = race.run(first_size(speed, task.examples), first_rates(name), seed=seed, noise_every=NOISE_EVERY)
        timed_near: set[int] = set()
        while not race.interrupted:
            posterior = fit(runs)
            if posterior.reached and (size := best_size(posterior, speed)) not in timed_near:
                speed = clock.take_again(speed, size)
                timed_near.add(size)
            proposal = next_races(posterior, speed, runs)
            if proposal is None:
                break
            show.update(stage=f"{task.name}: race at batch size {proposal.batch_size}")
            runs = _joined(runs, race.run_all(proposal.batch_size, proposal.learning_rates, posterior, seed=seed))
        show.update(stage=f"{task.name}: checking the answer with other seeds")
        for other in CHECKS:
            if not race.interrupted and (posterior := fit(runs)).reached:
                size = best_size(posterior, speed)
                rate = recommended_rate(posterior, size)
                runs = _joined(runs, race.run_all(size, [rate], posterior, seed=seed + other))
    if race.interrupted and time.monotonic() < deadline:
        raise KeyboardInterrupt
    cautions = ["one_machine", "generalization_not_measured"]
    if EVALUATION.validation_examples is not None and count(task.validation) > EVALUATION.validation_examples:
        cautions.append("validation_sample")
    return advise_record(
        fit(runs),
        speed,
        runs,
        target=task.target,
        recipe=name,
        current=current,
        cautions=["budget_ended", *cautions] if race.interrupted else cautions,
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _joined(runs: list[Run], more: list[Run]) -> list[Run]:
    """Both, each run once: a later race may have gone over a run of an earlier one."""
    return list({(run.batch_size, run.learning_rate, run.seed): run for run in (*runs, *more)}.values())
