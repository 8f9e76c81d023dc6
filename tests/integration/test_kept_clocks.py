"""Clocks that are kept are extended where a later question needs more of them, and nothing is timed past a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import sample_records
from critbatch.claims import experiments as lecture_jobs
from critbatch.claims import sizing as lecture_clock
from critbatch.claims.experiments import TaskSubset, make_study
from critbatch.claims.pool import Job, Pool
from critbatch.claims.run import check_claims
from critbatch.claims.sizing import measure_step_times, required_sizes, sizes_to_time
from critbatch.cli.app import run
from critbatch.cli.options import BEGAN, seconds_left
from critbatch.errors import UserError
from critbatch.law.clock_check import with_check
from critbatch.measure import step_timer as clock_module
from critbatch.measure.step_time import doublings
from critbatch.measure.step_timer import StepTimer
from critbatch.records.core import Estimate, Speed, SpeedPoint
from critbatch.runtime.device import describe_machine
from critbatch.runtime.progress import Display
from critbatch.studies.supervisor import SECONDS_TO_STOP, WorkerSupervisor
from critbatch.studies.sweep import sweep
from critbatch.tasks.task import Task
from critbatch.training.state import seconds_for_report
from tiny import tiny_task

CPU = torch.device("cpu")
TASK = tiny_task(examples=1024)


def step(size: int) -> float:
    return 1e-3 * (1 + size / 100)


class Timing:
    """Stands in for `speed`: times sizes in ascending order until `most` of them are timed, notes what was asked."""

    def __init__(self, most: int, *, thin: bool = False, swing: float = 1.0) -> None:
        self.most, self.thin, self.swing = most, thin, swing
        self.asked: list[tuple[int, ...]] = []
        self.budgets: list[float] = []

    def __call__(self, task: Task, sizes: Sequence[int] | None = None, *, budget: float, **words: Any) -> Speed:
        wanted = tuple(sizes or doublings(task.examples))
        self.asked.append(wanted)
        self.budgets.append(budget)
        points = []
        for size in wanted[: self.most]:
            low, high = (None, None) if self.thin else (0.9 * step(size), 1.2 * step(size))
            seconds = Estimate(value=step(size), n=9, low=low, high=high, reason="too_few_visits" if self.thin else "")
            signs = ("clock_visits",) if self.swing > 1 else ()
            points.append(SpeedPoint(batch_size=size, step_seconds=seconds, swing=self.swing, signs=signs))
        machine = describe_machine(words.get("device") or CPU)
        return with_check(
            Speed(
                task=task.name,
                unit=task.unit,
                examples=task.examples,
                points=tuple(points),
                recipe=words.get("recipe") or task.recipe,
                provenance=replace(sample_records.PROVENANCE, machine=machine),
            )
        )


def clock_in(folder: Path, *, budget: float = 150.0, deadline: float | None = None) -> StepTimer:
    return StepTimer(
        TASK,
        recipe="sgd",
        device=CPU,
        seed=0,
        folder=folder,
        budget=budget,
        deadline=deadline,
        show=Display(),
        command="",
    )


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Timing], Timing]:
    def use(timing: Timing) -> Timing:
        for module in (clock_module, lecture_clock):
            monkeypatch.setattr(module, "speed", timing)
        return timing

    return use


def sizes_of(speed: Speed) -> list[int]:
    return [point.batch_size for point in speed.fitting]


# The clock of an advice and of a sweep.


def test_a_kept_clock_that_has_all_sizes_is_used_as_it_is(tmp_path: Path, timing: Callable[[Timing], Timing]) -> None:
    first = timing(Timing(99))
    speed = clock_in(tmp_path).take()
    assert sizes_of(speed) == list(doublings(1024)) and len(first.asked) == 1
    second = timing(Timing(99))
    assert clock_in(tmp_path).take() == speed and second.asked == []


def test_a_kept_clock_that_a_short_budget_cut_off_is_extended(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    """It stopped at 64: what is above is timed by the next call, and what it has is not timed again."""
    timing(Timing(7))
    assert max(sizes_of(clock_in(tmp_path, deadline=0.0).take())) == 64
    more = timing(Timing(99))
    speed = clock_in(tmp_path).take()
    assert sizes_of(speed) == list(doublings(1024))
    assert more.asked == [(128, 256, 512, 1024)]


def test_sizes_that_a_sweep_needs_are_added_to_a_kept_clock(tmp_path: Path, timing: Callable[[Timing], Timing]) -> None:
    timing(Timing(99))
    clock_in(tmp_path).take()
    more = timing(Timing(99))
    assert {100, 300} <= set(sizes_of(clock_in(tmp_path).take([1, 100, 300])))
    assert more.asked == [(100, 300)]


def test_points_without_an_interval_are_timed_again_where_there_is_time(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    timing(Timing(99, thin=True))
    assert all(point.step_seconds and point.step_seconds.low is None for point in clock_in(tmp_path).take().fitting)
    timing(Timing(99))
    assert all(point.step_seconds and point.step_seconds.low for point in clock_in(tmp_path).take().fitting)


def test_a_clock_of_a_busy_machine_is_kept_and_taken_anew_by_the_next_call(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    timing(Timing(99, swing=3.0))
    busy = clock_in(tmp_path).take()
    assert busy.check is not None and busy.check.is_busy
    more = timing(Timing(99))
    quiet = clock_in(tmp_path).take()
    assert quiet.check is not None and not quiet.check.is_busy
    assert more.asked == [doublings(1024)]


def test_a_clock_that_the_lengths_of_runs_rest_on_is_extended_and_not_taken_anew(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    timing(Timing(99, swing=3.0))
    busy = clock_in(tmp_path).take()
    more = timing(Timing(99))
    assert clock_in(tmp_path).take([1, 64], anew=False) == busy and more.asked == []
    clock_in(tmp_path).take([1, 100], anew=False)
    assert more.asked == [(100,)]


def test_a_size_that_does_not_fit_is_not_asked_for_again(tmp_path: Path, timing: Callable[[Timing], Timing]) -> None:
    class NoRoom(Timing):
        def __call__(self, *args: Any, **words: Any) -> Speed:
            speed = super().__call__(*args, **words)
            return replace(speed, points=(*speed.points, SpeedPoint(batch_size=128, fits=False)))

    timing(NoRoom(7))
    clock_in(tmp_path).take()
    more = timing(Timing(99))
    assert max(sizes_of(clock_in(tmp_path).take([16, 1024]))) == 64
    assert more.asked == []


def test_after_the_deadline_nothing_more_is_timed(tmp_path: Path, timing: Callable[[Timing], Timing]) -> None:
    """One call, which must time something, and which has next to no time."""
    late = timing(Timing(1))
    speed = clock_in(tmp_path, deadline=time.monotonic() - 1).take([1024])
    assert len(late.asked) == 1 and late.budgets[0] <= 1e-3
    clock = clock_in(tmp_path, deadline=time.monotonic() - 1)
    assert clock.take_again(speed, 1) == speed and len(late.asked) <= 2


def test_a_size_whose_steps_take_longer_than_there_is_time_is_left_out(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    """By proportion a step of 1,024 examples takes 11 s."""
    slow = timing(Timing(1))
    clock = clock_in(tmp_path, budget=5.0)
    speed = clock.take()
    point = replace(speed.points[0], batch_size=4, step_seconds=Estimate(value=0.04, n=1, reason="too_few_visits"))
    slow.asked.clear()
    clock._extended(replace(speed, points=(point,)), [8, 1024], 1.0)
    assert slow.asked == [(8,)]


def test_a_sweep_by_seconds_says_which_size_the_budget_left_out(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    timing(Timing(1))
    with pytest.raises(UserError, match=r"^The budget ended before a step of batch size \d+ was timed: give the same"):
        sweep(TASK, out=tmp_path, batch_sizes=[8, 64], seconds=0.1, budget=1e-3, device=CPU)


# The clocks of a lecture.


def take_clocks(folder: Path, **words: Any) -> tuple[Speed, ...]:
    given = {
        "small": 16,
        "large": 256,
        "device": CPU,
        "folder": folder,
        "key": "k",
        "seconds": 9.0,
        "show": Display(),
        "command": "",
        **words,
    }
    return measure_step_times(TASK, **given)


def test_a_lectures_clock_that_stopped_below_the_large_size_goes_on_from_there(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    """A first budget that ended after two sizes; the next one has what was missing, and the third times nothing."""
    timing(Timing(2))
    with pytest.raises(UserError, match=r"The budget ended before a step of .* goes on from there"):
        take_clocks(tmp_path, deadline=time.monotonic() - 1)
    timing(Timing(99))
    taken = take_clocks(tmp_path)
    assert all({16, 256} <= set(sizes_of(speed)) for speed in taken)
    assert sizes_of(taken[0]) == sizes_to_time(TASK, 16, 256)
    more = timing(Timing(99))
    assert take_clocks(tmp_path) == taken and more.asked == []


def test_a_lectures_clock_that_gets_one_size_at_a_time_comes_to_its_end(
    tmp_path: Path, timing: Callable[[Timing], Timing]
) -> None:
    """However little there is time for, a few calls are enough: it never asks the same of the same clock for ever."""
    one = timing(Timing(1))
    calls = 0
    taken: tuple[Speed, ...] = ()
    while not taken:
        calls += 1
        assert calls <= len(required_sizes(TASK, 16, 256))
        try:
            taken = take_clocks(tmp_path)
        except UserError:
            continue
    assert {16, 256} <= set(sizes_of(taken[0]))
    assert one.asked[0] == tuple(required_sizes(TASK, 16, 256))  # what experiments need comes first


def test_a_lectures_clock_of_a_busy_machine_is_taken_again(tmp_path: Path, timing: Callable[[Timing], Timing]) -> None:
    timing(Timing(99, swing=3.0))
    assert all(speed.check and speed.check.is_busy for speed in take_clocks(tmp_path))
    timing(Timing(99))
    assert not any(speed.check and speed.check.is_busy for speed in take_clocks(tmp_path))


# Budgets.


def test_what_is_kept_for_the_answer_is_a_small_part_of_any_budget() -> None:
    for budget in (1e-3, 1.0, 60.0, 240.0, 600.0, 1e5):
        assert 0 < seconds_for_report(budget) <= 0.15 * budget
    assert seconds_for_report(60.0) == 9.0 and seconds_for_report(1e5) == 2000.0


def test_a_budget_counts_from_the_start_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loading torch takes nine seconds here: four more than usual, which are left to the report as well."""
    budgets: list[float] = []

    def timed(*args: Any, budget: float, **words: Any) -> None:
        budgets.append(budget)
        raise UserError("enough")

    monkeypatch.setattr("critbatch.measure.step_time.speed", timed)
    monkeypatch.setattr("critbatch.cli.options.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 9.0))
    for budget in ("60", "5", "-1"):
        with pytest.raises(UserError, match="enough"):
            run(["speed", "digits-mlp", f"--budget={budget}", "--out", str(tmp_path)])
    assert 0 < budgets[0] <= 47.0 and budgets[1:] == [1e-3, -1.0]
    BEGAN.set(None)
    assert seconds_left(60.0) == 60.0  # outside of a command


def test_a_study_that_waited_for_its_turn_has_only_what_is_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[float | None] = []

    def watched(*args: Any, budget: float | None, **words: Any) -> None:
        budgets.append(budget)

    monkeypatch.setattr(lecture_jobs, "sweep", watched)
    for until in (None, time.monotonic() + 100.0, time.monotonic() - 100.0):
        make_study(TaskSubset(TASK), until=until, out=Path())
    assert budgets[0] is None and budgets[2] == lecture_jobs.LEAST_BUDGET
    assert budgets[1] is not None and 90.0 < budgets[1] <= 100.0


def test_workers_have_a_twentieth_of_a_budget_to_stop_in() -> None:
    def seconds(pause_at: float | None) -> float:
        return WorkerSupervisor(None, 1, None, pause_at=pause_at, report_progress=lambda: 0).seconds_to_stop  # type: ignore[arg-type]

    assert seconds(None) == SECONDS_TO_STOP
    assert seconds(time.monotonic() + 200) == pytest.approx(10.0, abs=0.5)
    assert seconds(time.monotonic() + 1e6) == SECONDS_TO_STOP
    assert seconds(time.monotonic()) == 2.0


class Watching(Display):
    """Notes how many jobs were said to be running."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[int] = []

    def show(self) -> None:
        if self.situation.running is not None:
            self.running.append(self.situation.running)


def test_jobs_are_told_as_running_when_they_run_and_ended_when_the_time_has_come() -> None:
    """One worker makes one job at a time, whatever waits in its queue. A job that does not end has no result."""
    show = Watching()
    with Pool(1, threads=1, show=show) as pool:
        jobs = [Job(f"job {i}", waiting, {"seconds": 0.02}) for i in range(12)]
        assert pool.do(jobs, stage="jobs") == [0.02] * 12
        assert show.running and max(show.running) <= 1
        late = [Job("endless", waiting, {"seconds": 1e6}), *jobs]
        assert pool.do(late, stage="late", until=time.monotonic() + 0.2, grace=0.1) == [None] * 13
        assert pool.do(jobs, stage="too late", until=time.monotonic() - 1) == [None] * 12


def waiting(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_a_lecture_whose_budget_ends_in_between_tells_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that were not made have no result; each claim that rests on them says that there was no time."""
    monkeypatch.setattr(lecture_clock, "speed", Timing(99))
    monkeypatch.setattr(Pool, "do", lambda self, jobs, **words: [None] * len(jobs))
    told = check_claims(
        tiny_task(examples=64), out=tmp_path, claims=[2, 3, 5, 6, 8], seeds=2, small=4, large=32, budget=40.0
    )
    reasons = {str(claim.name): claim.reason for claim in told.claims}
    assert reasons["time"] == "" and told.speeds
    assert reasons["paths"] in ("lecture_no_time", "lecture_not_reached") and reasons["generalization"]
    assert told.networks == () and told.paths is None
