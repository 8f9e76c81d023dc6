"""Sharpness on quadratics, where the highest loss in a box is known, and on networks, where its limits are."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import critbatch
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import EmpiricalRisk
from critbatch.measure.sharpness import _columns, sharpness_in
from critbatch.records.core import Quantity, Target
from critbatch.records.loss_surface import Box, Mode, Sharpness
from critbatch.tasks.task import Task
from critbatch.tasks.toy import Place
from tiny import tiny_task

CURVATURES = torch.tensor([4.0, 1.0, 0.5, 2.0, 3.0, 0.1], dtype=torch.float64)
CENTRE = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -1.0], dtype=torch.float64)


def bowl_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """``1/2 + sum h_i (w_i - c_i)^2 / 2``, the same for every example."""
    return 0.5 + (CURVATURES * (outputs - CENTRE) ** 2).sum(1) / 2


def bowl(place: Tensor) -> tuple[Task, nn.Module]:
    inputs = torch.zeros(7, 1, dtype=torch.float64)

    def start() -> Tensor:
        return CENTRE + 0.01 * torch.randn(6, dtype=torch.float64)

    task = Task(
        "bowl",
        model=lambda: Place(start),
        train=(inputs, inputs),
        validation=(inputs, inputs),
        loss=bowl_loss,
        metric=lambda outputs, targets: -bowl_loss(outputs, targets),
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=0.5),
    )
    model = task.new_model(0)
    with torch.no_grad():
        model.weights.copy_(place)
    return task, model


def height(place: Tensor) -> float:
    return float(0.5 + (CURVATURES * (place - CENTRE) ** 2).sum() / 2)


PLACES = {
    "at the minimum": CENTRE,
    "beside it": CENTRE + torch.tensor([0.02, -0.01, 0.0, 0.03, 0.0, -0.02], dtype=torch.float64),
}


@pytest.mark.parametrize("epsilon", [1e-3, 5e-4, 0.1])
@pytest.mark.parametrize("box", [Box.FULL, Box.ADAPTIVE])
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_the_highest_corner_of_a_box_on_a_bowl_is_found(place: Tensor, box: Box, epsilon: float) -> None:
    task, model = bowl(place)
    surface = EmpiricalRisk(task, model)
    widths = epsilon * (place.abs() + (1 if box is Box.FULL else 0))
    corners = [torch.tensor(signs, dtype=torch.float64) for signs in product((-1.0, 1.0), repeat=6)]
    top = max(height(place + signs * widths) for signs in corners)
    found, dimensions = sharpness_in(surface, box, epsilon)
    assert dimensions == 6
    assert found.sharpness == pytest.approx(100 * (top - height(place)) / (1 + height(place)), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_random_subspace_it_is_the_highest_corner_of_that(seed: int) -> None:
    place, epsilon = PLACES["beside it"], 0.01
    task, model = bowl(place)
    surface = EmpiricalRisk(task, model)
    columns = _columns(surface, 3, torch.Generator().manual_seed(seed))
    widths = epsilon * (torch.linalg.lstsq(columns, place[:, None]).solution[:, 0].abs() + 1)
    corners = [torch.tensor(signs, dtype=torch.float64) for signs in product((-1.0, 1.0), repeat=3)]
    top = max(height(place + columns @ (signs * widths)) for signs in corners)
    found, dimensions = sharpness_in(surface, Box.RANDOM, epsilon, subspace=3, seed=seed)
    assert dimensions == 3
    # A corner that is highest among its neighbours may hide a higher one from a climb: never above the truth.
    assert found.loss <= top + 1e-12
    assert found.sharpness > 0.5 * 100 * (top - height(place)) / (1 + height(place))


def test_sharpness_is_never_negative_and_grows_with_the_box() -> None:
    task = tiny_task(dtype=torch.float64)
    for seed in range(10):
        surface = EmpiricalRisk(task, task.new_model(seed))
        for box in Box:
            small, large = (sharpness_in(surface, box, epsilon, subspace=5, seed=seed)[0] for epsilon in (1e-3, 1e-2))
            assert 0 <= small.sharpness < large.sharpness


def test_the_search_climbs_it_does_not_descend() -> None:
    """A public port negates the loss and not its slope: it then finds less than a point of the box has."""
    task = tiny_task(dtype=torch.float64)
    surface = EmpiricalRisk(task, task.new_model(0))
    loss, gradient = surface.gradient()
    corner = surface.weights + 0.01 * (surface.weights.abs() + 1) * gradient.sign()
    highest, _ = sharpness_in(surface, Box.FULL, 0.01)
    assert highest.middle == pytest.approx(loss)
    assert highest.loss >= surface.measure(corner)[0] - 1e-12


def rescaled(model: nn.Module, factor: float) -> nn.Module:
    """The same function: one layer times a factor, the next divided by it."""
    with torch.no_grad():
        model[0].weight.mul_(factor)
        model[0].bias.mul_(factor)
        model[2].weight.div_(factor)
    return model


def test_rescaling_layers_moves_keskar_s_measure_and_not_the_adaptive_one() -> None:
    plain = tiny_task(dtype=torch.float64)

    def relu() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()

    task = Task("relu", model=relu, train=plain.train, validation=plain.validation, target=plain.target, unit="point")
    models = {"as it was": task.new_model(0), "rescaled": rescaled(task.new_model(0), 10.0)}
    record = critbatch.sharpness(task, models, epsilons=(1e-2,), boxes=(Box.FULL, Box.ADAPTIVE), curvature=False)
    (full, adaptive), (other_full, other_adaptive) = (
        [value.value.value for value in solution.values] for solution in record.solutions
    )
    assert record.solutions[0].loss == pytest.approx(record.solutions[1].loss)
    assert abs(other_full / full - 1) > 0.5
    assert other_adaptive == pytest.approx(adaptive, rel=0.02)


def test_the_record_says_what_was_found_and_leaves_the_models_alone() -> None:
    task = tiny_task()
    models = {"first": task.new_model(0).train(), "second": task.new_model(1)}
    before = [weight.clone() for weight in models["first"].parameters()]
    record = critbatch.sharpness(task, models, subspace=6, draws=3)
    assert models["first"].training
    assert all(torch.equal(old, new) for old, new in zip(before, models["first"].parameters(), strict=True))
    assert [solution.solution.label for solution in record.solutions] == ["first", "second"]
    assert record.setup.mode is Mode.EVAL and record.setup.examples == 96
    values = record.solutions[0].values
    assert [(value.box, value.epsilon, value.dimensions) for value in values] == [
        (Box.FULL, 1e-3, 67),
        (Box.FULL, 5e-4, 67),
        (Box.RANDOM, 1e-3, 6),
        (Box.RANDOM, 5e-4, 6),
        (Box.ADAPTIVE, 1e-3, 67),
        (Box.ADAPTIVE, 5e-4, 67),
    ]
    assert [value.value.n for value in values] == [1, 1, 3, 3, 1, 1]
    assert values[2].value.low is not None and values[0].value.reason == "not_random"
    assert Sharpness.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epsilons": ()}, r"epsilons=\(\) is not possible"),
        ({"epsilons": (-1.0,)}, "use numbers above 0"),
        ({"draws": 0}, "draws=0"),
    ],
)
def test_settings_that_are_not_possible_are_one_sentence(settings: dict[str, Any], words: str) -> None:
    task = tiny_task()
    with pytest.raises(UserError, match=words):
        critbatch.sharpness(task, task.new_model(0), **settings)
    with pytest.raises(UserError, match="no model to measure"):
        critbatch.sharpness(task, {})
