"""The built-in tasks: real data, small models, and targets that a well-tuned short run reaches.

Images stay uint8 and are standardized one batch at a time. Of the tasks in this file none is augmented. MNIST,
Fashion-MNIST and CIFAR-10 train on their whole training set, so that an epoch has the 60,000 examples that the lecture
speaks of, and take their test set for validation: what is tuned here is tuned on it, so do not report it as a test
result.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from critbatch.examples import Examples
from critbatch.records.core import Quantity, Target
from critbatch.task import Task
from critbatch.zoo.entry import TaskEntry
from critbatch.zoo.image_sets import FASHION_SCALE, MNIST_SCALE, cifar_task, idx_task
from critbatch.zoo.keskar_tasks import KESKAR_TASKS
from critbatch.zoo.models import CNN, MLP
from critbatch.zoo.paper_tasks import PAPER_TASKS
from critbatch.zoo.places import data_folder
from critbatch.zoo.readers import read_characters
from critbatch.zoo.resnet import ResNet
from critbatch.zoo.standardize import Standardize, to_indices
from critbatch.zoo.surfaces import surface_double_well, surface_saddle, surface_two_weights
from critbatch.zoo.transformer import GPT

DIGITS_TRAIN = 1437
CONTEXT = 64


def windows(ids: Tensor, length: int) -> Examples:
    """A text cut into sequences that do not overlap, and for each character the next one.

    Args:
        ids: uint8, shape (characters,).
        length: of a sequence. A rest that does not fill one is left out.

    Returns:
        Inputs, uint8, and targets, int64, both of shape (sequences, length).
    """
    count = (len(ids) - 1) // length
    inputs, targets = ids[: count * length], ids[1 : count * length + 1]
    return Examples(inputs.view(count, length), targets.view(count, length).long())


def digits_mlp() -> Task:
    from sklearn.datasets import load_digits

    found = load_digits()
    # The stream of RandomState is frozen by NumPy's policy (NEP 19): the split is the same everywhere.
    order = np.random.RandomState(0).permutation(len(found.data))
    images = torch.from_numpy(found.data[order].astype(np.uint8))
    labels = torch.from_numpy(found.target[order]).long()
    # Sums of whole numbers are exact, whatever the number of threads: the task is the same on every machine.
    train = images[:DIGITS_TRAIN].long()
    mean = train.sum().item() / train.numel()
    std = math.sqrt(train.square().sum().item() / train.numel() - mean**2)
    return Task(
        "digits-mlp",
        model=partial(MLP, (64, 64, 10)),
        train=Examples(images[:DIGITS_TRAIN], labels[:DIGITS_TRAIN]),
        validation=Examples(images[DIGITS_TRAIN:], labels[DIGITS_TRAIN:]),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=0.97),
        unit="image",
        prepare=Standardize(mean=mean, std=std),
    )


def digits_narrow() -> Task:
    """256 of the digits through three hidden units, where full-batch descent stops at many different losses."""
    wide = digits_mlp()
    assert isinstance(wide.train, Examples)
    return replace(
        wide,
        name="digits-narrow",
        model=partial(MLP, (64, 3, 10)),
        train=Examples(*wide.train.span(0, 256)),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=0.7),
    )


def mnist_mlp() -> Task:
    model = partial(MLP, (784, 100, 10))
    return idx_task("mnist-mlp", "mnist", shape=(784,), model=model, scale=MNIST_SCALE, target=0.97)


def fashion_mlp() -> Task:
    model = partial(MLP, (784, 100, 10))
    return idx_task("fashion-mlp", "fashion-mnist", shape=(784,), model=model, scale=FASHION_SCALE, target=0.87)


def fashion_cnn() -> Task:
    model = partial(CNN, channels=1, size=28, widths=(8, 16))
    return idx_task("fashion-cnn", "fashion-mnist", shape=(1, 28, 28), model=model, scale=FASHION_SCALE, target=0.88)


def cifar10_cnn() -> Task:
    return cifar_task("cifar10-cnn", model=partial(CNN, channels=3, size=32, widths=(16, 32, 64)), target=0.60)


def cifar10_resnet() -> Task:
    return cifar_task("cifar10-resnet", model=partial(ResNet, 3), target=0.70)


def shakespeare_gpt() -> Task:
    ids, vocabulary = read_characters(data_folder("tinyshakespeare") / "input.txt")
    text = torch.from_numpy(ids)
    split = len(text) * 9 // 10
    return Task(
        "shakespeare-gpt",
        model=partial(GPT, vocabulary=len(vocabulary), context=CONTEXT, layers=2, width=64, heads=4),
        train=windows(text[:split], CONTEXT),
        validation=windows(text[split:], CONTEXT),
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=2.0),
        unit="sequence",
        tokens_per_example=CONTEXT,
        prepare=to_indices,
        recipe="adam",
    )


TASKS: dict[str, TaskEntry] = {
    "digits-mlp": TaskEntry(
        digits_mlp,
        "1,797 digits of 8x8, 1,437 to train on: inside scikit-learn, always there",
        "digits",
        "MLP 64-64-10",
    ),
    "digits-narrow": TaskEntry(
        digits_narrow, "256 of the same digits, for experiments with being stuck", "digits", "MLP 64-3-10"
    ),
    "mnist-mlp": TaskEntry(
        mnist_mlp, "60,000 digits of 28x28; validation on the 10,000 test images", "mnist", "MLP 784-100-10"
    ),
    "fashion-mlp": TaskEntry(
        fashion_mlp,
        "60,000 garments of 28x28; validation on the 10,000 test images",
        "fashion-mnist",
        "MLP 784-100-10",
    ),
    "fashion-cnn": TaskEntry(
        fashion_cnn,
        "60,000 garments of 28x28; validation on the 10,000 test images",
        "fashion-mnist",
        "CNN, 2 convolutions of 8 and 16 channels",
    ),
    "cifar10-cnn": TaskEntry(
        cifar10_cnn,
        "50,000 colour images of 32x32; validation on the 10,000 test images",
        "cifar10",
        "CNN, 3 convolutions of 16, 32 and 64 channels",
    ),
    "cifar10-resnet": TaskEntry(
        cifar10_resnet,
        "50,000 colour images of 32x32; validation on the 10,000 test images",
        "cifar10",
        "ResNet-20 with batch normalization",
    ),
    **KESKAR_TASKS,
    **PAPER_TASKS,
    "shakespeare-gpt": TaskEntry(
        shakespeare_gpt,
        "the next character of 1,115,394, in sequences of 64; validation on the last tenth",
        "tinyshakespeare",
        "transformer, 2 layers of width 64",
    ),
    "surface-saddle": TaskEntry(
        surface_saddle, "64 tilts of a surface with a saddle between two minima", "none", "2 weights: the place on it"
    ),
    "surface-double-well": TaskEntry(
        surface_double_well,
        "64 tilts of a surface with a shallow and a deep minimum",
        "none",
        "2 weights: the place on it",
    ),
    "surface-two-weights": TaskEntry(
        surface_two_weights, "64 noisy points of a line", "none", "y = w1 w2 x, with a saddle at (0, 0)"
    ),
}
