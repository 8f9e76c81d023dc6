"""The tasks of the advisor's study: small enough that a good run takes a second, and unlike each other.

    python benchmarks/advisor_tasks.py           # what there is
    python benchmarks/advisor_tasks.py NAME...   # the targets that the rule below gives

On those of `DEVELOPMENT` the policy may be tuned. Those of `FINAL` have other examples, and other pairs of data, model
and optimizer; nothing is tuned on them. The two targets of a task follow a rule that looks at no sweep: what the best
of seven rates at a batch size of 64 comes to in 100 and in 400 steps, and 7 % less of the way from chance, in the
logarithm of the loss or of the error, so that they are no lucky dip of one run.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.budget import Budget
from critbatch.evaluation import Evaluation
from critbatch.examples import Examples
from critbatch.recipes import plan_of, usual_rate
from critbatch.records import Quantity, Target
from critbatch.task import Task
from critbatch.training import Training
from critbatch.zoo.models import CNN, MLP
from critbatch.zoo.places import data_folder, find_file
from critbatch.zoo.readers import read_characters, read_cifar10, read_idx
from critbatch.zoo.transformer import GPT

CPU = torch.device("cpu")
LOSS, ACCURACY = Quantity.VALIDATION_LOSS, Quantity.VALIDATION_METRIC
VALIDATION = 1000
SMALLEST = 16
VOCABULARY = 65
CALIBRATION_STEPS, SHORT_OF = (100, 400), 0.07
Pair = tuple[Tensor, Tensor]


class CharacterMLP(nn.Module):
    """The next character from the ones before it, each as a vector: Bengio et al. 2003, section 2."""

    def __init__(self, *, context: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = MLP((context * width, hidden, VOCABULARY))

    def forward(self, characters: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.embedding(characters).flatten(1))
        return logits


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task with a recipe, and its two targets.

    Args:
        data: a key of `DATA`.
        examples: of the training set.
        first: where they begin in a fixed random order of the whole set.
        largest: batch size.
        validation: examples of the validation set.
        targets: the looser and the tighter.
        options: of the recipe. Where the rate decays a run has a planned length.
    """

    data: str
    model: Callable[[], nn.Module]
    recipe: str
    examples: int
    first: int = 0
    largest: int = 2048
    validation: int = VALIDATION
    quantity: Quantity = LOSS
    targets: tuple[float, float]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def decays(self) -> bool:
        return bool(self.options)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(2**k for k in range(13) if SMALLEST <= 2**k <= min(self.largest, self.examples))


def _standard(train: Tensor, validation: Tensor) -> Pair:
    mean, std = train.mean(), train.std()
    return (train - mean) / std, (validation - mean) / std


@cache
def _images(name: str, square: int) -> tuple[Pair, Pair]:
    """Averaged over squares of that many pixels a side: float32, shape (images, channels, height, width)."""
    folder = data_folder(name)
    if name == "cifar10":
        parts = [read_cifar10(folder / f"{file}.bin") for file in ("data_batch_1", "data_batch_2", "test_batch")]
        images = [torch.from_numpy(found).float() for found, _ in parts]
        labels = [torch.from_numpy(found).long() for _, found in parts]
        images, labels = [torch.cat(images[:2]), images[2]], [torch.cat(labels[:2]), labels[2]]
    else:
        files = [(f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
        images = [torch.from_numpy(read_idx(find_file(folder, file))).float()[:, None] for file, _ in files]
        labels = [torch.from_numpy(read_idx(find_file(folder, file))).long() for _, file in files]
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
    "cifar10 8x8": partial(_images, "cifar10", 4),
    "characters": partial(_text, 6, False),
    "sequences": partial(_text, 8, True),
}


class Flat(nn.Sequential):
    """A perceptron for images."""

    def __init__(self, *widths: int) -> None:
        super().__init__(nn.Flatten(), MLP(widths))


def case_of(name: str) -> Case:
    return (DEVELOPMENT | FINAL)[name]


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
                compiled=False,
            )
            training.advance(Budget(steps=steps))
            for bound in (steps,) if case.decays else CALIBRATION_STEPS:
                values = [getattr(p, case.quantity.value) for p in training.ledger.curve if p.step <= bound]
                found[bound].append(min(v if case.quantity is LOSS else -v for v in values if math.isfinite(v)))
    best = [min(values) for values in found.values()]
    classes = VOCABULARY if case.data in ("characters", "sequences") else 10
    if case.quantity is LOSS:
        return tuple(math.ceil(1000 * _eased(value, math.log(classes))) / 1000 for value in best)
    return tuple(math.floor(1000 * (1 - _eased(1 + value, 1 - 1 / classes))) / 1000 for value in best)


def _eased(value: float, chance: float) -> float:
    return value * (chance / value) ** SHORT_OF


TRANSFORMER = partial(GPT, vocabulary=VOCABULARY, context=8, layers=1, width=16, heads=2)
CHARACTERS = partial(CharacterMLP, context=6, width=8, hidden=48)
LINEAR: dict[str, Any] = {"decay": "linear"}
WARM: dict[str, Any] = {"decay": "linear", "warm_up_epochs": 0.5}


def _cnn(channels: int, size: int, *widths: int) -> Callable[[], nn.Module]:
    return partial(CNN, channels=channels, size=size, widths=widths)


def _mlp(*widths: int) -> Callable[[], nn.Module]:
    return partial(Flat, *widths)


DEVELOPMENT: dict[str, Case] = {
    "dev-digits-mlp-sgd": Case(
        data="digits", model=_mlp(64, 32, 10), recipe="sgd", examples=1000, largest=1024, targets=(0.155, 0.115)
    ),
    "dev-mnist-mlp-adam": Case(
        data="mnist 14x14",
        model=_mlp(196, 32, 10),
        recipe="adam",
        examples=6000,
        quantity=ACCURACY,
        targets=(0.893, 0.933),
    ),
    "dev-fashion-cnn-sgd": Case(
        data="fashion 7x7", model=_cnn(1, 7, 8), recipe="sgd", examples=4000, validation=500, targets=(0.682, 0.547)
    ),
    "dev-cifar-mlp-sgd": Case(
        data="cifar10 8x8", model=_mlp(192, 32, 10), recipe="sgd", examples=6000, targets=(1.82, 1.713)
    ),
    "dev-characters-mlp-adam": Case(
        data="characters", model=CHARACTERS, recipe="adam", examples=8000, targets=(2.814, 2.582)
    ),
    "dev-sequences-gpt-adam": Case(
        data="sequences",
        model=TRANSFORMER,
        recipe="adam",
        examples=4000,
        largest=1024,
        validation=250,
        targets=(2.585, 2.401),
    ),
    "dev-digits-mlp-sgd-linear": Case(
        data="digits",
        model=_mlp(64, 32, 10),
        recipe="sgd",
        examples=1000,
        largest=512,
        targets=(0.146, 0.12),
        options=LINEAR,
    ),
}

FINAL: dict[str, Case] = {
    "digits-cnn-sgd": Case(
        data="digits", model=_cnn(1, 8, 8), recipe="sgd", examples=1000, largest=1024, targets=(0.122, 0.098)
    ),
    "digits-mlp-adam": Case(
        data="digits", model=_mlp(64, 48, 10), recipe="adam", examples=1000, largest=1024, targets=(0.096, 0.085)
    ),
    "mnist-mlp-sgd": Case(
        data="mnist 14x14",
        model=_mlp(196, 32, 10),
        recipe="sgd",
        first=10_000,
        examples=6000,
        quantity=ACCURACY,
        targets=(0.896, 0.931),
    ),
    "mnist-cnn-adam": Case(
        data="mnist 7x7",
        model=_cnn(1, 7, 8),
        recipe="adam",
        first=20_000,
        examples=4000,
        validation=500,
        targets=(0.407, 0.257),
    ),
    "mnist-mlp-sgd-warm-linear": Case(
        data="mnist 7x7",
        model=_mlp(49, 32, 10),
        recipe="sgd",
        first=30_000,
        examples=3000,
        largest=512,
        targets=(0.391, 0.285),
        options=WARM,
    ),
    "fashion-mlp-sgd": Case(
        data="fashion 7x7",
        model=_mlp(49, 48, 10),
        recipe="sgd",
        first=10_000,
        examples=5000,
        quantity=ACCURACY,
        targets=(0.753, 0.785),
    ),
    "fashion-mlp-adam": Case(
        data="fashion 14x14",
        model=_mlp(196, 32, 10),
        recipe="adam",
        first=20_000,
        examples=6000,
        targets=(0.639, 0.544),
    ),
    "fashion-cnn-adam": Case(
        data="fashion 7x7",
        model=_cnn(1, 7, 12),
        recipe="adam",
        first=30_000,
        examples=4000,
        validation=500,
        targets=(0.664, 0.55),
    ),
    "fashion-mlp-adam-linear": Case(
        data="fashion 7x7",
        model=_mlp(49, 32, 10),
        recipe="adam",
        first=40_000,
        examples=3000,
        largest=512,
        targets=(0.725, 0.587),
        options=LINEAR,
    ),
    "cifar-cnn-sgd": Case(
        data="cifar10 8x8",
        model=_cnn(3, 8, 8),
        recipe="sgd",
        first=8000,
        examples=4000,
        largest=1024,
        validation=500,
        targets=(1.741, 1.574),
    ),
    "cifar-mlp-adam": Case(
        data="cifar10 8x8", model=_mlp(192, 32, 10), recipe="adam", first=12_000, examples=6000, targets=(1.828, 1.714)
    ),
    "characters-mlp-sgd": Case(
        data="characters", model=CHARACTERS, recipe="sgd", first=20_000, examples=8000, targets=(2.94, 2.657)
    ),
    "sequences-gpt-adam": Case(
        data="sequences",
        model=partial(TRANSFORMER, width=24),
        recipe="adam",
        first=20_000,
        examples=4000,
        largest=1024,
        validation=250,
        targets=(2.552, 2.387),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name, case in (DEVELOPMENT | FINAL).items():
        if not asked.names:
            print(
                f"{name}: {case.examples} examples, sizes {case.sizes[0]} to {case.sizes[-1]}, targets {case.targets}"
            )
        elif name in asked.names:
            print(f"{name}: targets={calibrated(name)}", flush=True)


if __name__ == "__main__":
    main()
