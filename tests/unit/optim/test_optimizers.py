from __future__ import annotations

import copy
import io
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reference.optimizers as reference
from critbatch.errors import UserError
from critbatch.optim.lamb import LAMB, correction_on_device
from critbatch.optim.lars import LARS
from critbatch.optim.layerwise import SMALL
from critbatch.optim.packing import BLOCK
from critbatch.optim.rmsprop_warmup import RMSpropWarmUp, sgd_share

STEPS = 20
# Large tensors of more than one block, with gaps, and in an order of their own; small ones; one that is all zero.
SHAPES = [(300, 900), (70, 70), (6, 4, 5, 45), (9, 8), (3, 4, 2), (7,), (5, 3), (SMALL + 5,), (1, 1)]
GAPS, CHANNELS_LAST, ZERO = 1, 2, 6
PATHS: dict[str, dict[str, Any]] = {
    "default": {},
    "list": {"foreach": True},
    "one": {"foreach": False},
    "compiled": {"compiled": True},
}
Make = Callable[..., torch.optim.Optimizer]


def test_the_shapes_take_all_ways() -> None:
    sizes = [math.prod(shape) for shape in SHAPES]
    assert max(sizes) > BLOCK and min(sizes) <= SMALL < sizes[GAPS] and SMALL < sizes[CHANNELS_LAST] < BLOCK


def draw(seed: int, *, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> list[Tensor]:
    numbers = np.random.default_rng(seed)
    return [torch.tensor(scale * numbers.normal(size=shape), dtype=dtype) for shape in SHAPES]


def make_weights(*, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    values = draw(1, dtype=dtype, scale=0.3)
    values[ZERO].zero_()
    wide = torch.zeros(SHAPES[GAPS][0], 2 * SHAPES[GAPS][1], dtype=dtype)
    wide[:, ::2] = values[GAPS]
    values[GAPS] = wide[:, ::2]
    values[CHANNELS_LAST] = values[CHANNELS_LAST].to(memory_format=torch.channels_last)
    return [nn.Parameter(value) for value in values]


GRADS = [draw(100 + step, scale=0.1 * (1 + step % 3)) for step in range(STEPS)]


def set_grads(weights: list[nn.Parameter], step: int) -> None:
    for weight, grad in zip(weights, GRADS[step], strict=True):
        weight.grad = torch.empty_like(weight).copy_(grad)


def trained(make: Make, *, steps: int = STEPS, dtype: torch.dtype = torch.float64, **settings: Any) -> list[Tensor]:
    weights = make_weights(dtype=dtype)
    optimizer = make(weights, **settings)
    for step in range(steps):
        set_grads(weights, step)
        optimizer.step()
        for weight, grad in zip(weights, GRADS[step], strict=True):
            assert torch.equal(weight.grad, grad.to(dtype)), "a step leaves gradients alone"
    return [weight.detach().clone() for weight in weights]


def assert_same(found: list[Tensor], expected: list[Any], *, rtol: float = 1e-6) -> None:
    start = [weight.detach() for weight in make_weights()]
    for index, (one, other, first) in enumerate(zip(found, expected, start, strict=True)):
        truth = torch.as_tensor(other, dtype=torch.float64)
        # Of the way that was gone, which is a small part of the weight.
        gap, way = (one.double() - truth).norm(), (truth - first).norm()
        assert way > 0, f"tensor {index} did not move"
        assert gap <= rtol * way, f"tensor {index} is off by {gap / way:.1e} of its way"


def by_numpy(function: Callable[..., Any], *, adapt_one_dimensional: bool = False, **settings: Any) -> list[Any]:
    return [
        function(
            weight.detach().numpy(),
            [grads[index].numpy() for grads in GRADS],
            adapt=adapt_one_dimensional or weight.ndim > 1,
            **settings,
        )
        for index, weight in enumerate(make_weights())
    ]


LARS_CASES: dict[str, dict[str, Any]] = {
    "paper": {"lr": 7.0},
    "paper, no decay": {"lr": 7.0, "weight_decay": 0.0},
    "paper, no momentum": {"lr": 7.0, "momentum": 0.0},
    "paper, one-dimensional too": {"lr": 7.0, "adapt_one_dimensional": True},
    "mlperf": {"lr": 7.0, "variant": "mlperf"},
    "mlperf, no momentum": {"lr": 7.0, "variant": "mlperf", "momentum": 0.0},
    "mlperf, nesterov": {"lr": 7.0, "variant": "mlperf", "nesterov": True, "momentum": 0.94},
}
LAMB_CASES: dict[str, dict[str, Any]] = {
    "version 5": {"lr": 0.01},
    "no correction": {"lr": 0.01, "bias_correction": False},
    "no decay": {"lr": 0.01, "weight_decay": 0.0},
    "large decay": {"lr": 0.01, "weight_decay": 1.5},
    "phi": {"lr": 0.01, "phi_bounds": (1.0, 20.0)},
    "ratio": {"lr": 0.01, "max_ratio": 0.2},
    "no first moment": {"lr": 0.01, "betas": (0.0, 0.99)},
    "one-dimensional too": {"lr": 0.01, "adapt_one_dimensional": True},
}


def cases_by_path(cases: dict[str, dict[str, Any]], *, compiled: set[str]) -> Any:
    """Each case on each path. Compiling takes seconds, so only the cases whose graphs differ in structure go there."""
    pairs = [(case, path) for case in cases for path in PATHS if path != "compiled" or case in compiled]
    return pytest.mark.parametrize(("case", "path"), pairs, ids=["-".join(pair) for pair in pairs])


@cases_by_path(LARS_CASES, compiled={"paper", "mlperf, nesterov"})
def test_lars_is_the_algorithm_of_the_paper(case: str, path: str) -> None:
    assert_same(trained(LARS, **LARS_CASES[case], **PATHS[path]), by_numpy(reference.lars, **LARS_CASES[case]))


def test_the_velocity_of_lars_keeps_its_digits_at_the_smallest_rates() -> None:
    weight = nn.Parameter(torch.ones(80, 80, dtype=torch.float64))
    weight.grad = torch.full_like(weight, 2.0)
    optimizer = LARS([weight], lr=1e-10, weight_decay=0.0)
    optimizer.step()
    velocity = optimizer.state[weight]["momentum_buffer"]
    torch.testing.assert_close(velocity, torch.full_like(velocity, 1e-10 * 0.001 * 0.5 * 2.0), rtol=1e-12, atol=0)


@cases_by_path(LAMB_CASES, compiled={"version 5", "phi"})
def test_lamb_is_the_algorithm_of_the_paper(case: str, path: str) -> None:
    assert_same(trained(LAMB, **LAMB_CASES[case], **PATHS[path]), by_numpy(reference.lamb, **LAMB_CASES[case]))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_bias_corrections_on_a_device_are_right_in_single_precision(beta: float) -> None:
    for count in (1.0, 2.0, 10.0, 1000.0, 1e6):
        assert correction_on_device(torch.tensor(count), beta).item() == pytest.approx(1 - beta**count, rel=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_lamb_shrinks_gradients_whose_norm_over_all_tensors_is_too_great(path: str) -> None:
    norms = [math.sqrt(sum(grad.square().sum().item() for grad in grads)) for grads in GRADS]
    bound = sorted(norms)[STEPS // 2]
    shrink = [min(1.0, bound / norm) for norm in norms]
    assert min(shrink) < 1 and max(shrink) == 1
    expected = by_numpy(reference.lamb, lr=0.01, shrink=shrink)
    assert_same(trained(LAMB, lr=0.01, max_gradient_norm=bound, **PATHS[path]), expected)


@pytest.mark.parametrize("path", PATHS)
def test_rmsprop_warm_up_is_the_update_of_the_paper(path: str) -> None:
    epochs = [0.7 * step for step in range(STEPS)]
    weights = make_weights()
    optimizer = RMSpropWarmUp(weights, lr=0.05, **PATHS[path])
    for step, epoch in enumerate(epochs):
        set_grads(weights, step)
        optimizer.param_groups[0]["epoch"] = epoch
        optimizer.step()
    assert epochs[-1] > 12.5
    expected = [
        reference.rmsprop_warm_up(first.detach().numpy(), [grads[index].numpy() for grads in GRADS], epochs, lr=0.05)
        for index, first in enumerate(make_weights())
    ]
    assert_same([weight.detach() for weight in weights], expected)


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_rmsprop_warm_up_ends_as_sgd_to_the_last_bit(path: str) -> None:
    ours, theirs = make_weights(), make_weights()
    optimizer = RMSpropWarmUp(ours, lr=0.05, **PATHS[path])
    optimizer.param_groups[0]["epoch"] = 12.5
    sgd = torch.optim.SGD(theirs, lr=0.05, momentum=0.9, weight_decay=1e-4, foreach=False)
    for step in range(STEPS):
        for weights, one in ((ours, optimizer), (theirs, sgd)):
            set_grads(weights, step)
            one.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_the_share_of_sgd_rises_without_a_jump_from_nearly_0_to_1() -> None:
    places = np.linspace(0, 20, 20_001)
    shares = np.array([sgd_share(place) for place in places])
    steps = np.diff(shares)
    assert (steps >= 0).all() and steps.max() < 1.001 * 0.001 / 5
    assert shares.min() > 0 and shares.max() == 1 and sgd_share(10) == 0.5 and sgd_share(12.5) == 1 > sgd_share(12.499)
    slopes = steps / np.diff(places)
    assert slopes[9_990] == pytest.approx(slopes[10_010], rel=0.01)
    assert sgd_share(4, centre=4, period=2) == 0.5 and sgd_share(5, centre=4, period=2) == 1


def test_the_share_as_printed_rises_twice_as_fast_and_is_held_at_1() -> None:
    assert sgd_share(10.5, as_printed=True) - 0.5 == pytest.approx(2 * (sgd_share(10.5) - 0.5))
    assert max(sgd_share(place, as_printed=True) for place in np.linspace(0, 20, 2001)) == 1
    assert sgd_share(9, as_printed=True) == sgd_share(9)


ADAPTED = [index for index, shape in enumerate(SHAPES) if len(shape) > 1 and index != ZERO]


def one_step(make: Make, *, scale: float = 1.0, **settings: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The weights, and what a single step changes them by."""
    weights = make_weights()
    before = [weight.detach().clone() for weight in weights]
    set_grads(weights, 0)
    for weight in weights:
        weight.grad.mul_(scale)
    make(weights, **settings).step()
    return before, [weight.detach() - old for weight, old in zip(weights, before, strict=True)]


@pytest.mark.parametrize("path", ["default", "list", "one"])
@pytest.mark.parametrize("variant", ["paper", "mlperf"])
def test_a_lars_step_is_a_fixed_part_of_the_weight_whatever_the_scale_of_the_loss(variant: str, path: str) -> None:
    settings = {"lr": 3.0, "momentum": 0.0, "weight_decay": 0.0, "variant": variant, **PATHS[path]}
    before, steps = one_step(LARS, **settings)
    _, scaled = one_step(LARS, scale=1e4, **settings)
    for index in ADAPTED:
        assert (steps[index].norm() / before[index].norm()).item() == pytest.approx(0.001 * 3.0, rel=1e-12)
        torch.testing.assert_close(scaled[index], steps[index], rtol=1e-11, atol=1e-18)


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_a_lamb_step_is_as_long_as_phi_of_the_weight_times_the_rate(path: str) -> None:
    bounds = (1.0, 5.0)
    before, steps = one_step(LAMB, lr=0.1, phi_bounds=bounds, **PATHS[path])
    lengths = [min(max(before[index].norm().item(), bounds[0]), bounds[1]) for index in ADAPTED]
    assert set(bounds) < set(lengths)
    for index, length in zip(ADAPTED, lengths, strict=True):
        assert steps[index].norm().item() == pytest.approx(0.1 * length, rel=1e-11)


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_lamb_with_a_ratio_of_one_is_adamw(path: str) -> None:
    ours, theirs = make_weights(), make_weights()
    # A ratio that is at least 1 by the bounds of phi, and at most 1.
    bounds = {"max_ratio": 1.0, "phi_bounds": (1e9, 1e9)}
    lamb = LAMB(ours, lr=0.01, adapt_one_dimensional=True, **bounds, **PATHS[path])
    adamw = torch.optim.AdamW(theirs, lr=0.01, eps=1e-6, weight_decay=0.01, foreach=False)
    for step in range(STEPS):
        for weights, optimizer in ((ours, lamb), (theirs, adamw)):
            set_grads(weights, step)
            optimizer.step()
        assert set(lamb.trust_ratios().values()) == {1.0}
    assert_same([weight.detach() for weight in ours], [weight.detach() for weight in theirs], rtol=1e-10)


@pytest.mark.parametrize("make", [LARS, LAMB])
def test_tensors_of_one_dimension_are_neither_adapted_nor_decayed(make: Make) -> None:
    weight = nn.Parameter(torch.full((4,), 3.0, dtype=torch.float64))
    weight.grad = torch.zeros_like(weight)
    make([weight], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.full((4,), 3.0, dtype=torch.float64))
    other = make([weight], lr=1.0, weight_decay=0.5, adapt_one_dimensional=True)
    other.step()
    assert (weight < 3).all()


@pytest.mark.parametrize("path", ["default", "list", "one"])
@pytest.mark.parametrize("make", [LARS, LAMB])
@pytest.mark.parametrize("shape", [(4, 4), (80, 80)])
def test_a_tensor_of_zeros_takes_a_plain_step(shape: tuple[int, int], make: Make, path: str) -> None:
    weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    weight.grad = torch.ones_like(weight)
    optimizer = make([weight], lr=0.5, **PATHS[path])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full(shape, -0.5, dtype=torch.float64), rtol=1e-5, atol=0)
    assert optimizer.trust_ratios() == {0: 1.0}


# A bound on the norm of all gradients would make tensors notice each other.
MAKERS: dict[str, Callable[[Any], Any]] = {
    "lars": lambda weights: LARS(weights, lr=5.0),
    "lars, mlperf": lambda weights: LARS(weights, lr=5.0, variant="mlperf", nesterov=True),
    "lamb": lambda weights: LAMB(weights, lr=0.01),
    "rmsprop warm-up": lambda weights: RMSpropWarmUp(weights, lr=0.05),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_resumed_optimizer_goes_on_as_the_unbroken_one_to_the_last_bit(maker: str, dtype: torch.dtype) -> None:
    weights = make_weights(dtype=dtype)
    optimizer = MAKERS[maker](weights)
    other_weights: list[nn.Parameter] = []
    for step in range(STEPS):
        if step == 7:
            file = io.BytesIO()
            torch.save(optimizer.state_dict(), file)
            file.seek(0)
            other_weights = make_weights(dtype=dtype)
            for same, weight in zip(other_weights, weights, strict=True):
                same.data.copy_(weight.detach())
            other = MAKERS[maker](other_weights)
            other.load_state_dict(torch.load(file))
        set_grads(weights, step)
        optimizer.step()
        if other_weights:
            set_grads(other_weights, step)
            other.step()
    assert all(torch.equal(one, same) for one, same in zip(weights, other_weights, strict=True))
    for state in other.state_dict()["state"].values():
        assert all(value.dtype == torch.float32 for value in state.values())


@pytest.mark.parametrize("maker", MAKERS)
def test_the_state_is_that_of_each_parameter_and_is_shared_with_nobody(maker: str) -> None:
    weights = make_weights()
    optimizer = MAKERS[maker](weights)
    set_grads(weights, 0)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved["state"]) == list(range(len(SHAPES)))
    for shape, state in zip(SHAPES, saved["state"].values(), strict=True):
        assert all(value.shape == (() if name == "step" else shape) for name, value in state.items())
    kept = copy.deepcopy(saved)
    other = MAKERS[maker](make_weights())
    other.load_state_dict(saved)
    set_grads(other.param_groups[0]["params"], 1)
    other.step()
    for number, state in kept["state"].items():
        assert all(torch.equal(value, saved["state"][number][name]) for name, value in state.items())


@pytest.mark.parametrize("maker", MAKERS)
def test_a_copy_of_an_optimizer_steps_like_it(maker: str) -> None:
    weights = make_weights()
    optimizer = MAKERS[maker](weights)
    set_grads(weights, 0)
    optimizer.step()
    double = copy.deepcopy(optimizer)
    for one in (optimizer, double):
        set_grads(one.param_groups[0]["params"], 1)
        one.step()
    # A copied tensor has lost the gaps in its memory, and so its sums are made in another order.
    copies = [weight.detach() for weight in double.param_groups[0]["params"]]
    assert_same(copies, [weight.detach() for weight in weights], rtol=1e-12)


@pytest.mark.parametrize("maker", MAKERS)
def test_half_weights_step_in_single_precision(maker: str) -> None:
    weights = make_weights(dtype=torch.bfloat16)
    single = [nn.Parameter(weight.detach().float()) for weight in weights]
    optimizer, other = MAKERS[maker](weights), MAKERS[maker](single)
    for step in range(3):
        set_grads(weights, step)
        for wide, narrow in zip(single, weights, strict=True):
            wide.data.copy_(narrow.detach())
            wide.grad = narrow.grad.float()
        optimizer.step()
        other.step()
        for index, (wide, narrow) in enumerate(zip(single, weights, strict=True)):
            assert narrow.dtype == torch.bfloat16
            assert torch.equal(narrow, wide.detach().bfloat16()), f"step {step}, tensor {index}"
    assert all(value.dtype == torch.float32 for state in optimizer.state.values() for value in state.values())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make", [LARS, LAMB])
def test_ratios_of_large_tensors_in_single_precision_are_right_to_five_digits(make: Make, path: str) -> None:
    weight = nn.Parameter(torch.randn(2000, 2000, generator=torch.Generator().manual_seed(0)))
    weight.grad = torch.full_like(weight, 0.5)
    exact = weight.detach().double().norm().item()
    optimizer = make([weight], lr=0.1, weight_decay=0.0, **PATHS[path])
    optimizer.step()
    truth = exact / (1000 * 0.5 * 2000) if make is LARS else exact / (2000 * 0.5 / (0.5 + 1e-6))
    assert optimizer.trust_ratios()[0] == pytest.approx(truth, rel=5e-6)


def test_the_length_of_a_lamb_step_is_right_where_the_decay_nearly_cancels_the_gradient() -> None:
    def ratio(dtype: torch.dtype) -> float:
        generator = torch.Generator().manual_seed(0)
        weight = nn.Parameter((99.9 + 0.01 * torch.rand(400, 400, generator=generator)).to(dtype))
        weight.grad = -torch.ones_like(weight)
        optimizer = LAMB([weight], lr=0.01)
        optimizer.step()
        return optimizer.trust_ratios()[0]

    assert ratio(torch.float32) == pytest.approx(ratio(torch.float64), rel=1e-3)


def test_the_norms_of_half_weights_do_not_overflow() -> None:
    weight = nn.Parameter(torch.full((100, 100), 300.0, dtype=torch.float16))
    weight.grad = torch.full_like(weight, 200.0)
    optimizer = LARS([weight], lr=1.0, weight_decay=0.0)
    optimizer.step()
    assert optimizer.trust_ratios()[0] == pytest.approx(0.001 * 1.5)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("missing", [[0], [3], [3, 4, 5, 6, 8], list(range(len(SHAPES)))])
def test_a_tensor_without_a_gradient_stays_and_the_others_do_not_notice(maker: str, missing: list[int]) -> None:
    make = MAKERS[maker]
    weights, apart = make_weights(), make_weights()
    optimizer = make(weights)
    alone = [make([weight]) for weight in apart]
    for step in range(8):
        set_grads(weights, step)
        set_grads(apart, step)
        if step in (1, 2, 5):
            for index in missing:
                weights[index].grad = apart[index].grad = None
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        for one in alone:
            one.step()
        for index, weight in enumerate(weights):
            assert torch.equal(before[index], weight) == (step in (1, 2, 5) and index in missing)
    if len(missing) < len(SHAPES):
        assert_same([weight.detach() for weight in weights], [weight.detach() for weight in apart], rtol=1e-12)
    assert len(optimizer.state) == len(SHAPES)


@pytest.mark.parametrize("maker", MAKERS)
def test_gradients_are_not_kept_from_being_freed(maker: str) -> None:
    weights = make_weights()
    optimizer = MAKERS[maker](weights)
    set_grads(weights, 0)
    grads = [weakref.ref(weight.grad) for weight in weights]
    optimizer.step()
    optimizer.zero_grad()
    assert [grad() for grad in grads] == [None] * len(SHAPES)


@pytest.mark.parametrize("maker", MAKERS)
def test_state_that_was_put_in_by_hand_is_used(maker: str) -> None:
    weights, others = make_weights(), make_weights()
    optimizer, other = MAKERS[maker](weights), MAKERS[maker](others)
    for step in range(2):
        for one, its in ((optimizer, weights), (other, others)):
            set_grads(its, step)
            one.step()
    for state, changed in zip(other.state.values(), optimizer.state.values(), strict=True):
        for name, value in state.items():
            state[name] = value * 0.5
            changed[name].mul_(0.5)
    for one, its in ((optimizer, weights), (other, others)):
        set_grads(its, 2)
        one.step()
    assert all(torch.equal(mine, its) for mine, its in zip(weights, others, strict=True))


@pytest.mark.parametrize("maker", MAKERS)
def test_the_closure_is_called_once_with_gradients_on_and_its_loss_returned(maker: str) -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    optimizer = MAKERS[maker]([weight])
    calls = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        calls.append(loss)
        return loss

    assert optimizer.step(closure) is calls[0] and len(calls) == 1
    assert not torch.equal(weight.detach(), torch.ones(3, 3))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_gradient_scaler_unscales_and_leaves_overflowed_steps_out(maker: str) -> None:
    weights, plain = make_weights(dtype=torch.float32), make_weights(dtype=torch.float32)
    optimizer, other = MAKERS[maker](weights), MAKERS[maker](plain)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(3):
        scaler.scale(torch.zeros(()))
        set_grads(weights, step)
        set_grads(plain, step)
        for weight in weights:
            weight.grad.mul_(1024.0 if step == 0 else scaler.get_scale())
        before = [weight.detach().clone() for weight in weights]
        if step == 1:
            weights[0].grad[0, 0] = math.inf
        else:
            other.step()
        scaler.step(optimizer)
        scaler.update()
        moved = [not torch.equal(weight, old) for weight, old in zip(weights, before, strict=True)]
        assert set(moved) == {step != 1}
    assert all(torch.equal(one, same) for one, same in zip(weights, plain, strict=True))


def test_lamb_recovers_its_memory_after_a_gradient_that_is_not_a_number() -> None:
    weight, other = (nn.Parameter(torch.ones(80, 80)) for _ in range(2))
    optimizer = LAMB([weight, other], lr=0.01)
    weight.grad, other.grad = torch.full_like(weight, math.nan), torch.ones_like(other)
    optimizer.step()
    assert weight.isnan().all() and not other.isnan().any()
    torch.testing.assert_close(other.detach(), torch.full_like(other, 0.99))


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_each_group_has_its_own_rate(path: str) -> None:
    first, second = (nn.Parameter(torch.ones(4, 4, dtype=torch.float64)) for _ in range(2))
    groups = [{"params": [first]}, {"params": [second], "lr": 8.0, "weight_decay": 0.0, "trust_coefficient": 0.01}]
    optimizer = LARS(groups, lr=2.0, momentum=0.0, weight_decay=0.0, **PATHS[path])
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimizer.step()
    assert first.detach().norm().item() == pytest.approx(4 * (1 - 2.0 * 0.001))
    assert second.detach().norm().item() == pytest.approx(4 * (1 - 8.0 * 0.01))
    assert optimizer.trust_ratios() == {0: pytest.approx(0.001), 1: pytest.approx(0.01)}


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_trust_ratios_go_by_the_names_that_parameters_came_with(path: str) -> None:
    model = nn.Sequential(nn.Linear(100, 50), nn.Linear(50, 2))
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 0.01)
    model[1].bias.grad = None
    for make in (LARS, LAMB):
        optimizer = make(model.named_parameters(), lr=0.1, weight_decay=0.0, **PATHS[path])
        expected = {name: weight.norm().item() for name, weight in model.named_parameters()}
        lengths = {name: (weight.numel() ** 0.5) for name, weight in model.named_parameters()}
        optimizer.step()
        ratios = optimizer.trust_ratios()
        assert list(ratios) == ["0.weight", "0.bias", "1.weight"] and ratios["0.bias"] == 1
        for name in ("0.weight", "1.weight"):
            # A gradient of the same value everywhere: LAMB's first direction is 1 everywhere, but for eps.
            other = 1000 * 0.01 * lengths[name] if make is LARS else lengths[name]
            assert ratios[name] == pytest.approx(expected[name] / other, rel=1e-3)


@pytest.mark.parametrize("path", ["default", "list", "one"])
def test_a_rate_that_is_a_tensor_is_read_at_each_step(path: str) -> None:
    for make, rate in ((LARS, 5.0), (LAMB, 0.01), (RMSpropWarmUp, 0.05)):
        lr = torch.tensor(rate)
        weights, others = make_weights(), make_weights()
        optimizer, other = make(weights, lr=lr, **PATHS[path]), make(others, lr=rate, **PATHS[path])
        for step in range(3):
            lr.fill_(rate / (1 + step))
            other.param_groups[0]["lr"] = lr.item()
            for one, its in ((optimizer, weights), (other, others)):
                set_grads(its, step)
                one.step()
        assert_same([weight.detach() for weight in weights], [weight.detach() for weight in others], rtol=1e-12)


@pytest.mark.parametrize("path", ["default", "list", "one"])
@pytest.mark.parametrize("make", [LARS, LAMB, RMSpropWarmUp])
def test_capturable_makes_the_rate_a_tensor_and_the_same_steps(make: Make, path: str) -> None:
    plain = trained(make, lr=0.0625, **PATHS[path])
    weights = make_weights()
    optimizer = make(weights, lr=0.0625, capturable=True, **PATHS[path])
    assert isinstance(optimizer.param_groups[0]["lr"], Tensor)
    for step in range(STEPS):
        set_grads(weights, step)
        optimizer.step()
    assert_same([weight.detach() for weight in weights], plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "settings", "sentence"),
    [
        (LARS, {"lr": -1.0}, "lr=-1.0 is not possible: use a finite number of 0 or more."),
        (LARS, {"lr": math.nan}, "lr=nan is not possible"),
        (LARS, {"lr": torch.ones(2)}, "lr is a tensor of 2 elements"),
        (LARS, {"lr": 1.0, "momentum": 1.0}, "momentum=1.0 is not possible: use .* 0 or more and less than 1."),
        (LARS, {"lr": 1.0, "weight_decay": -1e-4}, "weight_decay=-0.0001 is not possible"),
        (LARS, {"lr": 1.0, "trust_coefficient": 0.0}, "trust_coefficient=0.0 is not possible: use .* above 0."),
        (LARS, {"lr": 1.0, "variant": "larc"}, "variant='larc' is not known: use paper or mlperf."),
        (LARS, {"lr": 1.0, "nesterov": True}, 'nesterov=True needs variant="mlperf"'),
        (LARS, {"lr": 1.0, "compiled": True, "foreach": True}, "exclude each other"),
        (LAMB, {"lr": 1.0, "betas": (0.9, 1.0)}, r"betas\[1\]=1.0 is not possible"),
        (LAMB, {"lr": 1.0, "eps": 0.0}, "eps=0.0 is not possible"),
        (LAMB, {"lr": 1.0, "phi_bounds": (2.0, 1.0)}, r"phi_bounds=\(2.0, 1.0\) is not possible"),
        (LAMB, {"lr": 1.0, "max_ratio": 0.0}, "max_ratio=0.0 is not possible"),
        (LAMB, {"lr": 1.0, "max_gradient_norm": -1.0}, "max_gradient_norm=-1.0 is not possible"),
        (RMSpropWarmUp, {"lr": 1.0, "period": 0.0}, "period=0.0 is not possible"),
        (RMSpropWarmUp, {"lr": 1.0, "rmsprop_lr": -1.0}, "rmsprop_lr=-1.0 is not possible"),
    ],
)
def test_hyper_parameters_that_cannot_be_meant_are_refused(make: Make, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make([nn.Parameter(torch.ones(2, 2))], **settings)


def test_a_group_that_is_refused_is_not_added() -> None:
    optimizer = LARS([nn.Parameter(torch.ones(2, 2))], lr=1.0)
    with pytest.raises(UserError, match="momentum=2"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))], "momentum": 2})
    with pytest.raises(UserError, match=r"complex64.*use floating-point ones"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("maker", MAKERS)
def test_sparse_gradients_are_refused_before_anything_moves(maker: str) -> None:
    dense, embedding = nn.Parameter(torch.ones(2, 2)), nn.Embedding(10, 3, sparse=True)
    dense.grad = torch.ones_like(dense)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(UserError, match=r"sparse.*use sparse=False"):
        MAKERS[maker]([dense, *embedding.parameters()]).step()
    assert torch.equal(dense.detach(), torch.ones(2, 2))


def test_a_rate_of_zero_is_refused_only_where_rmsprop_has_a_share() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones_like(weight)
    optimizer = RMSpropWarmUp([weight], lr=0.0)
    with pytest.raises(UserError, match=r"lr=0\.0 cannot be used at epoch 0\.0"):
        optimizer.step()
    optimizer.param_groups[0]["epoch"] = 13.0
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))
