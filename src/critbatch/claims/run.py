"""`check_claims`: measure all ten claims. Measurements that need the machine for themselves come first."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from critbatch.advisor.advise import advise
from critbatch.arguments import as_file_name, checked_call, output_folder, process_limit
from critbatch.claims.experiments import (
    EVALUATION,
    RECIPES,
    RecipeComparison,
    TaskSubset,
    escapes,
    make_noise,
    make_paths,
    study_of_orders,
    study_of_sizes,
)
from critbatch.claims.networks import Network, own_network, papers_network, refuse_unknown, sharpness_of, usual_networks
from critbatch.claims.pool import Job, Pool
from critbatch.claims.sizing import (
    LARGE_SET_SECONDS,
    SMALL_SET_SECONDS,
    Sizes,
    fastest,
    measure_step_times,
    sizes_for,
    two_sizes,
)
from critbatch.claims.summary import NOT_SELECTED, judge_claims, summary_table
from critbatch.errors import UserError
from critbatch.records.claims import ClaimId, ClaimsReport, Partition, RecipeRow
from critbatch.records.core import Advice, Provenance
from critbatch.records.io import save_record, writable
from critbatch.records.study import Study
from critbatch.runtime.device import as_device, use_threads
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import RunTimer
from critbatch.studies.liveness import FolderLock
from critbatch.studies.migration import take_over_folder
from critbatch.studies.spec import LARGE_SET
from critbatch.tasks.registry import as_task
from critbatch.tasks.sampler import Order, epoch_order
from critbatch.tasks.task import Task
from critbatch.training.evaluation import check_target_on_data
from critbatch.training.state import seconds_for_report

# The report, from the measurements.

C = ClaimId
EXAMPLES_OF_PICTURE, BATCH_OF_PICTURE, EPOCHS_OF_PICTURE = 20, 5, 3


def build_claims_report(
    task: Task,
    results: Mapping[str, Any],
    *,
    selected: set[ClaimId],
    missing: Mapping[ClaimId, str],
    recipes: Sequence[RecipeRow],
    small: int,
    large: int,
    seeds: int,
    full: bool,
    provenance: Provenance,
) -> ClaimsReport:
    """Judge the claims by the results, and build the report. Measurements for other claims are left out.

    Args:
        results: Lists of results by name. A failed measurement is a UserError.
        missing: Why nothing was measured for a claim.
    """

    def all_of(name: str) -> list[Any]:
        return [each for each in results.get(name, ()) if each is not None and not isinstance(each, UserError)]

    def last_of(name: str) -> Any:
        """The last result: where several processes share the work, it covers all of it."""
        return (all_of(name) or [None])[-1]

    study, orders = (each if each is not None and each.runs else None for each in (last_of("study"), last_of("orders")))
    noise, speeds, pairs = last_of("noise"), all_of("speeds"), all_of("pairs")
    table = summary_table(small=small, large=large, speeds=speeds, noise=noise, study=study, networks=pairs)
    parts: dict[str, Any] = {
        "partitions": partitions() if C.BATCHES in selected else (),
        "orders": orders,
        "paths": last_of("paths"),
        "speeds": tuple(speeds) if C.TIME in selected else (),
        "study": study if C.OPTIMIZATION in selected else None,
        "escapes": tuple(all_of("escapes")),
        "networks": tuple(pairs) if C.GENERALIZATION in selected else (),
        "sharpness": tuple(sharpness_of(shift) for shift in all_of("shifts")),
        "shifts": tuple(all_of("shifts")),
        "summary": table if C.SUMMARY in selected else (),
        "advice": results.get("advice"),
        "recipes": tuple(recipes),
    }
    failed = {"lecture_recipe_failed" for each in results.get("others", ()) if isinstance(each, UserError)}
    claims = judge_claims(task=task.name, small=small, missing=missing, **parts)
    return ClaimsReport(
        task=task.name,
        unit=task.unit,
        examples=task.examples,
        metric_name=task.metric_name,
        seeds=seeds,
        small_batch_size=small,
        large_batch_size=large,
        full=full,
        claims=claims,
        lines=tuple(all_of("lines")),
        noise=noise,
        left=tuple(sorted(({claim.reason for claim in claims if claim.reason} | failed) - {NOT_SELECTED})),
        provenance=provenance,
        **parts,
    )


def partitions() -> tuple[Partition, ...]:
    """How each order of examples puts twenty examples into batches of five."""
    return tuple(
        Partition(
            order=str(order),
            batch_size=BATCH_OF_PICTURE,
            epochs=tuple(
                tuple(epoch_order(EXAMPLES_OF_PICTURE, seed=0, epoch=epoch, order=order).tolist())
                for epoch in range(EPOCHS_OF_PICTURE)
            ),
        )
        for order in Order
    )


# Shares of the planned time: one measurement of step times, and the advice.
SHARE_OF_CLOCK, SHARE_OF_ADVICE = 0.06, 0.2
LEAST_OF_CLOCK = 6.0
# Time for the verdicts and the report, relative to what `seconds_for_report` keeps for a report on one record.
REPORT_TIME_FACTOR = 1.5
DRAWS = 20

STUDY_FOR = {C.OPTIMIZATION, C.SUMMARY, C.BATCHES}
PAIRS_FOR = {C.GENERALIZATION, C.MINIMA, C.SUMMARY}


class ClaimsCampaign:
    """The measurements of `check_claims`, with its arguments checked."""

    def __init__(
        self,
        *,
        reference: Task | str,
        task: Task,
        folder: Path,
        selected: tuple[ClaimId, ...],
        seeds: int,
        small: int,
        large: int,
        networks: Sequence[str] | None,
        full: bool,
        workers: int,
        device: torch.device,
        planned: float,
        budget: float | None,
        progress: Display,
        command: str,
    ) -> None:
        self.timer, self.progress, self.command = RunTimer(), progress, command
        self.task, self.part = task, TaskSubset(reference, device=str(device))
        self.key = task.fingerprint()
        self.folder, self.cache = folder, folder / "cache"
        take_over_folder(folder / "parts", self.cache)  # its name in version 0.1
        self.selected, self.device, self.workers, self.full = set(selected), device, workers, full
        self.seeds, self.small, self.large = tuple(range(seeds)), small, large
        self.named_networks = networks
        self.planned = planned
        # For verdicts and the report with its many figures. Jobs that are about to end may use half of it.
        report_seconds = 0.0 if budget is None else REPORT_TIME_FACTOR * seconds_for_report(budget)
        self.deadline = None if budget is None else self.timer.began + budget - report_seconds
        self.grace = report_seconds / 2
        self.missing: dict[ClaimId, str] = {}
        self.results: dict[str, Any] = {}

    def run(self) -> ClaimsReport:
        """Measure, judge, and build the report."""
        self.results["speeds"] = measure_step_times(
            self.task,
            small=self.small,
            large=self.large,
            device=self.device,
            folder=self.cache,
            key=self.key,
            seconds=max(LEAST_OF_CLOCK, SHARE_OF_CLOCK * self.planned),
            deadline=self.deadline,
            show=self.progress,
            command=self.command,
        )
        sizes = sizes_for(
            self.results["speeds"][0],
            small=self.small,
            large=self.large,
            seeds=len(self.seeds),
            recipes=len(RECIPES),
            seconds=self.planned,
            workers=self.workers,
        )
        if C.CHOICE in self.selected and self._has_time(C.CHOICE):
            self.results["advice"] = self._advice()
        with Pool(self.workers, threads=1, show=self.progress) as pool:
            self._run_independent(pool, sizes)
            self._run_dependent(pool, sizes)
        rows = self.contest.rows(self._last_result("baseline"), self.results.get("others", []))
        return build_claims_report(
            self.task,
            self.results,
            selected=self.selected,
            missing=self._missing(),
            recipes=rows,
            small=self.small,
            large=self.large,
            seeds=len(self.seeds),
            full=self.full,
            provenance=self.timer.provenance(command=self.command, seed=0, device=self.device),
        )

    # Measurements that need the machine for themselves.

    def _advice(self) -> Advice:
        budget = SHARE_OF_ADVICE * self.planned
        threads = torch.get_num_threads()
        clock = fastest(self.results["speeds"], self.large)
        use_threads(clock.provenance.machine.threads)
        save_record(clock, writable(self.folder / "advice"))
        advice = advise(
            self.task,
            out=self.folder / "advice",
            device=self.device,
            budget=budget if self.deadline is None else max(1.0, min(budget, self.deadline - time.monotonic())),
            progress=self.progress,
            command=self.command,
        )
        use_threads(threads)
        self.progress.update(deadline=self.deadline)
        return advice

    # Jobs that can run at the same time.

    def _run_independent(self, pool: Pool, sizes: Sizes) -> None:
        """Run the jobs that need no other result."""
        jobs: list[tuple[str, Job]] = []
        self.contest = RecipeComparison(
            part=self.part,
            plain=self.task.recipe,
            recipes=RECIPES,
            small=self.small,
            large=self.large,
            examples=self.task.examples,
            epochs=sizes.recipe_epochs,
            seeds=self.seeds,
            folder=self.folder / "recipes",
            command=self.command,
        )
        if self.selected & STUDY_FOR and self._has_time(*STUDY_FOR):
            # The study uses these step times: any that it timed now would be disturbed by the other processes.
            save_record(self.results["speeds"][0], writable(self.folder / "study"))
            whole: dict[str, Any] = {"seeds": self.seeds, "until": self.deadline, "command": self.command}
            study = study_of_sizes(self.part, sizes, recipe=self.task.recipe, folder=self.folder / "study", **whole)
            jobs += [("study", study)] * self.workers
        self.networks: list[Network] = []
        if self.selected & PAIRS_FOR and self._has_time(*PAIRS_FOR):
            self.networks = self._networks(sizes)
            jobs += [(each.name, job) for each in self.networks for job in each.runs(self.seeds, self.deadline)]
        if C.BOTH in self.selected and self._has_time(C.BOTH):
            jobs.append(("baseline", self.contest.baseline(self.deadline)))
        if C.NOISE in self.selected and self._has_time(C.NOISE):
            escape_jobs = escapes(
                self.part,
                name=self.task.name,
                examples=self.task.examples,
                folder=self.cache,
                key=self.key,
                command=self.command,
            )
            jobs += [("escapes", job) for job in escape_jobs]
        if C.SUMMARY in self.selected:
            noise = {"epochs": sizes.study_epochs, "batch_size": max(2, min(128, self.task.examples // 4))}
            settings = {"part": self.part, "folder": self.cache, "key": self.key, "command": self.command}
            jobs.append(("noise", Job("noise scale", make_noise, {**settings, "settings": noise})))
        if C.PATHS in self.selected:
            settings = {"folder": self.cache, "draws": max(2, DRAWS), "seed": 0, "command": self.command}
            jobs.append(("paths", Job("two weights", make_paths, settings)))
        results = self._run_jobs(pool, jobs, "runs")
        for (name, _), result in zip(jobs, results, strict=True):
            self.results.setdefault(name, []).append(result)

    def _networks(self, sizes: Sizes) -> list[Network]:
        folder = self.folder / "networks"
        own = own_network(
            self.task,
            self.part,
            small=self.small,
            large=self.large,
            epochs=sizes.pair_epochs,
            minima_examples=sizes.minima_examples,
            folder=folder,
        )
        names = self.named_networks
        if names is None:
            names = usual_networks(full=self.full) if self.full or self.task.examples >= LARGE_SET else ()
        others = [papers_network(name, full=self.full, device=str(self.device), folder=folder) for name in names]
        return [own, *(each for each in others if each.name != own.name)]

    def _run_dependent(self, pool: Pool, sizes: Sizes) -> None:
        """Run the jobs that need a tuned learning rate or trained weights."""
        jobs: list[tuple[str, Job]] = []
        self.results["pairs"] = pairs = []
        for network in self.networks:
            pair = network.pair(self.results.get(network.name, []))
            if pair is None:
                continue
            pairs.append(pair)
            if C.MINIMA in self.selected and self._has_time(C.MINIMA):
                key = self.key if network.name == self.task.name else network.name
                minima = network.minima(pair, folder=self.cache, key=key, command=self.command)
                jobs += [("shifts", minima[0]), ("lines", minima[1])]
        study = self._last_result("study")
        if C.BATCHES in self.selected and isinstance(study, Study) and self._has_time(C.BATCHES):
            whole: dict[str, Any] = {"seeds": self.seeds, "until": self.deadline, "command": self.command}
            orders = study_of_orders(self.part, sizes, study, folder=self.folder / "orders", **whole)
            jobs += [("orders", orders)] * min(2, self.workers)
        baseline = self._last_result("baseline")
        if isinstance(baseline, Study):
            jobs += [("others", job) for job in self.contest.others(baseline, self.deadline)]
        results = self._run_jobs(pool, jobs, "minima and recipes")
        for (name, _), result in zip(jobs, results, strict=True):
            self.results.setdefault(name, []).append(result)

    def _run_jobs(self, pool: Pool, jobs: Sequence[tuple[str, Job]], what: str) -> list[Any]:
        return pool.do(
            [job for _, job in jobs],
            stage=f"claims on {self.task.name}: {what}",
            until=self.deadline,
            grace=self.grace,
        )

    def _last_result(self, name: str) -> Any:
        """The last result of this name: where several processes share the work, it covers all of it."""
        results = [each for each in self.results.get(name, ()) if each is not None]
        return (results or [None])[-1]

    def _missing(self) -> dict[ClaimId, str]:
        """The reason for each claim, in case nothing was measured for it."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        reasons = {name: NOT_SELECTED for name in C if name not in self.selected}
        reasons |= dict.fromkeys(self.selected, "lecture_no_time" if late else "lecture_not_reached")
        if any(isinstance(each, UserError) for each in self.results.get("escapes", ())):
            reasons[C.NOISE] = "lecture_cannot_vectorize"
        return reasons | self.missing

    def _has_time(self, *claims: ClaimId) -> bool:
        """Whether there is time left. If not, note that as the reason for these claims."""
        if self.deadline is None or time.monotonic() < self.deadline:
            return True
        self.missing.update(dict.fromkeys(claims, "lecture_no_time"))
        return False


# The public call.


@checked_call
def check_claims(
    task: Task | str = "digits-mlp",
    *,
    claims: Sequence[int] | None = None,
    seeds: int = 5,
    small: int | None = None,
    large: int | None = None,
    networks: Sequence[str] | None = None,
    full: bool = False,
    workers: int | None = None,
    out: str | Path | None = None,
    device: torch.device | str | None = None,
    budget: float | None = None,
    progress: Display | None = None,
    command: str = "",
) -> ClaimsReport:
    """Test ten common claims about batch size on your task.

    Each claim is tested by effects with intervals over seeds: it held, it did not hold, or it is undecided.
    Experiments are as long as the time allows. All measurements are kept in the folder: the same call again continues
    where the last one stopped.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        claims: Numbers of the claims to test, 1 to 10. Default: all ten.
        seeds: Seeds of the runs that are compared. One seed decides nothing.
        small: Small batch size of the comparison. Default: 64, or 16 below 10,000 examples.
        large: Large batch size of the comparison. Default: a tenth of the data set, as a power of two, or a third of it
            below 10,000 examples.
        networks: Networks of Keskar et al. 2016 to test beside the task's own, keskar-f1 to keskar-c4; or none.
            Default: none for a small task, else F1 and C1 at reduced size if their data are there.
        full: Test all six networks of Keskar et al. 2016 on all their data, which takes days.
        workers: Processes that make runs, one thread each. Default: one for each core, or one with an accelerator.
        out: Folder for runs, records and report. Default: critbatch-out/claims-TASK.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        budget: Wall-clock limit in seconds. Default: no limit; the runs are planned for 4 minutes, or 35 for a large
            task.
        progress: Where progress is shown.
        command: Command that the user gave, kept in the record.

    Returns:
        The measurements and the verdicts.

    Raises:
        UserError: if an argument is not possible, or the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C. What was measured stays in the folder.
    """
    reference, task = task, as_task(task)
    out = claims_folder(out, reference)
    first, last = two_sizes(task.examples, small, large)
    if seeds < 1:
        raise UserError(f"seeds={seeds} is not possible: use 1 or more; with one, claims stay undecided.")
    if budget is not None and not budget > 0:
        raise UserError(f"A budget of {budget} seconds allows nothing: use a number above 0.")
    device = as_device(device)
    if workers is None:
        workers = min(os.cpu_count() or 1, process_limit().most) if device.type == "cpu" else 1
    if workers < 1:
        raise UserError(f"workers={workers} is not possible: use 1 or more.")
    planned = LARGE_SET_SECONDS if task.examples >= LARGE_SET else SMALL_SET_SECONDS
    selected = selected_claims(claims)
    refuse_unknown(networks or ())
    check_target_on_data(task, task.target, evaluation=EVALUATION, device=device)
    campaign = ClaimsCampaign(
        reference=reference,
        task=task,
        folder=out,
        selected=selected,
        seeds=seeds,
        small=first,
        large=last,
        networks=networks,
        full=full,
        workers=workers,
        device=device,
        planned=planned if budget is None else budget,
        budget=budget,
        progress=progress or Display(),
        command=command,
    )
    lock = FolderLock(out, alone=True)
    try:
        return campaign.run()
    finally:
        lock.release()


def claims_folder(out: str | Path | None, task: Task | str) -> Path:
    """The folder `out`, or `critbatch-out/claims-TASK`, or the folder lecture-TASK of version 0.1 if it is there."""
    name = as_file_name(task.rpartition(":")[2] or task if isinstance(task, str) else task.name)
    folder, former = output_folder(out, f"claims-{name}"), output_folder(out, f"lecture-{name}")
    return former if former.is_dir() and not folder.exists() else folder


def selected_claims(numbers: Sequence[int] | None) -> tuple[ClaimId, ...]:
    """The claims with these numbers, in order of number; all if None.

    >>> selected_claims([9, 3])
    (<ClaimId.TIME: 'time'>, <ClaimId.CHOICE: 'choice'>)
    """
    names = list(ClaimId)
    if numbers is None:
        return tuple(names)
    strange = [number for number in numbers if not 1 <= number <= len(names)]
    if strange or not numbers:
        raise UserError(f"claims={list(numbers)} is not possible: give numbers from 1 to {len(names)}.")
    return tuple(names[number - 1] for number in sorted(set(numbers)))
