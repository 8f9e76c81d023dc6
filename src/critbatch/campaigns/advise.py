"""The main job: measure, race, predict, check, and say which batch size and learning rate reach the target soonest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from critbatch.arguments import checked_call, output_folder
from critbatch.campaigns.advice_campaign import EPOCHS, EVALUATION, AdviceCampaign
from critbatch.campaigns.many_devices import on_devices
from critbatch.campaigns.schedule import checked_plan
from critbatch.errors import UserError
from critbatch.law.objective import checked_objective
from critbatch.measure.step_timer import Clock
from critbatch.records.core import Advice, Objective, Setting, Target
from critbatch.runtime.device import as_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import Stopwatch
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import check_target_on_data
from critbatch.training.state import seconds_to_tell

BUDGET = 600.0


@checked_call
def advise(
    task: Task | str,
    *,
    out: str | Path | None = None,
    recipe: str | None = None,
    options: Mapping[str, Setting] | None = None,
    target: Target | None = None,
    objective: Objective | None = None,
    current: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
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

    Where other work on the machine disturbs the clock, sizes are timed again. If they still swing, the answer says so
    in its first sentences and its intervals are wider; from a factor of 4 on no batch size is recommended. The runs are
    kept, and the same call on a quiet machine takes the clock anew.

    Everything it ran is in the folder. The same call again goes on where the last one ended, with what it has of its
    budget; one with another target uses all the runs, and goes on with those that an easier target ended; on another
    machine the steps are those that are known, and the clock is taken anew.

    Args:
        task: what is trained, a Task or its name; its `target` is what "soonest" means.
        out: the folder of the runs; `critbatch-out/TASK` unless given.
        recipe: its name; None for the task's own.
        options: of the recipe (`critbatch.recipes.options_of`) or of plans, such as `decay="cosine"`: the answer is for
            them. Where the rate decays over a run, the length of a run is looked for, too.
        target: another one than the task's.
        objective: what is asked beside the target: `critbatch.records.Objective`.
        current: the batch size in use today, to compare with.
        seed: of the first runs; the checks take others.
        device: the accelerator where there is one, unless given.
        budget: seconds of wall clock. When it ends, the answer is from what is known by then, and says so.
        progress: where to show how far it is.
        command: as the user gave it, for the record.

    Returns:
        The answer, or with `answered=False` why there is none.

    Raises:
        UserError: if the settings are not possible, no model can reach the target, the law says nothing of the recipe,
            or the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C; what was learned is in the store.
    """
    task, watch, show = as_task(task), Stopwatch(), progress or Display()
    out, device = output_folder(out, task.name), as_device(device)
    name, given = recipe or task.recipe, dict(options or {})
    budget = BUDGET if budget is None else budget
    if not budget > 0:
        raise UserError(f"budget={budget} allows nothing: use a number of seconds above 0.")
    if current is not None and not 1 <= current <= task.examples:
        raise UserError(f"current={current} is not possible: use a batch size from 1 to {task.examples}.")
    asked = checked_objective(objective or Objective())
    plan = checked_plan(name, given, examples=task.examples, epochs=EPOCHS)
    check_target_on_data(task, target or task.target, evaluation=EVALUATION, device=device, seed=seed)
    deadline = watch.began + budget - seconds_to_tell(budget)
    clock = Clock(
        task,
        recipe=name,
        micro_batch_size=plan.micro_batch_size,
        device=device,
        seed=seed,
        folder=out,
        budget=budget,
        deadline=deadline,
        show=show,
        command=command,
    )
    campaign = AdviceCampaign(
        task=task,
        speed=clock.take(),
        folder=out,
        recipe=name,
        target=target,
        current=current,
        seed=seed,
        options=given,
        objective=asked,
        device=device,
        deadline=deadline,
        time_again=clock.take_again,
        compare=clock.compare,
        show=show,
        command=command,
        watch=watch,
    )
    return on_devices(task, campaign.run())
