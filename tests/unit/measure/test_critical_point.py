"""Minimum, saddle, plateau, maximum or slope, on surfaces where the answer is known; and who gets away from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import critbatch
from critbatch.errors import UserError
from critbatch.measure.critical_point import PointFeatures, look, standing
from critbatch.measure.empirical_risk import EmpiricalRisk
from critbatch.measure.escape import ModelEnsemble, binomial
from critbatch.records.core import Quantity, Target
from critbatch.records.loss_surface import CriticalPoint, Eigenvalue, Escape, PointType
from critbatch.tasks.task import Task
from critbatch.tasks.toy import Place
from tiny import tiny_task


def at(place: list[float], surface: Callable[[Tensor], Tensor], *, factor: float = 1.0) -> PointType:
    """Where one stands at a place of a surface of two weights, whose runs start at a distance of about 1."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return factor * surface(outputs)

    inputs = torch.zeros(5, 1, dtype=torch.float64)
    task = Task(
        "surface",
        model=partial(Place, lambda: 1 + 0.1 * torch.randn(2, dtype=torch.float64)),
        train=(inputs, inputs),
        validation=(inputs, inputs),
        loss=loss,
        metric=loss,
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=-9.0),
    )
    model = task.new_model(0)
    with torch.no_grad():
        model.weights.copy_(torch.tensor(place))
    view, _, _ = look(task, EmpiricalRisk(task, model))
    return standing(view)[0]


def bowl(w: Tensor) -> Tensor:
    return 1 + w[..., 0] ** 2 + 3 * w[..., 1] ** 2


def ridge(w: Tensor) -> Tensor:
    return 1 + w[..., 0] ** 2 - w[..., 1] ** 2 + w[..., 1] ** 4


def hill(w: Tensor) -> Tensor:
    return 1 / (1 + (w**2).sum(-1))


def valley(w: Tensor) -> Tensor:
    return (1 - w[..., 0] * w[..., 1]) ** 2 / 2


def far_out(w: Tensor) -> Tensor:
    return torch.sigmoid(-8 * (w[..., 0] + w[..., 1])) + 0.1


SURFACES = {
    "the bottom of a bowl": ([0.0, 0.0], bowl, PointType.MINIMUM),
    "beside it": ([0.3, 0.1], bowl, PointType.DESCENDING),
    "a ridge": ([0.0, 0.0], ridge, PointType.SADDLE),
    "a ridge, not quite": ([1e-6, 1e-6], ridge, PointType.SADDLE),
    "a valley beside the ridge": ([0.0, 0.5**0.5], ridge, PointType.MINIMUM),
    "the top of a hill": ([0.0, 0.0], hill, PointType.MAXIMUM),
    "two weights at 0": ([0.0, 0.0], valley, PointType.SADDLE),
    "two weights in their valley": ([1.0, 1.0], valley, PointType.MINIMUM),
    "a sigmoid far out": ([2.0, 2.0], far_out, PointType.PLATEAU),
}


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e4])
@pytest.mark.parametrize(("place", "surface", "expected"), SURFACES.values(), ids=list(SURFACES))
def test_a_point_is_what_it_is_whatever_the_loss_is_multiplied_with(
    place: list[float], surface: Callable[[Tensor], Tensor], expected: PointType, factor: float
) -> None:
    assert at(place, surface, factor=factor) is expected


def view(largest: Eigenvalue, smallest: Eigenvalue) -> PointFeatures:
    return PointFeatures(
        gradient_norm=0.0, along=0.0, largest=largest, smallest=smallest, loss_scale=1.0, weight_scale=10.0
    )


def test_a_sign_within_its_error_or_not_converged_is_undecided() -> None:
    up = Eigenvalue(value=5.0, residual=0.01, converged=True)
    vague = Eigenvalue(value=-0.1, residual=0.2, converged=True)
    assert standing(view(up, vague)) == (PointType.UNDECIDED, "curvature_within_error")
    early = Eigenvalue(value=-0.1, residual=0.01, converged=False)
    assert standing(view(up, early)) == (PointType.UNDECIDED, "not_converged")
    assert standing(view(up, replace(early, placed=False))) == (PointType.UNDECIDED, "place_unknown")
    sure = Eigenvalue(value=-0.1, residual=0.01, converged=True)
    assert standing(view(up, sure)) == (PointType.SADDLE, "")


def test_the_best_step_along_the_gradient_of_a_quadratic_takes_off_what_is_foretold() -> None:
    task = tiny_task(dtype=torch.float64)
    surface = EmpiricalRisk(task, task.new_model(0))
    seen, _, gradient = look(task, surface)
    assert seen.expected_drop == pytest.approx(seen.gradient_norm**2 / (2 * seen.along))
    loss = surface.measure()[0]
    after = surface.measure(surface.weights - 1e-3 / seen.along * gradient)[0]
    foretold = (2e-3 - 1e-6) * seen.expected_drop
    assert loss - after == pytest.approx(foretold, rel=0.01)


def test_a_saddle_has_no_full_gradient_and_single_batches_have() -> None:
    task = critbatch.find_task("surface-saddle")
    model = task.new_model(0)
    with torch.no_grad():
        model.weights.zero_()
    record = critbatch.critical_point(task, model, batch_sizes=(1, 16, 64))
    assert record.standing is PointType.SADDLE
    assert record.gradient_norm < 1e-6
    one, some, every = record.batches
    assert one.median > some.median > 0.05 and every.median < 1e-6
    assert 0 < some.descending <= 1
    assert record.noise.reason == "noise_not_distinguishable"
    assert "try_negative_curvature" in record.tries
    # Of 64 tilts, standard normal in two directions: tr(Sigma) is their mean square.
    truth = float(task.train.inputs.square().sum(1).mean())
    assert record.noise.covariance_trace == pytest.approx(truth, rel=0.5)
    assert CriticalPoint.from_json(record.to_json()) == record


def test_impossible_batches_are_one_sentence() -> None:
    task = tiny_task()
    with pytest.raises(UserError, match=r"batch_sizes=\[500\] are not possible with 96 examples"):
        critbatch.critical_point(task, task.new_model(0), batch_sizes=(500,))
    with pytest.raises(UserError, match="batches=2 is too few"):
        critbatch.critical_point(task, task.new_model(0), batches=2)
    with pytest.raises(UserError, match=r"tolerance=-1\.0 is not possible: use 0 or more"):
        critbatch.critical_point(task, task.new_model(0), tolerance=-1.0)


def run(name: str, **settings: int) -> Escape:
    return critbatch.escape(
        critbatch.find_task(name), learning_rate=0.1, descent_steps=400, steps=400, starts=50, **settings
    )


def test_small_batches_leave_a_saddle_that_the_full_batch_never_leaves() -> None:
    record = run("surface-saddle")
    one, some, full = record.counts
    assert record.standings == {"saddle": 50}
    assert (one.batch_size, some.batch_size, full.batch_size) == (1, 16, 64)
    assert full.escapes == 0 and some.escapes == one.escapes == 50
    assert full.share.high is not None and some.share.low is not None and full.share.high < some.share.low
    assert full.loss.value == pytest.approx(0.25) and some.loss.value < 0.05
    assert Escape.from_json(record.to_json()) == record


def test_noise_crosses_the_barrier_of_a_shallow_well_that_the_full_batch_stays_in() -> None:
    record = run("surface-double-well")
    one, _, full = record.counts
    assert record.standings == {"minimum": 50}
    assert full.escapes == 0 and one.escapes > 20


def test_noise_does_not_help_where_every_batch_keeps_to_the_way_into_the_saddle() -> None:
    """Of y = w1 w2 x the gradient of any batch keeps to the line w1 = -w2: it is no lack of noise that one is stuck."""
    record = run("surface-two-weights")
    assert record.standings == {"saddle": 50}
    assert [count.escapes for count in record.counts] == [0, 0, 0]


def test_models_that_move_as_one_move_as_each_would_alone() -> None:
    task = tiny_task(dtype=torch.float64)
    herd = ModelEnsemble(task, starts=3, seed=5, device=torch.device("cpu"))
    herd.step(0.1, task.examples, times=4)
    for n in range(3):
        model = task.new_model(5 + n).eval()
        for _ in range(4):
            loss = task.loss(task.forward(model, task.train.inputs), task.train.targets).mean()
            grads = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for weight, grad in zip(model.parameters(), grads, strict=True):
                    weight -= 0.1 * grad
        for weight, other in zip(model.parameters(), herd.model(n).parameters(), strict=True):
            torch.testing.assert_close(weight, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 50, 0.0, 0.07112), (5, 50, 0.03327, 0.21814), (50, 50, 0.92888, 1.0)]
)
def test_the_interval_of_a_share_is_clopper_s_and_pearson_s(hits: int, n: int, low: float, high: float) -> None:
    share = binomial(hits, n)
    assert (share.low, share.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_what_cannot_be_counted_is_one_sentence() -> None:
    task = tiny_task()
    with pytest.raises(UserError, match=r"learning_rate=-1\.0 is not possible: use a number above 0"):
        critbatch.escape(task, learning_rate=-1.0)
    with pytest.raises(UserError, match="drop=1"):
        critbatch.escape(task, drop=1.0)
    mixed = Task(
        "mixed",
        model=lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
        train=task.train,
        validation=task.validation,
        target=task.target,
    )
    with pytest.raises(UserError, match="has batch norm"):
        critbatch.escape(mixed)
