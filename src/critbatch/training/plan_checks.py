"""Whether a plan can be carried out on a task's data and by its model, before the first step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn

from critbatch.errors import UserError
from critbatch.recipes import RECIPES
from critbatch.recipes.plan import Phase, Plan
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task, accuracy
from critbatch.training.batch_norm import norms_in_training

MOST_SEEDS = 1 << 63


def refuse_misfits(task: Task, plan: Plan, *, seed: int, processes: int) -> None:
    """Compare sizes, shares and options of all phases with the data and the number of processes.

    Raises:
        UserError: if the plan cannot be carried out; the sentence says which batch size or option fits.
    """
    if not 0 <= seed < MOST_SEEDS:
        raise UserError(f"seed={seed} is not possible: use 0 or more, below 2^63.")
    largest = max(phase.batch_size for phase in plan.phases)
    if largest > task.examples:
        raise UserError(_too_large(plan, largest, task.examples))
    for phase in plan.phases:
        bar = phase.until_train_metric
        if bar is not None and bar > 1 and task.metric is accuracy:
            raise UserError(
                f"until_train_metric={bar:g} cannot be reached, since the accuracy is a share: use 1 or less."
            )
        sharers = phase.copies if phase.shares_batches else 1 if phase.copies > 1 else processes
        if phase.batch_size < sharers:
            who = "copies" if phase.copies > 1 else "processes"
            raise UserError(
                f"batch_size={phase.batch_size} cannot be shared by {sharers} {who}: use {sharers} or more, or "
                "fewer of them."
            )
        if phase.copies > 1 and phase.copies % processes:
            raise UserError(
                f"{phase.copies} copies cannot be shared equally by {processes} processes: use a number of processes "
                f"that divides {phase.copies}, or copies={math.ceil(phase.copies / processes) * processes}."
            )
        for epoch in (0.0, phase.epochs / 2):
            rate = phase.learning_rate(epoch)
            if not (math.isfinite(rate) and rate >= 0):
                raise UserError(
                    f"A learning rate of {rate:g} in epoch {epoch:g} of a phase is not possible: use 0 or more."
                )


def _too_large(plan: Plan, largest: int, examples: int) -> str:
    """A sentence about the largest batch of the plan."""
    if largest == plan.batch_size:
        return f"batch_size={largest} is above the {examples} training examples: use {examples} or less."
    option = RECIPES[plan.recipe].later_batches if plan.recipe in RECIPES else ""
    choices = [f"the option {option}={examples} or less"] if option else []
    # Later batches that are only bounded are multiples of the first.
    fits = plan.batch_size * examples // largest
    if fits and option in ("", "largest_batch"):
        choices.append(f"batch_size={fits} or less")
    return (
        f"Recipe {plan.recipe} goes from batches of {plan.batch_size} to {largest}, above the {examples} training "
        f"examples: use {', or '.join(choices) or 'smaller batches'}."
    )


def refuse_single_examples(
    task: Task,
    plan: Plan,
    model: nn.Module,
    source: BatchGatherer,
    *,
    processes: int,
    noise_pieces: int,
    noise_every: int,
) -> None:
    """Refuse a plan with a forward pass of one example, where the model's batch norm does not take one.

    Args:
        noise_pieces: that a batch is cut into where the noise is measured.
        noise_every: steps from one such batch to the next; 0 for never.

    Raises:
        UserError: if a step of the plan would fail; the sentence says which batch size or option fits.
    """
    if not norms_in_training(model):
        return
    for phase, size, remainder in _batches(plan, task.examples):
        share = phase.copies if phase.shares_batches else 1 if phase.copies > 1 else processes
        for batch in (size, remainder):
            measured = noise_every == 1 or (noise_every > 0 and batch == size)
            if _has_single(batch, share, _pieces(plan, size, noise_pieces if measured else 0)):
                break
        else:
            continue
        if not _takes_one(task, model, source):
            raise UserError(
                f"Batch norm cannot train on a batch of one example, and "
                f"{_why(plan, size, batch, examples=task.examples, share=share)}."
            )


def _batches(plan: Plan, examples: int) -> Iterator[tuple[Phase, int, int]]:
    """The batch size of each phase, and what it leaves at the end of an epoch: 0 for nothing."""
    place, start = 0, 0.0  # examples behind, and the epoch of the plan
    for phase in plan.phases:
        size, end = phase.batch_size, (start + phase.epochs) * examples
        remainders = set()
        while place < end:
            rest = examples - place % examples
            remainder = 0 if plan.drop_last else rest % size
            whole = rest // size * size
            if rest == examples and end - place > 2 * examples:  # whole epochs are all alike
                remainders.add(remainder)
                place += int((end - place) / examples - 1) * examples
                continue
            steps = min(whole, math.ceil((end - place) / size) * size)
            place += steps
            if steps == whole and place < end:
                remainders.add(remainder)
                place += rest - whole
            elif steps < whole:
                break
        yield phase, size, min(remainders - {0}, default=0)
        start += phase.epochs


def _pieces(plan: Plan, size: int, noise_pieces: int) -> list[int]:
    """Sizes that a share of a batch is cut into; none where it stays whole."""
    micro = plan.micro_batch_size
    noise = math.ceil(size / noise_pieces) if noise_pieces and size > 1 else None
    return [min(each for each in (micro, noise) if each)] if micro or noise else []


def _has_single(batch: int, share: int, pieces: list[int]) -> bool:
    """Whether a forward pass is of one example."""
    shares = {batch // share, -(-batch // share)} - {0}
    return any(own == 1 or any(own > piece and (piece == 1 or own % piece == 1) for piece in pieces) for own in shares)


def _takes_one(task: Task, model: nn.Module, source: BatchGatherer) -> bool:
    """Whether the model takes a batch of one: batch norm does where an example has several values of each channel."""
    trial = copy.deepcopy(model)
    try:
        with torch.no_grad():
            task.forward(trial.train(), source.take(torch.tensor([0]))[0])
    except ValueError as error:
        return "more than 1 value per channel" not in str(error)
    return True


def _why(plan: Plan, size: int, batch: int, *, examples: int, share: int) -> str:
    """Where a single example comes from, and what would do."""
    if batch < size and not _has_single(batch, share, []):
        return f"the last batch of {batch} of an epoch is cut so that one is alone: give drop_last"
    if batch < size:
        smaller = next((b for b in range(size - 1, 1, -1) if examples % b != 1), None)
        other = f", or a batch size such as {smaller}" if smaller else ""
        return (
            f"with batch_size={size} there is such a batch at the end of an epoch of {examples}: give drop_last{other}"
        )
    if _has_single(size, share, []):
        return f"batch_size={size} leaves one to a share: use a batch size of {2 * share} or more"
    return f"batch_size={size} is cut into micro-batches of which one has a single example: use a multiple of 8"
