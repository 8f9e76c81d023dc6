"""Tasks of the papers on large batches, beside those of Keskar et al."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from critbatch.records.core import Quantity, Target
from critbatch.task import Task
from critbatch.zoo.augmentation import FolderAugmentation
from critbatch.zoo.bert import BERT_TASKS
from critbatch.zoo.entry import TaskEntry
from critbatch.zoo.flips_and_crops import flips_and_crops
from critbatch.zoo.image_folder import ImageFolder, find_images, list_images
from critbatch.zoo.image_sets import CIFAR10_SCALE, cifar_task
from critbatch.zoo.resnet9 import ResNet9
from critbatch.zoo.resnet50 import ResNet50
from critbatch.zoo.standardize import Standardize

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
