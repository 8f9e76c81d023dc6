"""How long a run is: so many epochs, steps, or seconds by a clock that all runs of a study share."""

from __future__ import annotations

import math

from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import Speed
from critbatch.records.study import Question


def lengths_of(question: Question, examples: int, speed: Speed | None) -> dict[int, float]:
    """Epochs of a run at each batch size: the longest of the question's epochs, steps and seconds.

    Seconds become steps by the time that a step takes alone on the machine, measured once, so that a run is as long
    whoever makes it, and however often it is broken off.

    Args:
        examples: in the training set.
        speed: needed where the question has seconds.
    """
    lengths = {}
    for size in question.batch_sizes:
        epochs = [question.epochs] if question.epochs is not None else []
        if question.steps is not None:
            epochs.append(epochs_of_steps(question.steps, size, examples))
        if question.seconds is not None:
            assert speed is not None
            steps = max(1, round(question.seconds / step_seconds_at(speed, size).value))
            epochs.append(epochs_of_steps(steps, size, examples))
        lengths[size] = max(epochs)
    return lengths


def epochs_of_steps(steps: int, batch_size: int, examples: int) -> float:
    """Epochs that end within the last of so many steps, where the last batch of an epoch may be a short one.

    >>> epochs_of_steps(4, 40, 100), epochs_of_steps(3, 100, 100)
    (1.2, 2.5)
    """
    per_epoch = math.ceil(examples / batch_size)
    whole, rest = divmod(steps - 1, per_epoch)
    last = min(batch_size, examples - rest * batch_size)
    return whole + (rest * batch_size + last / 2) / examples
