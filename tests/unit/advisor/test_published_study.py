"""The arithmetic of the advisor's study, and its page."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from critbatch.records.core import Outcome, Quantity, Speed, Target
from simulated_training import TARGET, World

ROOT = Path(__file__).parents[3]
N = None


@pytest.fixture(autouse=True, scope="module")
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.pop(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of two sizes: at 16 rung 0 is best, at 32 rung 1; rung 2 fails at both."""
    rows: list[list[Any]] = []
    for size, steps in ((16, {-1: 200, 0: 100, 1: 160}), (32, {0: 90, 1: 60})):
        for rung, middle in steps.items():
            rows += [
                [size, rung, 100 + k, middle, middle / 2, middle * factor] for k, factor in enumerate((0.9, 1, 1.2))
            ]
        rows += [[size, 2, 100, 150, N, N], [size, 2, 101, 150, N, N], [size, 2, 102, 150, 40, 50]]
    record = {
        "task": "made", "recipe": "sgd", "options": {}, "examples": 1000, "sizes": [16, 32], "seeds": [100, 101, 102],
        "runs": rows,
    }  # fmt: skip
    (tmp_path / "advisor-truth-made.json").write_text(json.dumps(record))
    return tmp_path


def clock(seconds: float) -> Speed:
    return World(seconds=lambda size: seconds, largest=32).speed()


def test_the_sweep_is_as_good_as_the_median_of_its_best_runs(folder: Path) -> None:
    from advisor_scores import Sweep

    sweep = Sweep("made", 1, folder)
    assert [sweep.best_rung(size) for size in sweep.sizes] == [0, 1]
    size, seconds = sweep.best(clock(2.0))
    assert (size, seconds) == (32, pytest.approx(60 * 2.0, rel=0.2))
    assert Sweep("made", 0, folder).steps_at_rung(16, 0) == 50


def test_between_two_rates_steps_are_a_line_and_a_rate_that_fails_counts_where_it_is_nearer(folder: Path) -> None:
    from advisor_scores import Sweep

    sweep = Sweep("made", 1, folder)
    assert sweep.steps(16, 0.1) == 100
    assert sweep.steps(16, 0.1 / math.sqrt(2)) == pytest.approx(math.sqrt(200 * 100))
    assert sweep.steps(16, 0.2 * 2**0.4) == 160
    assert math.isinf(sweep.steps(16, 0.2 * 2**0.6))
    assert math.isinf(sweep.steps(16, 0.001))


def test_a_sweep_costs_all_its_runs(folder: Path) -> None:
    from advisor_scores import Sweep

    whole = Sweep("made", 1, folder).cost(clock(1.0))
    assert whole > Sweep("made", 0, folder).cost(clock(1.0)) > 0


def test_a_run_is_seen_as_it_was_after_so_many_steps() -> None:
    from advisor_runs import cut

    world = World()
    whole = world.run(64, 0.1, steps=10**6)
    half = cut(whole, whole.steps / 2, TARGET)
    assert half.outcome is Outcome.FINISHED and half.crossing is None
    assert half.steps == whole.steps // 2 and max(point.step for point in half.curve) <= half.steps
    assert cut(whole, 10**6, TARGET).outcome is Outcome.REACHED
    easier = Target(quantity=Quantity.VALIDATION_LOSS, value=1.0)
    assert cut(whole, 10**6, easier).steps < whole.steps


def test_a_sweep_ends_where_only_one_seed_comes_to_the_target() -> None:
    from advisor_truth import SEEDS, Made, one_size

    def make(size: int, rung: int, seed: int, bound: float) -> Made:
        lucky = seed == SEEDS[0] and rung == 0
        return Made(size, rung, seed, 80, (60.0, 70.0) if lucky else (math.inf, math.inf))

    assert {made.rung for made in one_size(make, 2048, 0, 80.0)} == {-1, 0, 1}


def page() -> str:
    return (ROOT / "docs" / "advisor-study.md").read_text(encoding="utf-8")


def test_the_page_has_the_figures_of_the_last_study() -> None:
    import advisor_figures

    for name, table in advisor_figures.tables("second").items():
        assert table in page(), name


@pytest.mark.parametrize("of_set", ["known", "final"])
def test_the_page_has_the_goals_of_the_earlier_sets(of_set: str) -> None:
    import advisor_figures

    assert advisor_figures.tables(of_set)["goals"] in page()


@pytest.mark.parametrize("of_set", ["second", "final"])
def test_the_page_has_the_figures_of_the_new_seeds(of_set: str) -> None:
    import advisor_fresh_figures

    assert advisor_fresh_figures.table(of_set) in page()


def test_a_regret_by_new_seeds_is_a_ratio_of_medians_and_nothing_recommended_is_a_miss() -> None:
    from advisor_fresh_figures import missed, regret

    case = {"best": {"seconds": [2.0, 1.0, 4.0]}, "advice": {"seconds": [3.0, None, 1.0]}}
    assert regret(case) == 1.5
    assert math.isinf(regret({"best": case["best"]}))
    assert math.isinf(regret({"best": case["best"], "advice": {"seconds": [N, N, 1.0]}}))
    assert math.isinf(regret({"best": {"seconds": [N, N, 1.0]}, "advice": {"seconds": [N, N, 1.0]}}))
    assert missed([case], "advice") == pytest.approx(1 / 3)
