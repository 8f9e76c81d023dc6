"""Hand-made lectures: one of which all was measured, one of which some was, and one that tries to break the page."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import sample_loss_records as losses
import sample_records as sample
import sample_studies as studies
from critbatch.records.claims import (
    Better,
    Claim,
    ClaimName,
    DirectionSpread,
    Holds,
    Lecture,
    Measure,
    NetworkPair,
    PairedEnd,
    Partition,
    Path,
    Paths,
    RecipeRow,
    Statement,
    SummaryRow,
)
from critbatch.records.core import Estimate, Outcome, Record

TASK, SMALL, LARGE = "digits-mlp", 16, 1437
EPOCHS = {
    "reshuffle": [tuple((step * i + start) % 20 for i in range(20)) for step, start in ((7, 3), (13, 8), (11, 5))],
    "shuffle_once": [tuple((7 * i + 3) % 20 for i in range(20))] * 3,
    "sequential": [tuple(range(20))] * 3,
    "with_replacement": [tuple(Random(seed).choices(range(20), k=20)) for seed in range(3)],
}


def effect(value: float, low: float | None = None, high: float | None = None, n: int = 5) -> Estimate:
    if low is None or high is None:
        return Estimate(value=value, n=n, reason="lecture_one_seed" if n == 1 else "")
    return Estimate(value=value, n=n, low=low, high=high)


def exact(key: str, holds: Holds = Holds.HELD, **others: object) -> Statement:
    value = Estimate(value=float(holds is Holds.HELD), n=1, reason="exact")
    return Statement(key=key, holds=holds, measure=Measure.EXACT, effect=value, margin=0.0, **others)  # type: ignore[arg-type]


def ratio(key: str, holds: Holds, value: Estimate | None, **others: object) -> Statement:
    reason = others.pop("reason", "lecture_wide" if holds is Holds.UNDECIDED else "")
    return Statement(
        key=key,
        holds=holds,
        measure=Measure.RATIO,
        effect=value,
        margin=1.1,
        reason=reason,
        **others,  # type: ignore[arg-type]
    )


def less(key: str, holds: Holds, value: Estimate | None, **others: object) -> Statement:
    return replace(ratio(key, holds, value, **others), measure=Measure.DIFFERENCE, margin=0.001)


HELD, NOT, OPEN = Holds.HELD, Holds.NOT_HELD, Holds.UNDECIDED
BOTH_SIZES = {"small_batch_size": SMALL, "large_batch_size": LARGE}


def statements() -> dict[ClaimName, tuple[Statement, ...]]:
    other: dict[str, object] = {"main": False}
    f1, c1 = {"subject": "keskar-f1", **BOTH_SIZES}, {"subject": "keskar-c1", **BOTH_SIZES}
    lars, swap = {"subject": "lars2017", **BOTH_SIZES}, {"subject": "swap2020", **BOTH_SIZES}
    return {
        ClaimName.BATCHES: (
            exact("every_example_once"),
            exact("new_partition"),
            ratio("order_costs", OPEN, effect(1.03, 0.93, 1.15), subject="shuffle_once", **other),
            ratio("order_costs", HELD, effect(1.4, 1.22, 1.61), subject="sequential", **other),
            ratio("order_costs", NOT, effect(0.99, 0.91, 1.06), subject="with_replacement", **other),
        ),
        ClaimName.PATHS: (
            less("unsteady", HELD, effect(0.41, 0.35, 0.47, 20), small_batch_size=1, large_batch_size=20),
            ratio("many_updates", HELD, effect(3.1, 2.6, 3.7, 20), small_batch_size=1, large_batch_size=20, **other),
        ),
        ClaimName.TIME: (
            ratio("parallel_update", HELD, effect(152, 140, 166, 40), large_batch_size=1000),
            ratio("about_the_same", NOT, effect(6.1, 5.6, 6.5, 40), small_batch_size=1, large_batch_size=1000, **other),
            ratio("grows", HELD, effect(8.2, 7.8, 8.5, 40), large_batch_size=1437),
            ratio("shorter_epoch", HELD, effect(160, 151, 168, 40), large_batch_size=1437),
            ratio("parallel_hardware", HELD, effect(1.6, 1.5, 1.7, 40), large_batch_size=1437, **other),
        ),
        ClaimName.OPTIMIZATION: (
            less("train_worse_fixed", HELD, effect(0.31, 0.25, 0.37), **BOTH_SIZES),
            less("train_worse_tuned", OPEN, effect(0.004, -0.002, 0.01), **BOTH_SIZES),
            less("train_worse_steps", NOT, effect(-0.02, -0.03, -0.01), **BOTH_SIZES, **other),
            less("train_worse_seconds", OPEN, effect(0.01, -0.01, 0.03), **BOTH_SIZES, **other),
            less("validation_worse", HELD, effect(0.012, 0.004, 0.02), **BOTH_SIZES, **other),
        ),
        ClaimName.NOISE: (
            less("escapes_more", HELD, effect(0.64, 0.47, 0.76, 50), subject=TASK, **BOTH_SIZES),
            less("escapes_more", OPEN, None, subject="toy-saddle", reason="lecture_not_stuck", **BOTH_SIZES, **other),
        ),
        ClaimName.GENERALIZATION: (
            less("generalizes", HELD, effect(0.0042, 0.0011, 0.0073), **f1),
            less("generalizes", OPEN, effect(0.004, -0.009, 0.017), **c1),
        ),
        ClaimName.MINIMA: (
            ratio("sharper", HELD, effect(4.1, 2.9, 5.8), **f1),
            ratio("sharper_eigenvalue", HELD, effect(2.2, 1.6, 3.1), **f1, **other),
            ratio("sharper_adaptive", NOT, effect(0.71, 0.55, 0.92), **f1, **other),
            ratio("suffers_validation", NOT, effect(0.86, 0.72, 1.03), **f1),
            ratio("suffers_noise", OPEN, effect(1.2, 0.8, 1.9), **f1, **other),
            replace(less("sharpness_ranks", OPEN, effect(0.2, -0.5, 0.8), **f1, **other), measure=Measure.CORRELATION),
        ),
        ClaimName.SUMMARY: tuple(
            exact("table_row", HELD if row.better is row.expected else NOT, subject=row.key) for row in summary_rows()
        ),
        ClaimName.CHOICE: (
            ratio("size_matters", HELD, effect(5.2, 3.9, 6.6), small_batch_size=8, large_batch_size=128),
            exact("best_inside", **other),
        ),
        ClaimName.BOTH: (
            ratio("one_has_both", HELD, effect(11, 8.8, 14), **lars),
            ratio("fewer_steps", HELD, effect(11, 8.8, 14), **lars, **other),
            ratio("sooner", HELD, effect(1.7, 1.3, 2.2), **lars, **other),
            less("as_accurate", HELD, effect(-0.0004, -0.003, 0.002), **lars, **other),
            ratio("fewer_steps", OPEN, None, reason="lecture_not_reached", **swap, **other),
        ),
    }


VERDICTS = {
    **dict.fromkeys(ClaimName, HELD),
    ClaimName.OPTIMIZATION: OPEN,
    ClaimName.GENERALIZATION: OPEN,
    ClaimName.MINIMA: NOT,
    ClaimName.SUMMARY: NOT,
}


def claims() -> tuple[Claim, ...]:
    return tuple(Claim(name=name, holds=VERDICTS[name], statements=told) for name, told in statements().items())


def paths() -> Paths:
    """A bowl with its lowest point at (0, 1), as in the lecture."""

    def loss(b: float, w: float) -> float:
        return 0.02 + b**2 + 3 * (w - 1) ** 2

    few = ((0.5, 1.5), (0.44, 1.14))
    many = tuple(
        (0.5 - 0.006 * i + 0.02 * math.sin(5 * i), 1.5 - 0.027 * i + 0.05 * math.sin(7 * i)) for i in range(21)
    )
    first, second = [i / 20 - 0.1 for i in range(17)], [0.75 + i / 20 for i in range(17)]
    return Paths(
        data="diabetes",
        weights=("b", "w"),
        examples=20,
        draws=20,
        paths=tuple(
            Path(batch_size=size, learning_rate=0.1, places=way, losses=tuple(loss(*place) for place in way))
            for size, way in ((20, few), (1, many))
        ),
        first=tuple(first),
        second=tuple(second),
        heights=tuple(tuple(loss(b, w) for b in first) for w in second),
        spreads=tuple(
            DirectionSpread(
                batch_size=size,
                spread=effect(spread, spread * 0.85, spread * 1.15, 20),
                loss=effect(left, left * 0.9, left * 1.1, 20),
            )
            for size, spread, left in ((1, 0.41, 0.1), (4, 0.2, 0.15), (20, 0.0, 0.31))
        ),
        provenance=sample.PROVENANCE,
    )


def pair(task: str, network: str, gap: float, spread: float) -> NetworkPair:
    def ends(seed: int) -> PairedEnd:
        small, large = (sample.run(size, seed=seed, outcome=Outcome.FINISHED, task=task) for size in (SMALL, LARGE))
        return PairedEnd(
            seed=seed, small=small, large=large, level=0.99, small_validation=0.97 + gap, large_validation=0.97
        )

    return NetworkPair(
        task=task,
        network=network,
        examples=1437,
        of_examples=60_000,
        metric_name="accuracy",
        small_batch_size=SMALL,
        large_batch_size=LARGE,
        ends=(ends(0), ends(1)),
        small_train=effect(0.999, 0.998, 1.0),
        large_train=effect(0.997, 0.995, 0.999),
        small_validation=effect(0.97 + gap, 0.96 + gap, 0.98 + gap),
        large_validation=effect(0.97, 0.96, 0.98),
        difference=effect(gap, gap - spread, gap + spread),
    )


def summary_rows() -> tuple[SummaryRow, ...]:
    def row(key: str, unit: str, small: float, large: float, better: Better, expected: Better) -> SummaryRow:
        ends = (effect(value, value * 0.96, value * 1.03, 40) for value in (small, large))
        first, second = ends
        return SummaryRow(key=key, unit=unit, small=first, large=second, better=better, expected=expected)

    return (
        row("update_alone", "seconds", 9e-5, 1.1e-3, Better.SMALL, Better.SMALL),
        row("update_parallel", "seconds", 8.6e-5, 6.5e-4, Better.SMALL, Better.EVEN),
        row("epoch", "seconds", 7.7e-3, 6.5e-4, Better.LARGE, Better.LARGE),
        row("gradient", "share", 8.1, 0.09, Better.LARGE, Better.LARGE),
        row("optimization", "metric", 0.985, 0.981, Better.EVEN, Better.SMALL),
        row("generalization", "metric", 0.974, 0.97, Better.SMALL, Better.SMALL),
    )


def recipes() -> tuple[RecipeRow, ...]:
    def row(recipe: str, size: int, steps: float | None, metric: float, *, tuned: bool = True) -> RecipeRow:
        return RecipeRow(
            recipe=recipe,
            batch_size=size,
            tuned=tuned,
            learning_rate=0.1,
            runs=12,
            seeds=3,
            reached=3 if steps else 0,
            steps=effect(steps, steps * 0.9, steps * 1.1, 3) if steps else None,
            epochs=effect(steps * size / 1437, 1.0, 90.0, 3) if steps else None,
            seconds=effect(steps / 1e4, steps / 1.1e4, steps / 0.9e4, 3) if steps else None,
            train_metric=effect(metric + 0.01, metric + 0.008, metric + 0.012, 3),
            validation_metric=effect(metric, metric - 0.002, metric + 0.002, 3),
        )

    return (
        row("sgd", SMALL, 2000, 0.972),
        row("sgd", LARGE, 400, 0.951, tuned=False),
        row("sgd", LARGE, 260, 0.966),
        row("lars2017", LARGE, 182, 0.9716),
        row("swap2020", LARGE, None, 0.96),
    )


def lecture(**changes: object) -> Lecture:
    """All ten claims measured."""
    alone = replace(sample.speed(), provenance=replace(sample.PROVENANCE, machine=replace(sample.MACHINE, threads=1)))
    shared = replace(
        alone,
        points=tuple(
            replace(p, step_seconds=replace(p.step_seconds, value=p.step_seconds.value * 0.7, low=None, high=None))
            for p in alone.points
            if p.step_seconds is not None
        ),
        provenance=replace(sample.PROVENANCE, machine=replace(sample.MACHINE, threads=2)),
    )
    setup = replace(losses.SETUP, task="keskar-f1")
    made = Lecture(
        task=TASK,
        unit="image",
        examples=1437,
        metric_name="accuracy",
        seeds=5,
        small_batch_size=SMALL,
        large_batch_size=LARGE,
        full=False,
        claims=claims(),
        partitions=tuple(Partition(order=name, batch_size=4, epochs=tuple(told)) for name, told in EPOCHS.items()),
        orders=sample.study(seeds=1, evaluations=4),
        paths=paths(),
        speeds=(alone, shared),
        study=studies.without_target(),
        escapes=(losses.escape(), replace(losses.escape(), task="toy-saddle", standings={"descending": 50})),
        networks=(pair("keskar-f1", "F1", 0.0042, 0.0031), pair("keskar-c1", "C1", 0.004, 0.013)),
        sharpness=(replace(losses.sharpness(), setup=setup),),
        lines=(replace(losses.line(), setup=setup),),
        shifts=(replace(losses.shift(), setup=setup),),
        noise=sample.noise(),
        summary=summary_rows(),
        advice=sample.advice(),
        recipes=recipes(),
        left=("lecture_no_data",),
        provenance=replace(sample.PROVENANCE, command="critbatch lecture digits-mlp", wall_seconds=240.0),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def partial() -> Lecture:
    """One seed, and nothing but batches and time measured."""
    told = {claim.name: claim for claim in claims()}
    lone = ratio("shorter_epoch", OPEN, effect(1.4, n=1), large_batch_size=64, reason="lecture_one_seed")
    kept = (
        replace(told[ClaimName.BATCHES], statements=told[ClaimName.BATCHES].statements[:2]),
        Claim(name=ClaimName.TIME, holds=OPEN, statements=(lone,)),
    )
    by_name = {claim.name: claim for claim in kept}
    missing = [Claim(name=name, holds=OPEN, statements=(), reason="lecture_not_asked") for name in ClaimName]
    return Lecture(
        task=TASK,
        unit="image",
        examples=1437,
        metric_name="accuracy",
        seeds=1,
        small_batch_size=SMALL,
        large_batch_size=LARGE,
        full=False,
        claims=tuple(by_name.get(claim.name, claim) for claim in missing),
        partitions=lecture().partitions[:1],
        speeds=lecture().speeds[:1],
        left=("lecture_no_time",),
        provenance=sample.PROVENANCE,
    )


def hostile() -> Lecture:
    """A lecture in which every text is an attempt to break the page."""
    text, plain = sample.HOSTILE, lecture()
    machine = replace(sample.MACHINE, processor=text, accelerator=text, system=text)
    made = replace(sample.PROVENANCE, command=text, machine=machine)
    assert plain.paths is not None
    return replace(
        plain,
        task=text,
        unit=text,
        metric_name=text,
        left=(text,),
        claims=tuple(
            replace(
                claim,
                statements=tuple(
                    replace(each, subject=text, reason=text if each.holds is OPEN else "") for each in claim.statements
                ),
            )
            for claim in plain.claims
        ),
        partitions=tuple(replace(each, order=text) for each in plain.partitions),
        orders=None,
        paths=replace(plain.paths, data=text, weights=(text, text)),
        speeds=tuple(replace(speed, task=text, unit=text, provenance=made) for speed in plain.speeds),
        study=studies.hostile()["hostile study"],  # type: ignore[arg-type]
        escapes=(losses.hostile()["escape"],),  # type: ignore[arg-type]
        networks=tuple(replace(each, task=text, network=text, metric_name=text) for each in plain.networks),
        sharpness=(losses.hostile()["sharpness"],),  # type: ignore[arg-type]
        lines=(losses.hostile()["line"],),  # type: ignore[arg-type]
        shifts=(losses.hostile()["shift"],),  # type: ignore[arg-type]
        summary=tuple(replace(row, key=text, unit=text) for row in plain.summary),
        recipes=tuple(replace(row, recipe=text) for row in plain.recipes),
        provenance=made,
    )


RECORDS: dict[str, Record] = {"lecture": lecture()}
MISSING: dict[str, Record] = {
    "part of a lecture": partial(),
    "lecture without a claim": replace(partial(), claims=()),
    "lecture without a number": lecture(
        partitions=(),
        orders=None,
        paths=None,
        speeds=(),
        study=None,
        escapes=(),
        networks=(),
        sharpness=(),
        lines=(),
        shifts=(),
        summary=(),
        advice=None,
        recipes=(),
    ),
    "lecture of empty parts": lecture(
        partitions=(Partition(order="reshuffle", batch_size=2, epochs=()),),
        speeds=(replace(sample.speed(), points=(), fit=None),),
        study=sample.study(seeds=1, evaluations=4),
        escapes=(replace(losses.escape(), counts=()),),
        sharpness=(replace(losses.sharpness(), solutions=()),),
        lines=(replace(losses.line(), points=()),),
        shifts=(replace(losses.shift(), rises=(), sharpness=(), predictions=()),),
        advice=sample.unanswered(),
        recipes=recipes()[-1:],
    ),
}
