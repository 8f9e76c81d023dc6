"""Recipes as data: what the papers say, and what each reduces to."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.recipes import RECIPES, goyal2017, lamb2020, lars2017, plan_of, sgd, smith2017
from critbatch.recipes.plan import Growth, NormStatistics, Plan
from critbatch.records.core import NoisePoint, NoiseScale
from critbatch.training.checkpoint import fresh_model
from critbatch.training.step import Step
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task

TASK = tiny_task(dtype=torch.float64)
CPU = torch.device("cpu")


def weights(plan: Plan) -> Tensor:
    training = Training(TASK, plan)
    training.advance()
    return torch.cat([weight.detach().flatten() for weight in training.model.parameters()])


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_names_its_paper_and_has_a_usual_rate(recipe: str) -> None:
    about = RECIPES[recipe]
    assert "arXiv:" in about.paper or recipe == "sgd"
    assert about.changes and about.needs
    rates = [about.usual_rate(size) for size in (1, 64, 256, 8192, 65536)]
    assert rates == sorted(rates) and rates[0] > 0
    plan = plan_of(recipe, batch_size=64, epochs=9.0)
    assert plan.recipe == recipe and plan.epochs == pytest.approx(9.0)
    if recipe not in ("sgd", "adam"):
        assert plan.peak == pytest.approx(about.usual_rate(64))
        assert about.paper.split()[-1] in (RECIPES[recipe].make_plan.__doc__ or "") + about.paper


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_rate_of_a_recipe_is_above_its_peak_or_below_zero(recipe: str) -> None:
    plan = tiny_plan(recipe, epochs=9.0)
    for phase in plan.phases:
        rates = [phase.learning_rate(phase.epochs * n / 200) for n in range(200)]
        assert min(rates) >= 0
        assert max(rates) <= plan.peak * (1 + 1e-12)


def test_goyal_at_its_base_batch_is_plain_sgd_with_stairs() -> None:
    plain = sgd(batch_size=16, learning_rate=0.1, epochs=6, momentum=0.9, nesterov=True, lr_decay="step")
    scaled = goyal2017(batch_size=16, learning_rate=0.1, epochs=6, base_batch=16, weight_decay=0.0)
    assert torch.equal(weights(plain), weights(scaled))


def test_goyal_at_8192_is_the_paper_s_schedule() -> None:
    plan = goyal2017(batch_size=8192)
    (phase,) = plan.phases
    assert plan.peak == pytest.approx(3.2) and plan.epochs == 90 and plan.zero_gamma
    told = {0: 0.1, 2.5: 1.65, 5: 3.2, 29.9: 3.2, 30: 0.32, 60: 0.032, 80: 0.0032}
    assert {epoch: phase.learning_rate(epoch) for epoch in told} == pytest.approx(told)


def test_goyal_spares_vectors_from_weight_decay() -> None:
    model = TASK.new_model(0)
    optimizer = goyal2017(batch_size=16).phases[0].optimizer(model.parameters())
    decays = {weight.ndim: group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
    assert decays == {2: 1e-4, 1: 0.0}


@pytest.mark.parametrize("recipe", ["sgd", "adam"])
def test_weight_decay_can_spare_vectors(recipe: str) -> None:
    plan = plan_of(recipe, batch_size=16, epochs=1, weight_decay=0.1, decay_vectors=False)
    groups = plan.phases[0].optimizer(TASK.new_model(0).parameters()).param_groups
    assert {weight.ndim: group["weight_decay"] for group in groups for weight in group["params"]} == {2: 0.1, 1: 0.0}


def test_lars_has_the_rates_of_its_table() -> None:
    assert [lars2017(batch_size=size).peak for size in (256, 1024, 8192, 16384, 32768)] == [4, 9, 30, 33, 40]
    phase = lars2017(batch_size=16384).phases[0]
    assert phase.learning_rate(12) == pytest.approx(33)
    assert phase.learning_rate(12 + 44) == pytest.approx(33 / 4)


def test_lamb_has_the_rates_and_the_constant_warm_up_of_its_table() -> None:
    rates = [lamb2020(batch_size=512 * 2**k).peak for k in range(7)]
    assert rates == pytest.approx([5 / (2**k * 1000) for k in (3, 2.5, 2, 1.5, 1, 0.5, 0)])
    for size, share in ((512, 1 / 320), (4096, 1 / 40), (32768, 1 / 5)):
        phase = lamb2020(batch_size=size, epochs=40).phases[0]
        assert phase.learning_rate(40 * share) == pytest.approx(lamb2020(batch_size=size).peak)
        assert phase.learning_rate(20 * share) == pytest.approx(lamb2020(batch_size=size).peak / 2)


def test_lamb_in_two_stages_warms_up_again_with_the_last_tenth_at_another_batch() -> None:
    plan = lamb2020(batch_size=65536, second_batch_size=32768, epochs=40)
    first, second = plan.phases
    assert (first.epochs, second.epochs, second.batch_size) == (36, 4, 32768)
    assert second.learning_rate(0) == 0 and not second.keeps_optimizer
    assert max(second.learning_rate(n / 100) for n in range(400)) == pytest.approx(0.005, rel=0.02)


def test_akiba_begins_at_half_and_falls_as_the_paper_says() -> None:
    plan = plan_of("akiba2017", batch_size=32768)
    rates = {0: 6.4, 40: 0.96, 70: 0.128, 85: 0.0128}
    assert {epoch: plan.phases[0].learning_rate(epoch) for epoch in rates} == pytest.approx(rates)
    assert plan.norm_statistics is NormStatistics.LAST_BATCH


def test_akiba_late_in_a_run_takes_the_steps_of_sgd() -> None:
    model, other = TASK.new_model(0), TASK.new_model(0)
    plan = plan_of("akiba2017", batch_size=16, learning_rate=0.1, epochs=90, weight_decay=0.0)
    first = Step(TASK, model, plan.phases[0].optimizer(model.parameters()))
    second = Step(TASK, other, torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9))
    for n in range(3):
        for step in (first, second):
            step.gradient([TASK.train.span(16 * n, 16 * n + 16)], 16)
            step.update(0.1, epoch=50.0)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_smith_keeps_the_ratio_of_rate_and_batch_that_decay_would_have() -> None:
    plan = smith2017(batch_size=128, learning_rate=0.1, epochs=200, at=(0.3, 0.6, 0.8), largest_batch=5000)
    assert [phase.batch_size for phase in plan.phases] == [128, 640, 3200, 3200]
    noise = [phase.learning_rate(0) / phase.batch_size for phase in plan.phases]
    assert [noise[0] / one for one in noise] == pytest.approx([1, 5, 25, 125])
    assert [phase.epochs for phase in plan.phases] == pytest.approx([60, 60, 40, 40])


def test_the_batch_grows_when_the_noise_scale_has_passed_it_and_the_rate_grows_along() -> None:
    training = Training(TASK, plan_of("adaptive", batch_size=4, learning_rate=0.01, epochs=60.0, largest_batch=64))
    training.advance()
    run = training.record()
    sizes = [point.batch_size or 4 for point in run.curve]
    assert sizes == sorted(sizes) and set(sizes) <= {4, 8, 16, 32, 64} and sizes[-1] > 4
    growth = training.plan.phases[0].growth
    assert growth is not None
    for before, after in pairwise(run.curve):
        small, large = before.batch_size or 4, after.batch_size or 4
        if small != large:
            known = growth.noise_scale([point for point in run.noise if point.step <= before.step])
            assert known is not None and known >= large == 2 * small
            gain = after.learning_rate / before.learning_rate
            assert gain == pytest.approx((1 + known / small) / (1 + known / large))
            assert 1 < gain < 2


def test_a_batch_does_not_grow_on_noise_that_is_not_known() -> None:
    growth = Growth(largest=1000, points=2)

    def point(signal: float, noise: float) -> NoisePoint:
        scale = NoiseScale(gradient_norm2=signal, covariance_trace=noise, pairs=16)
        return NoisePoint(step=1, epoch=0.1, scale=scale)

    assert growth.next_size(8, [point(1, 99)], examples=10_000) == 8
    assert growth.next_size(8, [point(1, 15), point(1, 15)], examples=10_000) == 8
    assert growth.next_size(8, [point(1, 16), point(1, 16)], examples=10_000) == 16
    assert growth.next_size(8, [point(-1, 99), point(0.5, 99)], examples=10_000) == 8
    assert growth.next_size(600, [point(1, 1e6)] * 2, examples=10_000) == 600
    assert growth.next_size(8, [point(1, 1e6)] * 2, examples=16) == 16
    assert growth.next_size(8, [point(1, 1e6)] * 2, examples=15) == 8
    with pytest.raises(UserError, match="factor=1, largest=8"):
        Growth(largest=8, factor=1)


def test_momentum_goes_on_when_the_batch_grows() -> None:
    cut = smith2017(batch_size=16, learning_rate=0.05, epochs=4, factor=2, at=(0.5,), largest_batch=16)
    training = Training(TASK, cut)
    training.advance()
    plain = Training(TASK, sgd(batch_size=16, learning_rate=0.05, epochs=2))
    plain.advance()
    for n in range(12):
        rows = training.cursor.__class__(96, seed=0, epoch=2 + n // 6, offset=16 * (n % 6)).take(16)
        plain._step.gradient([TASK.train.take(rows)], 16)
        plain._step.update(0.025)
    for one, two in zip(training.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


class Normalized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(inputs))))


def test_ghost_batch_norm_is_batch_norm_over_each_part() -> None:
    from critbatch.training.batch_norm import make_ghosts

    model, plain = Normalized().double(), Normalized().double()
    plain.load_state_dict(model.state_dict())
    assert make_ghosts(model, 8) == 1
    inputs = TASK.train.span(0, 26)[0]
    found = model(inputs)
    parts = [plain(part) for part in torch.tensor_split(inputs, 3)]
    assert [len(part) for part in parts] == [9, 9, 8]
    torch.testing.assert_close(found, torch.cat(parts), rtol=1e-12, atol=1e-13)
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(model.norm.running_var, plain.norm.running_var, rtol=1e-12, atol=0)
    assert torch.equal(model.eval()(inputs), plain.eval()(inputs))


def test_sharpness_aware_is_the_gradient_at_weights_moved_up_the_slope() -> None:
    model = Normalized().double()
    inputs, targets = TASK.train.span(0, 20)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def gradient() -> list[Tensor]:
        loss = nn.functional.cross_entropy(model(inputs), targets)
        return list(torch.autograd.grad(loss, list(model.parameters())))

    slope = gradient()
    once = {name: tensor.clone() for name, tensor in model.state_dict().items() if "running" in name}
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in slope))
    with torch.no_grad():
        for weight, grad in zip(model.parameters(), slope, strict=True):
            weight += 0.05 * grad / norm
    expected = gradient()
    model.load_state_dict(before)
    step = Step(TASK, model, torch.optim.SGD(model.parameters(), lr=0.1), sam_rho=0.05)
    step.gradient([(inputs, targets)], 20)
    for weight, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, grad, rtol=1e-10, atol=1e-13)
    for name, tensor in model.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(tensor, once[name] if name in once else before[name]), name


def test_a_sharpness_aware_step_counts_its_batch_once_where_batch_norm_averages_over_all_batches() -> None:
    model = Normalized().double()
    model.norm.momentum = None
    step = Step(TASK, model, torch.optim.SGD(model.parameters(), lr=0.0), sam_rho=0.05)
    batches = [TASK.train.span(start, start + 20) for start in (0, 20, 40)]
    for batch in batches:
        step.gradient([batch], 20)
    means = torch.stack([model.first(inputs).mean(0) for inputs, _ in batches])
    torch.testing.assert_close(model.norm.running_mean, means.mean(0).detach(), rtol=1e-12, atol=1e-13)
    assert model.norm.num_batches_tracked == 3 and model.norm.momentum is None


def test_options_of_a_plan_change_the_model_that_it_begins_with() -> None:
    task = tiny_task(dtype=torch.float64)
    object.__setattr__(task, "model", lambda: Normalized().double())
    plan = plan_of("akiba2017", batch_size=16)
    model = fresh_model(task, plan, seed=0, device=CPU)
    inputs = TASK.train.span(0, 16)[0]
    model(TASK.train.span(16, 32)[0])
    hidden = model.first(inputs)
    model(inputs)
    torch.testing.assert_close(model.norm.running_mean, hidden.mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(model.norm.running_var, hidden.var(0), rtol=1e-12, atol=1e-14)


def test_what_a_recipe_does_not_have_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Recipe goyal2017 has no option lr_decay: it has batch_size, learning_rate"):
        plan_of("goyal2017", batch_size=16, lr_decay="cosine")
    with pytest.raises(UserError, match="Recipe 'magic' is not known: use adam, adaptive"):
        plan_of("magic", batch_size=16)
    with pytest.raises(UserError, match="copies='two' is not possible: it should be a valid integer"):
        plan_of("swap2020", batch_size=16, copies="two")
    assert plan_of("smith2017", batch_size=16, at=(0.5, 0.7), factor="3").phases[1].batch_size == 48
    assert plan_of("swap2020", batch_size=16, until_train_metric=None).phases[0].until_train_metric is None
    with pytest.raises(UserError, match="ghost_batch=1 is not possible"):
        Plan(recipe="sgd", peak=1, phases=sgd(batch_size=2, learning_rate=1, epochs=1).phases, ghost_batch=1)
    with pytest.raises(UserError, match="norm_statistics='last' is not known: use running, last_batch"):
        Plan(recipe="sgd", peak=1, phases=sgd(batch_size=2, learning_rate=1, epochs=1).phases, norm_statistics="last")
    with pytest.raises(UserError, match="sam_rho=0 is not possible"):
        Plan(recipe="sgd", peak=1, phases=sgd(batch_size=2, learning_rate=1, epochs=1).phases, sam_rho=0)
    with pytest.raises(UserError, match=r"at=\(0.8, 0.3\) is not possible: use rising shares"):
        smith2017(batch_size=4, at=(0.8, 0.3))
