"""Hand-made records of the loss around some weights, whole and with something missing."""

from __future__ import annotations

import math
from dataclasses import replace

import sample_records as sample
from critbatch.records.core import Estimate, LayerNoise, Noise, NoiseScale, Record
from critbatch.records.loss_surface import (
    BatchGradients,
    Box,
    CriticalPoint,
    Curvature,
    Density,
    Eigenvalue,
    Escape,
    EscapeCount,
    Landscape,
    LandscapePoint,
    Matrix,
    Mode,
    Setup,
    Sharpness,
    SharpnessValue,
    Shift,
    ShiftPrediction,
    ShiftRise,
    Solution,
    SolutionSharpness,
    Standing,
)

SMALL = Solution(
    label="sgd, B=64, lr=0.025, seed 0", recipe="sgd", batch_size=64, learning_rate=0.025, seed=0, steps=900
)
LARGE = replace(SMALL, label="sgd, B=1024, lr=0.1, seed 0", batch_size=1024, learning_rate=0.1)
SETUP = Setup(
    task="digits-mlp",
    data="train",
    examples=1437,
    parameters=25_450,
    mode=Mode.EVAL,
    chunk=1000,
    precision="float32",
)
LARGEST = Eigenvalue(value=12.3456, residual=1e-6, converged=True)


def made(command: str):
    return replace(sample.PROVENANCE, command=f"critbatch {command} run-sgd-b64-lr0.025-seed0.json")


def curvature() -> Curvature:
    nodes = (-0.8, -0.1, 0.0, 0.02, 0.4, 1.5, 4.2, 12.3)
    weights = (0.0004, 0.02, 0.8, 0.15, 0.02, 0.006, 0.003, 0.0006)
    return Curvature(
        solution=SMALL,
        setup=SETUP,
        matrix=Matrix.HESSIAN,
        by="autograd",
        loss=0.0312,
        gradient_norm=0.021,
        largest=(
            LARGEST,
            Eigenvalue(value=7.1, residual=0.003, converged=True),
            Eigenvalue(value=4.2, residual=0.9, converged=False),
            Eigenvalue(value=4.1, residual=0.01, converged=False, placed=False),
        ),
        smallest=(Eigenvalue(value=-0.81, residual=0.01, converged=True),),
        trace=Estimate(value=61.5, n=20, low=55.0, high=68.0),
        density=Density(nodes=nodes, weights=weights, probes=8, steps=40),
        products=460,
        provenance=made("curvature"),
    )


def values(scale: float) -> tuple[SharpnessValue, ...]:
    return tuple(
        SharpnessValue(
            box=box,
            epsilon=epsilon,
            dimensions=100 if box is Box.RANDOM else SETUP.parameters,
            value=value,
            evaluations=14,
        )
        for epsilon in (1e-3, 5e-4)
        for box, value in (
            (Box.FULL, sample.bare(scale * epsilon * 4e4, "not_random")),
            (Box.RANDOM, Estimate(value=scale * epsilon * 3, n=3, low=scale * epsilon, high=scale * epsilon * 5)),
            (Box.ADAPTIVE, sample.bare(epsilon * 900 / scale, "not_random")),
        )
    )


def solution_sharpness(solution: Solution, scale: float) -> SolutionSharpness:
    return SolutionSharpness(
        solution=solution,
        loss=0.031 / scale,
        metric=0.9996,
        validation_loss=0.11 * scale**0.2,
        validation_metric=0.972 - 0.004 * scale,
        values=values(scale),
        largest=Eigenvalue(value=12.3 * scale, residual=0.02, converged=scale < 2),
        trace=Estimate(value=61.0 * scale, n=20, low=52.0 * scale, high=70.0 * scale),
    )


def sharpness() -> Sharpness:
    return Sharpness(
        setup=SETUP,
        metric_name="accuracy",
        solutions=(solution_sharpness(SMALL, 1.0), solution_sharpness(LARGE, 2.5)),
        provenance=made("sharpness"),
    )


def place(alpha: float, beta: float, loss: float) -> LandscapePoint:
    return LandscapePoint(
        alpha=alpha,
        beta=beta,
        train_loss=loss,
        train_metric=math.exp(-loss / 4),
        validation_loss=loss * 1.3 + 0.05,
        validation_metric=0.97 * math.exp(-loss / 4),
    )


def line() -> Landscape:
    alphas = [-1 + i / 8 for i in range(25)]
    return Landscape(
        kind="line",
        solutions=(SMALL, LARGE),
        setup=replace(SETUP, batch_norm=True),
        validation_examples=360,
        metric_name="accuracy",
        batch_norm_recomputed=True,
        points=tuple(place(a, 0.0, 0.03 + 1.4 * a**2 * (1.15 - a) ** 2) for a in alphas),
        provenance=made("landscape"),
    )


def plane() -> Landscape:
    sides = [i / 5 - 1 for i in range(11)]
    return replace(
        line(),
        kind="plane",
        solutions=(SMALL,),
        setup=SETUP,
        batch_norm_recomputed=False,
        points=tuple(place(a, b, 0.03 + 0.9 * a**2 + 2.2 * (b - 0.2 * a) ** 2) for b in sides for a in sides),
    )


def rise(solution: Solution, shift: str, strength: float, value: float) -> ShiftRise:
    return ShiftRise(
        label=solution.label,
        shift=shift,
        strength=strength,
        loss=0.03 + value,
        metric=0.99 - value / 5,
        rise=Estimate(value=value, n=1437, low=value - 0.02, high=value + 0.02),
    )


def shift() -> Shift:
    kinds = (
        ("resampled", 0.0, 0.0001),
        ("validation", 0.0, 0.08),
        ("noise", 0.1, 0.01),
        ("noise", 0.3, 0.09),
        ("noise", 1.0, 0.7),
        ("moved", 1.0, 0.4),
        ("moved", 2.0, 1.1),
        ("next year's digits", 0.0, 0.2),
    )
    middle = replace(SMALL, label="sgd, B=256, lr=0.05, seed 0", batch_size=256)
    third = replace(SMALL, label="sgd, B=16, lr=0.01, seed 0", batch_size=16)
    solutions = ((third, 0.6), (SMALL, 1.0), (middle, 1.6), (LARGE, 2.5))
    return Shift(
        setup=SETUP,
        metric_name="accuracy",
        sharpness=tuple(solution_sharpness(solution, scale) for solution, scale in solutions),
        rises=tuple(
            rise(solution, *kind, value * scale**0.5) for solution, scale in solutions for *kind, value in kinds
        ),
        predictions=tuple(
            ShiftPrediction(
                measure=measure,
                shift=kind[0],
                strength=kind[1],
                correlation=Estimate(value=0.8 * sign, n=4, low=-0.6 if sign > 0 else -0.99, high=0.99 * sign),
            )
            for kind in kinds[1:]
            for measure, sign in (("full 0.001", 1), ("adaptive 0.001", -1), ("largest", 1), ("trace", 1))
        ),
        provenance=made("shift"),
    )


def critical_point(standing: Standing = Standing.SADDLE) -> CriticalPoint:
    return CriticalPoint(
        solution=SMALL,
        setup=SETUP,
        standing=standing,
        reason="",
        loss=0.69,
        metric=0.51,
        metric_name="accuracy",
        gradient_norm=3.1e-4,
        expected_drop=2.2e-8,
        noise=NoiseScale(gradient_norm2=1e-7, covariance_trace=0.4, pairs=16, low=1e5),
        largest=Eigenvalue(value=2.1, residual=1e-4, converged=True),
        smallest=Eigenvalue(value=-0.34, residual=2e-4, converged=True),
        batches=tuple(
            BatchGradients(
                batch_size=size,
                n=64,
                median=0.6 / size**0.5,
                quartiles=(0.4 / size**0.5, 0.9 / size**0.5),
                descending=0.5 + 0.01 * size**0.5,
            )
            for size in (1, 16, 359)
        ),
        tries=("try_small_batches", "try_momentum", "try_negative_curvature"),
        provenance=made("critical-point"),
    )


def count(size: int, hits: int, low: float, high: float) -> EscapeCount:
    return EscapeCount(
        batch_size=size,
        share=Estimate(value=hits / 50, n=50, low=low, high=high),
        escapes=hits,
        steps=Estimate(value=320, n=hits, low=240, high=480) if hits > 5 else None,
        loss=Estimate(value=1.9 - hits / 50, n=50, low=1.7 - hits / 50, high=2.0 - hits / 50),
    )


def escape() -> Escape:
    return Escape(
        task="digits-narrow",
        unit="image",
        examples=1437,
        starts=50,
        learning_rate=0.05,
        descent_steps=2000,
        steps=2000,
        drop=0.05,
        standings={"plateau": 31, "saddle": 12, "minimum": 4, "descending": 3},
        start_losses=tuple(1.8 + 0.01 * i for i in range(50)),
        counts=(count(1, 41, 0.69, 0.91), count(16, 33, 0.51, 0.79), count(1437, 9, 0.086, 0.314)),
        provenance=made("escape"),
    )


def layered_noise() -> Noise:
    """Noise in tokens, in the optimizer's metric, by curvature, and of each layer."""

    def times(scale: NoiseScale, factor: float) -> NoiseScale:
        assert scale.low is not None and scale.high is not None
        return replace(
            scale,
            covariance_trace=scale.covariance_trace * factor,
            low=scale.low * factor,
            high=scale.high * factor,
        )

    points = sample.noise_points()
    layers = tuple(
        LayerNoise(name=f"blocks.{i}.linear", parameters=1000 * (i + 1), scale=times(points[-1].scale, 0.4 + 0.3 * i))
        for i in range(5)
    )
    silent = NoiseScale(gradient_norm2=-1.0, covariance_trace=1.0, pairs=24, reason="noise_not_distinguishable")
    told = [
        replace(
            point,
            in_metric=times(point.scale, 0.5),
            by_curvature=times(point.scale, 1.7) if i else silent,
            layers=(*layers, LayerNoise(name="head", parameters=10, scale=silent)),
        )
        for i, point in enumerate(points)
    ]
    return replace(
        sample.noise("tinyshakespeare"), tokens_per_example=64, unit="sequence", method="examples", points=tuple(told)
    )


RECORDS: dict[str, Record] = {
    "curvature": curvature(),
    "sharpness": sharpness(),
    "line": line(),
    "plane": plane(),
    "shift": shift(),
    "critical point": critical_point(),
    "escape": escape(),
    "noise of layers": layered_noise(),
}


def hostile() -> dict[str, Record]:
    """Records in which every text is an attempt to break the page."""
    text = sample.HOSTILE
    setup, solution = replace(SETUP, task=text, precision=text, data=text), replace(SMALL, label=text, recipe=text)
    provenance = replace(sample.PROVENANCE, command=text)
    sharp = replace(solution_sharpness(SMALL, 1.0), solution=solution)
    second = replace(solution_sharpness(LARGE, 2.0), solution=replace(solution, label=f"{text} 2"))
    every = {"setup": setup, "provenance": provenance}
    point = replace(critical_point(), solution=solution, metric_name=text, reason=text, tries=(text,), **every)
    layers = tuple(replace(layer, name=text) for layer in layered_noise().points[-1].layers)
    noisy = layered_noise()
    return {
        "curvature": replace(curvature(), solution=solution, by=text, **every),
        "sharpness": replace(sharpness(), solutions=(sharp, second), metric_name=text, **every),
        "line": replace(line(), solutions=(solution, second.solution), metric_name=text, **every),
        "plane": replace(plane(), solutions=(solution,), metric_name=text, **every),
        "shift": replace(
            shift(),
            sharpness=(sharp, second),
            metric_name=text,
            rises=tuple(
                replace(rise(SMALL, "validation", 0.0, value), label=each.solution.label, shift=text)
                for each, value in ((sharp, 0.1), (second, 0.3))
            ),
            predictions=tuple(replace(each, measure=text, shift=text) for each in shift().predictions[:1]),
            **every,
        ),
        "critical point": point,
        "escape": replace(escape(), task=text, unit=text, standings={text: 50}, provenance=provenance),
        "noise of layers": replace(
            noisy, task=text, unit=text, method=text, points=(replace(noisy.points[-1], layers=layers),)
        ),
    }


def _bad(point: LandscapePoint, loss: float) -> LandscapePoint:
    return replace(point, train_loss=loss, validation_loss=math.nan)


NOT_A_NUMBER = Eigenvalue(value=math.nan, residual=math.nan, converged=False)
MISSING: dict[str, Record] = {
    "curvature without trace and density": replace(curvature(), trace=None, density=None),
    "curvature without the lower end": replace(curvature(), smallest=()),
    "no eigenvalue": replace(curvature(), largest=(), smallest=(), trace=None, density=None),
    "eigenvalues that are no numbers": replace(curvature(), largest=(NOT_A_NUMBER,), smallest=(), density=None),
    "only negative eigenvalues": replace(
        curvature(), largest=(replace(LARGEST, value=-0.2),), density=None, setup=replace(SETUP, data="given")
    ),
    "one eigenvalue for all": replace(
        curvature(), density=Density(nodes=(2.0, 2.0), weights=(0.5, 0.5), probes=2, steps=1)
    ),
    "gauss-newton": replace(curvature(), matrix=Matrix.GAUSS_NEWTON, smallest=(replace(LARGEST, value=0.0),)),
    "weights without a label of their own": replace(curvature(), solution=Solution(label="digits-mlp")),
    "exact trace": replace(curvature(), trace=sample.bare(2.0, "exact", 67), by="differences"),
    "one solution": replace(sharpness(), solutions=(replace(sharpness().solutions[0], largest=None, trace=None),)),
    "no sharpness": replace(sharpness(), solutions=(replace(sharpness().solutions[0], values=()),)),
    "sharpness of nothing": replace(sharpness(), solutions=()),
    "sharpness 0 and infinite": replace(
        sharpness(),
        solutions=tuple(
            replace(each, values=tuple(replace(v, value=sample.bare(bad, "one_draw")) for v in each.values))
            for each, bad in zip(sharpness().solutions, (0.0, math.inf), strict=True)
        ),
    ),
    "line with a loss that is no number": replace(
        line(),
        points=tuple(_bad(p, math.nan if i % 2 else math.inf) if i > 15 else p for i, p in enumerate(line().points)),
    ),
    "line without its ends": replace(line(), points=line().points[9:15]),
    "line of negative losses": replace(
        line(), points=tuple(replace(p, train_loss=-p.train_loss) for p in line().points)
    ),
    "line without one finite loss": replace(line(), points=tuple(_bad(p, math.inf) for p in line().points)),
    "plane with infinite corners": replace(
        plane(), points=tuple(_bad(p, math.inf) if p.alpha > 0.7 else p for p in plane().points)
    ),
    "plane without its middle": replace(plane(), points=tuple(p for p in plane().points if p.alpha > 0.1)),
    "landscape without points": replace(plane(), points=()),
    "shift of one solution": replace(shift(), sharpness=shift().sharpness[:1], rises=shift().rises[:8], predictions=()),
    "shift of nothing": replace(shift(), sharpness=(), rises=(), predictions=()),
    "few solutions": replace(
        shift(),
        predictions=tuple(
            replace(each, correlation=sample.bare(1.0, "few_solutions", 3)) for each in shift().predictions
        ),
    ),
    "no loss rises": replace(
        shift(),
        rises=tuple(replace(each, rise=Estimate(value=-0.1, n=9, low=-0.2, high=0.0)) for each in shift().rises),
    ),
    "undecided": replace(
        critical_point(Standing.UNDECIDED),
        reason="curvature_within_error",
        gradient_norm=0.0,
        batches=(),
        tries=("try_double",),
        noise=replace(critical_point().noise, gradient_norm2=-1e-7, low=None, reason="noise_not_distinguishable"),
    ),
    "no start": replace(escape(), starts=0, counts=(), standings={}, start_losses=()),
    "full batch alone": replace(escape(), counts=escape().counts[-1:]),
    "intervals that overlap": replace(escape(), counts=(count(1, 10, 0.1, 0.34), count(1437, 9, 0.086, 0.314))),
    "small batches escape less": replace(escape(), counts=(count(1, 1, 0.0, 0.06), count(1437, 9, 0.086, 0.314))),
}
