"""The tasks of `advisor_sets.py` with their data, and the rule for their targets.

    python benchmarks/advisor_tasks.py           # what there is
    python benchmarks/advisor_tasks.py NAME...   # the targets that the rule below gives

The two targets of a task follow a rule that looks at no sweep: what the best of seven rates at a batch size of 64 comes
to in 100 and in 400 steps, and 7 % less of the way from chance, in the logarithm of the loss or of the error, so that
they are no lucky dip of one run.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from advisor_sets import ALL, LOSS, VOCABULARY, Case
from critbatch.recipes import plan_of, usual_rate
from critbatch.records.core import Target
from critbatch.tasks.data import Examples
from critbatch.tasks.datasets import data_folder, find_file, read_characters, read_cifar10, read_idx
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

CPU = torch.device("cpu")
CALIBRATION_STEPS, SHORT_OF = (100, 400), 0.07
Pair = tuple[Tensor, Tensor]


def _standard(train: Tensor, validation: Tensor) -> Pair:
    mean, std = train.mean(), train.std()
    return (train - mean) / std, (validation - mean) / std


@cache
def _images(name: str, square: int, *batches: int) -> tuple[Pair, Pair]:
    """Averaged over squares of that many pixels a side: float32, shape (images, channels, height, width)."""
    folder = data_folder(name)
    if name == "cifar10":
        files = (*(f"data_batch_{number}" for number in batches), "test_batch")
        parts = [read_cifar10(folder / f"{file}.bin") for file in files]
        images = [torch.from_numpy(found).float() for found, _ in parts]
        labels = [torch.from_numpy(found).long() for _, found in parts]
        images, labels = [torch.cat(images[:-1]), images[-1]], [torch.cat(labels[:-1]), labels[-1]]
    else:
        pairs = [(f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
        images = [torch.from_numpy(read_idx(find_file(folder, file))).float()[:, None] for file, _ in pairs]
        labels = [torch.from_numpy(read_idx(find_file(folder, file))).long() for _, file in pairs]
    train, validation = _standard(*(F.avg_pool2d(one, square) for one in images))
    return (train, labels[0]), (validation, labels[1])


@cache
def _digits() -> tuple[Pair, Pair]:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.RandomState(0).permutation(len(found.data))
    images = torch.from_numpy(found.data[order]).float().view(-1, 1, 8, 8)
    labels = torch.from_numpy(found.target[order]).long()
    train, validation = _standard(images[:1000], images[1000:])
    return (train, labels[:1000]), (validation, labels[1000:])


@cache
def _text(context: int, sequences: bool) -> tuple[Pair, Pair]:
    """Windows of a text and the character after each of them, or after each of their characters."""
    ids, _ = read_characters(data_folder("tinyshakespeare") / "input.txt")
    text = torch.from_numpy(ids).long()
    windows = text[: len(text) // (context + 1) * (context + 1)].view(-1, context + 1)
    inputs, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous() if sequences else windows[:, -1]
    split = len(inputs) * 9 // 10
    return (inputs[:split], targets[:split]), (inputs[split:], targets[split:])


DATA: dict[str, Callable[[], tuple[Pair, Pair]]] = {
    "digits": _digits,
    "mnist 14x14": partial(_images, "mnist", 2),
    "mnist 7x7": partial(_images, "mnist", 4),
    "fashion 14x14": partial(_images, "fashion-mnist", 2),
    "fashion 7x7": partial(_images, "fashion-mnist", 4),
    "cifar10 8x8": partial(_images, "cifar10", 4, 1, 2),
    "other cifar10 8x8": partial(_images, "cifar10", 4, 3, 4),
    "other cifar10 16x16": partial(_images, "cifar10", 2, 3, 4),
    "characters": partial(_text, 6, False),
    "sequences": partial(_text, 8, True),
}


def case_of(name: str) -> Case:
    return ALL[name]


def task_of(name: str, *, target: int = 1) -> Task:
    """The task with its looser (0) or tighter (1) target."""
    case = case_of(name)
    train, validation = DATA[case.data]()
    order = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(7))
    chosen = order[case.first : case.first + case.examples]
    held = torch.randperm(len(validation[0]), generator=torch.Generator().manual_seed(8))[: case.validation]
    return Task(
        name,
        model=case.model,
        train=Examples(train[0][chosen], train[1][chosen]),
        validation=Examples(validation[0][held], validation[1][held]),
        target=Target(quantity=case.quantity, value=case.targets[target]),
        recipe=case.recipe,
    )


def calibrated(name: str) -> tuple[float, ...]:
    """What the best of seven rates a factor 2 apart comes to in so many steps at a batch size of 64, to two digits."""
    case, task = case_of(name), task_of(name)
    found: dict[int, list[float]] = {steps: [] for steps in CALIBRATION_STEPS}
    for rung in range(-2, 5):
        for steps in CALIBRATION_STEPS if case.decays else CALIBRATION_STEPS[-1:]:
            training = Training(
                task,
                plan_of(
                    case.recipe,
                    batch_size=64,
                    learning_rate=usual_rate(case.recipe, 64) * 2.0**rung,
                    epochs=steps * 64 / case.examples,
                    **case.options,
                ),
                seed=1000,
                device=CPU,
                evaluation=Evaluation(growth=1.1, train_examples=0),
                compile=False,
            )
            training.advance(Budget(steps=steps))
            for bound in (steps,) if case.decays else CALIBRATION_STEPS:
                values = [getattr(p, case.quantity.value) for p in training.run_state.curve if p.step <= bound]
                found[bound].append(min(v if case.quantity is LOSS else -v for v in values if math.isfinite(v)))
    best = [min(values) for values in found.values()]
    classes = VOCABULARY if case.data in ("characters", "sequences") else 10
    if case.quantity is LOSS:
        return tuple(math.ceil(1000 * _eased(value, math.log(classes))) / 1000 for value in best)
    return tuple(math.floor(1000 * (1 - _eased(1 + value, 1 - 1 / classes))) / 1000 for value in best)


def _eased(value: float, chance: float) -> float:
    return value * (chance / value) ** SHORT_OF


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name, case in ALL.items():
        if not asked.names:
            print(
                f"{name}: {case.examples} examples, sizes {case.sizes[0]} to {case.sizes[-1]}, targets {case.targets}"
            )
        elif name in asked.names:
            print(f"{name}: targets={calibrated(name)}", flush=True)


if __name__ == "__main__":
    main()
