"""A clock that other work disturbs is noticed, times again, and says so; one that is quiet never is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import critbatch
import sample_records
from critbatch.law.clock_check import (
    GROWS,
    SIZES,
    check_clock,
    disagreement,
    is_usable,
    leeway,
    merged,
    misfits,
    quiet_visits,
    runs_factor,
    suspects,
    untimed,
    with_check,
)
from critbatch.law.objective import within
from critbatch.measure.step_time import AGAIN, ROUNDS
from critbatch.records.core import Advice, CurvePoint, Estimate, Run, Speed, SpeedPoint
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import answer, summary
from simulated_clock import Disturbance, SimulatedSteps, timed

DOUBLINGS = [2**k for k in range(12)]


def affine(fixed: float, knee: float) -> Callable[[int], float]:
    return lambda size: fixed * (1 + size / knee)


def some_machine(seed: int) -> Callable[[int], float]:
    """From 1 to 30 ms for a single example, and a knee from 3 to 10,000."""
    chance = np.random.default_rng([7, seed])
    return affine(10 ** chance.uniform(-3, -1.5), 10 ** chance.uniform(0.5, 4))


def errors(speed: Speed, seconds: Callable[[int], float]) -> dict[int, float]:
    """By size, the time that was measured over the true one."""
    return {
        point.batch_size: point.step_seconds.value / seconds(point.batch_size)
        for point in speed.fitting
        if point.step_seconds is not None
    }


def point(size: int, seconds: float, **more: object) -> SpeedPoint:
    step = Estimate(value=seconds, n=30, low=0.97 * seconds, high=1.05 * seconds)
    return SpeedPoint(batch_size=size, step_seconds=step, **more)  # type: ignore[arg-type]


def speed_of(*points: SpeedPoint) -> Speed:
    return replace(sample_records.speed(), points=points, fit=None)


# A quiet machine.


@pytest.mark.parametrize(("budget", "seconds_per_point"), [(math.inf, 0.5), (2.0, 0.5)])
def test_a_quiet_clock_gives_no_sign(budget: float, seconds_per_point: float) -> None:
    """Over 3,000 seeds of three such machines none was left with a sign: below 1 in 1,000 with 95 % confidence."""
    for seed in range(40):
        speed = timed(
            SimulatedSteps(some_machine(seed), seed=seed), DOUBLINGS, budget=budget, seconds_per_point=seconds_per_point
        )
        assert speed.check is not None and speed.check.signs == () and speed.check.swing == 1.0
        assert all(one.widened == 1.0 for one in speed.points)


def test_a_quiet_clock_whose_steps_are_slower_than_their_share_gives_no_sign() -> None:
    """Each size has one visit of one step: a large model."""
    for seed in range(40):
        speed = timed(SimulatedSteps(affine(0.6, 100), seed=seed), DOUBLINGS)
        assert speed.check is not None and not speed.check.is_busy


@settings(deadline=None, max_examples=60)
@given(
    st.floats(1e-6, 10.0),
    st.floats(1e-2, 1e7),
    st.sets(st.integers(1, 100_000), min_size=1, max_size=15),
    st.floats(1.0, 2.4),
)
def test_no_straight_line_and_no_jump_out_of_a_cache_is_a_misfit(
    fixed: float, knee: float, sizes: set[int], jump: float
) -> None:
    """A hinge, a straight line, and one with a jump between two doublings."""
    ordered = sorted(sizes)
    line = [(size, fixed * (1 + size / knee)) for size in ordered]
    hinge = [(size, fixed * max(1.0, size / knee)) for size in ordered]
    assert max(misfits(line).values()) < 1 + 1e-9 and max(misfits(hinge).values()) < 1 + 1e-9
    cache = [(size, fixed * (1 + size / knee) * (jump if size > 512 else 1.0)) for size in DOUBLINGS]
    assert max(misfits(cache).values()) < SIZES


# A busy one.


def test_the_times_that_brought_this_about_do_not_fit_each_other() -> None:
    """Milliseconds of steps of 4, 16, 128 and 256 examples, as a busy machine told them."""
    points = [point(4, 0.095), point(16, 0.00074), point(128, 0.082), point(256, 0.0018)]
    factors = misfits([(4, 0.095), (16, 0.00074), (128, 0.082), (256, 0.0018)])
    assert factors[4] == pytest.approx(0.095 / 0.00074)
    assert factors[128] > 0.082 / 0.0018 and factors[16] == factors[256] == 1.0
    checked = with_check(speed_of(*points))
    assert checked.check is not None and checked.check.signs == ("clock_sizes",)
    assert not is_usable(checked) and suspects(points) == [4, 16, 128, 256]


def bursts(seed: int, share: float) -> Disturbance:
    """In so many of all thirds of a second a step takes 100 times as long."""
    chance = np.random.default_rng([9, seed])
    slow: dict[int, float] = {}

    def disturbance(now: float, size: int, step: int) -> float:
        return slow.setdefault(int(3 * now), 100.0 if chance.random() < share else 1.0)

    return disturbance


def test_bursts_never_leave_wrong_times_unsaid() -> None:
    """Either all times are right to a factor of 1.5 against each other, or there is a sign: in each of 24 worlds."""
    said = 0
    for seed in range(12):
        for share in (0.1, 0.5):
            steps = SimulatedSteps(affine(0.002, 100), bursts(seed, share), seed=seed)
            speed = timed(steps, DOUBLINGS)
            off = errors(speed, steps.seconds).values()
            assert speed.check is not None
            said += speed.check.is_busy
            assert speed.check.is_busy or max(off) / min(off) < 1.5
    assert 0 < said < 24


def test_with_too_little_time_to_time_again_a_burst_is_said() -> None:
    for seed in range(20):
        steps = SimulatedSteps(affine(0.002, 100), bursts(seed, 0.3), seed=seed)
        speed = timed(steps, DOUBLINGS, budget=3.0)
        off = errors(speed, steps.seconds).values()
        assert speed.check is not None and (speed.check.is_busy or max(off) / min(off) < 1.5)


@pytest.mark.parametrize("slow", [1, 2, 16, 128, 1024])
def test_a_size_that_is_slowed_down_by_two_is_timed_again_and_said_if_it_stays_so(slow: int) -> None:
    """In 94 % of 500 worlds or more at each of these sizes. The largest size may as well be the bend of a line."""
    found = again = 0
    for seed in range(20):
        steps = SimulatedSteps(affine(0.002, 100), lambda now, size, step: 2.0 if size == slow else 1.0, seed=seed)
        speed = timed(steps, DOUBLINGS)
        assert speed.check is not None
        found += speed.check.signs == ("clock_sizes",) and 1.75 < speed.check.swing < 2.6
        again += steps.order.count(slow) > ROUNDS
    assert found >= 16 and again >= 16


def test_a_size_that_is_slow_for_a_while_is_timed_again_and_right() -> None:
    """Its first six visits take twice as long; those that follow are right, and nothing is left to say."""
    for seed in range(10):
        visits = 0

        def disturbance(now: float, size: int, step: int) -> float:
            nonlocal visits
            visits += size == 128 and step == 0
            return 2.0 if size == 128 and visits <= ROUNDS else 1.0

        steps = SimulatedSteps(affine(0.002, 1000), disturbance, seed=seed)
        speed = timed(steps, DOUBLINGS)
        assert steps.order.count(128) > ROUNDS
        assert errors(speed, steps.seconds)[128] == pytest.approx(1.0, abs=0.25)
        assert speed.check is not None and "clock_sizes" not in speed.check.signs


@pytest.mark.parametrize("since", [1.0, 3.0])
def test_a_machine_that_turns_busy_in_the_middle_is_noticed(since: float) -> None:
    for seed in range(20):
        steps = SimulatedSteps(affine(0.002, 100), lambda now, size, step: 4.0 if now > since else 1.0, seed=seed)
        speed = timed(steps, DOUBLINGS)
        assert speed.check is not None and "clock_visits" in speed.check.signs
        assert speed.check.swing > 3


def test_a_machine_that_is_busy_in_one_round_is_timed_right_without_a_word() -> None:
    for seed in range(10):
        steps = SimulatedSteps(affine(0.002, 100), lambda now, size, step: 10.0 if 2 < now < 2.5 else 1.0, seed=seed)
        speed = timed(steps, DOUBLINGS)
        off = errors(speed, steps.seconds).values()
        assert max(off) / min(off) < 1.4
        assert speed.check is not None and not speed.check.is_busy


def test_steps_that_scatter_within_a_visit_are_a_sign() -> None:
    """Three of four steps wait for another process: their median is not that of a step alone."""
    visit = [1.0, 4.0, 4.0, 5.0] * 5
    assert disagreement([visit] * 6) == (4.0, ("clock_steps",))
    assert disagreement([[1.0, 1.0, 1.0, 9.0] * 5] * 6) == (1.0, ())


def test_what_the_system_says_of_waiting_is_a_sign_by_itself_and_no_reason_not_to_answer() -> None:
    points = [point(size, 1e-3 * (1 + size / 64), waited=0.8) for size in DOUBLINGS]
    check = check_clock(points)
    assert check.signs == ("clock_waited",) and check.waited == 0.8
    assert 1 < check.swing < 4
    assert suspects(points) == DOUBLINGS
    assert check_clock([replace(one, waited=0.05) for one in points]).signs == ()
    assert check_clock([replace(one, waited=None) for one in points]).waited is None


def test_the_quickest_quarter_of_the_visits_counts() -> None:
    assert quiet_visits([[3.0], [1.0], [2.0]]) == [1]
    assert quiet_visits([[5.0], [1.0], [2.0], [9.0], [9.0]]) == [1, 2]
    assert quiet_visits([[5.0]]) == [0]


def test_slow_sizes_are_visited_once_more_each_time_and_not_three_times() -> None:
    steps = SimulatedSteps(affine(0.6, 1e9), lambda now, size, step: 5.0 if size == 16 else 1.0)
    timed(steps, [1, 4, 16, 64])
    assert steps.order.count(16) == 3
    quick = SimulatedSteps(affine(0.002, 1e9), lambda now, size, step: 5.0 if size == 16 else 1.0)
    timed(quick, [1, 4, 16, 64])
    assert quick.order.count(16) == ROUNDS + 2 * AGAIN and quick.order.count(1) == ROUNDS


# What follows from it.


def test_intervals_are_as_wide_as_the_clock_swings_however_often_that_is_said() -> None:
    quiet = with_check(speed_of(*(point(size, 1e-3 * (1 + size / 64)) for size in DOUBLINGS)))
    odd = [replace(one, swing=3.0, signs=("clock_visits",)) if one.batch_size == 64 else one for one in quiet.points]
    busy = with_check(replace(quiet, points=tuple(odd)))
    assert with_check(with_check(busy)) == busy
    for before, after in zip(quiet.points, busy.points, strict=True):
        assert before.step_seconds is not None and after.step_seconds is not None
        assert before.step_seconds.low is not None and before.step_seconds.high is not None
        assert after.step_seconds.low == pytest.approx(before.step_seconds.low / 3)
        assert after.step_seconds.high == pytest.approx(before.step_seconds.high * 3)
        assert after.step_seconds.value == before.step_seconds.value
    assert busy.fit is not None and quiet.fit is not None
    assert busy.fit.knee.low is None or busy.fit.knee.low <= (quiet.fit.knee.low or 0)
    calm = with_check(replace(busy, points=tuple(replace(one, swing=1.0, signs=()) for one in busy.points)))
    for before, after in zip(quiet.points, calm.points, strict=True):
        assert before.step_seconds is not None and after.step_seconds is not None
        assert after.step_seconds.low == pytest.approx(before.step_seconds.low)


def test_a_clock_that_was_extended_has_the_sizes_of_both() -> None:
    old = with_check(speed_of(point(1, 1e-3), point(2, 1.1e-3), point(4, 9e-3)))
    new = with_check(speed_of(point(4, 1.2e-3), point(8, 1.3e-3), SpeedPoint(batch_size=16, fits=False)))
    assert old.check is not None and old.check.signs == ("clock_sizes",)
    both = merged(old, new)
    assert [one.batch_size for one in both.points] == [1, 2, 4, 8, 16]
    assert both.check is not None and both.check.signs == ()
    assert (untimed(both, [4, 8, 32]), untimed(old, [4, 8, 32])) == ([], [8, 32])


def test_a_point_with_an_interval_is_not_given_up_for_a_slower_one_without() -> None:
    thin = SpeedPoint(batch_size=4, step_seconds=Estimate(value=2e-3, n=1, reason="too_few_visits"))
    kept = merged(speed_of(point(4, 1e-3)), speed_of(thin))
    assert kept.points[0].step_seconds == point(4, 1e-3).step_seconds
    quicker = replace(thin, step_seconds=Estimate(value=5e-4, n=1, reason="too_few_visits"))
    taken = merged(speed_of(point(4, 1e-3)), speed_of(quicker))
    assert taken.points[0].step_seconds == quicker.step_seconds


def run_of(size: int, step_seconds: float, *, steps: int = 64, **more: object) -> Run:
    shape = sample_records.advice().runs[0]
    curve = tuple(
        CurvePoint(
            step=step,
            examples=step * size,
            epoch=0.0,
            seconds=step * step_seconds,
            learning_rate=0.1,
            train_loss=1.0,
            train_metric=0.5,
            validation_loss=1.0,
            validation_metric=0.5,
        )
        for step in range(0, steps + 1, 8)
    )
    return replace(
        shape, batch_size=size, steps=steps, seconds=steps * step_seconds, curve=curve, noise=(), noise_every=0, **more
    )


def test_steps_of_training_are_held_against_the_clock() -> None:
    clock = speed_of(*(point(size, 1e-3) for size in (8, 16, 32)))
    assert runs_factor(clock, [run_of(16, 1.5e-3)]) == 1.0
    assert runs_factor(clock, [run_of(16, 5e-3)]) == pytest.approx(5.0)
    assert runs_factor(clock, [run_of(16, 5e-3), run_of(16, 1.2e-3)]) == 1.0  # the quicker one was disturbed less
    assert runs_factor(clock, [run_of(16, 2e-4, steps=640)]) == pytest.approx(0.2)
    assert runs_factor(clock, [run_of(16, 5e-3, steps=8)]) == 1.0  # too few to tell
    assert runs_factor(clock, [replace(run_of(16, 5e-3), noise_every=4)]) == 1.0
    assert runs_factor(clock, [run_of(4096, 5e-3)]) == 1.0  # no such size was timed
    assert runs_factor(clock, []) == 1.0
    checked = with_check(clock, [run_of(16, 5e-3)])
    assert checked.check is not None and checked.check.signs == ("clock_runs",)
    assert checked.check.swing == pytest.approx(5.0) and not is_usable(checked)


def test_sizes_that_may_be_as_good_are_more_by_a_clock_that_swings() -> None:
    advice = sample_records.advice()
    assert advice.best is not None
    quiet = within(advice.points, advice.best, leeway(advice.speed))
    busy = replace(advice.speed, check=check_clock([point(4, 3e-3), point(16, 1e-3)]))
    wide = within(advice.points, advice.best, leeway(busy))
    assert wide[0] <= quiet[0] and wide[1] >= quiet[1] and wide != quiet
    assert leeway(advice.speed) == pytest.approx(0.1)


# What is said.


def busy_speed(factor: float) -> Speed:
    speed = sample_records.speed()
    odd = [replace(one, swing=factor, signs=("clock_visits",)) if one.fits else one for one in speed.points]
    return with_check(replace(speed, points=tuple(replace(one, waited=0.42) if one.fits else one for one in odd)))


def busy_advice(factor: float) -> Advice:
    return replace(sample_records.advice(), speed=busy_speed(factor))


@pytest.mark.parametrize("record", [busy_speed(3.0), busy_advice(3.0)], ids=["speed", "advice"])
@pytest.mark.parametrize(("language", "word"), [("en", "Warning: "), ("zh", "警告：")])
def test_one_warning_stands_under_the_headline(record: Speed | Advice, language: str, word: str) -> None:
    text = summary(record, language)
    lines = text.splitlines()
    assert lines[1].startswith(word) and text.count(word) == 1
    assert "3" in lines[1] and "42 %" in lines[1]


def test_the_report_has_the_warning_once_in_each_language(tmp_path: Path) -> None:
    page = critbatch.report([busy_speed(3.0)], tmp_path / "report.html").read_text(encoding="utf-8")
    mark = 'class="warning" role="note">'
    assert page.count(mark) == 2
    assert page.count(f"{mark}Warning: ") == page.count(f"{mark}警告：") == 1
    text = critbatch.report([busy_speed(3.0)], tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("> Warning: ") == 1


def test_a_quiet_clock_and_a_record_of_an_older_version_have_no_warning() -> None:
    speed = sample_records.speed()
    assert speed.check is None and "Warning" not in summary(speed)
    assert "Warning" not in summary(with_check(speed))
    older = speed.to_json().replace(',"check":null', "")
    for name in ("swing", "waited", "widened", "signs"):
        assert f'"{name}"' in older
    assert Speed.from_json(older) == speed


def test_the_signs_are_among_what_is_to_be_kept_in_mind() -> None:
    for language in ("en", "zh"):
        t = Translator(language)
        assert t.reason("clock_visits") in answer(busy_speed(3.0), t).distrust
        assert t.reason("clock_waited") in answer(busy_speed(3.0), t).distrust


def test_growth_in_proportion_to_the_examples_has_a_wider_limit() -> None:
    """What falls out of a cache takes up to 2.5 times as long; beyond, it is a sign."""
    assert check_clock([point(4, 1.0), point(8, 2 * 0.99 * GROWS)]).signs == ()
    assert check_clock([point(4, 1.0), point(8, 2 * 1.01 * GROWS)]).signs == ("clock_sizes",)
