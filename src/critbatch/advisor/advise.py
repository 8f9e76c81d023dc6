"""`advise`: measure, search, check, and recommend the batch size and learning rate that reach the target soonest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from critbatch.advisor.accuracy_check import AccuracyRuns, SupportsSearch
from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.length_search import LengthSearch
from critbatch.advisor.race import Race
from critbatch.advisor.rate_search import RateSearch, SearchResult
from critbatch.advisor.result import advice_for_devices, build_advice
from critbatch.advisor.run_cache import STAGE_FULL_LENGTH, RunCache, add_costs
from critbatch.arguments import checked_call, current_options, output_folder, renamed_arguments
from critbatch.errors import UserError
from critbatch.measure.step_timer import StepTimer
from critbatch.records.core import AccuracyCheck, Advice, Goal, Objective, OptionValue, Speed, Target
from critbatch.runtime.device import as_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import RunTimer
from critbatch.studies.run_key import RunKey
from critbatch.studies.spec import make_plan
from critbatch.studies.store import Store
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import check_target_on_data
from critbatch.training.state import seconds_for_report
from critbatch.training.trainer import Training


@dataclass(frozen=True, kw_only=True)
class AdviceCampaign:
    """The runs behind an advice, once the seconds per step are known.

    Args:
        config: The question.
        context: Folder, device and deadline.
        speed: Seconds per step, measured on this machine or assumed.
    """

    config: AdviseConfig
    context: RunContext
    speed: Speed

    def run(self) -> Advice:
        """Make the runs that are worth their cost, and build the advice. Its `runs` hold all of them.

        Raises:
            UserError: if the folder cannot be used.
            KeyboardInterrupt: at Ctrl-C. The store keeps all runs.
        """
        config, context = self.config, self.context
        accuracy: tuple[AccuracyCheck, ...] = ()
        with self._store(config.constant_options) as store:
            cache = self._open_cache(store, config.constant_options)
            search = self._search(cache)
            result = search.run(self.speed)
            if not config.decays:
                result, accuracy = self._check_accuracy(cache, search, result)
            cost, targets = cache.cost(), cache.targets()
        length = None
        if config.decays and result.posterior.reached and not result.interrupted:
            with self._store(config.options) as store:
                cache = self._open_cache(store, config.options)
                planner = LengthSearch(cache, config, context)
                result, accuracy = self._check_accuracy(cache, planner, planner.run(result))
                cost = add_costs(cost, cache.cost())
                length = planner.length_of(result, accuracy)
        if result.interrupted and (context.deadline is None or time.monotonic() < context.deadline):
            raise KeyboardInterrupt
        targets = tuple(dict.fromkeys((*targets, config.target)))
        return build_advice(
            result, config, context, accuracy=accuracy, planned_epochs=length, cost=cost, targets=targets
        )

    def _store(self, options: Mapping[str, OptionValue]) -> Store:
        return Store.open(self.context.folder, self.config.study_key(options), alone=True)

    def _open_cache(self, store: Store, options: Mapping[str, OptionValue]) -> RunCache:
        return RunCache(
            store, partial(self._start_training, options), target=self.config.target, folder=self.context.folder
        )

    def _search(self, cache: RunCache) -> RateSearch:
        progress, deadline = self.context.progress, self.context.deadline
        progress.update(deadline=deadline)
        race = Race(cache, pause_at=deadline, report_progress=lambda key: progress.update(trying=str(key), part=0.0))
        return RateSearch(cache, race, self.config, self.context)

    def _check_accuracy(
        self, cache: RunCache, search: SupportsSearch, result: SearchResult
    ) -> tuple[SearchResult, tuple[AccuracyCheck, ...]]:
        """Check the final validation metric, if the objective asks for it; this may lower the recommended size."""
        if self.config.objective.goal is not Goal.ACCURACY:
            return result, ()
        return AccuracyRuns(cache, search, self.config, self.context).run(result)

    def _start_training(
        self, options: Mapping[str, OptionValue], key: RunKey, checkpoint: Path, noise_every: int
    ) -> Training:
        """Start a run, or resume it from its checkpoint."""
        config, full_length = self.config, key.stage == STAGE_FULL_LENGTH
        plan = make_plan(
            config.recipe,
            batch_size=key.batch_size,
            learning_rate=key.learning_rate,
            epochs=float(str(dict(key.options).get("epochs", config.epochs))),
            options=options,
        )
        return Training(
            config.task,
            plan,
            seed=key.seed,
            device=self.context.device,
            target=None if full_length else config.target,
            evaluation=config.evaluation,
            noise_every=noise_every,
            checkpoint=checkpoint,
            compile=False,
            progress=self.context.progress.watch,
            max_seconds=None if full_length else config.max_run_time,
        )


BUDGET = 600.0


@renamed_arguments(current="current_batch_size")
@checked_call
def advise(
    task: Task | str,
    *,
    recipe: str | None = None,
    target: Target | None = None,
    objective: Objective | None = None,
    current_batch_size: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    budget: float = BUDGET,
    max_run_time: float | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Advice:
    """Recommend the batch size and learning rate for your target.

    It measures seconds per step at every batch size. At one small batch size it compares learning rates until one
    reaches the target, and measures the gradient noise scale on the way. A law of steps to target is fitted to all
    runs. Steps times measured seconds gives the best batch size. Runs at three learning rates correct the answer
    there, and again if the best size has moved. Runs with other seeds check it. `benchmarks/advisor.py` measures how
    good such advice is; `critbatch.records.Law` states the law.

    If other work on the machine disturbs the timing, sizes are timed again. If times still vary, the answer says so in
    its first sentences and its intervals are wider. If they vary by a factor of 4 or more, no batch size is
    recommended. The runs are kept, and the same call on a quiet machine measures the times again.

    All runs are kept in the folder. The same call again continues where the last one stopped. A call with another
    target uses all runs, and continues those that an easier target ended. On another machine the steps are reused and
    the times are measured again.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        recipe: Recipe; `critbatch recipes` lists them. Default: the task's own.
        target: Validation metric or validation loss to reach. Default: the task's own.
        objective: What to optimize, and the limits to keep: `critbatch.Objective`. Default: the time to target.
        current_batch_size: Batch size that you use today, to compare with. Default: no comparison.
        options: Option of the recipe, for all runs. `critbatch recipes NAME` lists them; options of
            plans, such as `ghost_batch`, work too. Where the learning rate decays, the length of a run is searched
            as well. Default: the recipe's own values.
        out: Folder for runs, records and report. Default: critbatch-out/TASK.
        seed: Seed of weights and example order of the first runs. The checks use other seeds.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        budget: Wall-clock limit in seconds. When it ends, the answer uses what is known by then, and says so.
        max_run_time: Limit of one run, in seconds of training. A run that has not reached the target by then ends, and
            counts as one that needs more steps. Default: no limit.
        progress: Where progress is shown.
        command: Command that the user gave, kept in the record.

    Returns:
        The answer, or with `answered=False` the reason why there is none.

    Raises:
        UserError: if an argument is not possible, no model can reach the target, the law does not cover the recipe, or
            the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C. What was learned stays in the folder.
    """
    task, timer, progress = as_task(task), RunTimer(), progress or Display()
    out, device = output_folder(out, task.name), as_device(device)
    if not budget > 0:
        raise UserError(f"budget={budget} allows nothing: use a number of seconds above 0.")
    if max_run_time is not None and not max_run_time > 0:
        raise UserError(f"max_run_time={max_run_time} allows nothing: use a number of seconds above 0.")
    size = current_batch_size
    if size is not None and not 1 <= size <= task.examples:
        raise UserError(f"current_batch_size={size} is not possible: use a batch size from 1 to {task.examples}.")
    config = AdviseConfig(
        task=task,
        recipe=recipe or task.recipe,
        target=target or task.target,
        objective=objective or Objective(),
        options=current_options(options or {}, notice=True),
        current_batch_size=size,
        seed=seed,
        max_run_time=max_run_time,
    )
    check_target_on_data(config.task, config.target, evaluation=config.evaluation, device=device, seed=seed)
    deadline = timer.began + budget - seconds_for_report(budget)
    step_timer = StepTimer(
        config.task,
        recipe=config.recipe,
        micro_batch_size=config.plan.micro_batch_size,
        device=device,
        seed=seed,
        folder=out,
        budget=budget,
        deadline=deadline,
        show=progress,
        command=command,
    )
    context = RunContext(
        folder=out,
        device=device,
        deadline=deadline,
        time_again=step_timer.take_again,
        compare=step_timer.compare,
        progress=progress,
        command=command,
        timer=timer,
    )
    campaign = AdviceCampaign(config=config, context=context, speed=step_timer.take())
    return advice_for_devices(config.task, campaign.run())
