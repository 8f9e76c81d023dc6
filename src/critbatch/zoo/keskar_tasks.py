"""The tasks of Keskar et al. 2016, arXiv:1609.04836, table 1: F1 and F2, C1 to C4, with Adam as in the authors' code.

Images are only divided by 255 and not augmented, as there. Targets lie a little below the paper's table 2.
"""

from __future__ import annotations

from functools import partial

from critbatch.examples import Examples
from critbatch.records.core import Quantity, Target
from critbatch.task import Task
from critbatch.zoo.entry import TaskEntry
from critbatch.zoo.frames import find_frames, read_frames, stand_in_frames
from critbatch.zoo.image_sets import BYTE_SCALE, cifar_task, idx_task
from critbatch.zoo.keskar import KeskarC1, KeskarC2, KeskarF1, KeskarF2


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
