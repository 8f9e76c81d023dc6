"""Seconds of a step on many devices: the model in closed form, its constants found again, and published tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import sample_records as sample
from critbatch.errors import UserError
from critbatch.predict.all_reduce import sync_seconds
from critbatch.predict.cluster import (
    Compute,
    StepFit,
    combined,
    compute_of,
    fit_constants,
    step_seconds_on,
    waiting_seconds,
)
from critbatch.predict.devices import Outlook, checked_devices, worth_until
from critbatch.predict.knee import step_seconds_at
from critbatch.predict.published_clusters import GOYAL, LAMB, PUBLISHED, PublishedCluster
from critbatch.predict.steps_law import given_law, law_of, steps_at
from critbatch.records import Estimate, Speed, SpeedPoint
from critbatch.scale_records import Algorithm, Constants, ScalePoint, StepMeasurement
from sample_scale import CONSTANTS

SPEED = sample.speed()
LAW = given_law(220, 130)
ALONE = Compute(micro_batch_size=32, passes=1, seconds=0.1)
FLAT = replace(CONSTANTS, devices_per_node=1, within=None, gradient_bytes=100_000_000, buckets=4)


def measurement(devices: int, seconds: float, batch_size: int | None = None) -> StepMeasurement:
    return StepMeasurement(
        devices=devices,
        batch_size=batch_size or 32 * devices,
        step_seconds=Estimate(value=seconds, n=1, reason="given"),
        source="given",
    )


def steps_by(constants: Constants, numbers: tuple[int, ...]) -> list[StepMeasurement]:
    return [measurement(n, step_seconds_on(constants, ALONE, n)) for n in numbers]


def test_without_overlap_both_parts_add_and_with_much_the_longer_one_stays() -> None:
    assert combined(0.3, 0.1, 1.0) == pytest.approx(0.4)
    assert combined(0.3, 0.1, 10.0) == pytest.approx(0.3, rel=1e-4)
    assert combined(0.2, 0.2, 10.0) == pytest.approx(0.2 * 2**0.1)
    assert combined(1e-300, 1e300, 10.0) == pytest.approx(1e300)
    assert combined(0.0, 0.0, 2.0) == 0.0


def test_the_wait_is_that_for_the_latest_of_exponential_delays() -> None:
    drawn = np.random.default_rng(0).exponential(0.02, (40_000, 64))
    assert waiting_seconds(0.02, 64) == pytest.approx(drawn.max(1).mean() - 0.02, rel=0.01)
    assert waiting_seconds(0.02, 1) == 0.0


def test_one_device_takes_what_was_timed() -> None:
    constants = replace(FLAT, overlap=3.0, joining_seconds=1.0, delay_seconds=1.0)
    for size in (1, 64, 100, 1437):
        assert step_seconds_on(constants, compute_of(SPEED, size, 1), 1) == step_seconds_at(SPEED, size).value


def test_a_share_is_rounded_up_and_one_that_does_not_fit_goes_in_equal_passes() -> None:
    small = replace(SPEED, points=tuple(point for point in SPEED.points if point.batch_size in (8, 16, 32)))
    assert compute_of(small, 65, 4).micro_batch_size == 17
    three = compute_of(small, 96, 1)
    assert (three.passes, three.micro_batch_size) == (3, 32)
    assert three.seconds == pytest.approx(3 * step_seconds_at(small, 32).value)
    below = compute_of(small, 4, 2)
    assert (below.micro_batch_size, below.seconds) == (2, step_seconds_at(small, 8).value)
    sync = sync_seconds(FLAT, 2)
    assert step_seconds_on(FLAT, compute_of(small, 192, 2), 2) == pytest.approx(three.seconds + sync)


def test_each_part_of_a_step_is_where_the_formula_has_it() -> None:
    constants = replace(FLAT, overlap=2.0, joining_seconds=0.003, delay_seconds=0.01)
    sync = sync_seconds(constants, 16)
    harmonic = sum(1 / k for k in range(1, 17))
    expected = math.hypot(0.1, sync) + 0.003 + 0.01 * (harmonic - 1)
    assert step_seconds_on(constants, ALONE, 16) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "numbers"),
    [
        ({"joining_seconds": 0.02}, (2,)),
        ({"overlap": 1.7}, (8,)),
        ({"joining_seconds": 0.02, "delay_seconds": 0.004}, (2, 32)),
        ({"overlap": 1.7, "delay_seconds": 0.004}, (4, 64)),
        ({"overlap": 1.7, "joining_seconds": 0.02, "delay_seconds": 0.004}, (2, 8, 64, 512)),
    ],
)
def test_constants_are_found_again_from_steps_made_with_them(truth: dict[str, float], numbers: tuple[int, ...]) -> None:
    told = replace(FLAT, **truth)  # type: ignore[arg-type]
    found = fit_constants(steps_by(told, numbers), FLAT, lambda _: ALONE)
    assert found.worst_miss < 1e-6
    for name in ("overlap", "joining_seconds", "delay_seconds"):
        assert getattr(found.constants, name) == pytest.approx(getattr(told, name), rel=1e-3, abs=1e-6)
        assert found.constants.sources[name] == ("source_fitted" if name in truth else "source_not_seen")


@pytest.mark.parametrize("truth", [{"overlap": 1.4}, {"delay_seconds": 0.004}])
def test_two_points_tell_the_step_on_one_device_and_one_more_number(truth: dict[str, float]) -> None:
    told = replace(FLAT, **truth)  # type: ignore[arg-type]
    found = fit_constants(steps_by(told, (8, 256)), FLAT)
    assert found.compute_seconds == pytest.approx(0.1, rel=1e-4)
    for name, value in truth.items():
        assert getattr(found.constants, name) == pytest.approx(value, rel=1e-3)


def test_what_one_number_of_devices_cannot_tell_is_refused() -> None:
    with pytest.raises(UserError, match="tell nothing of the others"):
        fit_constants([measurement(8, 0.1), measurement(8, 0.2)], FLAT)
    with pytest.raises(UserError, match="tell nothing of the others"):
        fit_constants([measurement(1, 0.1)], FLAT, lambda _: ALONE)
    with pytest.raises(UserError, match="the same batch size on each device"):
        fit_constants([measurement(8, 0.1), measurement(16, 0.2, batch_size=1600)], FLAT)


def from_two_smallest(table: PublishedCluster, constants: Constants) -> tuple[StepFit, dict[int, float]]:
    """The fit, and predicted over published seconds less one by devices, of all points."""
    found = fit_constants(table.measured[:2], constants)
    assert found.compute_seconds is not None
    alone = replace(ALONE, seconds=found.compute_seconds)
    return found, {
        each.devices: step_seconds_on(found.constants, alone, each.devices) / each.step_seconds.value - 1
        for each in table.measured
    }


@pytest.mark.parametrize("table", PUBLISHED.values(), ids=list(PUBLISHED))
def test_published_steps_are_told_within_ten_percent_from_the_two_smallest(table: PublishedCluster) -> None:
    found, misses = from_two_smallest(table, table.constants)
    smallest = sorted(misses)[:2]
    assert [table.measured[i].devices for i in (0, 1)] == smallest
    assert all(abs(misses[n]) < 1e-6 for n in smallest)
    assert max(map(abs, misses.values())) < 0.10
    assert set(found.constants.sources) >= {"gradient_bytes", "buckets", "overlap", "delay_seconds"}


def test_the_published_numbers_are_those_of_the_papers() -> None:
    goyal = {each.devices: each.step_seconds.value for each in GOYAL.measured}
    assert goyal == {
        8: pytest.approx(0.232, abs=5e-4),
        256: pytest.approx(0.256, abs=5e-4),
        352: pytest.approx(0.264, abs=5e-4),
    }
    lamb = [each.step_seconds.value for each in LAMB.measured]
    assert lamb == [pytest.approx(s, abs=6e-4) for s in (0.298, 0.311, 0.308, 0.333, 0.375, 0.384, 0.389)]
    assert {each.batch_size / each.devices for each in (*GOYAL.measured, *LAMB.measured)} == {32.0}


def test_goyals_steps_show_communication_that_is_partly_hidden_and_the_ring_is_further_off() -> None:
    found, misses = from_two_smallest(GOYAL, GOYAL.constants)
    assert found.constants.overlap == pytest.approx(1.34, abs=0.01)
    assert found.constants.delay_seconds == 0.0
    assert abs(misses[352]) < 0.01
    _, by_ring = from_two_smallest(GOYAL, replace(GOYAL.constants, algorithm=Algorithm.RING))
    assert by_ring[352] > 0.03
    ring, halved = (
        sync_seconds(GOYAL.constants, 256, algorithm) for algorithm in (Algorithm.RING, Algorithm.HALVING_DOUBLING)
    )
    assert 1 < ring / halved < 3


def test_lambs_steps_grow_by_more_than_the_network_explains() -> None:
    found, misses = from_two_smallest(LAMB, LAMB.constants)
    assert found.constants.overlap == 1.0
    assert found.constants.delay_seconds == pytest.approx(0.0187, abs=1e-4)
    # The network alone, whose constants are known, adds half a millisecond where 0.09 s were seen.
    assert sync_seconds(LAMB.constants, 1024) - sync_seconds(LAMB.constants, 16) < 6e-4
    assert LAMB.measured[-1].step_seconds.value - LAMB.measured[0].step_seconds.value > 0.09
    assert misses[256] == pytest.approx(-0.066, abs=0.002)


def test_the_best_batch_size_is_the_soonest_of_all_that_could_be_shared_equally() -> None:
    outlook = Outlook(SPEED, CONSTANTS, law=LAW)
    (found,) = outlook.best([4])
    times = {size: outlook.point(4, size).seconds for size in range(4, SPEED.examples + 1, 4)}
    soonest = min(seconds.value for seconds in times.values() if seconds is not None)
    assert found.seconds is not None
    assert found.batch_size % 4 == 0
    assert found.seconds.value == pytest.approx(soonest, rel=0.05)
    assert found.seconds.value == pytest.approx(steps_at(LAW, found.batch_size).value * found.step_seconds)
    assert found.device_hours == pytest.approx(4 * found.seconds.value / 3600)


def test_speed_ups_are_against_one_device_also_where_it_was_not_asked_for() -> None:
    outlook = Outlook(SPEED, CONSTANTS, law=LAW, price=3.0)
    (alone,), (eight,) = outlook.best([1]), outlook.best([8])
    assert alone.seconds is not None and eight.seconds is not None and eight.device_hours is not None
    assert (alone.speed_up, alone.efficiency) == (1.0, 1.0)
    assert eight.speed_up == pytest.approx(alone.seconds.value / eight.seconds.value)
    assert eight.efficiency == pytest.approx(eight.speed_up / 8)
    assert eight.cost == pytest.approx(3.0 * eight.device_hours)


def test_without_communication_weak_scaling_is_perfect() -> None:
    free = replace(FLAT, gradient_bytes=1, between=replace(FLAT.between, latency_seconds=0.0, bytes_per_second=1e30))
    points = Outlook(SPEED, free).weak((1, 2, 16), 64)
    assert [point.efficiency for point in points] == [pytest.approx(1.0)] * 3
    assert [point.batch_size for point in points] == [64, 128, 1024]


def test_strong_scaling_ends_where_each_device_has_an_example_and_weak_where_the_data_do() -> None:
    outlook = Outlook(SPEED, CONSTANTS)
    assert [point.devices for point in outlook.strong((1, 2, 4, 8, 16), 8)] == [1, 2, 4, 8]
    assert [point.devices for point in outlook.weak((1, 2, 4, 8, 16), 256)] == [1, 2, 4]
    assert outlook.best((1, 2)) == ()
    assert [point.devices for point in Outlook(SPEED, CONSTANTS, law=LAW).best((1024, 2048))] == [1024]


def points_taking(times: dict[int, float]) -> list[ScalePoint]:
    point = Outlook(SPEED, CONSTANTS, law=LAW).point(1, 64)
    return [
        replace(point, devices=n, seconds=Estimate(value=seconds, n=1, reason="given")) for n, seconds in times.items()
    ]


@pytest.mark.parametrize(
    ("times", "last"),
    [
        ({1: 100, 2: 50, 4: 25, 8: 21, 16: 10}, 4),
        ({1: 100, 2: 79.9, 4: 63.8}, 4),
        ({1: 100, 2: 80.1, 4: 10}, 1),
        ({1: 100, 8: 51.3}, 1),  # a third root of 0.513 is 0.8005
        ({1: 100, 8: 51.1}, 8),
        ({16: 5.0}, 16),
        ({}, None),
    ],
)
def test_devices_are_worth_it_up_to_the_first_doubling_that_takes_off_too_little(
    times: dict[int, float], last: int | None
) -> None:
    assert worth_until(points_taking(times)) == last


def test_the_law_of_an_advice_is_its_own() -> None:
    law = law_of(sample.advice())
    assert law is not None and sample.advice().law is not None
    assert (law.min_steps, law.critical_batch_size) == (sample.LAW.min_steps, sample.LAW.noise_examples)
    steps = steps_at(law, 130)
    assert steps.value == pytest.approx(2 * law.min_steps.value)
    assert law.min_steps.low is not None
    assert steps.low == pytest.approx(2 * law.min_steps.low)
    assert law_of(replace(sample.advice(), law=None)) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: given_law(0, 100), "make no law"),
        (lambda: given_law(math.inf, 100), "make no law"),
        (lambda: checked_devices([]), "No number of devices was given"),
        (lambda: checked_devices([0]), "0 devices are not possible: use 1 to 4096"),
        (lambda: checked_devices([5000]), "5000 devices are not possible"),
        (lambda: compute_of(SPEED, 4, 8), "cannot be shared by 8 devices"),
        (lambda: worth_until([], 0.5), "a doubling takes off at most half"),
        (lambda: worth_until([], 0.0), "a doubling takes off at most half"),
        (lambda: Outlook(SPEED, CONSTANTS, price=-1.0), "use 0 or more"),
        (lambda: replace(CONSTANTS, overlap=0.5), "use 1 or more for the overlap"),
        (lambda: replace(CONSTANTS, delay_seconds=math.nan), "0 or more for the others"),
        (lambda: replace(CONSTANTS, within=None), "give --node-link"),
        (lambda: replace(CONSTANTS, buckets=0), "must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(wrong: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()  # type: ignore[operator]


def test_a_task_of_which_nothing_fits_says_which_command_times_it() -> None:
    nothing: Speed = replace(SPEED, points=(SpeedPoint(batch_size=1, fits=False),))
    with pytest.raises(UserError, match="run `critbatch speed digits-mlp` first"):
        compute_of(nothing, 8, 1)
