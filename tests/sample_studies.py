"""Hand-made studies with their analysis, and fits of points from elsewhere: whole, and with something missing."""

from __future__ import annotations

import math
from dataclasses import replace

import sample_records as sample
from critbatch.records.core import Estimate, Outcome, Record
from critbatch.records.study import (
    Analysis,
    BudgetPoint,
    BudgetReading,
    Fit,
    GoalPoint,
    Prediction,
    Question,
    RateLaw,
    Regime,
    Search,
    SizeResult,
    Spent,
    Study,
    TradeOff,
)

REGIMES = {size: Regime.PERFECT_SCALING if size <= 32 else Regime.DIMINISHING_RETURNS for size in sample.SIZES[:-1]}
MISSED = sample.SIZES[-1]
REACHED = sample.SIZES[:-1]


def size_result(size: int) -> SizeResult:
    rate = sample.best_rate(size)
    steps = sample.steps_to_target(size, rate) * sample.wobble(size, 0.03)
    return SizeResult(
        batch_size=size,
        runs=15,
        rates=5,
        diverged=3 if size >= 64 else 0,
        learning_rate=rate,
        usable_rates=(rate / 3.7, rate * 2.1),
        at_edge=size == 8,
        seeds=3,
        reached=3,
        steps=sample.estimate(steps, spread=0.1),
        examples=sample.estimate(steps * size, spread=0.1),
        epochs=sample.estimate(steps * size / sample.EXAMPLES, spread=0.1),
        seconds=sample.estimate(steps * sample.step_seconds(size), spread=0.12),
        regime=Regime.MAXIMAL_PARALLELISM if size >= 512 else REGIMES[size],
    )


def missed(size: int = MISSED) -> SizeResult:
    return SizeResult(batch_size=size, runs=15, rates=5, diverged=6, seeds=3, bound=400.0)


TRADE_OFF = TradeOff(
    min_steps=sample.estimate(sample.MIN_STEPS, n=7),
    min_examples=sample.estimate(sample.MIN_STEPS * sample.NOISE_EXAMPLES, n=7, spread=0.2),
    min_epochs=sample.estimate(sample.MIN_STEPS * sample.NOISE_EXAMPLES / sample.EXAMPLES, n=7, spread=0.2),
    critical_batch_size=sample.estimate(sample.NOISE_EXAMPLES, n=7, spread=0.3),
    n=24,
    sizes=7,
    scatter=0.06,
    p_value=0.41,
    test="lack_of_fit",
    holds=True,
)
RATE_LAW = RateLaw(
    exponent=sample.estimate(0.83, n=6, spread=0.25), sizes=(16, 512), n=6, linear=True, square_root=False, bends=True
)


def score(value: float) -> Estimate:
    return Estimate(value=value, n=3, low=value - 0.006, high=value + 0.006, level=0.8)


def budget_point(size: int, drop: float, *, tuned: bool) -> BudgetPoint:
    fall = drop * math.log2(size / 8) ** 2 / 49
    return BudgetPoint(
        batch_size=size,
        learning_rate=sample.best_rate(size if tuned else 8),
        train_metric=score(0.985 - fall),
        validation_metric=score(0.972 - 1.1 * fall),
        train_loss=score(0.06 + fall),
        validation_loss=score(0.11 + fall),
        failed=0 if tuned or size < 512 else 1,
    )


def budgets(*, epochs: float = 0.12, fixed: float = 0.5, steps: float = 0.0) -> tuple[BudgetReading, ...]:
    """How much each reading falls from the smallest to the largest size."""
    falls = (
        (Spent.EPOCHS, 8.0, True, epochs),
        (Spent.EPOCHS, 8.0, False, fixed),
        (Spent.STEPS, 320.0, True, steps),
        (Spent.STEPS, 320.0, False, 0.2),
        (Spent.SECONDS, 0.31, True, 0.02),
        (Spent.SECONDS, 0.31, False, 0.3),
    )
    return tuple(
        BudgetReading(
            spent=spent,
            amount=amount,
            tuned=tuned,
            points=tuple(budget_point(size, fall, tuned=tuned) for size in sample.SIZES),
        )
        for spent, amount, tuned, fall in falls
    )


def analysis() -> Analysis:
    return Analysis(
        target=sample.TARGET,
        sizes=(*map(size_result, REACHED), missed()),
        trade_off=TRADE_OFF,
        perfect_until=32,
        useful_until=256,
        rate_law=RATE_LAW,
        budgets=budgets(),
        cautions=("censored_sizes", "coarse_evaluations"),
    )


def study(task: str = "digits-mlp", **changes: object) -> Study:
    plain = sample.study(task, seeds=2, evaluations=6)
    runs = [*plain.runs]
    runs[3] = replace(runs[3], outcome=Outcome.FINISHED, crossing=None, stopped_early=True)
    runs[4] = replace(runs[4], options={"momentum": 0.8, "nesterov": False})
    question = replace(plain.question, stops_early=True, varied={"momentum": (0.8, 0.9)}, fixed={"warm_up_epochs": 2.0})
    made = replace(plain, runs=tuple(runs), question=question, analysis=analysis())
    return replace(made, **changes)  # type: ignore[arg-type]


def points() -> tuple[GoalPoint, ...]:
    found = [
        GoalPoint(
            batch_size=size,
            steps=sample.steps_to_target(size, sample.best_rate(size)) * sample.wobble(size + 5 * seed, 0.05),
            seed=seed,
            learning_rate=sample.best_rate(size),
            devices=4,
            step_seconds=sample.step_seconds(size),
        )
        for size in REACHED
        for seed in (0, 1)
    ]
    return (*found, GoalPoint(batch_size=MISSED, steps=300.0, censored=True))


def fit(**changes: object) -> Fit:
    found = Fit(
        name="published.csv",
        examples=sample.EXAMPLES,
        points=points(),
        analysis=replace(analysis(), target=None, budgets=()),
        predictions=(
            Prediction(batch_size=96, steps=520.0, epochs=34.7, low=470.0, high=590.0),
            Prediction(batch_size=2048, steps=234.0, epochs=333.0, low=190.0, high=300.0),
        ),
        law_holds=True,
        provenance=replace(sample.PROVENANCE, command="critbatch fit published.csv"),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def in_epochs() -> Fit:
    """Points whose data set's size is not known: epochs alone."""
    sizes = tuple(
        replace(size, steps=None, examples=None, seconds=None, learning_rate=None, usable_rates=None, at_edge=False)
        for size in analysis().sizes[:-1]
    )
    told = replace(
        analysis(),
        target=None,
        sizes=sizes,
        trade_off=replace(TRADE_OFF, min_steps=None, min_examples=None),
        rate_law=None,
        budgets=(),
    )
    given = tuple(GoalPoint(batch_size=size.batch_size, epochs=size.epochs.value) for size in sizes if size.epochs)
    far = Prediction(batch_size=4096, steps=None, epochs=640.0, low=500.0, high=800.0)
    return fit(examples=None, points=given, analysis=told, predictions=(far,))


def with_law(**changes: object) -> Analysis:
    return replace(analysis(), trade_off=replace(TRADE_OFF, **changes))  # type: ignore[arg-type]


def unbounded(low: float | None, high: float | None, reason: str, value: float = math.inf) -> Estimate:
    return Estimate(value=value, n=7, low=low, high=high, level=0.8, reason=reason)


BARE = Analysis(target=None, sizes=(SizeResult(batch_size=8, runs=1, rates=1),))
BARE_FIT = fit(
    examples=None, points=(), analysis=replace(BARE, sizes=()), predictions=(), law_holds=False, reason="few_sizes"
)

RECORDS: dict[str, Record] = {"analysed study": study(), "fit": fit(), "fit in epochs": in_epochs()}


def without_target(**changes: object) -> Study:
    plain = study()
    runs = tuple(
        sample.run(size, target=None, outcome=Outcome.FINISHED, evaluations=5, seed=seed)
        for size in (8, 64, 1024)
        for seed in (0, 1)
    )
    told = replace(analysis(), target=None, trade_off=None, sizes=tuple(missed(size) for size in (8, 64, 1024)))
    told = replace(told, sizes=tuple(replace(size, bound=None) for size in told.sizes), rate_law=None)
    question = replace(plain.question, target=None, search=Search.TPE, learning_rates=(), trials=20, steps=500)
    return replace(plain, question=question, runs=runs, analysis=told, left=0, **changes)  # type: ignore[arg-type]


def hostile() -> dict[str, Record]:
    """Records in which every text is an attempt to break the page."""
    text = sample.HOSTILE
    options = {text: text}
    told = replace(
        analysis(), sizes=tuple(replace(size, options=options) for size in analysis().sizes), cautions=(text,)
    )
    told = replace(told, trade_off=replace(TRADE_OFF, reason=text, holds=False, test=text))
    told = replace(
        told,
        budgets=tuple(
            replace(each, points=tuple(replace(point, options=options) for point in each.points))
            for each in told.budgets
        ),
    )
    plain = study(task=text)
    question = Question(
        **(vars(plain.question) | {"recipe": text, "fixed": options, "varied": {text: (text, text)}}),
    )
    runs = tuple(replace(run, recipe=text, metric_name=text, options=options) for run in plain.runs)
    made = replace(plain.provenance, command=text, started=text)
    return {
        "hostile study": replace(plain, question=question, unit=text, runs=runs, analysis=told, provenance=made),
        "hostile fit": fit(name=text, analysis=told, reason=text, law_holds=False, provenance=made),
    }
