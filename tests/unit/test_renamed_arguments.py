"""Old names of arguments work for one release, each with one warning that says the name of today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import critbatch
from critbatch.errors import UserError
from critbatch.recipes import adam, goyal2017, plan_of, sgd
from critbatch.records.core import Goal, Objective

SIZES = {"batch_size": 16, "learning_rate": 0.1, "epochs": 6.0}


@pytest.mark.parametrize(
    ("call", "old", "new"),
    [
        (lambda: sgd(**SIZES, decay="cosine"), "sgd: decay", "lr_decay"),
        (lambda: adam(**SIZES, warm_up_epochs=1.0), "adam: warm_up_epochs", "warmup_epochs"),
        (lambda: goyal2017(**SIZES, warm_up_epochs=1.0), "goyal2017: warm_up_epochs", "warmup_epochs"),
        (lambda: plan_of("sgd", **SIZES, decay="stairs"), "The option decay", "lr_decay"),
        (lambda: Objective(goal=Goal.COST, within_seconds=3.0), "Objective: within_seconds", "max_time"),
        (lambda: Objective(goal="accuracy", margin=0.1), "Objective: margin", "accuracy_margin"),
        (lambda: critbatch.lecture, "critbatch.lecture", "critbatch.check_claims"),
    ],
    ids=["decay", "warm_up_epochs", "of a paper", "stairs", "within_seconds", "margin", "lecture"],
)
def test_an_old_name_works_with_a_warning(call: Callable[[], Any], old: str, new: str) -> None:
    sentence = f"^{old} is now called {new}. The old name stops working in the next release.$"
    with pytest.warns(DeprecationWarning, match=sentence) as notices:
        assert call() is not None
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("call", "old", "new"),
    [
        (lambda: critbatch.advise("digits-mlp", current=0), "advise: current", "current_batch_size"),
        (lambda: critbatch.scale("digits-mlp", "nowhere", price=1.0), "scale: price", "price_per_device_hour"),
        (lambda: critbatch.sweep("digits-mlp", stops_at_target=False, budget=-1), "sweep: stops_at_target", "stop_at"),
        (lambda: critbatch.sweep("digits-mlp", stops_early=True, budget=-1), "sweep: stops_early", "prune"),
        (lambda: critbatch.sweep("digits-mlp", fixed={}, budget=-1), "sweep: fixed", "fixed_options"),
        (lambda: critbatch.sweep("digits-mlp", varied={}, budget=-1), "sweep: varied", "option_grid"),
        (lambda: critbatch.sweep("digits-mlp", compiled=True, budget=-1), "sweep: compiled", "compile"),
    ],
    ids=["current", "price", "stops_at_target", "stops_early", "fixed", "varied", "compiled"],
)
def test_the_old_names_of_a_call_are_handed_on(call: Callable[[], Any], old: str, new: str) -> None:
    """What is wrong with the call is said after the warning."""
    with pytest.warns(DeprecationWarning, match=f"^{old} is now called {new}"), pytest.raises(UserError):
        call()


def test_an_old_name_beside_the_new_one_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="lr_decay"), pytest.raises(UserError, match="give one of them"):
        sgd(**SIZES, decay="cosine", lr_decay="linear")


def test_old_values_mean_the_new_ones() -> None:
    assert Objective(goal="soonest") == Objective(goal=Goal.TIME)
    assert Objective(goal="cheapest") == Objective(goal=Goal.COST)
    with pytest.warns(DeprecationWarning, match="lr_decay"):
        old = plan_of("sgd", **SIZES, decay="stairs")
    new = plan_of("sgd", **SIZES, lr_decay="step")
    rates = [[plan.phases[0].learning_rate(epoch) for epoch in (0.0, 2.5, 4.5)] for plan in (old, new)]
    assert rates[0] == rates[1]
