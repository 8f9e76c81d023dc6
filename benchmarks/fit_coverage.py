"""How often the intervals of `critbatch fit` hold the truth, and how often its test of the law is right.

    python benchmarks/fit_coverage.py            # some minutes; writes results/fit-coverage.json

Points are drawn from the law with log-normal scatter, the critical batch size anywhere between the smallest and the
largest batch size; then from curves that are not the law.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from critbatch.machine import describe_host
from critbatch.predict.predictions import run_ends
from critbatch.predict.trade_off import fit_trade_off
from critbatch.study_records import GoalPoint

RESULT = Path(__file__).parent / "results" / "fit-coverage.json"
SMALLEST = 8
MIN_STEPS = 300.0
Curve = Callable[[np.ndarray, float, float], np.ndarray]


@dataclass(frozen=True)
class Design:
    """Batch sizes from 8 on by factors of two, each with so many seeds.

    Args:
        scatter: standard deviation of log(steps) from seed to seed.
        most_examples: runs end after so many times E_min examples, and count as censored. 0 for no end.
    """

    sizes: int
    seeds: int
    scatter: float
    most_examples: float = 0.0


COVERAGE = (
    Design(6, 1, 0.1),
    Design(8, 1, 0.1),
    Design(8, 1, 0.2),
    Design(12, 1, 0.1),
    Design(6, 3, 0.2),
    Design(8, 1, 0.1, 4.0),
    Design(12, 1, 0.2, 4.0),
    Design(6, 3, 0.2, 4.0),
)
TESTED = (Design(6, 1, 0.1), Design(10, 1, 0.1), Design(6, 3, 0.1))


def the_law(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.logaddexp(0.0, (low + high) / 2 - x)


def perfect_scaling(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return high - x


def no_saving(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.zeros_like(x)


def untuned_large(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Past the middle of the sizes, steps rise like the square root of the batch size."""
    middle = (low + high) / 2
    return np.logaddexp(0.0, middle - x) + 0.5 * np.maximum(0.0, x - middle)


def untuned_small(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Below the middle, steps are too many by the power 0.4 of how far below: examples fall as the batch grows."""
    return np.logaddexp(0.0, high - x) + 0.4 * np.maximum(0.0, (low + high) / 2 - x)


def hinge(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Perfect scaling up to the middle, then no saving at all."""
    return np.maximum(0.0, (low + high) / 2 - x)


CURVES: tuple[Curve, ...] = (the_law, perfect_scaling, no_saving, untuned_large, untuned_small, hinge)


def drawn_points(
    design: Design, chance: np.random.Generator, *, curve: Curve | None = None
) -> tuple[list[GoalPoint], float]:
    """Points, and the critical batch size that they were drawn with where no other curve is given."""
    x = np.repeat(np.log(SMALLEST * 2.0 ** np.arange(design.sizes)), design.seeds)
    low, high = float(x[0]), float(x[-1])
    log_critical = chance.uniform(low, high)
    fitted = np.logaddexp(0.0, log_critical - x) if curve is None else curve(x, low, high)
    y = math.log(MIN_STEPS) + fitted + design.scatter * chance.standard_normal(len(x))
    most = np.full(len(x), math.inf)
    if design.most_examples:
        most = math.log(MIN_STEPS * design.most_examples) + log_critical - x
    points = [
        GoalPoint(batch_size=round(math.exp(size)), steps=math.exp(min(log_steps, end)), censored=bool(log_steps > end))
        for size, log_steps, end in zip(x, y, most, strict=True)
    ]
    return points, math.exp(log_critical)


def coverage(design: Design, cases: int, *, seed: int = 0) -> dict[str, float]:
    """Shares of 95 % intervals that hold S_min, E_min and B_crit, of 80 % intervals that hold the steps of a new run at
    sizes up to four times the largest, and of open intervals of B_crit.

    Data sets with fewer than three batch sizes at the target are drawn again.
    """
    chance = np.random.default_rng(seed)
    held: Counter[str] = Counter()
    done = 0
    while done < cases:
        points, critical = drawn_points(design, chance)
        fitted = fit_trade_off(points)
        if fitted is None:
            continue
        done += 1
        law = fitted.record
        assert law.min_steps is not None and law.min_examples is not None
        size = SMALLEST * 2 ** int(chance.integers(0, design.sizes + 2))
        new = math.log(MIN_STEPS * (1 + critical / size)) + design.scatter * chance.standard_normal()
        low, _, high = run_ends(fitted.law, size)
        found = law.critical_batch_size
        for name, estimate, truth in (
            ("min_steps", law.min_steps, MIN_STEPS),
            ("min_examples", law.min_examples, MIN_STEPS * critical),
            ("critical_batch_size", found, critical),
        ):
            held[name] += (estimate.low or 0.0) <= truth <= (estimate.high or math.inf)
        held["prediction"] += low <= new <= high
        held["open"] += found.low is None or found.high is None
    names = ("min_steps", "min_examples", "critical_batch_size", "prediction", "open")
    return {name: held[name] / cases for name in names}


def refused(design: Design, curve: Curve, cases: int, *, seed: int = 0) -> dict[str, float]:
    """Shares of data sets for which the law is said not to hold, in all and by reason."""
    chance = np.random.default_rng(seed)
    reasons: Counter[str] = Counter()
    for _ in range(cases):
        fitted = fit_trade_off(drawn_points(design, chance, curve=curve)[0])
        assert fitted is not None
        if not fitted.record.holds:
            reasons[fitted.record.reason] += 1
    return {
        "refused": sum(reasons.values()) / cases,
        **{name: count / cases for name, count in sorted(reasons.items())},
    }


def errors_with_bounds(design: Design, cases: int, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Bias and root mean square of log(fitted / true steps) at the largest size, bounds used and bounds dropped."""
    chance = np.random.default_rng(seed)
    errors: dict[str, list[float]] = {"used": [], "dropped": []}
    while len(errors["used"]) < cases:
        points, critical = drawn_points(design, chance)
        fits = [fit_trade_off(points), fit_trade_off([point for point in points if not point.censored])]
        if not any(point.censored for point in points) or any(fit is None for fit in fits):
            continue
        largest = points[-1].batch_size
        for found, fitted in zip(errors.values(), fits, strict=True):
            assert fitted is not None
            truth = math.log(MIN_STEPS * (1 + critical / largest))
            found.append(fitted.law.value(fitted.law.log_steps(largest)) - truth)
    return {
        name: {"bias": float(np.mean(found)), "rms": math.sqrt(float(np.square(found).mean()))}
        for name, found in errors.items()
    }


def tables() -> list[str]:
    """Those of `docs/fit.md`, from the record."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    rows = [
        "| batch sizes | seeds | scatter | runs end after | n | S_min | E_min | B_crit | open | new runs, 80 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["coverage"]:
        ends = f"{row['most_examples']:g} E_min" if row["most_examples"] else "–"
        shares = (row[name] for name in ("min_steps", "min_examples", "critical_batch_size", "open", "prediction"))
        rows.append(_row(row["sizes"], row["seeds"], row["scatter"], ends, f"{row['n']:,}", *map(_percent, shares)))
    held = "\n".join(rows)
    rows = ["| drawn from | " + " | ".join(_design(design) for design in TESTED) + " |", "|---|---|---|---|"]
    for curve in CURVES:
        shares = [row["refused"] for row in result["refused"] if row["curve"] == curve.__name__]
        rows.append(_row(curve.__name__.replace("_", " "), *map(_percent, shares)))
    refusals = "\n".join(rows)
    rows = ["| | bias, bounds used | dropped | root mean square, used | dropped |", "|---|---|---|---|---|"]
    for row in result["bounds"]:
        errors = (row[way][kind] for kind in ("bias", "rms") for way in ("used", "dropped"))
        name = f"{_design(Design(row['sizes'], row['seeds'], row['scatter']))}, scatter {row['scatter']}"
        rows.append(_row(name, *(f"{error:.3f}" for error in errors)))
    return [held, refusals, "\n".join(rows)]


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _design(design: Design) -> str:
    return f"{design.sizes} sizes, {design.seeds} {'seed' if design.seeds == 1 else 'seeds'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4000)
    cases = parser.parse_args().cases
    result = {
        "cases": cases,
        "machine": json.loads(describe_host().to_json()),
        "coverage": [],
        "refused": [],
        "bounds": [],
    }
    for design in COVERAGE:
        n = cases // 2 if design.most_examples else cases
        row = {**asdict(design), "n": n, **coverage(design, n)}
        result["coverage"].append(row)
        print(row, flush=True)
    for curve in CURVES:
        for design in TESTED:
            n = cases // 2
            row = {**asdict(design), "curve": curve.__name__, "n": n, **refused(design, curve, n)}
            result["refused"].append(row)
            print(row, flush=True)
    for design in (design for design in COVERAGE if design.most_examples):
        row = {**asdict(design), "n": cases // 4, **errors_with_bounds(design, cases // 4)}
        result["bounds"].append(row)
        print(row, flush=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(tables()))


if __name__ == "__main__":
    main()
