"""What a sweep asks: checked, with what is usual where nothing was said, and the order in which to answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.campaigns.terms import Key
from critbatch.errors import UserError
from critbatch.recipes import find_recipe, usual_rate
from critbatch.records import Target
from critbatch.study_records import Question
from critbatch.task import Task

# Steps of a factor 3 leave the best rate within a factor 1.7 of a rung, which costs at most 16 % more steps by the law
# of `records.Law`. The ladder is as long as the best rate's way over the batch sizes: SGD's grows with the batch, at
# most linearly (Goyal et al. 2017, arXiv:1706.02677, section 2.1), Adam's about like its square root (Malladi et al.
# 2022, arXiv:2205.10287), so that its ladder is the shorter one.
LADDERS: dict[str, tuple[float, ...]] = {
    "sgd": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "adam": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
}
# From one rung of other ladders to the next.
RUNG = 10**0.5
# Above as many examples a run at the very small batch sizes takes hours.
LARGE_SET = 10_000
SEEDS = 2**32  # as many as torch and Optuna both take


def pose(
    task: Task,
    *,
    batch_sizes: Sequence[int] | None,
    learning_rates: Sequence[float] | None,
    seeds: Sequence[int],
    recipe: str,
    epochs: float,
    target: Target | None,
) -> Question:
    """The question, checked. None stands for what is usual.

    Raises:
        UserError: for a recipe that is not known, an empty list, a value twice, a batch size that the task cannot fill,
            a rate, length or seed that is not possible.
    """
    find_recipe(recipe)
    if not (epochs > 0 and math.isfinite(epochs)):
        raise UserError(f"epochs={epochs} is not possible: use a number above 0.")
    sizes = usual_batch_sizes(task.examples) if batch_sizes is None else tuple(batch_sizes)
    rates = _usual_rates(recipe) if learning_rates is None else tuple(learning_rates)
    for name, values in (("batch_sizes", sizes), ("learning_rates", rates), ("seeds", tuple(seeds))):
        if not values:
            raise UserError(f"`{name}` is empty: give one value at least.")
        if (twice := next((value for value in values if values.count(value) > 1), None)) is not None:
            raise UserError(f"`{name}` holds {twice} more than once: give each value once.")
    for size in sizes:
        if not 1 <= size <= task.examples:
            raise UserError(
                f"batch_size={size} is not possible: {task.name!r} has {task.examples} training examples, so use 1 to "
                f"{task.examples}."
            )
    for rate in rates:
        if not 1e-12 <= rate <= 1e6:
            raise UserError(f"learning_rate={rate} is not possible: use a number above 0, from 1e-12 to 1e6.")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise UserError(f"seed={seed} is not possible: use 0 to {SEEDS - 1}.")
    return Question(
        task=task.name,
        fingerprint=task.fingerprint(),
        recipe=recipe,
        batch_sizes=tuple(sorted(sizes)),
        learning_rates=tuple(sorted(rates)),
        seeds=tuple(seeds),
        epochs=epochs,
        target=target,
    )


def usual_batch_sizes(examples: int) -> tuple[int, ...]:
    """Steps of a factor 4, and the whole set.

    From 4 on; from 16 where the set is large, since an epoch at batch size 4 takes a quarter of its examples in steps.

    >>> usual_batch_sizes(1_437)
    (4, 16, 64, 256, 1437)
    >>> usual_batch_sizes(60_000)
    (16, 64, 256, 1024, 4096, 16384, 60000)
    """
    sizes = []
    size = 4 if examples <= LARGE_SET else 16
    while size * 2 <= examples:  # the last step, to the whole set, is to be a factor 2 at least
        sizes.append(size)
        size *= 4
    return (*sizes, examples)


def _usual_rates(recipe: str) -> tuple[float, ...]:
    """Those of the ladder; of a recipe without one, from what its paper says for a small batch to that for a large."""
    if recipe in LADDERS:
        return LADDERS[recipe]
    low, high = usual_rate(recipe, 16), usual_rate(recipe, LARGE_SET)
    rungs = max(2, round(math.log(high / low) / math.log(RUNG)))
    rates = [low * (high / low) ** (n / rungs) for n in range(-1, rungs + 2)]
    return tuple(float(f"{rate:.2g}") for rate in rates)


def keys_of(question: Question) -> list[Key]:
    """Its runs, in an order in which a study that is half done is of use already.

    The first seed goes over the whole grid before the second begins. Within it the large batches come first, whose runs
    have the fewest steps, and each batch size gets all of its rates, since only a tuned one can be compared.
    """
    return [
        Key(batch_size=size, learning_rate=rate, seed=seed)
        for seed in question.seeds
        for size in sorted(question.batch_sizes, reverse=True)
        for rate in question.learning_rates
    ]
