"""Hand-made records, as the rooms below the report make them: no model was trained for these.

Times follow t(B) = 80 us + 0.4 us B, steps S(B) = 220 (1 + 130 / B), each with a small wobble that is always the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

from critbatch.records.core import (
    Advice,
    Crossing,
    CurvePoint,
    Estimate,
    Law,
    Machine,
    Noise,
    NoisePoint,
    NoiseScale,
    Outcome,
    Provenance,
    Quantity,
    Run,
    Speed,
    SpeedFit,
    SpeedPoint,
    Target,
    TimePoint,
)
from critbatch.records.study import Question, Study

HOSTILE = "<script>alert(1)</script><b>bold</b> \"quoted\" %{x} </script> #{7*7} {{ 7*7 }} & 'more'"
EXAMPLES = 1437
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
TARGET = Target(quantity=Quantity.VALIDATION_METRIC, value=0.97)
MIN_STEPS, NOISE_EXAMPLES, RATE, EXPONENT = 220.0, 130.0, 0.3, 1.05
FIXED, PER_EXAMPLE = 80e-6, 0.4e-6

MACHINE = Machine(
    processor="Example Processor 9000",
    cores=2,
    threads=1,
    memory_bytes=16 << 30,
    device="cpu",
    accelerator="",
    system="Linux 6.1 x86_64",
    python="3.11.7",
    torch="2.13.0",
    critbatch="0.1.0",
)
PROVENANCE = Provenance(
    command="critbatch advise digits-mlp --seed 0 --out report.html",
    started="2026-11-20T09:30:00Z",
    wall_seconds=96.4,
    seed=0,
    machine=MACHINE,
)


def wobble(i: float, width: float = 0.06) -> float:
    """Near one, never the same twice."""
    return 1 + width * math.sin(12.9898 * (i + 1))


def estimate(value: float, n: int = 3, spread: float = 0.15, level: float = 0.8) -> Estimate:
    return Estimate(value=value, n=n, low=value * (1 - spread), high=value * (1 + spread), level=level)


def bare(value: float, reason: str = "one_seed", n: int = 1) -> Estimate:
    return Estimate(value=value, n=n, reason=reason)


def step_seconds(size: int) -> float:
    return (FIXED + PER_EXAMPLE * size) * wobble(size, 0.02)


def best_rate(size: int) -> float:
    return RATE / (1 + NOISE_EXAMPLES / size) ** EXPONENT


def steps_to_target(size: int, rate: float) -> float:
    rho = rate / best_rate(size)
    return MIN_STEPS * (1 + NOISE_EXAMPLES / size) * (rho + 1 / rho) / 2


def speed_point(size: int) -> SpeedPoint:
    step = step_seconds(size)
    return SpeedPoint(
        batch_size=size,
        step_seconds=estimate(step, n=40, spread=0.04, level=0.95),
        quartiles=(step * 0.97, step * 1.06),
        data_seconds=step * (0.10 + 0.02 * math.log10(size + 1)),
        compute_seconds=step * 0.66,
        optimizer_seconds=step * (0.24 - 0.05 * math.log10(size + 1)),
        peak_bytes=round(1.5 * 2**20 + 5200 * size),
    )


def speed(task: str = "digits-mlp") -> Speed:
    points = tuple(speed_point(size) for size in (1, 2, 4, *SIZES, 1437))
    return Speed(
        task=task,
        unit="image",
        examples=EXAMPLES,
        points=(*points, SpeedPoint(batch_size=4096, fits=False)),
        fit=SpeedFit(
            fixed_seconds=FIXED,
            example_seconds=PER_EXAMPLE,
            knee=Estimate(value=200.0, n=12, low=171.0, high=236.0),
            worst_miss=0.062,
        ),
        provenance=replace(PROVENANCE, command="critbatch speed digits-mlp"),
    )


def noise_points(pairs: int = 24) -> tuple[NoisePoint, ...]:
    points = []
    for i in range(9):
        value = 14 * 1.38**i * wobble(i, 0.15)
        scale = NoiseScale(
            gradient_norm2=0.02 / (i + 1),
            covariance_trace=0.02 / (i + 1) * value,
            pairs=pairs,
            low=value * 0.7,
            high=value * 1.5,
        )
        points.append(NoisePoint(step=20 * (i + 1), epoch=20 * (i + 1) * 64 / EXAMPLES, scale=scale))
    return tuple(points)


def noise(task: str = "digits-mlp") -> Noise:
    silent = NoiseScale(gradient_norm2=-1e-4, covariance_trace=0.3, pairs=24, reason="noise_not_distinguishable")
    points = (*noise_points(), NoisePoint(step=200, epoch=8.9, scale=silent))
    return Noise(
        task=task,
        unit="image",
        tokens_per_example=1,
        recipe="sgd",
        batch_size=64,
        micro_batch_size=8,
        learning_rate=0.1,
        points=points,
        provenance=replace(PROVENANCE, command="critbatch noise digits-mlp"),
    )


def curve(size: int, rate: float, *, steps: float, evaluations: int, seed: int) -> tuple[CurvePoint, ...]:
    points = []
    for i in range(evaluations):
        step = round(steps * i / max(1, evaluations - 1))
        # Chosen so that the metric is at the target where the law says.
        at = step / steps_to_target(size, rate)
        rise = 1 - math.exp(-3.5 * at)
        metric = 0.1 + 0.8975 * rise + (0.004 * math.sin(7.1 * i + seed) if i else 0)
        loss = 2.3 * math.exp(-3.3 * at) + 0.06 + (0.01 * math.sin(5.3 * i + seed) if i else 0)
        points.append(
            CurvePoint(
                step=step,
                examples=step * size,
                epoch=step * size / EXAMPLES,
                seconds=step * step_seconds(size),
                learning_rate=rate,
                train_loss=loss * 0.8,
                train_metric=min(1.0, metric + 0.012 * rise),
                validation_loss=loss,
                validation_metric=min(1.0, metric),
            )
        )
    return tuple(points)


def run(
    size: int,
    rate: float | None = None,
    *,
    seed: int = 0,
    outcome: Outcome = Outcome.REACHED,
    task: str = "digits-mlp",
    target: Target | None = TARGET,
    evaluations: int = 24,
    steps: float | None = None,
) -> Run:
    rate = best_rate(size) if rate is None else rate
    needed = steps_to_target(size, rate) * wobble(size + seed, 0.08)
    length = steps if steps is not None else needed
    points = curve(size, rate, steps=length, evaluations=evaluations, seed=seed)
    if outcome is Outcome.DIVERGED:
        bad = replace(
            points[-1], train_loss=math.inf, validation_loss=math.nan, validation_metric=0.1, train_metric=0.1
        )
        points = (*points[:-1], bad)
    crossing = None
    if outcome is Outcome.REACHED and target is not None:
        crossing = Crossing(step=needed, epoch=needed * size / EXAMPLES, seconds=needed * step_seconds(size))
    return Run(
        task=task,
        recipe="sgd",
        batch_size=size,
        micro_batch_size=size,
        learning_rate=rate,
        seed=seed,
        target=target,
        outcome=outcome,
        crossing=crossing,
        steps=points[-1].step,
        examples=points[-1].examples,
        epochs=points[-1].epoch,
        seconds=points[-1].seconds,
        evaluation_seconds=0.2,
        compiled_steps=0,
        curve=points,
        noise=noise_points() if size == 64 and seed == 0 else (),
        metric_name="accuracy",
    )


def runs(task: str = "digits-mlp") -> tuple[Run, ...]:
    raced = [
        run(64, rate, outcome=Outcome.REACHED if rate < 0.35 else Outcome.DIVERGED, task=task, steps=steps)
        for rate, steps in ((0.05, None), (0.1, None), (0.2, None), (0.4, 60))
    ]
    at_best = [run(256, 0.2 * factor, seed=seed, task=task) for factor in (0.7, 1.0) for seed in (0, 1, 2)]
    missed = run(1024, 0.02, outcome=Outcome.FINISHED, task=task, steps=400)
    return (*raced, *at_best, run(16, 0.03, task=task), run(1024, 0.27, task=task), missed)


def time_point(size: int, made: int = 0) -> TimePoint:
    steps = steps_to_target(size, best_rate(size)) * wobble(size, 0.01)
    step = step_seconds(size)
    return TimePoint(
        batch_size=size,
        learning_rate=estimate(best_rate(size), spread=0.2),
        steps=estimate(steps, spread=0.10 if made else 0.18),
        step_seconds=estimate(step, n=40, spread=0.04),
        seconds=estimate(steps * step, spread=0.12 if made else 0.2),
        runs=made,
    )


LAW = Law(
    min_steps=estimate(MIN_STEPS, n=12),
    noise_examples=estimate(NOISE_EXAMPLES, n=12, spread=0.3),
    rate=estimate(RATE, n=12),
    exponent=estimate(EXPONENT, n=12, spread=0.1),
    misfit=0.09,
    holds=True,
)


def advice(task: str = "digits-mlp") -> Advice:
    made = {16: 1, 64: 4, 256: 6, 1024: 2}
    points = tuple(time_point(size, made.get(size, 0)) for size in SIZES)
    best = min(points, key=lambda point: point.seconds.value)
    near = [point.batch_size for point in points if point.seconds.value <= 1.1 * best.seconds.value]
    return Advice(
        task=task,
        unit="image",
        examples=EXAMPLES,
        recipe="sgd",
        target=TARGET,
        answered=True,
        best=best,
        within_ten_percent=(min(near), max(near)),
        current=time_point(32),
        largest=replace(time_point(1437), seconds=bare(0.16, "extrapolated")),
        points=points,
        law=LAW,
        speed=speed(task),
        runs=runs(task),
        micro_batch_size=best.batch_size,
        cautions=("few_points", "one_machine", "generalization_not_measured"),
        provenance=PROVENANCE,
    )


def unanswered(task: str = "digits-mlp") -> Advice:
    short = tuple(
        run(64, rate, outcome=outcome, task=task, steps=90)
        for rate, outcome in ((0.01, Outcome.FINISHED), (0.1, Outcome.FINISHED), (3.0, Outcome.DIVERGED))
    )
    return replace(
        advice(task),
        answered=False,
        best=None,
        within_ten_percent=None,
        current=None,
        largest=None,
        points=(),
        law=None,
        runs=short,
        micro_batch_size=None,
        cautions=("no_run_reached_target", "budget_ended"),
    )


def study(task: str = "digits-mlp", *, seeds: int = 3, evaluations: int = 24) -> Study:
    made = []
    for size in SIZES:
        for i, factor in enumerate((0.25, 0.5, 1.0, 2.0, 4.0)):
            for seed in range(seeds):
                late = factor == 0.25 and size <= 16
                diverges = factor == 4.0 and size >= 64
                made.append(
                    run(
                        size,
                        best_rate(size) * factor,
                        seed=10 * i + seed if seed else seed,
                        task=task,
                        outcome=Outcome.DIVERGED if diverges else Outcome.FINISHED if late else Outcome.REACHED,
                        steps=8 * EXAMPLES / size if late else 40 if diverges else None,
                        evaluations=evaluations,
                    )
                )
    return Study(
        question=Question(
            task=task,
            fingerprint="0123456789abcdef",
            recipe="sgd",
            batch_sizes=SIZES,
            learning_rates=tuple(sorted({r.learning_rate for r in made})),
            seeds=tuple(range(seeds)),
            epochs=8.0,
            target=TARGET,
        ),
        unit="image",
        examples=EXAMPLES,
        runs=tuple(made),
        left=6,
        speed=speed(task),
        provenance=replace(PROVENANCE, command="critbatch sweep digits-mlp"),
    )
