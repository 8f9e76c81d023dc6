"""How often the intervals of `critbatch fit` hold the truth, and how often its test of the law is right.

    python benchmarks/fit_coverage.py            # some minutes; writes results/fit-coverage.json

Points are drawn from the law with log-normal scatter, the critical batch size anywhere between the smallest and the
largest batch size; then from curves that are not the law; and from worlds around one critical batch size, in which
single things are wrong. At last, what exponents tuned sweeps of this project show.
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
from scipy.optimize import curve_fit

from critbatch.law.critical_batch import fit_trade_off
from critbatch.law.study_analysis import predict_runs, run_ends
from critbatch.records.study import GoalPoint
from critbatch.runtime.host import describe_host

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
        assert fitted.wider is not None and law.critical_if_exact is not None
        low, _, high = run_ends(fitted.wider, size)
        found = law.critical_batch_size
        for name, estimate, truth in (
            ("min_steps", law.min_steps, MIN_STEPS),
            ("min_examples", law.min_examples, MIN_STEPS * critical),
            ("critical_batch_size", found, critical),
            ("critical_if_exact", law.critical_if_exact, critical),
        ):
            held[name] += (estimate.low or 0.0) <= truth <= (estimate.high or math.inf)
        held["prediction"] += low <= new <= high
        held["open"] += found.low is None or found.high is None
    names = ("min_steps", "min_examples", "critical_batch_size", "critical_if_exact", "prediction", "open")
    return {name: held[name] / cases for name in names}


def refused(design: Design, curve: Curve, cases: int, *, seed: int = 0) -> dict[str, float]:
    """Shares of data sets for which the law is said not to hold, in all and by reason; and to hold.

    For the others it is said that it cannot be told.
    """
    chance = np.random.default_rng(seed)
    reasons: Counter[str] = Counter()
    held = 0
    for _ in range(cases):
        fitted = fit_trade_off(drawn_points(design, chance, curve=curve)[0])
        assert fitted is not None
        held += fitted.record.is_consistent
        if not fitted.record.is_consistent and not fitted.record.undecided:
            reasons[fitted.record.reason] += 1
    return {
        "refused": sum(reasons.values()) / cases,
        "holds": held / cases,
        **{name: count / cases for name, count in sorted(reasons.items())},
    }


CENTRE = 256.0
"""The critical batch size of all worlds."""

WORLDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the law": lambda b: 1 + CENTRE / b,
    "exponent 0.8": lambda b: 1 + (CENTRE / b) ** 0.8,
    "exponent 1.2": lambda b: 1 + (CENTRE / b) ** 1.2,
    "the law times (B/256)^0.1": lambda b: (1 + CENTRE / b) * (b / CENTRE) ** 0.1,
    "the law times (B/256)^-0.1": lambda b: (1 + CENTRE / b) * (b / CENTRE) ** -0.1,
    "B^-0.5": lambda b: (CENTRE / b) ** 0.5,
    "B^-0.8": lambda b: (CENTRE / b) ** 0.8,
    "hinge": lambda b: np.maximum(1, CENTRE / b),
    "1.5 times from 2,048": lambda b: (1 + CENTRE / b) * np.where(b >= 2048, 1.5, 1.0),
    "1.3 times up to 16": lambda b: (1 + CENTRE / b) * np.where(b <= 16, 1.3, 1.0),
    "rates off: 1 to 1.15 times": lambda b: 1 + CENTRE / b,
}
"""Steps over S_min. In the last, each size that is run takes 1 to 1.15 times as many, at random."""

NO_CENTRE = ("B^-0.5", "B^-0.8")
"""Worlds that have no critical batch size."""

SEEDS_OF_WORLDS = (
    ("5 sizes, 1 seed, scatter 0.1", 4, 5, 1, 0.1),
    ("9 sizes, 1 seed, scatter 0.1", 2, 9, 1, 0.1),
    ("9 sizes, 3 seeds, scatter 0.1", 2, 9, 3, 0.1),
    ("5 sizes, 3 seeds, scatter 0.05", 4, 5, 3, 0.05),
    ("9 sizes, 3 seeds, scatter 0.03", 2, 9, 3, 0.03),
)
"""From 8 to 2,048 in all: the factor between sizes, sizes, seeds and scatter."""


def world(
    name: str, factor: int, sizes: int, seeds: int, scatter: float, cases: int, *, seed: int = 0
) -> dict[str, float]:
    """Shares of data sets for which the law is said to hold, and not to; whose 95 % interval of B_crit holds 256, and
    is open; and whose 80 % intervals hold a new run between the second and third size, and at four times the largest.
    """
    chance = np.random.default_rng([seed, list(WORLDS).index(name), sizes, seeds])
    batch = np.array([float(SMALLEST * factor**k) for k in range(sizes)])
    inside, beyond = int(math.sqrt(batch[1] * batch[2])), int(4 * batch[-1])
    held: Counter[str] = Counter()
    for _ in range(cases):
        steps = MIN_STEPS * WORLDS[name](batch)
        if name == "rates off: 1 to 1.15 times":
            steps = steps * chance.uniform(1, 1.15, sizes)
        points = [
            GoalPoint(batch_size=int(size), seed=one, steps=float(taken * math.exp(scatter * chance.standard_normal())))
            for size, taken in zip(batch, steps, strict=True)
            for one in range(seeds)
        ]
        fitted = fit_trade_off(points)
        assert fitted is not None
        law, critical = fitted.record, fitted.record.critical_batch_size
        held["holds"] += law.is_consistent
        held["refused"] += not law.is_consistent and not law.undecided
        held["critical"] += (critical.low or 0.0) <= CENTRE <= (critical.high or math.inf)
        held["open"] += critical.low is None or critical.high is None
        for where, one in zip(("inside", "beyond"), predict_runs(fitted, [inside, beyond]), strict=True):
            new = MIN_STEPS * float(WORLDS[name](np.array(float(one.batch_size))))
            held[where] += one.low <= new * math.exp(scatter * chance.standard_normal()) <= one.high
    return {key: held[key] / cases for key in ("holds", "refused", "critical", "open", "inside", "beyond")}


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


def tuned_tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """log(batch size) and log(steps) of all runs at the best rate of each size, for each task and target of the
    advisor's study."""
    found = {}
    for path in sorted(RESULT.parent.glob("advisor-truth-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for column, target in zip((4, 5), record["targets"], strict=True):
            steps: dict[int, dict[int, list[float]]] = {}
            for run in record["runs"]:
                taken = math.inf if run[column] is None else run[column]
                steps.setdefault(run[0], {}).setdefault(run[1], []).append(taken)
            rows = []
            for size, rates in steps.items():
                repeated = [one for one in rates.values() if len(one) > 1] or list(rates.values())
                best = min(repeated, key=lambda one: (sum(map(math.isinf, one)) / len(one), np.median(one)))
                rows += [(math.log(size), math.log(one)) for one in best if one < math.inf]
            x, y = np.array(rows).T
            if len(np.unique(x)) >= FEWEST_SIZES:
                found[f"{record['task']} at {target}"] = x, y
    return found


FEWEST_SIZES = 5


def free_numbers() -> dict[str, dict[str, float]]:
    """The exponent of the law, and its drift, by least squares on tables of tuned runs: how far apart they lie.

    Those that a table tells to within one part in ten are counted.
    """
    laws = {
        "log_exponent": lambda x, level, noise, a: level + np.logaddexp(0.0, np.exp(a) * (noise - x)),
        "drift": lambda x, level, noise, d: level + np.logaddexp(0.0, noise - x) + d * x,
    }
    found = {}
    for name, law in laws.items():
        values = []
        for x, y in tuned_tables().values():
            try:
                numbers, errors = curve_fit(law, x, y, p0=(float(y.min()), float(x.mean()), 0.0), maxfev=5000)
            except RuntimeError:
                continue
            if errors[2, 2] < 0.1**2:
                values.append((float(numbers[2]), float(errors[2, 2])))
        told, noise = np.array(values).T
        found[name] = {
            "n": len(told),
            "mean": float(told.mean()),
            "spread": math.sqrt(max(0.0, float(told.var() - noise.mean()))),
            "least": float(told.min()),
            "most": float(told.max()),
        }
    return found


def tables() -> list[str]:
    """Those of `docs/fit.md`, from the record."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    rows = [
        "| batch sizes | seeds | scatter | runs end after | n | S_min | E_min | B_crit | open | if the law is exact | "
        "new runs, 80 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["coverage"]:
        ends = f"{row['most_examples']:g} E_min" if row["most_examples"] else "–"
        names = ("min_steps", "min_examples", "critical_batch_size", "open", "critical_if_exact", "prediction")
        shares = (row[name] for name in names)
        rows.append(_row(row["sizes"], row["seeds"], row["scatter"], ends, f"{row['n']:,}", *map(_percent, shares)))
    held = "\n".join(rows)
    rows = ["| drawn from | " + " | ".join(_design(design) for design in TESTED) + " |", "|---|---|---|---|"]
    for curve in CURVES:
        shares = [row for row in result["refused"] if row["curve"] == curve.__name__]
        cells = (f"{_percent(row['refused'])}, {_percent(row['holds'])}" for row in shares)
        rows.append(_row(curve.__name__.replace("_", " "), *cells))
    refusals = "\n".join(rows)
    rows = ["| | bias, bounds used | dropped | root mean square, used | dropped |", "|---|---|---|---|---|"]
    for row in result["bounds"]:
        errors = (row[way][kind] for kind in ("bias", "rms") for way in ("used", "dropped"))
        name = f"{_design(Design(row['sizes'], row['seeds'], row['scatter']))}, scatter {row['scatter']}"
        rows.append(_row(name, *(f"{error:.3f}" for error in errors)))
    return [held, refusals, "\n".join(rows), *(_worlds(result["worlds"], design) for design, *_ in SEEDS_OF_WORLDS)]


def _worlds(rows: list[dict], design: str) -> str:
    found = [
        "| steps | holds | does not | B_crit holds 256 | open | new run inside | beyond |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["design"] == design:
            names = ("holds", "refused", "critical", "open", "inside", "beyond")
            cells = [f"{100 * row[name]:.0f} %" for name in names]
            if row["world"] in NO_CENTRE:
                cells[2] = "–"
            found.append(_row(row["world"], *cells))
    return "\n".join(found)


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
        "worlds": [],
        "free_numbers": free_numbers(),
    }
    print(result["free_numbers"], flush=True)
    for design, *numbers in SEEDS_OF_WORLDS:
        for name in WORLDS:
            row = {"design": design, "world": name, "n": cases // 4, **world(name, *numbers, cases // 4)}
            result["worlds"].append(row)
            print(row, flush=True)
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
