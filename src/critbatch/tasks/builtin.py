"""The built-in tasks: real data, small models, and targets that a well-tuned short run reaches.

Images stay uint8 and are standardized one batch at a time. Of the tasks in this file none is augmented. MNIST,
Fashion-MNIST and CIFAR-10 train on their whole training set, so that an epoch has the 60,000 examples that the lecture
speaks of, and take their test set for validation: what is tuned here is tuned on it, so do not report it as a test
result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.records.core import Quantity, Target
from critbatch.tasks.augmentation import FolderAugmentation, flips_and_crops
from critbatch.tasks.bert import BERT_TASKS
from critbatch.tasks.data import Examples
from critbatch.tasks.datasets import data_folder, find_file, read_characters, read_cifar10, read_cifar100, read_idx
from critbatch.tasks.entry import TaskEntry
from critbatch.tasks.image_folder import ImageFolder, Standardize, find_images, list_images, to_indices
from critbatch.tasks.models import CNN, GPT, MLP, KeskarC1, KeskarC2, KeskarF1, KeskarF2, ResNet, ResNet9, ResNet50
from critbatch.tasks.task import Task
from critbatch.tasks.timit import find_frames, read_frames, stand_in_frames
from critbatch.tasks.toy import surface_double_well, surface_saddle, surface_two_weights

# Tasks on published sets of small images, which stay uint8 in memory and are standardized one batch at a time.

# In the units of the bytes, over the training set.
MNIST_SCALE = Standardize(mean=0.13066 * 255, std=0.30811 * 255)
FASHION_SCALE = Standardize(mean=0.28604 * 255, std=0.35302 * 255)
CIFAR10_SCALE = Standardize(mean=(125.307, 122.950, 113.865), std=(62.993, 62.089, 66.705))

BYTE_SCALE = Standardize(mean=0.0, std=255.0)


def _idx_images(folder: Path, part: str, shape: tuple[int, ...]) -> Examples:
    """One part of MNIST or of a set like it: uint8 images, each of this shape, and their labels."""
    images_path = find_file(folder, f"{part}-images-idx3-ubyte.gz")
    labels_path = find_file(folder, f"{part}-labels-idx1-ubyte.gz")
    images, labels = read_idx(images_path, (28, 28)), read_idx(labels_path, ())
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images):,} images but {labels_path} has {len(labels):,} labels: use files that "
            "belong together."
        )
    return Examples(torch.from_numpy(images).view(-1, *shape), torch.from_numpy(labels).long())


def idx_task(
    name: str,
    data: str,
    *,
    shape: tuple[int, ...],
    model: Callable[[], nn.Module],
    scale: Standardize,
    target: float,
    recipe: str = "sgd",
) -> Task:
    """A task on MNIST or a set like it, with validation on the test images."""
    folder = data_folder(data)
    return Task(
        name,
        model=model,
        train=_idx_images(folder, "train", shape),
        validation=_idx_images(folder, "t10k", shape),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="image",
        prepare=scale,
        recipe=recipe,
    )


def _cifar10_images(folder: Path, names: list[str]) -> Examples:
    parts = [read_cifar10(folder / f"{name}.bin", 10_000) for name in names]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Examples(torch.from_numpy(images), torch.from_numpy(labels).long())


def _cifar100_images(folder: Path, name: str, examples: int) -> Examples:
    images, labels = read_cifar100(folder / f"{name}.bin", examples)
    return Examples(torch.from_numpy(images), torch.from_numpy(labels).long())


def cifar_task(
    name: str,
    *,
    model: Callable[[], nn.Module],
    target: float,
    classes: int = 10,
    scale: Standardize = CIFAR10_SCALE,
    recipe: str = "sgd",
) -> Task:
    """A task on CIFAR-10, or on CIFAR-100 if `classes` is 100, with validation on the test images."""
    if classes == 10:
        folder = data_folder("cifar10")
        train = _cifar10_images(folder, [f"data_batch_{part}" for part in range(1, 6)])
        validation = _cifar10_images(folder, ["test_batch"])
    else:
        folder = data_folder("cifar100")
        train, validation = _cifar100_images(folder, "train", 50_000), _cifar100_images(folder, "test", 10_000)
    return Task(
        name,
        model=model,
        train=train,
        validation=validation,
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="image",
        prepare=scale,
        recipe=recipe,
    )


# The tasks of Keskar et al. 2016, arXiv:1609.04836, table 1: F1 and F2, C1 to C4, with Adam as in the authors' code.
#
# Images are only divided by 255 and not augmented, as there. Targets lie a little below the paper's table 2.


def keskar_f1() -> Task:
    return idx_task("keskar-f1", "mnist", shape=(784,), model=KeskarF1, scale=BYTE_SCALE, target=0.975, recipe="adam")


def _frames_task(name: str, data: tuple[Examples, Examples], target: float) -> Task:
    train, validation = data
    return Task(
        name,
        model=KeskarF2,
        train=train,
        validation=validation,
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="frame",
        recipe="adam",
    )


def keskar_f2() -> Task:
    return _frames_task("keskar-f2", read_frames(find_frames()), 0.55)


def keskar_f2_stand_in() -> Task:
    return _frames_task("keskar-f2-stand-in", stand_in_frames(), 0.55)


def keskar_c1() -> Task:
    return cifar_task("keskar-c1", model=KeskarC1, scale=BYTE_SCALE, target=0.70, recipe="adam")


def keskar_c2() -> Task:
    return cifar_task("keskar-c2", model=KeskarC2, scale=BYTE_SCALE, target=0.80, recipe="adam")


def keskar_c3() -> Task:
    model = partial(KeskarC1, classes=100)
    return cifar_task("keskar-c3", classes=100, model=model, scale=BYTE_SCALE, target=0.40, recipe="adam")


def keskar_c4() -> Task:
    model = partial(KeskarC2, classes=100)
    return cifar_task("keskar-c4", classes=100, model=model, scale=BYTE_SCALE, target=0.50, recipe="adam")


_CIFAR = "50,000 colour images of 32x32; validation on the 10,000 test images"
_CIFAR100 = "50,000 colour images of 32x32 in 100 classes; validation on the 10,000 test images"

KESKAR_TASKS: dict[str, TaskEntry] = {
    "keskar-f1": TaskEntry(
        keskar_f1,
        "60,000 digits of 28x28; validation on the 10,000 test images",
        "mnist",
        "F1 of Keskar et al.: 5 hidden layers of 512 with batch normalization",
    ),
    "keskar-f2": TaskEntry(
        keskar_f2,
        "your own frames of TIMIT, 360 numbers each in 1,973 classes, in timit/timit.npz",
        "own",
        "F2 of Keskar et al.: 7 hidden layers of 512 with batch normalization",
    ),
    "keskar-f2-stand-in": TaskEntry(
        keskar_f2_stand_in,
        "a synthetic stand-in with the shape of TIMIT's frames: 40,000 points around 1,973 centres",
        "none",
        "F2 of Keskar et al.: 7 hidden layers of 512 with batch normalization",
    ),
    "keskar-c1": TaskEntry(
        keskar_c1, _CIFAR, "cifar10", "C1 of Keskar et al.: 2 convolutions of 64 channels, batch normalization, dropout"
    ),
    "keskar-c2": TaskEntry(
        keskar_c2, _CIFAR, "cifar10", "C2 of Keskar et al.: 13 convolutions like VGG, batch normalization, dropout"
    ),
    "keskar-c3": TaskEntry(keskar_c3, _CIFAR100, "cifar100", "C3 of Keskar et al.: C1 with 100 outputs"),
    "keskar-c4": TaskEntry(keskar_c4, _CIFAR100, "cifar100", "C4 of Keskar et al.: C2 with 100 outputs"),
}


# Tasks of the papers on large batches, beside those of Keskar et al.

# Of ImageNet's images, from 0 to 1, as in fb.resnet.torch, datasets/imagenet.lua.
IMAGENET_SCALE = Standardize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def cifar10_resnet9() -> Task:
    """The network of SWAP on CIFAR-10: Gupta et al. 2020, arXiv:2001.02312, section 4.

    Training images are augmented as in cifar10-fast (dawn.py), from which the paper takes the network: crops after
    mirrored padding by 4, flips, a cutout of 8x8, there of zeros after standardizing, here of the mean colour in bytes.
    """
    assert isinstance(CIFAR10_SCALE.mean, tuple)
    augment = flips_and_crops(padding=4, cutout=8, fill=CIFAR10_SCALE.mean)
    return replace(cifar_task("cifar10-resnet9", model=ResNet9, target=0.85), augment=augment)


def resnet50_task(
    folder: Path | str | None = None,
    *,
    size: int = 224,
    augmentation: FolderAugmentation | None = None,
    zero_gamma: bool = True,
    target: float = 0.75,
    seed: int = 0,
) -> Task:
    """ResNet-50 on a folder of images, as Goyal et al. 2017, arXiv:1706.02677, section 5.1, trained it on ImageNet.

    Their error is 23.6 %; validation is on one crop from the middle, of the folder `val`.

    Args:
        folder: with train/CLASS/*.jpg and val/CLASS/*.jpg; None for `$CRITBATCH_IMAGES`, or `imagenet` under
            `$CRITBATCH_DATA`.
        size: height and width of the images that the model sees.
        augmentation: of the training images; None for that of the paper.
        zero_gamma: start each block as its shortcut.
        target: the accuracy to reach.
        seed: of the augmentation.
    """
    place = Path(folder) if folder is not None else find_images()
    train = list_images(place, "train")
    validation = list_images(place, "val", train.classes)
    return Task(
        "resnet50-folder",
        model=partial(ResNet50, classes=len(train.classes), zero_gamma=zero_gamma),
        train=ImageFolder(train, size=size, augmentation=augmentation or FolderAugmentation(), seed=seed),
        validation=ImageFolder(validation, size=size),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="image",
        prepare=IMAGENET_SCALE,
    )


PAPER_TASKS: dict[str, TaskEntry] = {
    "cifar10-resnet9": TaskEntry(
        cifar10_resnet9,
        "50,000 colour images of 32x32, cropped, mirrored, cut out; validation on the 10,000 test images",
        "cifar10",
        "ResNet-9 of SWAP (cifar10-fast)",
    ),
    "resnet50-folder": TaskEntry(
        resnet50_task,
        "your own images, or ImageNet, as FOLDER/train/CLASS/*.jpg and FOLDER/val/CLASS/*.jpg",
        "own",
        "ResNet-50 with the start and the augmentation of Goyal et al.",
    ),
    **BERT_TASKS,
}


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

    digits = load_digits()
    # The stream of RandomState is frozen by NumPy's policy (NEP 19): the split is the same everywhere.
    order = np.random.RandomState(0).permutation(len(digits.data))
    images = torch.from_numpy(digits.data[order].astype(np.uint8))
    labels = torch.from_numpy(digits.target[order]).long()
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
