"""The tasks of the advisor's study: small enough that a good run takes a second, and unlike each other.

On those of `DEVELOPMENT` the policy was tuned for the study of `FINAL`, which have other examples, and other pairs of
data, model and optimizer. Since then both are known, and were used to tune it again for the study of `SECOND`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from critbatch.records.core import Quantity
from critbatch.tasks.models import CNN, GPT, MLP

LOSS, ACCURACY = Quantity.VALIDATION_LOSS, Quantity.VALIDATION_METRIC
VALIDATION = 1000
SMALLEST = 16
VOCABULARY = 65


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


class Flat(nn.Sequential):
    """A perceptron for images."""

    def __init__(self, *widths: int) -> None:
        super().__init__(nn.Flatten(), MLP(widths))


TRANSFORMER = partial(GPT, vocabulary=VOCABULARY, context=8, layers=1, width=16, heads=2)
CHARACTERS = partial(CharacterMLP, context=6, width=8, hidden=48)
LINEAR: dict[str, Any] = {"lr_decay": "linear"}
COSINE: dict[str, Any] = {"lr_decay": "cosine"}
WARM: dict[str, Any] = {"lr_decay": "linear", "warmup_epochs": 0.5}


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

SECOND: dict[str, Case] = {
    "second-digits-cnn-adam": Case(
        data="digits", model=_cnn(1, 8, 12), recipe="adam", examples=1000, largest=1024, targets=(0.135, 0.081)
    ),
    "second-digits-deep-sgd": Case(
        data="digits", model=_mlp(64, 32, 32, 10), recipe="sgd", examples=1000, largest=1024, targets=(0.141, 0.112)
    ),
    "second-mnist-cnn-sgd": Case(
        data="mnist 7x7",
        model=_cnn(1, 7, 8),
        recipe="sgd",
        first=40_000,
        examples=4000,
        validation=500,
        targets=(0.419, 0.305),
    ),
    "second-mnist-wide-adam": Case(
        data="mnist 7x7",
        model=_mlp(49, 96, 10),
        recipe="adam",
        first=50_000,
        examples=6000,
        quantity=ACCURACY,
        targets=(0.908, 0.928),
    ),
    "second-mnist-mlp-adam-cosine": Case(
        data="mnist 14x14",
        model=_mlp(196, 24, 10),
        recipe="adam",
        first=16_000,
        examples=3000,
        largest=512,
        targets=(0.403, 0.305),
        options=COSINE,
    ),
    "second-fashion-cnn-sgd": Case(
        data="fashion 7x7",
        model=_cnn(1, 7, 12),
        recipe="sgd",
        first=50_000,
        examples=4000,
        validation=500,
        targets=(0.666, 0.515),
    ),
    "second-fashion-deep-adam": Case(
        data="fashion 14x14",
        model=_mlp(196, 32, 32, 10),
        recipe="adam",
        first=54_000,
        examples=6000,
        quantity=ACCURACY,
        targets=(0.771, 0.8),
    ),
    "second-fashion-mlp-sgd-linear": Case(
        data="fashion 14x14",
        model=_mlp(196, 24, 10),
        recipe="sgd",
        first=43_000,
        examples=3000,
        largest=512,
        targets=(0.683, 0.617),
        options=LINEAR,
    ),
    "second-cifar-cnn-adam": Case(
        data="other cifar10 8x8",
        model=_cnn(3, 8, 12),
        recipe="adam",
        examples=4000,
        largest=1024,
        validation=500,
        targets=(1.727, 1.588),
    ),
    "second-cifar-deep-sgd": Case(
        data="other cifar10 16x16",
        model=_mlp(768, 24, 24, 10),
        recipe="sgd",
        first=4000,
        examples=6000,
        targets=(1.883, 1.746),
    ),
    "second-characters-wide-adam": Case(
        data="characters",
        model=partial(CHARACTERS, width=12, hidden=96),
        recipe="adam",
        first=40_000,
        examples=8000,
        targets=(2.793, 2.601),
    ),
    "second-characters-narrow-sgd": Case(
        data="characters",
        model=partial(CHARACTERS, width=16, hidden=32),
        recipe="sgd",
        first=60_000,
        examples=8000,
        targets=(2.92, 2.649),
    ),
    "second-sequences-gpt-adam": Case(
        data="sequences",
        model=partial(TRANSFORMER, layers=2),
        recipe="adam",
        first=60_000,
        examples=4000,
        largest=1024,
        validation=250,
        targets=(2.593, 2.42),
    ),
}

SETS = {"development": DEVELOPMENT, "final": FINAL, "known": DEVELOPMENT | FINAL, "second": SECOND}
ALL = DEVELOPMENT | FINAL | SECOND
