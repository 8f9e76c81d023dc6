"""Every consumer of random numbers has a stream of its own: who draws more changes nothing for the others."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import critbatch.training.trainer
from critbatch.measure.noise_scale import noise
from critbatch.recipes import RECIPES
from critbatch.recipes.plan import Plan
from critbatch.records.core import Run
from critbatch.records.study import Study
from critbatch.runtime.process import RandomState, seeded, seeded_on_cpu
from critbatch.runtime.progress import Display, Progress
from critbatch.studies.sweep import sweep
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training, train
from tiny import blobs, tiny_plan, tiny_task

CPU = torch.device("cpu")
RARELY = Evaluation(growth=1000.0)
AT_EVERY_STEP = Evaluation(growth=1.0)


class Blobs(Dataset[Any]):
    """Items that are the same at every call, or that draw from each of the three generators."""

    def __init__(self, examples: int, seed: int, *, draws: bool = False) -> None:
        self.inputs, self.labels = blobs(examples, seed=seed)
        self.draws = draws

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        shift = torch.rand(()) + float(np.random.rand()) + random.random() if self.draws else 0.0
        return self.inputs[index] + shift, int(self.labels[index])


class Drawing(nn.Module):
    """Adds normal numbers of NumPy and of Python to its inputs, when it is evaluated too."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 0.1 * float(np.random.normal()) + 0.1 * random.gauss() + 0.1 * torch.rand(len(inputs), 1)


def noisy_model() -> nn.Module:
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), Drawing(), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def noisy_task(kind: str = "tensors") -> Task:
    task = replace(tiny_task(examples=64), model=noisy_model)
    if kind == "tensors":
        return task
    draws = kind == "random items"
    return replace(task, train=Blobs(64, 0, draws=draws), validation=Blobs(60, 1, draws=draws))


def noisy_plan(recipe: str = "sgd", *, batch_size: int = 16, epochs: float = 3.0) -> Plan:
    options = {"small_batch_size": 8} if recipe == "swap2020" else {}
    return replace(tiny_plan(recipe, batch_size=batch_size, epochs=epochs, **options), ghost_batch=5, sam_rho=0.05)


def ended(training: Training) -> tuple[dict[str, Tensor], Run]:
    training.advance()
    run = training.record()
    curve = tuple(replace(point, seconds=0.0) for point in run.curve)
    members = tuple(replace(member, seconds=0.0) for member in run.replicas)
    timeless: dict[str, Any] = {"seconds": 0.0, "evaluation_seconds": 0.0, "parallel_seconds": None}
    return training.model.state_dict(), replace(run, curve=curve, replicas=members, **timeless)


def hold_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


RESUMED = [
    *((kind, 0, recipe) for kind in ("tensors", "random items") for recipe in ("sgd", "swap2020", "post-local-sgd")),
    ("fixed items", 0, "sgd"),
    ("random items", 2, "sgd"),
]


@pytest.mark.parametrize(("kind", "workers", "recipe"), RESUMED)
def test_a_run_that_is_killed_ends_where_the_unbroken_one_ends(
    kind: str, workers: int, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, plan = noisy_task(kind), noisy_plan(recipe)
    settings: dict[str, Any] = {"seed": 3, "workers": workers, "evaluation": Evaluation(growth=2.0)}
    unbroken, run = ended(Training(task, plan, **settings))
    # Checkpoints that a run writes on its way, as a process leaves them that is killed after that.
    monkeypatch.setattr(critbatch.training.trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    written, left = tmp_path / "written.pt", []

    def copy(_: object) -> None:
        if written.is_file():
            left.append(tmp_path / f"{len(left)}.pt")
            shutil.copyfile(written, left[-1])

    Training(task, plan, **settings, checkpoint=written, progress=copy).advance()
    assert len(left) >= 3
    for checkpoint in left[1:-1] if workers else left:
        resumed = Training(task, plan, **settings, checkpoint=checkpoint)
        assert resumed.run_state.step > 0
        weights, record = ended(resumed)
        hold_equal(weights, unbroken)
        assert record == run


def test_what_items_draw_does_not_depend_on_the_number_of_workers() -> None:
    task, plan = noisy_task("random items"), noisy_plan()
    settings: dict[str, Any] = {"evaluation": RARELY}
    hold_equal(ended(Training(task, plan, **settings))[0], ended(Training(task, plan, workers=2, **settings))[0])


def test_a_dataset_trains_as_its_tensors_do_also_where_the_model_draws() -> None:
    plan = noisy_plan()
    hold_equal(ended(Training(noisy_task("tensors"), plan))[0], ended(Training(noisy_task("fixed items"), plan))[0])


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "adaptive"])
def test_evaluations_change_nothing(recipe: str) -> None:
    """The batch of `adaptive` grows at evaluations: they are a part of the recipe."""
    task, plan = noisy_task("random items"), noisy_plan(recipe, epochs=2.0)
    rarely, _ = ended(Training(task, plan, evaluation=RARELY))
    often, run = ended(Training(task, plan, evaluation=AT_EVERY_STEP))
    hold_equal(often, rarely)
    assert recipe in ("swap2020", "post-local-sgd") or len(run.curve) > run.steps


def test_an_evaluation_gives_the_same_numbers_each_time() -> None:
    training = Training(noisy_task("random items"), noisy_plan())
    training.advance(Budget(steps=3))
    first = training.evaluator.examine(training.model)
    assert first == training.evaluator.examine(training.model) == training.evaluator.examine(training.model)


def test_measuring_the_noise_by_examples_and_by_curvature_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(dropout=0.3)
    ends: list[Training] = []
    advance = Training.advance

    def kept(self: Training, *args: Any, **settings: Any) -> Any:
        ends.append(self)
        return advance(self, *args, **settings)

    monkeypatch.setattr(Training, "advance", kept)
    settings: dict[str, Any] = {"batch_size": 16, "learning_rate": 0.05, "recipe": "sgd", "method": "examples"}
    for curvature in (False, True):
        noise(task, **settings, epochs=2.0, curvature=curvature)
    train(task, tiny_plan("sgd", batch_size=16, epochs=2.0, learning_rate=0.05), compile=False)
    measured, with_curvature, plain = (training.model.state_dict() for training in ends)
    hold_equal(measured, plain)
    hold_equal(with_curvature, plain)


def test_what_a_progress_call_draws_changes_nothing_and_comes_from_the_caller() -> None:
    task, plan = noisy_task(), noisy_plan()
    seen = []

    def draw(_: object) -> None:
        seen.append((torch.rand(()).item(), np.random.rand(), random.random()))

    with seeded(7):
        drawing, _ = ended(Training(task, plan, progress=draw))
    with seeded(7):
        expected = [(torch.rand(()).item(), np.random.rand(), random.random()) for _ in seen]
    assert len(seen) > 3 and seen == expected
    hold_equal(drawing, ended(Training(task, plan))[0])


def states() -> tuple[bytes, object, list[Any]]:
    numbers: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), [numbers[0], numbers[1].tolist(), *numbers[2:]]


def test_the_callers_three_generators_stay_as_they_were() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    np.random.normal()  # leaves the other one of its pair behind
    random.seed(3)
    random.gauss()
    before = states()
    assert before[2][3] == 1
    train(noisy_task("random items"), noisy_plan("swap2020"))
    assert states() == before


def test_weights_drawn_from_any_generator_follow_from_the_seed() -> None:
    def model() -> nn.Module:
        layer = nn.Linear(4, 3)
        nn.init.constant_(layer.bias, float(np.random.rand()) + random.random())
        return layer

    task = replace(tiny_task(), model=model)
    first, again, other = (task.new_model(seed).state_dict() for seed in (1, 1, 2))
    hold_equal(first, again)
    assert not torch.equal(first["bias"], other["bias"])


def test_a_random_state_goes_on_where_it_was_left() -> None:
    def draw() -> list[float]:
        return [torch.rand(()).item(), np.random.normal(), random.gauss()]

    whole, first, second = (RandomState(5, CPU) for _ in range(3))
    with whole.in_place():
        expected = [draw() for _ in range(5)]
    with first.in_place():
        drawn = [draw()]
    second.restore(first.states)
    for _ in range(4):
        with second.in_place():
            drawn.append(draw())
    assert drawn == expected
    # Processes send each other their states as torch pickles them.
    assert pickle.loads(pickle.dumps(first.states))["python"] == first.states["python"]
    # Earlier checkpoints hold the state of torch alone, in a list.
    third = RandomState(6, CPU)
    third.restore([second.states["torch"]])
    with third.in_place(), second.in_place():
        pass
    assert torch.equal(third.states["torch"], second.states["torch"])


def test_a_generator_of_another_kind_behind_numpy_is_left_alone() -> None:
    from numpy.random.mtrand import get_bit_generator, set_bit_generator

    before, own = get_bit_generator(), np.random.PCG64(1)
    set_bit_generator(own)
    try:
        expected = np.random.Generator(np.random.PCG64(1)).bit_generator.state
        train(noisy_task("random items"), noisy_plan(epochs=1.0))
        with seeded_on_cpu(1):
            np.random.rand()
        assert get_bit_generator() is own and own.state == expected
    finally:
        set_bit_generator(before)


class Interrupting(Display):
    """Sends Ctrl-C at every fourth evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations = 0

    def watch(self, progress: Progress) -> None:
        self.evaluations += 1
        if self.evaluations % 4 == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_sweep_of_random_items_that_is_interrupted_ends_with_the_runs_of_the_unbroken_one(tmp_path: Path) -> None:
    asked = partial(sweep, batch_sizes=(16,), learning_rates=(0.05,), seeds=(0, 1), epochs=2, target=None)
    task = noisy_task("random items")
    whole, times = asked(task, out=tmp_path / "whole"), 0
    while len((broken := asked(task, out=tmp_path / "broken", progress=Interrupting())).runs) < 2 or broken.runs_left:
        times += 1
        assert times < 50
    assert times > 2

    def ends(study: Study) -> list[Any]:
        kept = [(run.batch_size, run.seed, run.steps, run.curve[-1]) for run in study.runs]
        return sorted((*rest, replace(last, seconds=0.0)) for *rest, last in kept)

    assert ends(broken) == ends(whole)
