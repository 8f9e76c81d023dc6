from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, ExponentialLR, LinearLR, SequentialLR

from critbatch.errors import UserError
from critbatch.optim.epoch_scheduler import EpochScheduler, batch_size_of
from critbatch.optim.lr_schedule import Rate, begin_with, constant, cosine, ramp, stairs
from critbatch.runtime.distributed import Shard

IMAGENET = 1_281_167
GOYAL = begin_with(ramp(0.1, 3.2, epochs=5), 5, stairs(3.2, factor=0.1, at=(30, 60, 80)))


def optimizer_of(*rates: float) -> SGD:
    return SGD([{"params": [nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates], momentum=0.9)


def rates_of(optimizer: Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_goyals_rate_at_8192_is_right_at_each_side_of_every_boundary() -> None:
    optimizer = optimizer_of(1.0)
    scheduler = EpochScheduler(optimizer, GOYAL, examples=IMAGENET, batch_size=8192)
    # 156.3925 steps an epoch: the warm-up is over after 781.96 steps, the stairs come after 4691.8, 9383.5 and 12511.4.
    expected = {
        0: 0.1,
        1: 0.1 + 3.1 / 781.962280,
        391: 0.1 + 3.1 * 391 / 781.962280,
        781: 3.1961851,
        782: 3.2,
        4691: 3.2,
        4692: 0.32,
        9383: 0.32,
        9384: 0.032,
        12511: 0.032,
        12512: 0.0032,
    }
    found = {}
    for step in range(12513):
        if step in expected:
            found[step] = rates_of(optimizer)[0]
            assert scheduler.get_last_lr() == [found[step]]
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("size", [3, 7, 49, 64])
def test_a_stair_falls_exactly_at_its_epoch_whatever_the_steps_of_one(size: int) -> None:
    for steps in ({"steps_per_epoch": size}, {"examples": size * 10, "batch_size": 10}):
        optimizer = optimizer_of(1.0)
        scheduler = EpochScheduler(optimizer, stairs(1.0, factor=0.5, at=(1, 2, 3)), **steps)  # type: ignore[arg-type]
        seen = []
        for _ in range(4 * size):
            seen.append(rates_of(optimizer)[0])
            optimizer.step()
            scheduler.step()
        assert seen == [1.0] * size + [0.5] * size + [0.25] * size + [0.125] * size
        assert scheduler.epoch == 4.0


def test_the_schedule_decides_the_first_groups_rate_and_the_others_keep_their_ratio_to_it() -> None:
    optimizer = optimizer_of(0.5, 0.05, 1.0)
    scheduler = EpochScheduler(optimizer, ramp(0.0, 4.0, epochs=1), steps_per_epoch=4)
    assert rates_of(optimizer) == [0.0, 0.0, 0.0]
    optimizer.step()
    scheduler.step()
    assert rates_of(optimizer) == pytest.approx([1.0, 0.1, 2.0])
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_rate_that_is_a_tensor_stays_the_same_tensor() -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=torch.tensor(0.5))
    rate = optimizer.param_groups[0]["lr"]
    scheduler = EpochScheduler(optimizer, ramp(0.25, 1.25, epochs=1), steps_per_epoch=2)
    assert rate.item() == 0.25
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.75


def run(optimizer: Optimizer, scheduler: EpochScheduler, steps: int) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(rates_of(optimizer)[0])
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = weight.detach().clone()
        optimizer.step()
        scheduler.step()
    return seen


def test_a_resumed_run_has_the_rates_and_weights_of_the_unbroken_one() -> None:
    schedule = begin_with(ramp(0.01, 0.1, epochs=1), 1, cosine(0.1, epochs=4))
    unbroken = optimizer_of(0.4, 0.2)
    expected = run(unbroken, EpochScheduler(unbroken, schedule, steps_per_epoch=5), 20)

    stopped = optimizer_of(0.4, 0.2)
    scheduler = EpochScheduler(stopped, schedule, steps_per_epoch=5)
    seen = run(stopped, scheduler, 7)
    file = io.BytesIO()
    torch.save({"optimizer": stopped.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["scheduler"] == {"last_epoch": 7}

    resumed = optimizer_of(0.4, 0.2)
    with torch.no_grad():
        for old, new in zip(stopped.param_groups, resumed.param_groups, strict=True):
            new["params"][0].copy_(old["params"][0])
    after = EpochScheduler(resumed, schedule, steps_per_epoch=5)
    resumed.load_state_dict(state["optimizer"])
    after.load_state_dict(state["scheduler"])
    assert after.get_last_lr() == scheduler.get_last_lr() == rates_of(resumed)
    seen += run(resumed, after, 13)
    assert seen == expected
    assert rates_of(resumed) == rates_of(unbroken)
    for old, new in zip(unbroken.param_groups, resumed.param_groups, strict=True):
        assert torch.equal(old["params"][0], new["params"][0])


def test_it_may_also_be_made_at_a_step_as_torchs_own_are() -> None:
    optimizer = optimizer_of(0.4)
    run(optimizer, EpochScheduler(optimizer, ramp(0.0, 1.0, epochs=2), steps_per_epoch=5), 4)
    EpochScheduler(optimizer, ramp(0.0, 1.0, epochs=2), steps_per_epoch=5, last_epoch=4)
    assert rates_of(optimizer) == [0.5]


def test_torch_has_nothing_to_say_about_the_order_of_the_steps() -> None:
    optimizer = optimizer_of(0.4)
    scheduler = EpochScheduler(optimizer, constant(0.1), steps_per_epoch=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(optimizer, scheduler, 3)
    wrong = optimizer_of(0.4)
    out_of_order = EpochScheduler(wrong, constant(0.1), steps_per_epoch=5)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        out_of_order.step()


def test_after_torchs_warm_up_in_sequence_it_counts_from_its_own_first_step() -> None:
    optimizer = optimizer_of(1.0)
    parts = [
        LinearLR(optimizer, start_factor=0.25, total_iters=4),
        EpochScheduler(optimizer, stairs(1.0, factor=0.5, at=(1, 2)), steps_per_epoch=2),
    ]
    scheduler = SequentialLR(optimizer, parts, milestones=[4])
    seen = []
    for _ in range(9):
        seen.append(rates_of(optimizer)[0])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.25, 0.4375, 0.625, 0.8125, 1.0, 1.0, 0.5, 0.5, 0.25])


def test_in_a_chain_it_sets_the_rate_and_a_factor_behind_it_does_not_pile_up() -> None:
    optimizer = optimizer_of(1.0)
    parts = [
        EpochScheduler(optimizer, ramp(1.0, 2.0, epochs=1), steps_per_epoch=4),
        ExponentialLR(optimizer, gamma=0.5),
    ]
    scheduler = ChainedScheduler(parts, optimizer)
    seen = []
    for _ in range(4):
        optimizer.step()
        scheduler.step()
        seen.append(rates_of(optimizer)[0])
    assert seen == [0.625, 0.75, 0.875, 1.0]


def test_a_harness_that_steps_once_for_each_process_is_told_of() -> None:
    schedule = ramp(0.0, 1.0, epochs=1)
    once, often, untold = optimizer_of(1.0), optimizer_of(1.0), optimizer_of(1.0)
    alone = EpochScheduler(once, schedule, examples=64, batch_size=8)
    told = EpochScheduler(often, schedule, examples=64, batch_size=8, calls_per_step=4)
    too_fast = EpochScheduler(untold, schedule, examples=64, batch_size=8)
    for step in range(1, 5):
        for optimizer, scheduler, calls in ((once, alone, 1), (often, told, 4), (untold, too_fast, 4)):
            optimizer.step()
            for _ in range(calls):
                scheduler.step()
        assert rates_of(once) == rates_of(often) == [step / 8]
    assert rates_of(untold) == [1.0]


def test_a_step_that_a_grad_scaler_left_out_does_not_move_the_schedule() -> None:
    optimizer = optimizer_of(1.0)
    scheduler = EpochScheduler(optimizer, ramp(0.0, 1.0, epochs=1), steps_per_epoch=4)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    weight = optimizer.param_groups[0]["params"][0]
    for factor, expected in ((float("inf"), 0.0), (1.0, 0.25), (float("nan"), 0.25), (1.0, 0.5)):
        optimizer.zero_grad()
        scaler.scale((factor * weight).sum()).backward()
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= before:
            scheduler.step()
        assert rates_of(optimizer) == [expected]


def test_the_batch_size_is_that_of_a_step_over_all_processes() -> None:
    assert batch_size_of(32, processes=256) == 8192
    assert batch_size_of(32, accumulation=4) == 128
    with pytest.raises(UserError, match="accumulation=0 is not possible: use 1 or more"):
        batch_size_of(32, accumulation=0)


def test_two_processes_have_the_rates_that_one_has_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for world_size, per_process in ((1, 8), (2, 4)):
        for rank in range(world_size):
            monkeypatch.setattr("critbatch.optim.epoch_scheduler.this_shard", lambda r=rank, w=world_size: Shard(r, w))
            optimizer = optimizer_of(1.0)
            size = batch_size_of(per_process)
            run(optimizer, EpochScheduler(optimizer, ramp(0.0, 1.0, epochs=1), examples=64, batch_size=size), 3)
            seen.append(rates_of(optimizer))
    assert seen == [[0.375]] * 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "The length of an epoch is not clear: give steps_per_epoch, or examples and batch_size"),
        ({"examples": 100}, "The length of an epoch is not clear"),
        ({"batch_size": 100}, "The length of an epoch is not clear"),
        ({"steps_per_epoch": 3, "batch_size": 10}, "The length of an epoch is not clear"),
        ({"steps_per_epoch": 3, "examples": 100, "batch_size": 10}, "The length of an epoch is not clear"),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0 is not possible: use a number above 0"),
        ({"examples": 100, "batch_size": 0}, "batch_size=0 is not possible"),
        ({"steps_per_epoch": 3, "calls_per_step": 0}, "calls_per_step=0 is not possible"),
    ],
)
def test_an_epoch_of_unknown_length_is_refused(arguments: dict[str, float], sentence: str) -> None:
    schedule: Rate = constant(0.1)
    with pytest.raises(UserError, match=sentence):
        EpochScheduler(optimizer_of(1.0), schedule, **arguments)  # type: ignore[arg-type]


def test_groups_without_a_ratio_to_the_first_are_refused() -> None:
    with pytest.raises(UserError, match=r"The first parameter group has lr=0 and others have not"):
        EpochScheduler(optimizer_of(0.0, 0.1), constant(0.1), steps_per_epoch=3)
    optimizer = optimizer_of(0.0)
    EpochScheduler(optimizer, constant(0.1), steps_per_epoch=3)
    assert rates_of(optimizer) == [0.1]
