"""The loss along lines and on planes, batch norm's statistics, and what a shift of the data does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import critbatch
from critbatch.errors import UserError
from critbatch.measure.distribution_shift import changes_for
from critbatch.measure.empirical_risk import EmpiricalRisk, recompute_batch_norm
from critbatch.measure.landscape import filter_normalized
from critbatch.records.loss_surface import Landscape, Mode, Shift
from tiny import blobs, tiny_task

TASK = tiny_task(dtype=torch.float64)


def normalized_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()


NORMALIZED = replace(TASK, model=normalized_model)


def test_a_line_begins_and_ends_at_its_solutions() -> None:
    models = {"first": TASK.new_model(0), "second": TASK.new_model(1)}
    record = critbatch.landscape(TASK, models, points=7)
    assert record.kind == "line" and len(record.points) == 7 and not record.batch_norm_recomputed
    assert [point.alpha for point in record.points] == pytest.approx([-1, -0.5, 0, 0.5, 1, 1.5, 2])
    for place, model in ((2, models["first"]), (4, models["second"])):
        for data, loss, metric in (
            ("train", record.points[place].train_loss, record.points[place].train_metric),
            ("validation", record.points[place].validation_loss, record.points[place].validation_metric),
        ):
            assert (loss, metric) == pytest.approx(EmpiricalRisk(TASK, model, data=data).measure(), rel=1e-12)
    assert Landscape.from_json(record.to_json()) == record


def test_the_solutions_are_on_the_line_whatever_the_points() -> None:
    models = {"first": TASK.new_model(0), "second": TASK.new_model(1)}
    alphas = [point.alpha for point in critbatch.landscape(TASK, models, points=4).points]
    assert {0.0, 1.0} < set(alphas)


def test_batch_norm_s_statistics_are_those_of_the_whole_set_whatever_the_chunks() -> None:
    model = NORMALIZED.new_model(0)
    inputs = NORMALIZED.train.inputs
    hidden = model[0](inputs)
    for chunk in (96, 40, 7):
        surface = EmpiricalRisk(NORMALIZED, model, chunk=chunk)
        recompute_batch_norm(surface)
        layer = surface.model[1]
        torch.testing.assert_close(layer.running_mean, hidden.mean(0).detach())
        torch.testing.assert_close(layer.running_var, hidden.var(0).detach())
        assert not layer.training and layer.momentum == 0.1
    assert not model[1].running_mean.any()


class Frozen(nn.Sequential):
    """Holds its first batch norm in eval mode, as fine-tuning does."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        self.double()
        self[0].running_mean.fill_(7.0)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self[0].eval()
        return self


class FrozenLayer(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> FrozenLayer:
        return super().train(False)


def frozen_by_its_layer() -> nn.Module:
    model = nn.Sequential(FrozenLayer(4), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    model[0].running_mean.fill_(7.0)
    return model


def frozen_by_hand() -> nn.Module:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double().train()
    model[0].running_mean.fill_(7.0)
    model[0].eval()
    return model


@pytest.mark.parametrize("make", [Frozen, frozen_by_its_layer, frozen_by_hand])
def test_statistics_that_training_holds_stay_and_others_are_computed_anew(make: Callable[[], nn.Module]) -> None:
    model = make()
    surface = EmpiricalRisk(replace(TASK, model=make), model, chunk=19)
    recompute_batch_norm(surface)
    frozen, moved = surface.model[0], surface.model[2]
    assert (frozen.running_mean == 7).all() and (frozen.running_var == 1).all()
    hidden = model[1]((TASK.train.inputs - 7) / (1 + 1e-5) ** 0.5).detach()
    torch.testing.assert_close(moved.running_mean, hidden.mean(0))
    torch.testing.assert_close(moved.running_var, hidden.var(0))
    assert not frozen.training and not moved.training


@pytest.mark.parametrize("make", [Frozen, frozen_by_its_layer, frozen_by_hand])
def test_over_batches_a_layer_that_training_holds_uses_its_own_statistics(make: Callable[[], nn.Module]) -> None:
    model = make()
    surface = EmpiricalRisk(replace(TASK, model=make), model, mode=Mode.BATCH)
    hidden = model[1]((TASK.train.inputs - 7) / (1 + 1e-5) ** 0.5)
    outputs = model[3]((hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt())
    truth = nn.functional.cross_entropy(outputs, TASK.train.targets)
    assert surface.measure()[0] == pytest.approx(truth.item(), rel=1e-9)


def test_without_a_batch_norm_that_moves_nothing_is_computed_anew_and_the_mode_does_not_matter() -> None:
    task = replace(TASK, model=lambda: nn.Sequential(FrozenLayer(4), nn.Linear(4, 3)).double())
    assert not EmpiricalRisk(task, task.new_model(0), mode=Mode.BATCH).setup.batch_norm
    assert not critbatch.landscape(task, task.new_model(0), points=3).batch_norm_recomputed


def test_a_batch_norm_over_chunks_never_gets_a_single_example() -> None:
    surface = EmpiricalRisk(NORMALIZED, NORMALIZED.new_model(0), mode=Mode.BATCH, chunk=95)
    assert [len(targets) for _, targets in surface.chunks()] == [96]
    surface.gradient()
    recompute_batch_norm(surface)


def test_along_a_line_batch_norm_is_computed_anew() -> None:
    models = {"first": NORMALIZED.new_model(0), "second": NORMALIZED.new_model(1)}
    record = critbatch.landscape(NORMALIZED, models, points=4)
    assert record.batch_norm_recomputed
    start = next(point for point in record.points if point.alpha == 0)
    fresh = EmpiricalRisk(NORMALIZED, models["first"])
    recompute_batch_norm(fresh)
    assert start.train_loss == pytest.approx(fresh.measure()[0], rel=1e-12)
    assert not models["first"][1].running_mean.any()


def test_directions_of_a_plane_have_the_norms_of_the_filters() -> None:
    task = tiny_task(dtype=torch.float64)
    surface = EmpiricalRisk(task, task.new_model(0))
    direction = filter_normalized(surface, torch.Generator().manual_seed(0))
    for drawn, weight in zip(surface.parts(direction), surface.parameters, strict=True):
        if weight.ndim > 1:
            torch.testing.assert_close(drawn.norm(dim=1), weight.detach().norm(dim=1))
        else:
            assert not drawn.any()


def test_the_middle_of_a_plane_is_the_solution() -> None:
    model = TASK.new_model(0)
    record = critbatch.landscape(TASK, model, points=3, span=0.5)
    assert record.kind == "plane" and len(record.points) == 9
    middle = next(point for point in record.points if (point.alpha, point.beta) == (0, 0))
    assert middle.train_loss == pytest.approx(EmpiricalRisk(TASK, model).measure()[0])
    assert {point.alpha for point in record.points} == {-0.5, 0.0, 0.5}


@pytest.mark.parametrize(
    ("models", "settings", "words"),
    [
        (3, {}, "one or two solutions, but got 3"),
        (2, {"points": 2}, "points=2 is not possible"),
        (2, {"low": 2.0, "high": 1.0}, "use low < high"),
        (1, {"span": 0.0}, "span > 0"),
    ],
)
def test_what_cannot_be_looked_at_is_one_sentence(models: int, settings: dict[str, float], words: str) -> None:
    given = {str(n): TASK.new_model(n) for n in range(models)}
    with pytest.raises(UserError, match=words):
        critbatch.landscape(TASK, given, **settings)  # type: ignore[arg-type]


def test_models_of_different_shapes_have_no_line_between_them() -> None:
    with pytest.raises(UserError, match="different weights"):
        critbatch.landscape(TASK, {"a": TASK.new_model(0), "b": NORMALIZED.new_model(0)})


def far(factor: float) -> nn.Module:
    """A model whose outputs are steeper: the same decisions, and losses that move more with the inputs."""
    model = TASK.new_model(3)
    with torch.no_grad():
        model[3].weight.mul_(factor)
    return model


def test_the_loss_rises_by_what_the_shifted_set_costs_and_more_where_the_model_is_steeper() -> None:
    models = {"flat": far(1.0), "steep": far(20.0)}
    own = blobs(50, seed=5, dtype=torch.float64)
    record = critbatch.shift(TASK, models, shifts={"mine": own})
    for label, model in models.items():
        before = EmpiricalRisk(TASK, model).measure()[0]
        rises = {(rise.shift, rise.strength): rise for rise in record.rises if rise.label == label}
        assert rises["mine", 0.0].rise.value == pytest.approx(
            EmpiricalRisk(TASK, model, data=own).measure()[0] - before
        )
        assert rises["validation", 0.0].loss == pytest.approx(
            EmpiricalRisk(TASK, model, data="validation").measure()[0]
        )
        chance = rises["resampled", 0.0].rise
        assert chance.low is not None and chance.high is not None and chance.low < 0 < chance.high
        assert {strength for shift, strength in rises if shift == "noise"} == {0.1, 0.3, 1.0}
    moved = {rise.label: rise.rise.value for rise in record.rises if (rise.shift, rise.strength) == ("noise", 1.0)}
    assert abs(moved["steep"]) > 5 * abs(moved["flat"])
    assert {found.correlation.reason for found in record.predictions} <= {"few_solutions", "all_alike"}
    assert Shift.from_json(record.to_json()) == record


def test_noise_is_the_same_for_every_model_and_every_pass() -> None:
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    change = changes_for(TASK, inputs, seed=0)[0]
    assert torch.equal(change.apply(inputs, 0), change.apply(inputs, 0))
    assert not torch.equal(change.apply(inputs, 0), change.apply(inputs, 1))


def test_pictures_are_moved_and_tokens_are_replaced() -> None:
    pictures = torch.arange(2 * 64.0).view(2, 64)
    image = replace(TASK, unit="image")
    moved = next(change for change in changes_for(image, pictures, seed=0) if change.name == "moved")
    first = moved.apply(pictures, 0).view(2, 8, 8)
    assert torch.equal(first[:, :, 1:], pictures.view(2, 8, 8)[:, :, :-1])
    assert torch.equal(first[:, :, 0], pictures.view(2, 8, 8)[:, :, 0])
    assert not [change for change in changes_for(TASK, pictures, seed=0) if change.name == "moved"]
    tokens = torch.randint(9, (40, 50), generator=torch.Generator().manual_seed(0))
    few, many = changes_for(TASK, tokens, seed=0)
    replaced = few.apply(tokens, 0)
    # A twentieth is replaced, and a ninth of those by themselves: 0.0444, with four standard errors of 2,000 draws.
    assert abs(float((replaced != tokens).double().mean()) - 0.0444) < 4 * (0.0444 / 2000) ** 0.5
    assert (few.strength, many.strength) == (0.05, 0.2)


def test_the_interval_of_a_shift_by_chance_is_that_of_a_mean() -> None:
    model = TASK.new_model(0)
    losses, _ = EmpiricalRisk(TASK, model).each()
    record = critbatch.shift(TASK, {"one": model})
    chance = next(rise for rise in record.rises if rise.shift == "resampled").rise
    assert chance.low is not None and chance.high is not None
    deviation = float(losses.std()) / len(losses) ** 0.5
    # The 2.5 % quantile of 1,000 resamples has a standard error of about 0.08 deviations.
    assert (chance.high - chance.low) / 2 == pytest.approx(1.96 * deviation, rel=0.15)
    assert record.predictions == ()
