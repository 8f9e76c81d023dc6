"""A task: model, data, loss, and a target to reach. It is checked when it is created."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.arguments import check_counts
from critbatch.errors import UserError
from critbatch.records.core import OptionValue, Quantity, Target
from critbatch.runtime.device import placed_on
from critbatch.runtime.process import seeded
from critbatch.tasks.augmentation import Augmentation
from critbatch.tasks.checks import check_augmentation, check_finite, check_fit, check_model, draws_to_try
from critbatch.tasks.data import IGNORED, Data, Tree, as_data, count
from critbatch.tasks.fingerprint import hash_of_augmentation, hash_of_data, hash_of_function, hash_of_model, short_hash


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each example, shape (batch,). For sequences: the mean over the tokens of each.

    Args:
        outputs: Logits, shape (batch, classes) or (batch, tokens, classes).
        targets: Classes, shape (batch,) or (batch, tokens). Tokens whose target is -100 do not count.
    """
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets, reduction="none")
    losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(len(targets), -1).sum(1) / _counted(targets)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the largest logit is the right one, else 0, shape (batch,).

    For sequences: the mean over the tokens of each.

    Args:
        outputs: As for `cross_entropy`.
        targets: As for `cross_entropy`. Tokens whose target is -100 do not count.
    """
    right = (outputs.argmax(-1) == targets).float()
    return right if right.ndim == 1 else right.flatten(1).sum(1) / _counted(targets)


# Losses that are never negative, whatever the outputs; those of torch as `functools.partial(loss, reduction="none")`.
NOT_NEGATIVE = (
    cross_entropy,
    F.cross_entropy,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
)


def _counted(targets: Tensor) -> Tensor:
    """How many tokens of each sequence count, shape (batch,); 1 where none does, to divide by."""
    return (targets != IGNORED).flatten(1).sum(1).clamp(min=1)


# Prefix of the names of model options, among the options of a run.
MODEL = "model."


@dataclass(frozen=True)
class Task:
    """A model, data, a per-example loss, and a target.

    Args:
        name: The name that reports use.
        model: A function that returns a new model at each call.
        model_options: Keyword arguments of `model`. A sweep varies them as `model.NAME`, such as `model.dropout`.
        train: (inputs, targets) as tensors, or a torch `Dataset` of such pairs.
        validation: The same kinds of data; the target is measured on them.
        target: What "trained" means: a validation metric to reach, or a validation loss to fall to.
        loss: A function (outputs, targets) that returns one loss per example, shape (batch,). critbatch takes the mean.
        metric: A function of the same kind; larger is better. Reports show its mean.
        metric_name: The name that reports use for the metric.
        unit: What one example is: "image", "sequence" ...
        tokens_per_example: The number of tokens in a sequence; 1 for other data.
        prepare: A function that turns a batch of inputs, on the device, into what the model takes, for example uint8
            into standardized floats.
        augment: A random change of training batches, before `prepare`, for training data that are tensors. A `Dataset`
            augments by itself, with a method `item_at(index, epoch)`.
        recipe: The default recipe of this task: "sgd" or "adam".

    Raises:
        UserError: If model, data, loss and metric do not fit together. The sentence says what was found.
    """

    name: str
    _: KW_ONLY
    model: Callable[..., nn.Module]
    train: Data
    validation: Data
    target: Target
    loss: Callable[[Any, Any], Tensor] = cross_entropy
    metric: Callable[[Any, Any], Tensor] = accuracy
    metric_name: str = "accuracy"
    unit: str = "example"
    tokens_per_example: int = 1
    prepare: Callable[[Any], Any] | None = None
    augment: Augmentation | None = None
    recipe: str = "sgd"
    model_options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", as_data(self.train, "training"))
        object.__setattr__(self, "validation", as_data(self.validation, "validation"))
        try:
            self._check()
        except UserError as error:
            raise UserError(f"Task {self.name!r}: {error}") from error.__cause__

    def _check(self) -> None:
        if not isinstance(self.target, Target):
            raise UserError(
                f"`target` is a {type(self.target).__name__}: give a critbatch.records.Target with quantity and value."
            )
        if self.tokens_per_example < 1:
            raise UserError(f"tokens_per_example={self.tokens_per_example} is not possible: use 1 or more.")
        check_model(self.model, self.new_model)
        model = self.new_model(0).eval()
        classes: dict[str, int | None] = {}
        with seeded(0, _awake_gpus()):
            for data, part in ((self.train, "training"), (self.validation, "validation")):
                check_finite(data, part)
                classes[part] = check_fit(model, self.forward, data, part, loss=self.loss, metric=self.metric)
            if self.augment is not None:
                check_augmentation(self.augment, self.train)
                forward, part = self._augmented_forward, "augmented training"
                check_fit(model, forward, self.train, part, loss=self.loss, metric=self.metric)
        object.__setattr__(self, "_classes", classes)

    def with_options(self, options: Mapping[str, OptionValue]) -> Task:
        """Return the task with those of the options that are for its model: their names begin with "model.".

        Raises:
            UserError: If the model does not take them.
        """
        own = {name.removeprefix(MODEL): value for name, value in options.items() if name.startswith(MODEL)}
        merged = {**self.model_options, **own}
        return self if merged == self.model_options else replace(self, model_options=merged)

    @property
    def examples(self) -> int:
        """Number of examples in the training set."""
        return count(self.train)

    def check_target(self, target: Target) -> None:
        """Raise a UserError for a target that every model reaches, or that none can, if loss and metric are known.

        Everything that trains towards a target calls this first. The task itself may have such a target: measurements,
        and runs of a given length, do not use it.

        Two ranges are known here: the accuracy of this module lies between 0 and 1, and some losses are never negative.
        For other losses and metrics, `critbatch.training.evaluation` tries them on examples.

        Raises:
            UserError: If the target accuracy is above 1 or not above 0, or the target of a loss that is never negative
                is below 0.
        """
        value, by_metric = target.value, target.quantity is Quantity.VALIDATION_METRIC
        if by_metric and self.metric is accuracy and not 0 < value <= 1:
            percent = f", such as {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
            why = "cannot be reached" if value > 1 else "is reached before the first step"
            raise UserError(
                f"A validation {self.metric_name} of {value:g} {why}, since it is a share of the examples: give a "
                f"target above 0 and at most 1{percent}."
            )
        loss = self.loss.func if isinstance(self.loss, partial) else self.loss
        if not by_metric and loss in NOT_NEGATIVE and value < 0:
            raise UserError(
                f"A validation loss of {value:g} cannot be reached, since {loss.__name__} is never negative: give a "
                "target above 0."
            )

    def classes(self, part: str) -> int | None:
        """Number of classes in the labels of the "training" or "validation" set; None if the targets are not labels."""
        classes: dict[str, int | None] = self.__dict__["_classes"]
        return classes[part]

    def new_model(self, seed: int, device: torch.device | None = None) -> nn.Module:
        """Return the model with the weights that belong to `seed`. The caller's random state does not change.

        Raises:
            UserError: If torch does not accept the seed.
        """
        check_counts({"weights_seed": seed}, lambda _, value: f"seed={value}")
        with seeded(seed, _awake_gpus()):
            model = self.model(**self.model_options)
        if device is None:
            return model
        with placed_on(device, "model"):
            return model.to(device)

    def inputs(self, batch: Tree) -> Tree:
        """Return a batch of inputs in the form that the model takes."""
        return self.prepare(batch) if self.prepare is not None else batch

    def forward(self, model: nn.Module, batch: Tree) -> Any:
        """Return the model's outputs for a batch of raw inputs."""
        return apply(model, self.inputs(batch))

    def _augmented_forward(self, model: nn.Module, batch: Tree) -> Any:
        assert self.augment is not None
        return self.forward(model, self.augment(batch, draws_to_try(self.augment, batch)))

    def fingerprint(self) -> str:
        """Return a short hash of all `fingerprints` that are not empty: all that results depend on but the target."""
        return short_hash(*(f"{name} {part}" for name, part in self.fingerprints().items() if part))

    def fingerprints(self) -> dict[str, str]:
        """Return short hashes of the parts of the task.

        These are name, model (layers, shapes, the user's own code), samples of the data, loss, metric, preparation and
        augmentation. A part that does not exist is "". Only the length of a `Dataset` counts, because its items may
        change from call to call.
        """
        return {
            "name": short_hash(self.name),
            "model": hash_of_model(self.new_model(0)),
            "training data": hash_of_data(self.train),
            "validation data": hash_of_data(self.validation),
            "loss": hash_of_function(self.loss),
            "metric": hash_of_function(self.metric),
            "preparation of inputs": hash_of_function(self.prepare),
            "augmentation": hash_of_augmentation(self.augment) if self.augment is not None else "",
            "model options": short_hash(repr(sorted(self.model_options.items()))) if self.model_options else "",
        }


def apply(model: Callable[..., Any], inputs: Tree) -> Any:
    """Return the model's outputs for prepared inputs. A dict becomes keyword arguments, a tuple positional ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _awake_gpus() -> list[torch.device]:
    """Devices whose random state must be restored. GPUs that are not in use are not initialized for this."""
    awake = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if awake else []
