"""A plan that does not fit the data, the model or the processes is refused before the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from critbatch.errors import UserError
from critbatch.recipes import post_local_sgd, sgd, smith2017, swap2020
from critbatch.recipes.plan import Plan
from critbatch.records.core import Outcome
from critbatch.studies.sweep import sweep
from critbatch.tasks.task import Task
from critbatch.training.plan_checks import refuse_misfits
from critbatch.training.trainer import Training, train
from tiny import tiny_plan, tiny_task

TASK = tiny_task()  # 96 examples
CONSTANT = sgd(batch_size=8, learning_rate=0.1, epochs=1).phases[0]
MISFITS: dict[str, tuple[Plan, int, str]] = {
    "a batch that grows beyond the data": (
        smith2017(batch_size=16, learning_rate=0.1),
        1,
        r"Recipe smith2017 goes from batches of 16 to 2000, above the 96 training examples: use the option "
        r"largest_batch=96 or less\.",
    ),
    "one that a smaller first batch would keep within": (
        smith2017(batch_size=16, learning_rate=0.1, factor=2),
        1,
        r"from batches of 16 to 128, above .*: use the option largest_batch=96 or less, or batch_size=12 or less\.",
    ),
    "copies with a larger batch": (
        swap2020(batch_size=32, learning_rate=0.1, small_batch_size=128),
        1,
        r"Recipe swap2020 goes from batches of 32 to 128, .*: use the option small_batch_size=96 or less\.",
    ),
    "a batch above the data": (smith2017(batch_size=97, largest_batch=97), 1, "batch_size=97 is above the 96 training"),
    "copies that processes cannot share": (
        post_local_sgd(batch_size=32, learning_rate=0.1, copies=8),
        3,
        r"8 copies cannot be shared equally by 3 processes: use a number of processes that divides 8, or copies=9\.",
    ),
    "a negative learning rate": (
        Plan(recipe="own", peak=0.1, phases=(replace(CONSTANT, learning_rate=lambda epoch: 0.1 - epoch),)),
        1,
        r"A learning rate of -0.4 in epoch 0.5 of a phase is not possible: use 0 or more\.",
    ),
}


@pytest.mark.parametrize(("plan", "processes", "sentence"), MISFITS.values(), ids=list(MISFITS))
def test_a_plan_that_does_not_fit_says_which_batch_size_or_option_does(
    plan: Plan, processes: int, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        refuse_misfits(TASK, plan, seed=0, processes=processes)


def test_what_the_sentence_proposes_fits() -> None:
    refuse_misfits(TASK, smith2017(batch_size=16, largest_batch=96), seed=0, processes=1)
    refuse_misfits(TASK, smith2017(batch_size=12, factor=2), seed=0, processes=1)
    refuse_misfits(TASK, swap2020(batch_size=32, small_batch_size=96), seed=0, processes=1)
    refuse_misfits(TASK, post_local_sgd(batch_size=32, copies=9), seed=0, processes=3)


def test_a_sweep_is_refused_before_any_of_its_runs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"learning_rates": (0.1,), "seeds": (0,), "epochs": 1, "recipe": "smith2017"}
    with pytest.raises(UserError, match="goes from batches of 32 to 4000, above the 96 training examples"):
        sweep(TASK, batch_sizes=(32,), out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def normed(*, spread: bool = False) -> Task:
    def model() -> nn.Module:
        if spread:  # several values of each channel in an example
            return nn.Sequential(nn.Unflatten(1, (1, 4)), nn.BatchNorm1d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    return replace(TASK, model=model)


# Batch size, epochs, other settings of the plan, and whether a pass of one example comes.
SINGLES: list[tuple[int, float, dict[str, Any], bool]] = [
    (95, 1, {}, True),
    (95, 0.9, {}, False),
    (19, 1, {}, True),
    (19, 0.98, {}, False),
    (19, 3, {"drop_last": True}, False),
    (32, 2, {}, False),
    (1, 1, {}, True),
    (32, 1, {"micro_batch_size": 31}, True),
    (32, 1, {"micro_batch_size": 16}, False),
    (50, 1, {"micro_batch_size": 45}, True),
]


@pytest.mark.parametrize(("size", "epochs", "changes", "single"), SINGLES)
def test_a_batch_of_one_is_foreseen_exactly_where_batch_norm_would_fail(
    size: int, epochs: float, changes: dict[str, Any], single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(sgd(batch_size=size, learning_rate=0.01, epochs=epochs), **changes)
    if single:
        with pytest.raises(UserError, match="Batch norm cannot train on a batch of one example, and "):
            Training(normed(), plan)
        # It is true: without the check the run fails.
        monkeypatch.setattr("critbatch.training.trainer.refuse_single_examples", lambda *_, **__: None)
        with pytest.raises(UserError, match=r"batch of one example \(step"):
            train(normed(), plan)
    else:
        assert train(normed(), plan).outcome is Outcome.FINISHED
    assert train(normed(spread=True), plan).outcome is Outcome.FINISHED


@pytest.mark.parametrize("recipe", ["smith2017", "swap2020", "post-local-sgd"])
@pytest.mark.parametrize("examples", [96, 97, 101])
def test_phases_that_follow_each_other_are_foreseen_too(
    recipe: str, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(normed(), train=tiny_task(examples=examples).train)
    plan = tiny_plan(recipe, batch_size=10, epochs=3.7, **({"largest_batch": 40} if recipe == "smith2017" else {}))
    foreseen = ""
    try:
        Training(task, plan)
    except UserError as error:
        foreseen = str(error)
    monkeypatch.setattr("critbatch.training.trainer.refuse_single_examples", lambda *_, **__: None)
    failed = ""
    try:
        train(task, plan)
    except UserError as error:
        failed = str(error)
    assert bool(foreseen) == bool(failed), (foreseen, failed)


def test_a_batch_never_grows_beyond_the_data() -> None:
    labels = torch.randint(3, (96,), generator=torch.Generator().manual_seed(5))  # of noise there is plenty
    task = replace(TASK, train=(TASK.train.inputs, labels))
    plan = tiny_plan("adaptive", batch_size=4, epochs=40.0, share=100.0, largest_batch=1 << 20)
    run = train(task, replace(plan, drop_last=True))
    assert run.outcome is Outcome.FINISHED
    assert 4 < max(point.batch_size or 4 for point in run.curve) <= 96
