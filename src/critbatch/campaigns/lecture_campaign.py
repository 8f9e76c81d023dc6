"""Makes the measurements of the lecture's claims, the ones that need the machine for themselves first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from critbatch.advisor.advise import advise
from critbatch.campaigns.lecture_clock import clocks, fastest
from critbatch.campaigns.lecture_escapes import escapes
from critbatch.campaigns.lecture_jobs import Part, make_noise, make_paths
from critbatch.campaigns.lecture_networks import Network, own_network, papers_network, usual_networks
from critbatch.campaigns.lecture_recipes import RECIPES, Contest
from critbatch.campaigns.lecture_size import Sizes, sizes_for
from critbatch.campaigns.lecture_studies import study_of_orders, study_of_sizes
from critbatch.campaigns.lecture_told import told
from critbatch.campaigns.pool import Job, Pool
from critbatch.errors import UserError
from critbatch.predict.claims import NOT_ASKED
from critbatch.records.claims import ClaimName, Lecture
from critbatch.records.core import Advice
from critbatch.records.io import save_record, writable
from critbatch.records.study import Study
from critbatch.runtime.device import use_threads
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import Stopwatch
from critbatch.studies.spec import LARGE_SET
from critbatch.tasks.task import Task
from critbatch.training.state import seconds_to_tell

# Of the planned time: the clock with one number of threads, and the advice.
SHARE_OF_CLOCK, SHARE_OF_ADVICE = 0.06, 0.2
LEAST_OF_CLOCK = 6.0
# Times what an answer of one chapter is given.
SHARE_TO_TELL = 1.5
DRAWS = 20

C = ClaimName
STUDY_FOR = {C.OPTIMIZATION, C.SUMMARY, C.BATCHES}
PAIRS_FOR = {C.GENERALIZATION, C.MINIMA, C.SUMMARY}


class LectureCampaign:
    """See `critbatch.campaigns.lecture.lecture`, whose arguments these are, checked."""

    def __init__(
        self,
        *,
        task: Task | str,
        here: Task,
        folder: Path,
        asked: tuple[ClaimName, ...],
        seeds: int,
        small: int,
        large: int,
        networks: Sequence[str] | None,
        full: bool,
        workers: int,
        device: torch.device,
        planned: float,
        budget: float | None,
        show: Display,
        command: str,
    ) -> None:
        self.watch, self.show, self.command = Stopwatch(), show, command
        self.here, self.part = here, Part(task, device=str(device))
        self.key = here.fingerprint()
        self.folder, self.parts = folder, folder / "parts"
        self.asked, self.device, self.workers, self.full = set(asked), device, workers, full
        self.seeds, self.small, self.large = tuple(range(seeds)), small, large
        self.named_networks = networks
        self.planned = planned
        # For verdicts and report, whose figures are many; half of it is left to jobs that are about to end.
        to_tell = 0.0 if budget is None else SHARE_TO_TELL * seconds_to_tell(budget)
        self.deadline = None if budget is None else self.watch.began + budget - to_tell
        self.grace = to_tell / 2
        self.missing: dict[ClaimName, str] = {}
        self.found: dict[str, Any] = {}

    def lecture(self) -> Lecture:
        """Measure, judge, and tell."""
        self.found["speeds"] = clocks(
            self.here,
            small=self.small,
            large=self.large,
            device=self.device,
            folder=self.parts,
            key=self.key,
            seconds=max(LEAST_OF_CLOCK, SHARE_OF_CLOCK * self.planned),
            deadline=self.deadline,
            show=self.show,
            command=self.command,
        )
        sizes = sizes_for(
            self.found["speeds"][0],
            small=self.small,
            large=self.large,
            seeds=len(self.seeds),
            recipes=len(RECIPES),
            seconds=self.planned,
            workers=self.workers,
        )
        if C.CHOICE in self.asked and self._has_time(C.CHOICE):
            self.found["advice"] = self._advice()
        with Pool(self.workers, threads=1, show=self.show) as pool:
            self._first(pool, sizes)
            self._second(pool, sizes)
        rows = self.contest.rows(self._one("baseline"), self.found.get("others", []))
        return told(
            self.here,
            self.found,
            asked=self.asked,
            missing=self._missing(),
            recipes=rows,
            small=self.small,
            large=self.large,
            seeds=len(self.seeds),
            full=self.full,
            provenance=self.watch.provenance(command=self.command, seed=0, device=self.device),
        )

    # What needs the machine for itself.

    def _advice(self) -> Advice:
        room = SHARE_OF_ADVICE * self.planned
        before = torch.get_num_threads()
        clock = fastest(self.found["speeds"], self.large)
        use_threads(clock.provenance.machine.threads)
        save_record(clock, writable(self.folder / "advice"))
        advice = advise(
            self.here,
            out=self.folder / "advice",
            device=self.device,
            budget=room if self.deadline is None else max(1.0, min(room, self.deadline - time.monotonic())),
            progress=self.show,
            command=self.command,
        )
        use_threads(before)
        self.show.update(deadline=self.deadline)
        return advice

    # What can be made side by side.

    def _first(self, pool: Pool, sizes: Sizes) -> None:
        """All that needs no other result."""
        jobs: list[tuple[str, Job]] = []
        self.contest = Contest(
            part=self.part,
            plain=self.here.recipe,
            recipes=RECIPES,
            small=self.small,
            large=self.large,
            examples=self.here.examples,
            epochs=sizes.recipe_epochs,
            seeds=self.seeds,
            folder=self.folder / "recipes",
            command=self.command,
        )
        if self.asked & STUDY_FOR and self._has_time(*STUDY_FOR):
            # What is timed while others work would be their time too.
            save_record(self.found["speeds"][0], writable(self.folder / "study"))
            whole: dict[str, Any] = {"seeds": self.seeds, "until": self.deadline, "command": self.command}
            study = study_of_sizes(self.part, sizes, recipe=self.here.recipe, folder=self.folder / "study", **whole)
            jobs += [("study", study)] * self.workers
        self.networks: list[Network] = []
        if self.asked & PAIRS_FOR and self._has_time(*PAIRS_FOR):
            self.networks = self._networks(sizes)
            jobs += [(each.name, job) for each in self.networks for job in each.runs(self.seeds, self.deadline)]
        if C.BOTH in self.asked and self._has_time(C.BOTH):
            jobs.append(("baseline", self.contest.baseline(self.deadline)))
        if C.NOISE in self.asked and self._has_time(C.NOISE):
            told_of = escapes(
                self.part,
                name=self.here.name,
                examples=self.here.examples,
                folder=self.parts,
                key=self.key,
                command=self.command,
            )
            jobs += [("escapes", job) for job in told_of]
        if C.SUMMARY in self.asked:
            noise = {"epochs": sizes.study_epochs, "batch_size": max(2, min(128, self.here.examples // 4))}
            given = {"part": self.part, "folder": self.parts, "key": self.key, "command": self.command}
            jobs.append(("noise", Job("noise scale", make_noise, {**given, "settings": noise})))
        if C.PATHS in self.asked:
            given = {"folder": self.parts, "draws": max(2, DRAWS), "seed": 0, "command": self.command}
            jobs.append(("paths", Job("two weights", make_paths, given)))
        results = self._done(pool, jobs, "runs")
        for (name, _), result in zip(jobs, results, strict=True):
            self.found.setdefault(name, []).append(result)

    def _networks(self, sizes: Sizes) -> list[Network]:
        folder = self.folder / "networks"
        own = own_network(
            self.here,
            self.part,
            small=self.small,
            large=self.large,
            epochs=sizes.pair_epochs,
            minima_examples=sizes.minima_examples,
            folder=folder,
        )
        names = self.named_networks
        if names is None:
            names = usual_networks(full=self.full) if self.full or self.here.examples >= LARGE_SET else ()
        others = [papers_network(name, full=self.full, device=str(self.device), folder=folder) for name in names]
        return [own, *(each for each in others if each.name != own.name)]

    def _second(self, pool: Pool, sizes: Sizes) -> None:
        """What needs a rate that was found, or the ends of runs."""
        jobs: list[tuple[str, Job]] = []
        self.found["pairs"] = pairs = []
        for network in self.networks:
            pair = network.pair(self.found.get(network.name, []))
            if pair is None:
                continue
            pairs.append(pair)
            if C.MINIMA in self.asked and self._has_time(C.MINIMA):
                key = self.key if network.name == self.here.name else network.name
                minima = network.minima(pair, folder=self.parts, key=key, command=self.command)
                jobs += [("shifts", minima[0]), ("lines", minima[1])]
        study = self._one("study")
        if C.BATCHES in self.asked and isinstance(study, Study) and self._has_time(C.BATCHES):
            whole: dict[str, Any] = {"seeds": self.seeds, "until": self.deadline, "command": self.command}
            orders = study_of_orders(self.part, sizes, study, folder=self.folder / "orders", **whole)
            jobs += [("orders", orders)] * min(2, self.workers)
        baseline = self._one("baseline")
        if isinstance(baseline, Study):
            jobs += [("others", job) for job in self.contest.others(baseline, self.deadline)]
        results = self._done(pool, jobs, "minima and recipes")
        for (name, _), result in zip(jobs, results, strict=True):
            self.found.setdefault(name, []).append(result)

    def _done(self, pool: Pool, jobs: Sequence[tuple[str, Job]], what: str) -> list[Any]:
        return pool.do(
            [job for _, job in jobs],
            stage=f"lecture on {self.here.name}: {what}",
            until=self.deadline,
            grace=self.grace,
        )

    def _one(self, name: str) -> Any:
        """The last of the results of this name: of several that share the work, the one that saw all of it."""
        results = [each for each in self.found.get(name, ()) if each is not None]
        return (results or [None])[-1]

    def _missing(self) -> dict[ClaimName, str]:
        """Why nothing was measured for a claim, should it be so."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        reasons = {name: NOT_ASKED for name in C if name not in self.asked}
        reasons |= dict.fromkeys(self.asked, "lecture_no_time" if late else "lecture_not_reached")
        if any(isinstance(each, UserError) for each in self.found.get("escapes", ())):
            reasons[C.NOISE] = "lecture_cannot_vectorize"
        return reasons | self.missing

    def _has_time(self, *claims: ClaimName) -> bool:
        """Whether there is any left; else that is why nothing was measured for these claims."""
        if self.deadline is None or time.monotonic() < self.deadline:
            return True
        self.missing.update(dict.fromkeys(claims, "lecture_no_time"))
        return False
