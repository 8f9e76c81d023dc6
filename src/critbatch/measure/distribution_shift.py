"""How much the loss rises at flat and at sharp minima if the data shift."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import CHUNK, EmpiricalRisk
from critbatch.measure.sharpness import EVERY_BOX, sharpness
from critbatch.records.core import Estimate
from critbatch.records.loss_surface import Box, Mode, Shift, ShiftPrediction, ShiftRise, Solution, SolutionSharpness
from critbatch.runtime.device import as_device
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.data import GivenData, Tree, leaves, map_tree
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

NOISE_STRENGTHS = (0.1, 0.3, 1.0)
TOKEN_STRENGTHS = (0.05, 0.2)
PIXELS = (1, 2)
SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Change:
    """A shift of prepared inputs, the same for every model.

    Args:
        name: "noise" or "moved".
        strength: Standard deviation of the noise in standard deviations of the inputs, or share of tokens to replace,
            or number of pixels.
        apply: Function of prepared inputs and the number of their chunk. It returns the changed inputs.
    """

    name: str
    strength: float
    apply: Callable[[Tree, int], Tree]


def changes_for(task: Task, inputs: Tree, *, seed: int) -> list[Change]:
    """The shifts that are possible for inputs of this kind.

    Args:
        task: Task of the inputs.
        inputs: Some prepared inputs.
        seed: Seed of the noise and of the tokens.
    """
    floats = [leaf for leaf in leaves(inputs) if leaf.is_floating_point()]
    if not floats:
        return [Change("noise", share, _replaced(share, seed)) for share in TOKEN_STRENGTHS]
    spread = float(torch.cat([leaf.flatten() for leaf in floats]).std())
    changes = [Change("noise", strength, _noisy(strength * spread, seed)) for strength in NOISE_STRENGTHS]
    if len(leaves(inputs)) == 1 and (shape := _picture(task, floats[0])) is not None:
        changes += [Change("moved", float(pixels), _moved(pixels, shape)) for pixels in PIXELS]
    return changes


def _noisy(deviation: float, seed: int) -> Callable[[Tree, int], Tree]:
    def apply(inputs: Tree, chunk: int) -> Tree:
        generator = torch.Generator().manual_seed(seed + chunk)

        def add(leaf: Tensor) -> Tensor:
            if not leaf.is_floating_point():
                return leaf
            noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float32)
            return leaf + deviation * noise.to(leaf)

        return map_tree(add, inputs)

    return apply


def _replaced(share: float, seed: int) -> Callable[[Tree, int], Tree]:
    """Replace tokens by others of the same chunk, so that each keeps its frequency."""

    def apply(inputs: Tree, chunk: int) -> Tree:
        generator = torch.Generator().manual_seed(seed + chunk)

        def swap(leaf: Tensor) -> Tensor:
            others = leaf.flatten()[torch.randperm(leaf.numel(), generator=generator).to(leaf.device)].view_as(leaf)
            chosen = (torch.rand(leaf.shape, generator=generator) < share).to(leaf.device)
            return torch.where(chosen, others, leaf)

        return map_tree(swap, inputs)

    return apply


def _picture(task: Task, leaf: Tensor) -> tuple[int, ...] | None:
    """The shape of one example as (channels, height, width); None if it is not a picture."""
    if leaf.ndim == 4 and min(leaf.shape[2:]) >= SMALLEST_SIDE:
        return tuple(leaf.shape[1:])
    side = math.isqrt(leaf.shape[1]) if leaf.ndim == 2 else 0
    if task.unit == "image" and side >= SMALLEST_SIDE and side * side == leaf.shape[1]:
        return 1, side, side
    return None


def _moved(pixels: int, shape: tuple[int, ...]) -> Callable[[Tree, int], Tree]:
    """Move pictures to the right. Pixels that leave are lost; on the left, the border is repeated."""

    def move(leaf: Tensor) -> Tensor:
        pictures = leaf.view(len(leaf), *shape)
        border = pictures[..., :1].expand(*pictures.shape[:-1], pixels)
        return torch.cat([border, pictures[..., :-pixels]], dim=-1).reshape(leaf.shape)

    return lambda inputs, chunk: map_tree(move, inputs)


NORMAL_95 = 1.959963984540054
RESAMPLES = 1000
FEWEST_SOLUTIONS = 4


@checked_call
def shift(
    task: Task | str,
    models: Mapping[str, nn.Module],
    *,
    solutions: Mapping[str, Solution] | None = None,
    shifts: Mapping[str, GivenData] | None = None,
    epsilons: Sequence[float] = (1e-3,),
    boxes: Sequence[Box] = EVERY_BOX,
    curvature: bool = True,
    examples: int | None = None,
    mode: Mode = Mode.EVAL,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> Shift:
    """Measure how the loss of runs rises on other training sets.

    The training set is replaced by: "resampled", as many examples drawn from it with replacement, which shows the
    effect of chance alone; "validation", other examples of the same source; "noise", Gaussian noise on the inputs, or
    other tokens; "moved", pictures moved to the right by some pixels; and sets of your own. Keskar et al. 2016 say that
    the loss of sharp minima rises more; `predictions` is the rank correlation of sharpness and rise over the models.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        models: Models by their labels. They do not change.
        solutions: Runs that the weights come from, by label.
        shifts: More data sets to replace the training set, as (inputs, targets) by name.
        epsilons: Relative sizes of the box of the sharpness.
        boxes: Boxes of the sharpness.
        curvature: Also measure the largest eigenvalue and the trace of the Hessian.
        examples: Training examples to use, always the same ones. Default: all.
        mode: Statistics of batch norm: running averages, or those of each forward pass.
        chunk: Examples in one forward pass.
        seed: Seed of the noise, of the resampling and of the sharpness.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the work done and the work in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if there is no model.
    """
    task = as_task(task)
    watch, device = RunTimer(), as_device(device)
    if not models:
        raise UserError("There is no model to measure: give one or more by their labels.")
    measured = sharpness(
        task,
        models,
        solutions=solutions,
        epsilons=epsilons,
        boxes=boxes,
        curvature=curvature,
        examples=examples,
        mode=mode,
        chunk=chunk,
        seed=seed,
        device=device,
        progress=progress,
    )
    rises: list[ShiftRise] = []
    for n, (label, model) in enumerate(models.items()):
        if progress is not None:
            progress(f"shifts of {label}", n, len(models))
        rises += _rises(task, label, model, shifts or {}, examples, mode, chunk, seed, device)
    return Shift(
        setup=measured.setup,
        metric_name=task.metric_name,
        sharpness=measured.solutions,
        rises=tuple(rises),
        predictions=tuple(_predictions(list(models), measured.solutions, rises)),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _rises(
    task: Task,
    label: str,
    model: nn.Module,
    shifts: Mapping[str, GivenData],
    examples: int | None,
    mode: Mode,
    chunk: int,
    seed: int,
    device: torch.device,
) -> list[ShiftRise]:
    train = EmpiricalRisk(task, model, examples=examples, mode=mode, chunk=chunk, device=device)
    losses, metrics = train.each()
    rises = [_resampled(label, losses, metrics, seed)]
    for name, data in {"validation": "validation", **shifts}.items():
        other = EmpiricalRisk(task, model, data=data, mode=mode, chunk=chunk, device=device)
        other_losses, other_metrics = other.each()
        rises.append(_rise(label, name, 0.0, other_losses, other_metrics, _difference(losses, other_losses)))
    for change in changes_for(task, next(train.chunks())[0], seed=seed):
        changed = EmpiricalRisk(
            task, model, examples=examples, mode=mode, chunk=chunk, change=change.apply, device=device
        )
        other_losses, other_metrics = changed.each()
        rise = _mean(other_losses - losses)
        rises.append(_rise(label, change.name, change.strength, other_losses, other_metrics, rise))
    return rises


def _rise(label: str, name: str, strength: float, losses: Tensor, metrics: Tensor, rise: Estimate) -> ShiftRise:
    return ShiftRise(
        label=label,
        shift=name,
        strength=strength,
        loss=float(losses.mean()),
        metric=float(metrics.mean()),
        rise=rise,
    )


def _resampled(label: str, losses: Tensor, metrics: Tensor, seed: int) -> ShiftRise:
    """The mean rise over resamples, with the range that holds 95 % of them."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [losses[torch.randint(len(losses), (len(losses),), generator=generator)].mean() for _ in range(RESAMPLES)]
    )
    rises = means - losses.mean()
    ends = torch.quantile(rises, torch.tensor([0.025, 0.975], dtype=rises.dtype)).tolist()
    rise = Estimate(value=float(rises.mean()), n=RESAMPLES, low=ends[0], high=ends[1])
    return _rise(label, "resampled", 0.0, means, metrics, rise)


def _mean(differences: Tensor) -> Estimate:
    """The mean of differences between the same examples, shifted and not, with its normal interval."""
    n, middle = len(differences), float(differences.mean())
    half = NORMAL_95 * float(differences.std()) / math.sqrt(n) if n > 1 else math.inf
    return Estimate(value=middle, n=n, low=middle - half, high=middle + half)


def _difference(losses: Tensor, others: Tensor) -> Estimate:
    """The difference between the means of two sets of examples, with its normal interval."""
    middle = float(others.mean() - losses.mean())
    half = NORMAL_95 * math.sqrt(float(losses.var()) / len(losses) + float(others.var()) / len(others))
    return Estimate(value=middle, n=len(others), low=middle - half, high=middle + half)


def _predictions(
    labels: list[str], solutions: Sequence[SolutionSharpness], rises: Sequence[ShiftRise]
) -> list[ShiftPrediction]:
    if len(labels) < 2:
        return []
    measures: dict[str, list[float]] = {
        f"{value.box} {value.epsilon:g}": [solution.values[i].value.value for solution in solutions]
        for i, value in enumerate(solutions[0].values)
    }
    measures["largest"] = [solution.largest.value for solution in solutions if solution.largest is not None]
    measures["trace"] = [solution.trace.value for solution in solutions if solution.trace is not None]
    predictions = []
    for name, strength in dict.fromkeys((rise.shift, rise.strength) for rise in rises):
        if name == "resampled":
            continue
        increases = [rise.rise.value for rise in rises if (rise.shift, rise.strength) == (name, strength)]
        predictions += [
            ShiftPrediction(measure=measure, shift=name, strength=strength, correlation=_spearman(values, increases))
            for measure, values in measures.items()
            if len(values) == len(increases)
        ]
    return predictions


def _spearman(first: list[float], second: list[float]) -> Estimate:
    """Spearman's rank correlation with Fisher's interval, with the width for ranks.

    Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations":
    variance (1 + r^2 / 2) / (n - 3).
    """
    from scipy.stats import spearmanr

    n = len(first)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return Estimate(value=0.0, n=n, reason="all_alike")
    r = float(spearmanr(first, second).statistic)
    if n < FEWEST_SOLUTIONS:
        return Estimate(value=r, n=n, reason="few_solutions")
    middle = math.atanh(max(-0.999999, min(0.999999, r)))
    half = NORMAL_95 * math.sqrt((1 + r**2 / 2) / (n - 3))
    return Estimate(value=r, n=n, low=math.tanh(middle - half), high=math.tanh(middle + half))
