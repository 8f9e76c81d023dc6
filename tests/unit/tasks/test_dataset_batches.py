"""An item of a Dataset that cannot be used is named by its index, wherever it lies and whoever makes the batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from critbatch.errors import UserError
from critbatch.recipes import sgd
from critbatch.records.core import Outcome
from critbatch.tasks.data import DatasetBatches, Fault
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.trainer import train
from tiny import blobs, tiny_task

CPU = torch.device("cpu")
BAD = 17
INPUTS, LABELS = blobs(40)


class WithOneBadItem(Dataset[Any]):
    """Item 17 is what `item` makes of its input and its label."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> Any:
        inputs, label = INPUTS[index], int(LABELS[index])
        return self.item(inputs, label) if index == BAD else (inputs, label)


class AtOnce(WithOneBadItem):
    """Items that are also given many at a time."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


def raises(inputs: Tensor, label: int) -> Any:
    raise OSError(f"cannot read image {label}")


def runs_out(inputs: Tensor, label: int) -> Any:
    raise MemoryError


FAULTS: dict[str, tuple[Any, str]] = {
    "of another shape": (lambda x, y: (x[:3], y), r"has an input of shape \(3,\), and others have an input of shape"),
    "of another type": (
        lambda x, y: (x.double(), y),
        r"has an input of type float64, and .* of type float32: make",
    ),
    "a target of another type": (lambda x, y: (x, float(y)), "has a target of type float"),
    "in another structure": (lambda x, y: ({"x": x}, y), r"has an input 'x' of type float32 .*, and others have"),
    "NaN": (lambda x, y: (x * float("nan"), y), "holds NaN or infinity in its input: remove or repair it"),
    "infinity in one place": (lambda x, y: (x + torch.tensor([0, 0, torch.inf, 0]), y), "holds NaN or infinity"),
    "a label above the classes": (lambda x, y: (x, 3), "has the label 3, but the model has 3 outputs: .* 0 to 2"),
    "a label below 0": (lambda x, y: (x, -1), "has the label -1, but the model has 3 outputs"),
    "the label that is left out of sequences": (lambda x, y: (x, -100), "has the label -100, but"),
    "None": (lambda x, y: None, r"is None: return the pair \(input, target\)"),
    "an input alone": (lambda x, y: x, "is Tensor: return the pair"),
    "three values": (lambda x, y: (x, y, y), "is 3 values: return the pair"),
    "a target of None": (lambda x, y: (x, None), r"is \(Tensor, None\), of which no tensor can be made"),
    "text": (
        lambda x, y: (x, "cat"),
        r"is \(Tensor, str\), of which no tensor can be made \(.*\): return tensors",
    ),
    "an error": (raises, r"raises OSError: cannot read image \d: mend it, or leave it out"),
}


def task_of(train: Any, **changes: Any) -> Task:
    return replace(tiny_task(), train=train, **changes)


@pytest.mark.parametrize("kind", [WithOneBadItem, AtOnce])
@pytest.mark.parametrize(("item", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_an_item_that_cannot_be_used_is_named_by_its_index(item: Any, sentence: str, kind: Any) -> None:
    task = task_of(kind(item))
    with pytest.raises(UserError, match=rf"^Item {BAD} of the training Dataset {sentence}"):
        train(task, sgd(batch_size=8, learning_rate=0.1, epochs=1))


@pytest.mark.parametrize("fault", ["of another shape", "a label above the classes", "an error"])
def test_a_worker_names_it_too_and_so_does_the_validation_set(fault: str) -> None:
    item, sentence = FAULTS[fault]
    plan = sgd(batch_size=8, learning_rate=0.1, epochs=1)
    with pytest.raises(UserError, match=rf"^Item {BAD} of the training Dataset {sentence}"):
        train(task_of(WithOneBadItem(item)), plan, workers=1)
    with pytest.raises(UserError, match=rf"^Item {BAD} of the validation Dataset {sentence}"):
        train(task_of((INPUTS, LABELS), validation=WithOneBadItem(item)), plan)


def test_an_item_alone_in_its_batch_that_the_model_does_not_take_is_named_too() -> None:
    task = task_of(WithOneBadItem(FAULTS["of another shape"][0]))
    sentence = (
        rf"The model fails \(RuntimeError: .*\) where item {BAD} of the training Dataset has an input of shape \(3,\)"
    )
    with pytest.raises(UserError, match=sentence):
        train(task, sgd(batch_size=1, learning_rate=0.1, epochs=1), evaluation=Evaluation(train_examples=0))


def test_an_item_that_runs_out_of_memory_is_a_result_of_the_run() -> None:
    run = train(task_of(WithOneBadItem(runs_out)), sgd(batch_size=8, learning_rate=0.1, epochs=1))
    assert run.outcome is Outcome.OUT_OF_MEMORY


class Lengths(Dataset[Any]):
    """Sequences of two lengths."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((5 if index < 4 else 3, 2), float(index)), 0


def test_batches_of_different_lengths_are_batches() -> None:
    source = BatchGatherer(Lengths(), CPU)
    shapes = [inputs.shape for inputs, _ in source.stream(iter(torch.arange(8).split(4)))]
    assert shapes == [(4, 5, 2), (4, 3, 2)]
    with pytest.raises(UserError, match=r"Item 4 of the training Dataset has an input of shape \(3, 2\), and others"):
        list(source.stream(iter([torch.tensor([0, 1, 4])])))


def test_large_halves_are_finite_though_their_sum_is_not() -> None:
    data = [(torch.full((3000,), 60000.0, dtype=torch.float16), 0)] * 4
    assert not isinstance(DatasetBatches(data, part="training").batch((0, [0, 1])), Fault)


def test_tokens_that_are_left_out_are_no_wrong_labels() -> None:
    data = [(torch.zeros(3), torch.tensor([0, -100, 2])), (torch.zeros(3), torch.tensor([0, 1, 3]))]
    batches = DatasetBatches(data, part="training", classes=3)
    assert not isinstance(batches.batch((0, [0])), Fault)
    fault = batches.batch((0, [0, 1]))
    assert isinstance(fault, Fault) and "Item 1 of the training Dataset has the label 3" in fault.sentence


class Drawing(Dataset[Any]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.stack([torch.rand(()), torch.tensor(np.random.rand())]), index


@pytest.mark.parametrize("data", [Drawing(), Subset(Drawing(), range(6))], ids=["items", "items at once"])
def test_draws_follow_from_seed_epoch_and_indices(data: Any) -> None:
    def drawn(seed: int, epoch: int, indices: list[int]) -> list[list[float]]:
        batch = DatasetBatches(data, part="training", seed=seed).batch((epoch, indices))
        assert not isinstance(batch, Fault)
        return batch[0].tolist()

    one = drawn(0, 0, [1, 2])
    assert one == drawn(0, 0, [1, 2])
    others = [drawn(1, 0, [1, 2]), drawn(0, 1, [1, 2]), drawn(0, 0, [2, 1]), drawn(0, 0, [1, 3]), drawn(0, 0, [0])]
    values = {value for rows in (one, *others) for row in rows for value in row}
    assert len(values) == 4 * 5 + 2


def test_fewer_workers_than_none_are_refused() -> None:
    with pytest.raises(UserError, match="workers=-1 is not possible: use 0 or more"):
        BatchGatherer(Drawing(), CPU, workers=-1)


class Dying(Drawing):
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        os._exit(3)


def test_a_worker_that_dies_is_a_sentence() -> None:
    source = BatchGatherer(Dying(), CPU, workers=1)
    with pytest.raises(UserError, match=r"A worker of the DataLoader has ended \(.*\): use fewer workers, or none\."):
        list(source.stream(iter([torch.arange(3)])))


WITH_WORKERS = """
import gc, os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
from critbatch.training.state import Budget
from critbatch.recipes import sgd
from critbatch.training.trainer import Training, train
from unit.tasks.test_dataset_batches import WithOneBadItem, task_of

class Cycles(WithOneBadItem):
    def __getitem__(self, index):
        for _ in range(10):
            cycle = []
            cycle.append(cycle)
        return super().__getitem__(index)

task, plan = task_of(Cycles(lambda x, y: (x, y))), sgd(batch_size=4, learning_rate=0.1, epochs=2)
gc.set_threshold(20, 2, 2)

def press(progress):
    if progress.step == 2:
        os.killpg(0, signal.SIGINT)  # as a terminal does

for _ in range(2):
    train(task, plan, workers=2, budget=Budget(steps=3))
print(train(task, plan, workers=2, progress=press).outcome)
open_now = [Training(task, plan, workers=2) for _ in range(2)]
for training in open_now:
    training.advance(Budget(steps=3))
import torch.multiprocessing
print(len(torch.multiprocessing.active_children()))
"""


def test_workers_say_nothing_of_their_own_and_do_not_outlive_the_steps() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WITH_WORKERS, str(Path(__file__).parents[2] / "fixtures")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, complaints = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert (said.split(), complaints) == (["interrupted", "0"], "")
