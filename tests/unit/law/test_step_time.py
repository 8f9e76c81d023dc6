"""The knee is found where it is known, and times between measured sizes are those that were measured."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critbatch.errors import UserError
from critbatch.law.step_time import fit_knee, step_seconds_at, throughput_knee, with_fit
from critbatch.records.core import Estimate, Machine, Provenance, Speed, SpeedFit, SpeedPoint

MACHINE = Machine(
    processor="",
    cores=1,
    threads=1,
    memory_bytes=1,
    device="cpu",
    accelerator="",
    system="",
    python="",
    torch="",
    critbatch="",
)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Seconds per update, read off the lecture's figure: MNIST on a V100.
V100 = {1: 0.00605, 10: 0.0073, 100: 0.026, 1000: 0.152, 10_000: 1.547, 60_000: 9.49}

# How long a fit takes on a busy machine is not what is tested.
at_leisure = settings(deadline=None, max_examples=50)

positive = st.floats(1e-6, 1e3)
tables = st.dictionaries(st.integers(1, 10**6), positive, min_size=2, max_size=12)


def speed_of(seconds: dict[int, float], *, spread: float | None = None) -> Speed:
    """A record with these times, each with an interval from 1 / `spread` to `spread` times it, where that is given."""

    def point(size: int, value: float) -> SpeedPoint:
        found = Estimate(value=value, n=9, reason="too_few_visits")
        if spread is not None:
            found = Estimate(value=value, n=9, low=value / spread, high=value * spread)
        return SpeedPoint(batch_size=size, step_seconds=found)

    points = tuple(point(size, seconds[size]) for size in sorted(seconds))
    provenance = Provenance(command="", started="", wall_seconds=0.0, seed=0, machine=MACHINE)
    return Speed(task="t", unit="image", examples=60_000, points=points, provenance=provenance)


def fitted(seconds: dict[int, float], *, spread: float | None = None) -> SpeedFit:
    fit = fit_knee(speed_of(seconds, spread=spread))
    assert fit is not None
    return fit


def line(fixed: float, example: float, sizes: tuple[int, ...] = SIZES) -> dict[int, float]:
    return {size: fixed + example * size for size in sizes}


# The fit.


@at_leisure
@given(st.floats(1e-6, 1.0), st.floats(0.1, 1000.0))
def test_a_straight_line_is_found_exactly(fixed: float, knee: float) -> None:
    fit = fitted(line(fixed, fixed / knee))
    assert fit.fixed_seconds == pytest.approx(fixed, rel=1e-6)
    assert fit.example_seconds == pytest.approx(fixed / knee, rel=1e-6)
    assert fit.knee.value == pytest.approx(knee, rel=1e-6)
    assert fit.worst_miss < 1e-6


@at_leisure
@given(tables.filter(lambda table: len(table) >= 3), st.floats(1e-3, 1e3))
def test_a_clock_in_other_units_leaves_the_knee_where_it_is(seconds: dict[int, float], unit: float) -> None:
    fit, other = fitted(seconds), fitted({size: unit * value for size, value in seconds.items()})
    assert fit.fixed_seconds > 0 and fit.example_seconds > 0
    assert fit.knee.value == pytest.approx(fit.fixed_seconds / fit.example_seconds)
    assert squares(seconds, other.fixed_seconds / unit, other.example_seconds / unit) == pytest.approx(
        squares(seconds, fit.fixed_seconds, fit.example_seconds), rel=1e-6, abs=1e-9
    )
    if fit.knee.low is not None and fit.knee.high is not None:
        assert fit.knee.low <= fit.knee.value <= fit.knee.high


@at_leisure
@given(tables.filter(lambda table: len(table) >= 3), st.floats(0, 1), st.floats(-5, 5))
def test_no_other_line_is_nearer_in_relative_error(seconds: dict[int, float], place: float, up: float) -> None:
    """Among those whose knee is within a hundred times of the sizes."""
    fit = fitted(seconds)
    lowest, highest = min(seconds) / 100, max(seconds) * 100
    knee = lowest * (highest / lowest) ** place
    fixed = fit.fixed_seconds * math.exp(up)
    other = squares(seconds, fixed, fixed / knee)
    assert squares(seconds, fit.fixed_seconds, fit.example_seconds) <= other * (1 + 1e-6) + 1e-9


def test_of_two_lines_that_are_nearer_than_their_neighbours_the_nearest_is_taken() -> None:
    seconds = {1: 0.83, 81: 1995.0, 211: 217.0, 838: 61.7, 1048: 337.0, 509_245: 502.0}
    assert fitted(seconds).knee.value == pytest.approx(115_000, rel=0.02)  # the other is near 4.6


def squares(seconds: dict[int, float], fixed: float, example: float) -> float:
    return sum(math.log(value / (fixed + example * size)) ** 2 for size, value in seconds.items())


def test_the_lecture_s_v100_has_its_knee_near_40_examples() -> None:
    fit = fitted(V100)
    assert fit.fixed_seconds == pytest.approx(6e-3, rel=0.02)
    assert fit.example_seconds == pytest.approx(0.155e-3, rel=0.03)
    assert fit.knee.low is not None and fit.knee.high is not None
    assert fit.knee.low < 40 < fit.knee.high
    assert squares(V100, fit.fixed_seconds, fit.example_seconds) < squares(V100, 6e-3, 0.155e-3)
    misses = {n: seconds / (fit.fixed_seconds + fit.example_seconds * n) - 1 for n, seconds in V100.items()}
    assert misses[100] == pytest.approx(0.17, abs=0.03)
    assert fit.worst_miss == pytest.approx(misses[100])
    assert max(abs(miss) for size, miss in misses.items() if size != 100) < 0.08


def test_fewer_than_three_points_have_no_fit() -> None:
    seconds = {1: 1.0, 2: 1.5}
    assert fit_knee(speed_of({})) is None
    assert fit_knee(speed_of(seconds)) is None
    full = SpeedPoint(batch_size=4, fits=False)
    record = speed_of(seconds)
    assert with_fit(Speed.from_json(record.to_json().replace('"points":[', f'"points":[{full.to_json()},'))).fit is None
    record = speed_of(seconds | {4: 2.5})
    assert with_fit(record).fit == fit_knee(record) is not None


@pytest.mark.parametrize(
    "seconds",
    [{1: 3.0, 2: 3.0, 4: 3.0}, {1: 3.0, 2: 6.0, 4: 12.0}, {1: 3.0, 2: 2.0, 4: 1.0}, {1: 3.0, 2: 12.0, 4: 48.0}],
    ids=["flat", "in proportion", "falling", "steeper than in proportion"],
)
def test_times_without_a_bend_have_no_interval_for_the_knee(seconds: dict[int, float]) -> None:
    knee = fitted(seconds).knee
    assert (knee.low, knee.high, knee.reason) == (None, None, "knee_outside_sizes")
    assert knee.value > 40 or knee.value < 0.1


@pytest.mark.parametrize(("sizes", "noise"), [(SIZES[3:8], 0.05), (SIZES, 0.2)])
def test_the_interval_holds_the_knee_in_95_of_100_cases(sizes: tuple[int, ...], noise: float) -> None:
    """200 tables with log-normal noise; the standard error of 95 % is 1.54 %."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        factors = np.exp(noise * generator.standard_normal(len(sizes)))
        noisy = {
            n: seconds * factor for (n, seconds), factor in zip(line(3.0, 0.1, sizes).items(), factors, strict=True)
        }
        knee = fitted(noisy).knee
        held += knee.low is None or knee.high is None or knee.low <= 30 <= knee.high
    assert held / 200 >= 0.95 - 3 * 0.0154


def test_a_wide_interval_of_the_times_makes_a_wide_one_of_the_knee() -> None:
    exact, narrow, wide = (fitted(line(3.0, 0.1), spread=spread).knee for spread in (None, 1.02, 1.2))
    widths = [math.log((knee.high or math.inf) / (knee.low or 0.1)) for knee in (exact, narrow, wide)]
    assert widths[0] == pytest.approx(0, abs=1e-4)
    assert 0.02 < widths[1] < widths[2] < 1


# Between the measured sizes.


@at_leisure
@given(tables)
def test_at_a_measured_size_the_time_is_the_measurement(seconds: dict[int, float]) -> None:
    record = speed_of(seconds, spread=1.5)
    for point in record.points:
        assert step_seconds_at(record, point.batch_size) is point.step_seconds


@at_leisure
@given(tables, st.data())
def test_between_two_sizes_the_time_lies_between_theirs(seconds: dict[int, float], data: st.DataObject) -> None:
    record = speed_of(seconds, spread=1.5)
    left, right = data.draw(st.sampled_from(list(pairwise(sorted(seconds)))))
    found = step_seconds_at(record, data.draw(st.integers(left, right)))
    ends = sorted((seconds[left], seconds[right]))
    assert ends[0] * (1 - 1e-12) <= found.value <= ends[1] * (1 + 1e-12)
    assert found.low == pytest.approx(found.value / 1.5) and found.high == pytest.approx(found.value * 1.5)
    assert found.n == 9


@at_leisure
@given(st.floats(-1, 2), st.integers(100, 1000))
def test_a_power_law_is_interpolated_exactly(power: float, size: int) -> None:
    record = speed_of({n: 0.01 * n**power for n in (100, 400, 1000)})
    found = step_seconds_at(record, size)
    assert found.value == pytest.approx(0.01 * size**power)
    assert (found.low, found.high, found.reason) == (None, None, "too_few_visits")


@pytest.mark.parametrize("size", [1, 3, 257, 10**6])
def test_outside_of_the_measured_sizes_there_is_no_time(size: int) -> None:
    record = speed_of(line(3.0, 0.1, (4, 16, 256)))
    with pytest.raises(UserError, match=rf"^batch_size={size} is outside of the sizes that were timed \(4 to 256\)"):
        step_seconds_at(record, size)


def test_without_any_time_there_is_none() -> None:
    with pytest.raises(UserError, match=r"timed \(none\)"):
        step_seconds_at(speed_of({}), 1)


# Throughput.


def test_the_throughput_knee_is_the_smallest_size_that_loses_no_more_than_a_tenth() -> None:
    assert throughput_knee(speed_of({1: 1.0, 2: 1.1, 4: 1.9, 8: 3.6})) == 4
    assert throughput_knee(speed_of({1: 1.0, 2: 1.0, 4: 2.0, 8: 3.5})) == 8
    assert throughput_knee(speed_of(V100)) == 1000
    assert throughput_knee(speed_of({})) == 0


@at_leisure
@given(tables)
def test_the_throughput_knee_is_a_measured_size_and_all_below_it_lose_more(seconds: dict[int, float]) -> None:
    knee = throughput_knee(speed_of(seconds))
    rates = {size: size / value for size, value in seconds.items()}
    assert rates[knee] >= 0.9 * max(rates.values())
    assert all(rate < 0.9 * max(rates.values()) for size, rate in rates.items() if size < knee)
