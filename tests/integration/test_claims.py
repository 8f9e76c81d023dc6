"""The lecture on real runs: experiments whose outcome is known have the verdict that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import critbatch
import sample_records
from critbatch.claims.experiments import TaskSubset, make_run
from critbatch.claims.gd_paths import paths
from critbatch.claims.networks import own_network, papers_network, sharpness_of, usual_networks
from critbatch.claims.pool import Job, Pool, cached_record
from critbatch.claims.run import check_claims, partitions, selected_claims
from critbatch.claims.sizing import LONG_EPOCHS, sizes_for, sizes_to_time, two_sizes
from critbatch.claims.verdicts import on_batches, on_minima, on_noise, on_optimization
from critbatch.errors import UserError
from critbatch.measure.step_time import speed
from critbatch.records.claims import ClaimId, ClaimsReport, ClaimVerdict
from critbatch.records.core import ClockCheck, Quantity, Speed, Target
from critbatch.records.io import load_records, save_record
from critbatch.runtime.progress import Display
from critbatch.tasks.task import Task
from critbatch.tasks.toy import PATIENTS, START, closeness, patients_line, squared_error
from tiny import tiny_task


def line_task(examples: int = 64) -> Task:
    """Least squares: convex, with one minimum and the same curvature everywhere."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2 * examples, 3, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.5 * torch.randn(2 * examples, 1, generator=generator)
    return Task(
        "line",
        model=lambda: nn.Linear(3, 1),
        train=(x[:examples], y[:examples]),
        validation=(x[examples:], y[examples:]),
        loss=squared_error,
        metric=closeness,
        metric_name="negative loss",
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=0.5),
    )


# --- claims that fail where they must ---------------------------------------------------------------------------------


def test_on_a_convex_model_noise_does_not_help() -> None:
    told = critbatch.escape(line_task(), starts=50, learning_rate=0.1, descent_steps=500, steps=200)
    (statement,) = on_noise([told], "line")
    assert told.standings == {"minimum": 50}
    assert statement.holds is ClaimVerdict.NOT_HELD


def test_on_a_saddle_noise_helps() -> None:
    task = critbatch.find_task("surface-saddle")
    told = critbatch.escape(task, starts=40, learning_rate=0.1, descent_steps=300, steps=300)
    assert on_noise([told], "surface-saddle")[0].holds is ClaimVerdict.HELD


def test_on_a_convex_model_large_batches_end_in_no_sharper_minima() -> None:
    task = line_task()
    models, solutions = {}, {}
    for seed in range(3):
        for size in (4, 64):
            rate = 0.002 if size == 4 else 0.05  # both come close to the only minimum there is
            training = critbatch.training.trainer.Training(
                task, critbatch.recipes.sgd(batch_size=size, learning_rate=rate, epochs=200), seed=seed
            )
            training.advance()
            solution = critbatch.training.checkpoint.solution_of(training.record())
            models[solution.label], solutions[solution.label] = training.model, solution
    told = critbatch.shift(task, models, solutions=solutions)
    by_key = {statement.key: statement for statement in on_minima([sharpness_of(told)], [told])}
    assert by_key["sharper"].holds is ClaimVerdict.NOT_HELD
    assert by_key["sharper_eigenvalue"].holds is ClaimVerdict.NOT_HELD
    assert by_key["sharper_eigenvalue"].effect is not None
    assert by_key["sharper_eigenvalue"].effect.value == pytest.approx(1.0, abs=1e-4)
    assert (by_key["sharper"].small_batch_size, by_key["sharper"].large_batch_size) == (4, 64)
    assert "sharpness_ranks" in by_key


def test_at_a_rate_tuned_for_large_batches_they_do_not_train_worse(tmp_path: Path) -> None:
    study = critbatch.sweep(
        "digits-mlp",
        out=tmp_path,
        batch_sizes=[8, 256],
        learning_rates=[0.5],
        seeds=(0, 1, 2),
        epochs=2,
        stop_at_target=False,
        compile=False,
    )
    told = {statement.key: statement.holds for statement in on_optimization(study)}
    assert told["train_worse_fixed"] is told["train_worse_tuned"] is ClaimVerdict.NOT_HELD


def test_reshuffling_holds_what_the_lecture_says_of_it_and_the_other_orders_do_not() -> None:
    found = {each.order: each for each in partitions()}

    def verdicts(order: str) -> dict[str, ClaimVerdict]:
        return {s.key: s.holds for s in on_batches([replace(found[order], order="reshuffle")], None)}

    assert set(verdicts("reshuffle").values()) == {ClaimVerdict.HELD}
    assert verdicts("shuffle_once")["new_partition"] is ClaimVerdict.NOT_HELD
    assert verdicts("sequential")["new_partition"] is ClaimVerdict.NOT_HELD
    assert verdicts("with_replacement")["every_example_once"] is ClaimVerdict.NOT_HELD


# --- two weights and twenty patients ---------------------------------------------------------------------------------


def test_the_full_batch_makes_one_step_along_the_gradient() -> None:
    told = paths(draws=1)
    full = next(path for path in told.paths if path.batch_size == PATIENTS)
    x, y = patients_line(0).train.span(0, PATIENTS)  # type: ignore[union-attr]
    slope, intercept = START
    misses = slope * x + intercept - y
    gradient = (float((misses * x).mean()), float(misses.mean()))
    assert full.places[0] == START
    expected = [at - full.learning_rate * along for at, along in zip(START, gradient, strict=True)]
    assert full.places[1] == pytest.approx(expected, rel=1e-5)
    assert full.losses[0] == pytest.approx(float(misses.square().mean() / 2), rel=1e-5)


def test_single_examples_make_twenty_steps_and_their_directions_are_spread() -> None:
    told = paths(draws=3, batch_sizes=(1, 5))
    single = next(path for path in told.paths if path.batch_size == 1)
    assert len(single.places) == PATIENTS + 1
    spreads = [spread.spread.value for spread in told.spreads]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] == 0.0
    assert told.spreads[-1].full_over is not None and told.spreads[-1].full_over.value == 1.0


def test_the_contours_hold_both_ways_and_the_bottom() -> None:
    told = paths(draws=1)
    for path in told.paths:
        for first, second in path.places:
            assert told.first[0] < first < told.first[-1]
            assert told.second[0] < second < told.second[-1]
    lowest = min(min(row) for row in told.heights)
    assert lowest <= min(min(path.losses) for path in told.paths) + 1e-2


# --- how much is made ------------------------------------------------------------------------------------------------


def test_more_time_never_makes_runs_shorter() -> None:
    speed: Speed = sample_records.speed()
    made = [
        sizes_for(speed, small=16, large=256, seeds=5, recipes=6, seconds=seconds, workers=2)
        for seconds in (1.0, 30.0, 300.0, 3000.0)
    ]
    for name in ("study_epochs", "pair_epochs", "recipe_epochs", "order_epochs"):
        lengths = [getattr(each, name) for each in made]
        assert lengths == sorted(lengths)
    assert made[0].pair_epochs == LONG_EPOCHS[-1]
    assert made[-1].pair_epochs == LONG_EPOCHS[0]


def test_a_large_batch_that_was_not_timed_is_refused() -> None:
    speed = sample_records.speed()
    with pytest.raises(UserError, match=f"the largest that did is {speed.largest_that_fits}"):
        sizes_for(speed, small=16, large=speed.largest_that_fits + 1, seeds=2, recipes=1, seconds=10.0, workers=1)


@pytest.mark.parametrize(("small", "large"), [(64, 32), (0, 8), (16, 97)])
def test_two_sizes_that_cannot_be_compared_are_refused(small: int, large: int) -> None:
    with pytest.raises(UserError, match=f"{small} and {large} cannot be compared on 96 examples"):
        two_sizes(96, small, large)


def test_clocks_have_the_sizes_of_the_lecture_and_spare_batch_norm_a_single_example() -> None:
    task = tiny_task()
    assert sizes_to_time(task, 16, 48) == [1, 2, 4, 8, 10, 16, 32, 48, 64, 96]
    normed = replace(task, model=lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    assert sizes_to_time(normed, 16, 48)[0] == 2


def test_networks_of_the_paper_keep_its_shares_at_reduced_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CRITBATCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_networks(full=False) == []
    assert usual_networks(full=True) == ["keskar-f2-stand-in"]
    network = papers_network("keskar-f2-stand-in", full=False, device="cpu", folder=tmp_path)
    assert (network.examples, network.of_examples, network.large) == (2000, 40_000, 200)
    assert network.paper == ""
    with pytest.raises(UserError, match="not one of the paper's"):
        papers_network("digits-mlp", full=False, device="cpu", folder=tmp_path)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_measurement_is_made_once_for_each_question(tmp_path: Path) -> None:
    made = []

    def make() -> Speed:
        made.append(1)
        return sample_records.speed()

    first = cached_record(tmp_path, Speed, {"task": "a", "n": 1}, make)
    assert cached_record(tmp_path, Speed, {"n": 1, "task": "a"}, make) == first
    assert len(made) == 1
    cached_record(tmp_path, Speed, {"task": "b", "n": 1}, make)
    assert len(made) == 2
    for file in tmp_path.glob("*.json"):
        file.write_text("cut short {")
    assert cached_record(tmp_path, Speed, {"task": "a", "n": 1}, make) == first
    assert len(made) == 3


def test_a_run_that_was_made_is_read_and_not_made_again(tmp_path: Path) -> None:
    settings = {"folder": tmp_path, "recipe": "sgd", "batch_size": 16, "epochs": 2.0, "seed": 0, "pause_at": None}
    first = make_run(TaskSubset(tiny_task()), **settings)  # type: ignore[arg-type]
    files = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert make_run(TaskSubset(tiny_task()), **settings) == first  # type: ignore[arg-type]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == files


def test_a_measurement_that_cannot_be_kept_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()

    def make() -> Speed:
        (tmp_path / "cache").rmdir()
        return sample_records.speed()

    with pytest.raises(UserError, match="cannot be written"):
        cached_record(tmp_path / "cache", Speed, {"n": 1}, make)


def test_runs_of_a_task_that_has_changed_are_not_taken(tmp_path: Path) -> None:
    def folder(task: Task) -> Path:
        part = TaskSubset(task)
        return own_network(task, part, small=4, large=32, epochs=1.0, minima_examples=10, folder=tmp_path).folder

    assert folder(tiny_task()) == folder(tiny_task())
    assert folder(tiny_task()) != folder(tiny_task(examples=80))


def test_a_part_of_a_task_is_its_first_examples() -> None:
    task, part = tiny_task(), TaskSubset(tiny_task(), 10).build()
    assert part.examples == 10
    assert torch.equal(part.train.span(0, 10)[0], task.train.span(0, 10)[0])  # type: ignore[union-attr]
    assert TaskSubset(task, 1000).build() is task


# --- processes -------------------------------------------------------------------------------------------------------


def refuse() -> None:
    raise UserError("this cannot be")


def test_jobs_end_with_their_results_in_order_and_one_may_fail() -> None:
    jobs = [Job("one", pow, {"base": 2, "exp": 3}), Job("two", refuse, may_fail=True), Job("three", os.getpid)]
    with Pool(1, threads=1, show=Display()) as pool:
        eight, error, process = pool.do(jobs, stage="jobs")
        assert (eight, str(error)) == (8, "this cannot be")
        assert isinstance(error, UserError)
        assert process != os.getpid()
        with pytest.raises(UserError, match="this cannot be"):
            pool.do([Job("two", refuse)], stage="jobs")


def test_a_process_that_is_killed_is_told_in_a_sentence() -> None:
    with (
        pytest.raises(UserError, match=r"the last job failed \(.*\): start the same command again.$"),
        Pool(1, threads=1, show=Display()) as pool,
    ):
        pool.do([Job("the last job", os._exit, {"status": 9})], stage="jobs")


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClaimsReport, Path]:
    folder = tmp_path_factory.mktemp("lecture")
    with pytest.MonkeyPatch.context() as patch:
        return small_lecture(folder, patch), folder


def small_lecture(folder: Path, patch: pytest.MonkeyPatch) -> ClaimsReport:
    """Planned for 40 seconds, by a clock that is done and quiet whatever else this machine does meanwhile."""

    def timed(task: Task, sizes: Sequence[int], **words: Any) -> Speed:
        return speed(task, sizes, **{**words, "budget": None, "seconds_per_point": 0.02})

    patch.setattr("critbatch.claims.sizing.speed", timed)
    patch.setattr("critbatch.claims.run.SMALL_SET_SECONDS", 40.0)
    patch.setattr("critbatch.law.clock_check.check_clock", lambda points: ClockCheck())
    return check_claims(tiny_task(examples=64), out=folder, claims=[1, 2, 3, 6, 7, 8], seeds=2, small=4, large=32)


def test_a_lecture_tells_all_ten_claims_and_measures_those_that_were_asked(told: tuple[ClaimsReport, Path]) -> None:
    record, _ = told
    assert [claim.name for claim in record.claims] == list(ClaimId)
    measured = {claim.name for claim in record.claims if claim.statements}
    C = ClaimId
    assert measured == {C.BATCHES, C.PATHS, C.TIME, C.GENERALIZATION, C.MINIMA, C.SUMMARY}
    others = {claim.reason for claim in record.claims if claim.name not in measured}
    assert others == {"lecture_not_asked"}
    assert (record.small_batch_size, record.large_batch_size, record.seeds) == (4, 32, 2)
    assert record.study is None and record.advice is None and record.recipes == ()


def test_a_lecture_goes_to_a_file_and_comes_back_and_has_a_report(
    told: tuple[ClaimsReport, Path], tmp_path: Path
) -> None:
    record, _ = told
    save_record(record, tmp_path)
    (again,) = load_records(tmp_path)
    assert again.to_json() == record.to_json()
    page = critbatch.report([record], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tiny" in page


def test_the_same_lecture_again_makes_nothing_anew(
    told: tuple[ClaimsReport, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = told
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("run-*.json")}
    before |= {file: file.stat().st_mtime_ns for file in (folder / "cache").iterdir()}
    again = small_lecture(folder, monkeypatch)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert again.networks == record.networks and again.paths == record.paths and again.speeds == record.speeds
    assert [claim.holds for claim in again.claims] == [claim.holds for claim in record.claims]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda out: check_claims(tiny_task(), out=out, claims=[11]), "numbers from 1 to 10"),
        (lambda out: check_claims(tiny_task(), out=out, claims=[]), "numbers from 1 to 10"),
        (lambda out: check_claims(tiny_task(), out=out, seeds=0), "seeds=0"),
        (lambda out: check_claims(tiny_task(), out=out, budget=0.0), "budget of 0.0"),
        (lambda out: check_claims(tiny_task(), out=out, workers=0), "workers=0"),
        (lambda out: check_claims(tiny_task(), out=out, small=50, large=20), "cannot be compared"),
        (lambda out: check_claims("nothing", out=out), "not known"),
        (
            lambda out: check_claims(tiny_task(), out=out, claims=[6], networks=["digits"], budget=5.0),
            "not one of the paper's",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    call: Callable[[Path], ClaimsReport], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        call(tmp_path)


def test_claims_are_asked_for_by_their_numbers() -> None:
    assert selected_claims(None) == tuple(ClaimId)
    assert selected_claims([10, 1, 1]) == (ClaimId.BATCHES, ClaimId.BOTH)
