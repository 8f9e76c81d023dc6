"""Paths of gradient descent on two weights and twenty examples, with small and with large batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from critbatch.claims.effects import mean, mean_ratio
from critbatch.errors import UserError
from critbatch.recipes.sgd import sgd
from critbatch.records.claims import DirectionSpread, Path, Paths
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.data import Examples
from critbatch.tasks.task import Task
from critbatch.tasks.toy import PATIENTS, patients_line
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

BATCH_SIZES = (1, 2, 5, 10, 20)
# Relative to the rate at which one full-batch step reaches the minimum along the steepest direction.
RATES = tuple(2.0**power for power in range(-6, 2))
GRID = 41
MARGIN = 0.25


def paths(
    *,
    draws: int = 20,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    command: str = "",
) -> Paths:
    """One epoch of plain gradient descent on slope and intercept, by batch size.

    Every draw takes twenty patients of scikit-learn's diabetes data. Each batch size has its own learning rate, the
    best of a grid after one epoch. The spread of directions is measured at the initial weights, over the batches of
    one epoch: 1 minus the length of the mean of the gradients' unit vectors.

    Args:
        draws: Number of draws.
        batch_sizes: Batch sizes. The full batch is always added.
        seed: Seed of the order of examples in the first draw. The other draws have the next seeds.
        progress: Called with the number of finished draws and of all draws.
        command: The user's command, for the record.

    Raises:
        UserError: if a setting is not possible.
    """
    sizes = sorted({*batch_sizes, PATIENTS})
    if draws < 1 or sizes[0] < 1 or sizes[-1] > PATIENTS:
        raise UserError(f"{draws=}, batch_sizes={tuple(sizes)}: use 1 or more draws, and sizes from 1 to {PATIENTS}.")
    timer = RunTimer()
    spreads: dict[int, list[float]] = {size: [] for size in sizes}
    losses: dict[int, list[float]] = {size: [] for size in sizes}
    rates: dict[int, float] = {}
    for draw in range(draws):
        if progress is not None:
            progress(draw, draws)
        task = patients_line(draw)
        for size in sizes:
            spreads[size].append(_spread(task, size, seed + draw))
            loss_by_rate = {rate: _after_an_epoch(task, size, rate, seed + draw) for rate in _rates(task)}
            best = min(loss_by_rate, key=lambda rate: loss_by_rate[rate])
            losses[size].append(loss_by_rate[best])
            if draw == 0:
                rates[size] = best
    example = patients_line(0)
    drawn_paths = [_path(example, size, rates[size], seed) for size in (sizes[0], PATIENTS)]
    first, second, heights = _contours(example, drawn_paths)
    return Paths(
        data="diabetes",
        weights=("slope", "intercept"),
        examples=PATIENTS,
        draws=draws,
        paths=tuple(drawn_paths),
        first=first,
        second=second,
        heights=heights,
        spreads=tuple(
            DirectionSpread(
                batch_size=size,
                spread=mean(spreads[size]),
                loss=mean(losses[size]),
                full_over=mean_ratio(list(zip(losses[PATIENTS], losses[size], strict=True))),
            )
            for size in sizes
        ),
        provenance=timer.provenance(command=command, seed=seed, device=torch.device("cpu")),
    )


def _all(task: Task) -> tuple[Tensor, Tensor]:
    assert isinstance(task.train, Examples)
    inputs, targets = task.train.span(0, task.examples)
    return inputs, targets


def _rates(task: Task) -> list[float]:
    x, _ = _all(task)
    design = torch.cat([x, torch.ones_like(x)], dim=1)
    steepest = float(torch.linalg.eigvalsh(design.T @ design / len(x))[-1])
    return [rate / steepest for rate in RATES]


def _spread(task: Task, size: int, seed: int) -> float:
    """Spread of the gradients' directions over the batches of one epoch, at the initial weights."""
    training = _training(task, size, 1.0, seed)
    x, y = _all(task)
    weights = training.model.state_dict()["weights"]
    order = training.cursor.copy().take(task.examples)
    gradients = (weights[0] * x + weights[1] - y) * torch.cat([x, torch.ones_like(x)], dim=1)
    directions = torch.stack([_unit(gradients[batch].mean(0)) for batch in torch.split(order, size)])
    return 1.0 - float(directions.mean(0).norm()) if len(directions) > 1 else 0.0


def _unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector.double(), dim=0)


def _training(task: Task, size: int, rate: float, seed: int) -> Training:
    plan = sgd(batch_size=size, learning_rate=rate, epochs=1.0, momentum=0.0)
    return Training(task, plan, seed=seed, device=torch.device("cpu"), compile=False, evaluation=Evaluation(growth=1e6))


def _after_an_epoch(task: Task, size: int, rate: float, seed: int) -> float:
    """Loss after one epoch relative to the initial loss, over all examples; infinite if training diverged."""
    training = _training(task, size, rate, seed)
    training.advance()
    curve = training.record().curve
    return curve[-1].train_loss / curve[0].train_loss if training.run_state.diverged_at is None else float("inf")


def _path(task: Task, size: int, rate: float, seed: int) -> Path:
    training = _training(task, size, rate, seed)
    x, y = _all(task)
    places = [_place(training)]
    for step in range(1, -(-task.examples // size) + 1):
        training.advance(Budget(steps=step))
        places.append(_place(training))
    losses = tuple(_height(x, y, *position) for position in places)
    return Path(batch_size=size, learning_rate=rate, places=tuple(places), losses=losses)


def _place(training: Training) -> tuple[float, float]:
    slope, intercept = training.model.state_dict()["weights"].tolist()
    return slope, intercept


def _height(x: Tensor, y: Tensor, slope: float, intercept: float) -> float:
    return float((slope * x + intercept - y).square().mean() / 2)


def _contours(
    task: Task, drawn_paths: Sequence[Path]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Grid values of both weights around the paths and the minimum, and the loss at each grid point."""
    x, y = _all(task)
    design = torch.cat([x, torch.ones_like(x)], dim=1)
    best = torch.linalg.lstsq(design, y).solution.flatten().tolist()
    axes = []
    for axis in (0, 1):
        values = [position[axis] for way in drawn_paths for position in way.places] + [best[axis]]
        room = MARGIN * (max(values) - min(values))
        low, high = min(values) - room, max(values) + room
        axes.append(tuple(low + (high - low) * i / (GRID - 1) for i in range(GRID)))
    heights = tuple(tuple(_height(x, y, slope, intercept) for slope in axes[0]) for intercept in axes[1])
    return axes[0], axes[1], heights
