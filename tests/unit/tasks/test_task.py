"""A Task is checked when it is made, and says in one sentence what does not fit."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from critbatch.errors import UserError
from critbatch.records.core import Quantity, Target
from critbatch.tasks.augmentation import Augmentation
from critbatch.tasks.data import Examples, as_data, fetch
from critbatch.tasks.fingerprint import short_hash
from critbatch.tasks.image_folder import Standardize
from critbatch.tasks.task import Task, accuracy, cross_entropy

TARGET = Target(quantity=Quantity.VALIDATION_METRIC, value=0.9)


def points(examples: int = 12, *, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, 4, generator=generator), torch.arange(examples) % classes


def make(**changes: Any) -> Task:
    given: dict[str, Any] = {
        "model": partial(nn.Linear, 4, 3),
        "train": points(),
        "validation": points(6, seed=1),
        "target": TARGET,
    }
    return Task("small", **(given | changes))


class Rows(Dataset[Any]):
    """A Dataset whose items are those of a list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) + self.right(right)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean(1)


def mean_reduced(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def replaced(leaf: Tensor, place: int, value: float) -> Tensor:
    changed = leaf.clone()
    changed[place] = value
    return changed


SHARED = nn.Linear(4, 3)
SHARED_WEIGHT = torch.zeros(3, 4)


def frozen() -> nn.Module:
    return nn.Linear(4, 3).requires_grad_(False)


def on_shared_weight() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(SHARED_WEIGHT)
    return layer


def broken() -> nn.Module:
    raise KeyError("width")


X, Y = points()
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a model that takes another width": (
        {"model": partial(nn.Linear, 5, 3)},
        r"the model does not take a batch of 3 training inputs of shape \(3, 4\) \(RuntimeError: mat1 and mat2",
    ),
    "validation data of another width": (
        {"validation": (torch.randn(6, 7), Y[:6])},
        r"the model does not take a batch of 3 validation inputs of shape \(3, 7\)",
    ),
    "a mean-reduced loss": (
        {"loss": mean_reduced},
        r"the loss of a batch of 3 came back as shape \(\): return one value",
    ),
    "a reduced loss module": ({"loss": nn.CrossEntropyLoss()}, r"the loss of a batch of 3 came back as shape \(\)"),
    "a mean-reduced metric": (
        {"metric": lambda outputs, targets: (outputs.argmax(-1) == targets).float().mean().item()},
        r"the metric of a batch of 3 came back as a float: return one value per example",
    ),
    "a loss without a gradient": (
        {"loss": lambda outputs, targets: cross_entropy(outputs.detach(), targets)},
        "the loss has no gradient: compute it from the model's outputs",
    ),
    "a loss that raises": (
        {"loss": squared_error, "model": partial(nn.Linear, 4, 5)},
        r"the loss does not take the model's outputs and the training targets of a batch of 3 \(RuntimeError: The size",
    ),
    "a loss that mixes examples by broadcasting": (
        {"model": partial(nn.Linear, 4, 1), "train": (X, X[:, 0]), "loss": squared_error, "metric": squared_error},
        r"the loss of an example depends on the others of its batch \(it is \S+ among 3, \S+ alone\): compute it from",
    ),
    "a loss that squeezes a batch of one away": (
        {"loss": lambda outputs, targets: cross_entropy(outputs, targets).squeeze()},
        r"the loss of a batch of 1 came back as shape \(\)",
    ),
    "a metric over the whole batch": (
        {"metric": lambda outputs, targets: outputs.sum().expand(len(targets))},
        "the metric of an example depends on the others",
    ),
    "labels above the classes": (
        {"train": (X, replaced(Y, 11, 3))},
        r"the training labels run from 0 to 3, but the model has 3 outputs: labels must be 0 to 2\.",
    ),
    "labels from 1": (
        {"validation": (X, Y + 1)},
        r"the validation labels run from 1 to 3, but the model has 3 outputs",
    ),
    "labels below 0": ({"train": (X, Y - 1)}, r"the training labels run from -1 to 1, but"),
    "a class label that is left out": ({"train": (X, replaced(Y, 5, -100))}, r"labels run from -100 to 2, but"),
    "NaN in the inputs": (
        {"train": (replaced(replaced(X, 4, math.nan), 9, math.inf), Y)},
        "2 of 12 training inputs hold NaN or infinity: remove or repair",
    ),
    "NaN in the targets": (
        {"loss": squared_error, "train": (X, replaced(torch.zeros(12, 3), 7, math.nan))},
        "1 of 12 training targets hold NaN or infinity",
    ),
    "NaN in a Dataset": (
        {"train": Rows([(replaced(x, 0, math.nan), 0) for x in X])},
        "Item 0 of the training Dataset holds NaN or infinity in its input: remove or repair it",
    ),
    "a factory that returns the same object": ({"model": lambda: SHARED}, "`model` gave the same weights twice"),
    "a factory that shares its weights": (
        {"model": lambda: nn.Sequential(SHARED)},
        "`model` gave the same weights twice: make a new model at each call",
    ),
    "a factory that shares storage": ({"model": on_shared_weight}, "`model` gave the same weights twice"),
    "a model in place of a factory": ({"model": nn.Linear(4, 3)}, "`model` is a Linear: give a function"),
    "a factory that makes no module": ({"model": lambda: "net"}, "`model` made a str: make a torch.nn.Module"),
    "a factory that raises": ({"model": broken}, r"`model` could not make a model \(KeyError: 'width'\)"),
    "a model without weights to train": ({"model": frozen}, "the model has no weight to train"),
    "a lazy layer": ({"model": partial(nn.LazyLinear, 3)}, "weights of unknown shape"),
    "a number as the target": ({"target": 0.9}, "`target` is a float: give a critbatch.records.Target"),
    "a function in place of an augmentation": (
        {"augment": torch.flip},
        r"`augment` is a builtin_function_or_method: give critbatch.Augmentation\(apply, numbers=...\)",
    ),
    "an augmentation of a Dataset": (
        {"augment": Augmentation(lambda inputs, draws: inputs, numbers=1), "train": Rows([(x, 0) for x in X])},
        r"`augment` is for training data that are tensors, but these are a Rows: .* `item_at\(index, epoch\)`",
    ),
    "an augmentation that asks for more numbers": (
        {"augment": Augmentation(lambda inputs, draws: inputs + draws[:, 1, None], numbers=1)},
        r"the augmentation does not take inputs of shape \(3, 4\) and type float32 and numbers of shape \(3, 1\)",
    ),
    "an augmentation that crops": (
        {"augment": Augmentation(lambda inputs, draws: inputs[:, :3], numbers=1)},
        r"the augmentation made shape \(3, 3\) and type float32 of inputs of shape \(3, 4\) and type float32: it must",
    ),
    "an augmentation that makes floats of bytes": (
        {
            "augment": Augmentation(lambda inputs, draws: inputs + draws, numbers=1),
            "train": (X.byte(), Y),
            "validation": (X.byte(), Y),
            "prepare": torch.Tensor.float,
        },
        r"the augmentation made shape \(3, 4\) and type float32 of inputs of shape \(3, 4\) and type uint8: it",
    ),
    "an augmentation that gives none": (
        {"augment": Augmentation(lambda inputs, draws: None, numbers=1)},
        r"the augmentation made a NoneType of inputs of shape",
    ),
    "an augmentation of another structure": (
        {"augment": Augmentation(lambda inputs, draws: (inputs, inputs), numbers=1)},
        r"the augmentation made \(shape \(3, 4\) and type float32; shape \(3, 4\) and type float32\) of inputs of",
    ),
    "an augmentation that draws for itself": (
        {"augment": Augmentation(lambda inputs, draws: inputs + torch.rand(3, 4)[: len(inputs)], numbers=1)},
        "the augmentation gave two results for the same numbers: take all that is random from `draws`",
    ),
    "an augmentation that mixes examples": (
        {"augment": Augmentation(lambda inputs, draws: inputs + draws * inputs.mean(0), numbers=1)},
        "the augmentation of an example depends on the others of its batch: compute it from the example's own",
    ),
    "an augmentation that divides by zero": (
        {"augment": Augmentation(lambda inputs, draws: inputs / draws, numbers=1)},
        "1 of 3 augmented training inputs that were tried hold NaN or infinity",
    ),
    "an augmentation that leaves the vocabulary": (
        {
            "augment": Augmentation(lambda inputs, draws: inputs + (draws * 2).long(), numbers=1),
            "model": lambda: nn.Sequential(nn.Embedding(8, 3), nn.Flatten(), nn.Linear(12, 3)),
            **dict.fromkeys(("train", "validation"), (torch.full((12, 4), 7), Y)),
        },
        r"the model does not take a batch of 3 augmented training inputs of shape \(3, 4\) \(IndexError: index out of",
    ),
    "no tokens": ({"tokens_per_example": 0}, "tokens_per_example=0 is not possible: use 1 or more"),
    "a dict in place of a Dataset": (
        {"train": {"x": X, "y": Y}},
        r"Item 0 of the training Dataset raises KeyError: 0: mend it, or leave it out\.",
    ),
    "a Dataset of items of several shapes": (
        {"train": Rows([(torch.zeros(size), 0) for size in (4, 5, 6)])},
        r"Item 1 of the training Dataset has an input of shape \(5,\), and others have an input of shape \(4,\): make",
    ),
}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_what_does_not_fit_is_refused_in_a_sentence_with_the_task_s_name(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^Task 'small': .*{sentence}") as caught:
        make(**changes)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


DATA_FAULTS: dict[str, tuple[Any, str]] = {
    "an empty set": ((X[:0], Y[:0]), "The training data have no example: give at least one"),
    "an empty Dataset": (Rows([]), "The training data have no example"),
    "other counts": ((X, Y[:5]), "Inputs and targets have 5 and 12 examples"),
    "NumPy arrays": ((X.numpy(), Y.numpy()), r"The inputs are ndarray: give a torch tensor, .*torch.as_tensor"),
    "a list within a tuple": (((X, [1, 2]), Y), "The inputs are tuple of Tensor, list: give a torch tensor"),
    "text in a dict": (({"text": "abc"}, Y), "The inputs are dict of str"),
    "a scalar": ((torch.tensor(1.0), torch.tensor(1)), "have 0 examples|have no example"),
    "a number": (3, "The training data are int: give"),
    "an iterable Dataset": (Stream(), "The training data are Stream: give"),
    "items that are no pairs": (Rows([X, X]), "Item 0 of the training Dataset is Tensor: return the pair"),
    "items with text": (
        Rows([("words", 1)] * 3),
        "Item 0 of the training Dataset has str for its input: return tensors or numbers",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), DATA_FAULTS.values(), ids=list(DATA_FAULTS))
def test_data_that_cannot_be_used_are_refused_in_a_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make(train=data)


@pytest.mark.parametrize(("quantity", "value"), [("accuracy", 0.9), ("validation_loss", math.nan), (None, 1.0)])
def test_a_target_that_cannot_be_reached_is_refused(quantity: Any, value: float) -> None:
    with pytest.raises(
        UserError, match=r"cannot be used: give validation_loss or validation_metric and a finite value\."
    ):
        Target(quantity=quantity, value=value)


def test_a_target_s_quantity_may_be_its_name() -> None:
    assert Target(quantity="validation_loss", value=1.0) == Target(quantity=Quantity.VALIDATION_LOSS, value=1.0)  # type: ignore[arg-type]


def test_inputs_in_a_dict_are_the_model_s_keyword_arguments() -> None:
    left, right = torch.randn(12, 4), torch.randn(12, 2)
    task = make(
        model=TwoInputs,
        train=({"right": right, "left": left}, Y),
        validation=({"right": right, "left": left}, Y),
    )
    model = task.new_model(0)
    inputs, _ = task.train.take(torch.tensor([5, 2]))
    torch.testing.assert_close(task.forward(model, inputs), model(left[[5, 2]], right[[5, 2]]))


def test_inputs_in_a_tuple_are_the_model_s_arguments_in_order() -> None:
    left, right = torch.randn(12, 4), torch.randn(12, 2)
    task = make(model=TwoInputs, train=((left, right), Y), validation=((left, right), Y))
    model = task.new_model(0)
    torch.testing.assert_close(task.forward(model, task.train.inputs), model(left, right))


def test_a_dataset_gives_the_batches_of_its_items() -> None:
    task = make(
        train=Rows([({"input": x}, int(y)) for x, y in zip(X, Y, strict=True)]), validation=Rows([({"input": X[0]}, 1)])
    )
    inputs, targets = fetch(task.train, [3, 1])
    torch.testing.assert_close(inputs["input"], X[[3, 1]])
    assert targets.tolist() == Y[[3, 1]].tolist()
    assert task.examples == 12


def test_a_tensor_dataset_of_a_pair_is_held_as_examples() -> None:
    data = as_data(TensorDataset(X, Y), "training")
    assert isinstance(data, Examples)
    assert data.inputs is X
    assert data.targets is Y


def test_examples_are_not_copied_by_the_task() -> None:
    assert make(train=(X, Y)).train.inputs is X


def test_a_set_of_one_example_is_enough() -> None:
    assert make(train=(X[:1], Y[:1]), validation=(X[:1], Y[:1])).examples == 1


def test_regression_with_a_loss_of_its_own_fits() -> None:
    targets = torch.randn(12, 3)
    make(train=(X, targets), validation=(X, targets), loss=squared_error, metric=squared_error)


def test_making_a_task_and_a_model_leaves_the_random_state_as_it_was() -> None:
    class Noisy(Rows):
        def __getitem__(self, index: int) -> Any:
            inputs, target = self.items[index]
            return inputs + torch.randn(4), target

    before = torch.get_rng_state()
    task = make(train=Noisy(list(zip(X, Y, strict=True))), model=lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout()))
    task.new_model(3)
    task.fingerprint()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_s_weights_are_those_of_its_seed() -> None:
    task = make()
    first, again, other = task.new_model(1), task.new_model(1), task.new_model(2)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def _shifted(inputs: Tensor, draws: Tensor) -> Tensor:
    return inputs + draws[:, :1]


def _shrunk(inputs: Tensor, draws: Tensor) -> Tensor:
    return inputs * draws[:, :1]


CHANGES: dict[str, dict[str, Any]] = {
    "an input": {"train": (replaced(X, 0, 1.0), Y)},
    "a label": {"train": (X, replaced(Y, 11, 0))},
    "validation": {"validation": points(6, seed=2)},
    "fewer examples": {"train": (X[:11], Y[:11])},
    "the type of the labels": {"train": (X, Y.to(torch.uint8))},
    "a wider model": {"model": lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))},
    "the loss": {"loss": lambda outputs, targets: 2 * cross_entropy(outputs, targets)},
    "the preparation": {"prepare": torch.tanh},
    "an augmentation": {"augment": Augmentation(_shifted, numbers=1)},
    "the preparation's function": {"prepare": partial(torch.clamp, min=0)},
    "the preparation's numbers": {"prepare": Standardize(mean=1.0, std=2.0)},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=list(CHANGES))
def test_the_fingerprint_changes_with_what_results_belong_to(changes: dict[str, Any]) -> None:
    prints = {make().fingerprint(), make(prepare=Standardize(mean=0.0, std=2.0)).fingerprint()}
    assert make(**changes).fingerprint() not in prints


def test_without_augmentation_and_model_options_the_fingerprint_is_that_of_the_other_parts() -> None:
    parts = make().fingerprints()
    assert parts.pop("augmentation") == parts.pop("model options") == ""
    assert make().fingerprint() == short_hash(*(f"{name} {part}" for name, part in parts.items()))


def test_inputs_in_a_dict_are_augmented_as_a_dict() -> None:
    def apply(inputs: dict[str, Tensor], draws: Tensor) -> dict[str, Tensor]:
        return {**inputs, "right": inputs["right"] + draws}

    task = make(
        model=TwoInputs,
        augment=Augmentation(apply, numbers=2),
        **dict.fromkeys(("train", "validation"), ({"left": X, "right": X[:, :2]}, Y)),
    )
    assert task.augment is not None
    changed = task.augment({"left": X, "right": X[:, :2]}, torch.ones(12, 2))
    assert torch.equal(changed["left"], X) and torch.equal(changed["right"], X[:, :2] + 1)


def test_another_target_leaves_the_fingerprint_since_runs_can_be_judged_by_any() -> None:
    target = Target(quantity=Quantity.VALIDATION_LOSS, value=0.9)
    assert make(target=target).fingerprint() == make().fingerprint()


def _loss(power: float, sign: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return sign * cross_entropy(outputs, targets) ** power if sign == 1 else cross_entropy(outputs, targets)

    return loss


class _Twice(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def test_the_fingerprints_say_which_part_of_the_task_has_changed() -> None:
    class Thrice(_Twice):
        def forward(self, inputs: Tensor) -> Tensor:
            return 3 * super().forward(inputs)

    Thrice.__qualname__ = _Twice.__qualname__

    def changed(before: Task, after: Task) -> list[str]:
        return [name for name, part in after.fingerprints().items() if before.fingerprints()[name] != part]

    assert changed(make(loss=_loss(1.0)), make(loss=_loss(1.0))) == []
    assert changed(make(loss=_loss(1.0)), make(loss=_loss(2.0))) == ["loss"]
    assert changed(make(model=lambda: _Twice(4, 3)), make(model=lambda: Thrice(4, 3))) == ["model"]
    augmented = [
        make(augment=Augmentation(apply, numbers=n)) for apply, n in ((_shifted, 1), (_shifted, 2), (_shrunk, 1))
    ]
    for before, after in pairwise([make(), *augmented, make()]):
        assert changed(before, after) == ["augmentation"]
    assert changed(make(), make(train=(replaced(X, 0, 1.0), Y), metric=_loss(1.0))) == ["training data", "metric"]


def test_the_fingerprint_tells_layers_of_the_same_shapes_apart() -> None:
    def with_layer(layer: type[nn.Module]) -> Task:
        return make(model=lambda: nn.Sequential(nn.Linear(4, 3), layer()))

    assert with_layer(nn.ReLU).fingerprint() != with_layer(nn.Tanh).fingerprint()


def test_the_fingerprint_is_the_same_again_and_after_pickling() -> None:
    task = make()
    assert task.fingerprint() == make().fingerprint() == task.fingerprint()
    assert pickle.loads(pickle.dumps(task)).fingerprint() == task.fingerprint()


def test_the_losses_and_hits_of_a_batch_are_those_of_its_examples() -> None:
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    expected = torch.stack([F.cross_entropy(one, target) for one, target in zip(outputs, targets, strict=True)])
    torch.testing.assert_close(cross_entropy(outputs, targets), expected)
    assert accuracy(outputs, targets).tolist() == [
        float(a == b) for a, b in zip(outputs.argmax(1), targets, strict=True)
    ]


def test_a_sequence_s_loss_and_accuracy_are_means_over_the_tokens_that_count() -> None:
    outputs = torch.randn(3, 5, 4)
    targets = torch.randint(4, (3, 5))
    targets[0, 2:] = -100
    for sequence in range(3):
        counted = targets[sequence] != -100
        logits, labels = outputs[sequence][counted], targets[sequence][counted]
        torch.testing.assert_close(cross_entropy(outputs, targets)[sequence], F.cross_entropy(logits, labels))
        hits = (logits.argmax(-1) == labels).float().mean()
        torch.testing.assert_close(accuracy(outputs, targets)[sequence], hits)


def test_a_sequence_may_leave_tokens_out_but_not_all_of_the_set() -> None:
    ids = torch.randint(5, (6, 7))
    targets = ids.clone()
    targets[:, 3:] = -100
    given: dict[str, Any] = {"model": lambda: nn.Embedding(5, 5), "validation": (ids, targets), "unit": "sequence"}
    make(train=(ids, targets), **given)
    with pytest.raises(UserError, match="all training labels are -100"):
        make(train=(ids, torch.full_like(ids, -100)), **given)
