"""Seconds of a step on many devices: the model in closed form, its constants found again, and published tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import sample_records as sample
from critbatch.errors import UserError
from critbatch.law.allreduce import LINKS, sync_seconds
from critbatch.law.cluster import Compute, combined, compute_of, step_seconds_on, waiting_factor, waiting_seconds
from critbatch.law.cluster_fit import StepFit, fit_constants
from critbatch.law.published_clusters import FAMILIES, GOYAL, LAMB, PUBLISHED, PublishedCluster
from critbatch.law.scaling import ScalingPredictor, checked_devices, given_law, law_of, steps_at, worth_until
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import Estimate, Speed, SpeedPoint
from critbatch.records.scaling import Algorithm, Constants, ScalePoint, StepMeasurement
from sample_scaling import CONSTANTS

SPEED = sample.speed()
LAW = given_law(220, 130)
ALONE = Compute(micro_batch_size=32, passes=1, seconds=0.1)
FLAT = replace(CONSTANTS, devices_per_node=1, within=None, gradient_bytes=100_000_000, buckets=4)
FAST = replace(FLAT, between=LINKS["nvlink-4"])


def measurement(
    devices: int, seconds: float, batch_size: int | None = None, micro: int | None = None
) -> StepMeasurement:
    return StepMeasurement(
        devices=devices,
        batch_size=batch_size or 32 * devices,
        step_seconds=Estimate(value=seconds, n=1, reason="given"),
        source="given",
        micro_batch_size=micro,
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


@pytest.mark.parametrize(("devices", "passes"), [(2, 2), (8, 5), (64, 40), (1024, 300)])
def test_the_wait_over_many_passes_is_that_for_the_largest_sum_of_delays(devices: int, passes: int) -> None:
    sums = np.random.default_rng(0).gamma(passes, 1.0, (200_000 // devices + 500, devices))
    latest = sums.max(1)
    error = latest.std() / math.sqrt(len(latest))
    assert waiting_factor(devices, passes) == pytest.approx(latest.mean() - passes, abs=4 * error)
    assert waiting_factor(1, passes) == 0.0
    # It grows with the passes, but by less than they do: delays of one device even out.
    assert waiting_factor(devices) < waiting_factor(devices, passes) < passes * waiting_factor(devices)


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


def test_a_pass_holds_no_more_examples_than_were_asked_for() -> None:
    eight = compute_of(SPEED, 512, 4, micro_batch_size=16)
    assert (eight.passes, eight.micro_batch_size) == (8, 16)
    assert eight.seconds == pytest.approx(8 * step_seconds_at(SPEED, 16).value)
    with pytest.raises(UserError, match=r"micro_batch_size=100000 is not possible: use 1 to \d+, the largest"):
        compute_of(SPEED, 512, 4, micro_batch_size=100_000)


def test_passes_are_slower_by_each_kind_of_neighbour_and_a_step_pays_once_for_its_sum() -> None:
    constants = replace(CONSTANTS, pass_slowdown=0.1, joining_seconds=0.5)
    one, two = (step_seconds_on(constants, passes_of(passes), 8) for passes in (1, 2))
    assert two - one == pytest.approx(0.1 * 1.1)  # all on one node
    one, two = (step_seconds_on(constants, passes_of(passes), 16) for passes in (1, 2))
    assert two - one == pytest.approx(0.1 * 1.2)  # on two nodes
    assert one > 0.12 + 0.5


def test_a_program_gets_a_share_of_a_published_bandwidth_and_all_of_a_measured_one() -> None:
    half = replace(FLAT, link_efficiency=0.5)
    latencies = sync_seconds(replace(FLAT, between=replace(FLAT.between, bytes_per_second=1e30)), 16)
    assert sync_seconds(half, 16) - latencies == pytest.approx(2 * (sync_seconds(FLAT, 16) - latencies))
    measured = replace(half, between=replace(FLAT.between, achieved=True))
    assert sync_seconds(measured, 16) == pytest.approx(sync_seconds(FLAT, 16))


def test_each_part_of_a_step_is_where_the_formula_has_it() -> None:
    constants = replace(FLAT, overlap=2.0, joining_seconds=0.003, delay_seconds=0.01)
    sync = sync_seconds(constants, 16)
    harmonic = sum(1 / k for k in range(1, 17))
    expected = math.hypot(0.1, sync) + 0.003 + 0.01 * (harmonic - 1)
    assert step_seconds_on(constants, ALONE, 16) == pytest.approx(expected)


def steps_in_passes(constants: Constants, rows: list[tuple[int, int]]) -> list[StepMeasurement]:
    """Steps on some devices in some passes of 32 examples and 0.1 s each."""
    return [
        measurement(n, step_seconds_on(constants, passes_of(passes), n), batch_size=32 * n * passes, micro=32)
        for n, passes in rows
    ]


def passes_of(passes: int) -> Compute:
    return Compute(micro_batch_size=32, passes=passes, seconds=0.1 * passes)


def compute_in_passes(each: StepMeasurement) -> Compute:
    return passes_of(each.batch_size // each.devices // 32)


@pytest.mark.parametrize(
    "truth",
    [
        {"joining_seconds": 0.02, "delay_seconds": 0.004, "pass_slowdown": 0.03},
        {"joining_seconds": 0.001, "delay_seconds": 0.002, "pass_slowdown": 0.002},
    ],
)
def test_steps_without_scatter_tell_what_grows_with_passes_from_what_is_paid_once(truth: dict[str, float]) -> None:
    achieved = replace(FLAT, overlap=1.5, between=replace(FLAT.between, achieved=True), **truth)  # type: ignore[arg-type]
    rows = [(2, 64), (8, 16), (8, 64), (32, 4), (64, 2), (64, 64), (512, 1), (512, 8)]
    fit = fit_constants(steps_in_passes(achieved, rows), achieved, compute_in_passes, scatter=1e-6)
    assert fit.worst_miss < 1e-4
    for name, value in truth.items():
        assert getattr(fit.constants, name) == pytest.approx(value, rel=0.02), name
        assert fit.constants.sources[name] == "source_fitted"
    unseen = passes_of(3)
    assert fit.step(unseen, 128).value == pytest.approx(step_seconds_on(achieved, unseen, 128), rel=1e-3)


@pytest.mark.parametrize("devices", [2, 8])
def test_one_number_of_devices_fixes_its_own_step_and_leaves_the_others_open(devices: int) -> None:
    slow = replace(FAST, joining_seconds=0.03)
    fit = fit_constants(steps_by(slow, (devices,)), FAST, lambda _: ALONE, scatter=1e-4)
    assert fit.worst_miss < 1e-3
    near, far = (fit.step(ALONE, n) for n in (devices, 64 * devices))
    assert near.low is not None and near.high is not None and far.low is not None and far.high is not None
    assert near.high / near.low < 1.1 < far.high / far.low
    # From a constant cost a step to one that grows with the devices, all are possible.
    assert far.low < step_seconds_on(slow, ALONE, 64 * devices) * 1.05


def test_two_points_tell_the_pass_on_one_device_within_a_few_per_cent() -> None:
    fit = fit_constants(steps_in_passes(replace(FLAT, overlap=1.4, delay_seconds=0.002), [(8, 32), (16, 16)]), FLAT)
    assert fit.compute_seconds == pytest.approx(0.1, rel=0.05)


def test_a_constant_that_measured_steps_do_not_tell_is_said_to_be_typical() -> None:
    fit = fit_constants(steps_in_passes(FLAT, [(8, 32), (16, 16)]), FLAT)
    assert fit.constants.sources["joining_seconds"] == "source_typical"
    long = fit_constants(steps_in_passes(replace(FLAT, pass_slowdown=0.2), [(1, 8), (8, 64), (16, 32)]), FLAT)
    assert long.constants.sources["pass_slowdown"] == "source_fitted"


def simulated_step(
    generator: np.random.Generator, devices: int, passes: int, each: float, delay: float, once: float, rounds: int
) -> float:
    """Mean seconds of a step, device by device and pass by pass: each is late at random in every pass."""
    late = generator.exponential(delay, (rounds, devices, passes)) - delay
    return float((each * passes + late.sum(2)).max(1).mean() + once)


@pytest.mark.parametrize(("devices", "passes"), [(2, 1), (16, 1), (16, 8), (64, 32)])
def test_the_step_is_that_of_a_simulation_of_late_devices(devices: int, passes: int) -> None:
    free = replace(FLAT.between, latency_seconds=0.0, bytes_per_second=1e30, achieved=True)
    constants = replace(FLAT, between=free, delay_seconds=0.01, joining_seconds=0.02, pass_slowdown=0.1)
    simulated = simulated_step(np.random.default_rng(1), devices, passes, 0.11, 0.01, 0.02, 4000)
    assert step_seconds_on(constants, passes_of(passes), devices) == pytest.approx(simulated, rel=0.003)


def test_intervals_hold_on_clusters_whose_constants_are_nobodys_typical_ones() -> None:
    """24 simulated clusters, each cost 0.6 to 16 % of a pass, uniform in its logarithm, at 32 times the devices."""
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(24):
        delay, once, slower = (0.1 * 10 ** generator.uniform(-2.2, -0.8) for _ in range(3))

        def seconds(
            devices: int, passes: int, delay: float = delay, once: float = once, slower: float = slower
        ) -> float:
            each = 0.1 + slower * (devices > 1)
            mean = simulated_step(generator, devices, passes, each, delay, once * (devices > 1), 60)
            return mean * math.exp(0.012 * generator.standard_normal())

        measured = [
            measurement(n, seconds(n, passes), batch_size=32 * n * passes, micro=32) for n, passes in ((4, 32), (8, 16))
        ]
        fit = fit_constants(measured, FAST)
        assert fit.compute_seconds is not None
        step = fit.step(Compute(micro_batch_size=32, passes=1, seconds=fit.compute_seconds), 256)
        assert step.low is not None and step.high is not None
        held += step.low <= seconds(256, 1) <= step.high
    assert 15 <= held <= 24  # 99 % of binomial(24, 0.8)


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
    fit, misses = from_two_smallest(table, table.constants)
    smallest = sorted(misses)[:2]
    assert [table.measured[i].devices for i in (0, 1)] == smallest
    assert all(abs(misses[n]) < 0.01 for n in smallest)
    assert max(map(abs, misses.values())) < 0.10
    assert set(fit.constants.sources) >= {"gradient_bytes", "buckets", "overlap", "delay_seconds", "pass_slowdown"}


BERT_ON_A100 = [table for table in FAMILIES["accumulating"] if table.name.startswith(("pytorch-a100", "paddle-a100"))]


def test_steps_of_many_passes_tell_those_of_few_on_published_clusters() -> None:
    """BERT-large on 8 to 256 A100 at one batch size, fitted on 8 and 16: eight tables, 32 steps, none of them fitted.

    One cost a step that explains all of the two smallest would be 16 to 177 % too slow on 256.
    """
    model, hold, covered = [], [], 0
    for table in BERT_ON_A100:
        seconds = table.alone_seconds
        assert seconds is not None and len(table.measured) == 6
        compute = in_passes_of(seconds)
        fit = fit_constants(table.measured[:2], table.constants, compute)
        last = table.measured[1]
        for each in table.measured[2:]:
            step, took = fit.step(compute(each), each.devices), each.step_seconds.value
            assert step.low is not None and step.high is not None
            model.append(math.log(step.value / took))
            hold.append(math.log(last.step_seconds.value * compute(each).passes / compute(last).passes / took))
            covered += step.low <= took <= step.high
    misses = np.abs(model)
    assert misses.mean() < 0.035 < np.abs(hold).mean()
    assert misses[3::4].max() < 0.21  # 256 devices
    assert abs(np.mean(model)) < 0.02
    assert covered >= 22  # 99 % of binomial(32, 0.8)


def in_passes_of(seconds: float) -> Callable[[StepMeasurement], Compute]:
    def compute(each: StepMeasurement) -> Compute:
        assert each.micro_batch_size is not None
        passes = math.ceil(each.batch_size / each.devices / each.micro_batch_size)
        return Compute(micro_batch_size=each.micro_batch_size, passes=passes, seconds=passes * seconds)

    return compute


def test_every_published_table_has_a_source_and_steps_in_passes_of_one_size() -> None:
    tables = [table for family in FAMILIES.values() for table in family]
    assert len({table.name for table in tables}) == len(tables) == 61
    for table in tables:
        devices = [each.devices for each in table.measured]
        assert devices == sorted(set(devices)) and len(devices) >= 3, table.name
        assert table.source and all(each.source for each in table.measured)
        (micro,) = {each.micro_batch_size for each in table.measured}
        assert all(each.batch_size % (each.devices * (micro or 0)) == 0 for each in table.measured), table.name
        rates = [each.batch_size / each.step_seconds.value for each in table.measured]
        assert rates == sorted(rates), table.name
    assert all(table.accumulates for table in FAMILIES["accumulating"])
    assert not any(table.accumulates for name in ("weak", "weak from one device") for table in FAMILIES[name])


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


def test_goyals_steps_are_told_better_than_by_holding_the_last_one() -> None:
    _, misses = from_two_smallest(GOYAL, GOYAL.constants)
    held = GOYAL.measured[1].step_seconds.value / GOYAL.measured[2].step_seconds.value - 1
    assert abs(misses[352]) < abs(held)
    ring, halved = (
        sync_seconds(GOYAL.constants, 256, algorithm) for algorithm in (Algorithm.RING, Algorithm.HALVING_DOUBLING)
    )
    assert 1 < ring / halved < 3


def test_lambs_steps_grow_by_more_than_the_network_explains() -> None:
    fit, misses = from_two_smallest(LAMB, LAMB.constants)
    assert 0.01 < fit.constants.delay_seconds < 0.03
    # The network alone, whose constants are known, adds half a millisecond where 0.09 s were seen.
    assert sync_seconds(LAMB.constants, 1024) - sync_seconds(LAMB.constants, 16) < 6e-4
    assert LAMB.measured[-1].step_seconds.value - LAMB.measured[0].step_seconds.value > 0.09
    held = LAMB.measured[1].step_seconds.value / LAMB.measured[-1].step_seconds.value - 1
    assert abs(misses[1024]) < abs(held) / 2


def test_a_step_has_the_same_interval_each_time_and_a_wider_one_at_a_higher_level() -> None:
    fits = [fit_constants(GOYAL.measured[:2], GOYAL.constants) for _ in range(2)]
    assert fits[0].step(ALONE, 512) == fits[1].step(ALONE, 512)
    narrow, wide = (fits[0].step(ALONE, 512, level) for level in (0.8, 0.95))
    assert wide.low is not None and narrow.low is not None and narrow.high is not None and wide.high is not None
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_interval_of_a_time_holds_those_of_the_steps_and_of_a_step() -> None:
    fit = fit_constants(steps_by(replace(FLAT, joining_seconds=0.03), (2, 8)), FLAT, lambda _: ALONE)
    law = law_of(sample.advice())
    bare, fitted = (ScalingPredictor(SPEED, fit.constants, law=law, fit=each).point(16, 256) for each in (None, fit))
    assert bare.step_interval is None and fitted.step_interval is not None
    assert bare.seconds is not None and fitted.seconds is not None
    assert bare.seconds.low is not None and fitted.seconds.low is not None
    assert bare.seconds.high is not None and fitted.seconds.high is not None
    assert fitted.seconds.value == bare.seconds.value
    assert fitted.seconds.low < bare.seconds.low and bare.seconds.high < fitted.seconds.high
    step, steps = fitted.step_interval, fitted.steps
    assert step.high is not None and steps is not None and steps.high is not None and step.level == steps.level
    both = math.hypot(math.log(step.high / step.value), math.log(steps.high / steps.value))
    assert math.log(fitted.seconds.high / fitted.seconds.value) == pytest.approx(both)


def test_the_best_batch_size_is_the_soonest_of_all_that_could_be_shared_equally() -> None:
    outlook = ScalingPredictor(SPEED, CONSTANTS, law=LAW)
    (found,) = outlook.best([4])
    times = {size: outlook.point(4, size).seconds for size in range(4, SPEED.examples + 1, 4)}
    soonest = min(seconds.value for seconds in times.values() if seconds is not None)
    assert found.seconds is not None
    assert found.batch_size % 4 == 0
    assert found.seconds.value == pytest.approx(soonest, rel=0.05)
    assert found.seconds.value == pytest.approx(steps_at(LAW, found.batch_size).value * found.step_seconds)
    assert found.device_hours == pytest.approx(4 * found.seconds.value / 3600)


def test_speed_ups_are_against_one_device_also_where_it_was_not_asked_for() -> None:
    outlook = ScalingPredictor(SPEED, CONSTANTS, law=LAW, price=3.0)
    (alone,), (eight,) = outlook.best([1]), outlook.best([8])
    assert alone.seconds is not None and eight.seconds is not None and eight.device_hours is not None
    assert (alone.speed_up, alone.efficiency) == (1.0, 1.0)
    assert eight.speed_up == pytest.approx(alone.seconds.value / eight.seconds.value)
    assert eight.efficiency == pytest.approx(eight.speed_up / 8)
    assert eight.cost == pytest.approx(3.0 * eight.device_hours)


def test_without_communication_weak_scaling_is_perfect() -> None:
    free = replace(FLAT, gradient_bytes=1, between=replace(FLAT.between, latency_seconds=0.0, bytes_per_second=1e30))
    points = ScalingPredictor(SPEED, free).weak((1, 2, 16), 64)
    assert [point.efficiency for point in points] == [pytest.approx(1.0)] * 3
    assert [point.batch_size for point in points] == [64, 128, 1024]


def test_strong_scaling_ends_where_each_device_has_an_example_and_weak_where_the_data_do() -> None:
    outlook = ScalingPredictor(SPEED, CONSTANTS)
    assert [point.devices for point in outlook.strong((1, 2, 4, 8, 16), 8)] == [1, 2, 4, 8]
    assert [point.devices for point in outlook.weak((1, 2, 4, 8, 16), 256)] == [1, 2, 4]
    assert outlook.best((1, 2)) == ()
    assert [point.devices for point in ScalingPredictor(SPEED, CONSTANTS, law=LAW).best((1024, 2048))] == [1024]


def points_taking(times: dict[int, float]) -> list[ScalePoint]:
    point = ScalingPredictor(SPEED, CONSTANTS, law=LAW).point(1, 64)
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
        (lambda: ScalingPredictor(SPEED, CONSTANTS, price=-1.0), "use 0 or more"),
        (lambda: replace(CONSTANTS, overlap=0.5), "use 1 or more for the overlap"),
        (lambda: replace(CONSTANTS, delay_seconds=math.nan), "0 or more for the others"),
        (lambda: replace(CONSTANTS, within=None), "give --node-link"),
        (lambda: replace(CONSTANTS, buckets=0), "must be 1 or more"),
        (lambda: replace(CONSTANTS, pass_slowdown=-0.1), "0 or more for the slowdown"),
        (lambda: replace(CONSTANTS, link_efficiency=0.0), "above 0 for the efficiency"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(wrong: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()  # type: ignore[operator]


def test_a_task_of_which_nothing_fits_says_which_command_times_it() -> None:
    nothing: Speed = replace(SPEED, points=(SpeedPoint(batch_size=1, fits=False),))
    with pytest.raises(UserError, match="run `critbatch speed digits-mlp` first"):
        compute_of(nothing, 8, 1)
