"""Real processes on gloo against one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import processes
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import noise_scale
from critbatch.recipes import RECIPES, sgd
from critbatch.recipes.plan import Plan
from critbatch.records.core import Run
from critbatch.runtime.distributed import Shard, is_lost_process, sum_gradients
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task
from critbatch.training.data_parallel import with_last
from critbatch.training.state import RunClock
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task

TASK = tiny_task(dtype=torch.float64, examples=50)
SEES_BATCHES = """
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task

seen = []
training = Training(tiny_task(dtype=torch.float64, examples=50), tiny_plan("sgd", batch_size=9, epochs=2))
gather = training.source.data.take
training.source.data.take = lambda indices: seen.append(indices) or gather(indices)
training.evaluator.train_indices = training.evaluator.validation_indices[:0]
training.evaluator.validation_indices = training.evaluator.validation_indices[:1]
training.advance()
torch.save({"seen": seen, "model": training.model.state_dict()}, out / f"{rank}.pt")
"""
COMPILED = """
from critbatch.training import compiled
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task

compiled.BACKEND = "aot_eager"  # compiles in no time
plan = tiny_plan("sgd", batch_size=10, epochs=2)
training = Training(tiny_task(dtype=torch.float64, examples=50), plan, compile=True)
training.advance()
assert training.record().compiled_steps == 10
torch.save(training.model.state_dict(), out / f"{rank}.pt")
"""
PLANS = """
from integration.test_distributed import TASK, plans
from critbatch.training.trainer import Training

ends = {}
for name, plan in plans(piece=2).items():
    training = Training(TASK, plan)
    training.advance()
    ends[name] = training.model.state_dict()
torch.save(ends, out / f"{rank}.pt")
"""


def plans(*, piece: int | None) -> dict[str, Plan]:
    """All recipes, and the options of a plan that change a step."""
    own = {name: tiny_plan(name, batch_size=9, epochs=2.0) for name in RECIPES}
    own["sharpness-aware"] = replace(own["sgd"], sam_rho=0.05)
    return {name: replace(plan, micro_batch_size=piece) for name, plan in own.items()}


def saved(out: Path, count: int = 2) -> list[dict[str, object]]:
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(count)]


def hold_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-12, atol=1e-14)


def test_two_processes_with_a_compiled_model_end_with_the_weights_of_one_without(tmp_path: Path) -> None:
    processes.run(COMPILED, tmp_path)
    alone = Training(TASK, tiny_plan("sgd", batch_size=10, epochs=2))
    alone.advance()
    for end in saved(tmp_path):
        hold_equal(end, alone.model.state_dict())  # type: ignore[arg-type]


def test_two_processes_see_the_batches_that_one_sees_and_end_with_its_weights(tmp_path: Path) -> None:
    processes.run(SEES_BATCHES, tmp_path)
    both = saved(tmp_path)
    alone = Training(TASK, tiny_plan("sgd", batch_size=9, epochs=2))
    cursor = alone.cursor.copy()
    batches = [cursor.take(9) for _ in range(12)]
    together = [torch.cat(parts) for parts in zip(both[0]["seen"], both[1]["seen"], strict=True)]
    assert [batch.tolist() for batch in together] == [batch.tolist() for batch in batches]
    assert [len(batch) for batch in batches[-2:]] == [9, 5]
    alone.advance()
    hold_equal(both[0]["model"], both[1]["model"])
    hold_equal(both[0]["model"], alone.model.state_dict())


@pytest.mark.parametrize("count", [2, 3])
def test_processes_with_micro_batches_end_with_the_weights_of_one_by_every_recipe(count: int, tmp_path: Path) -> None:
    lines = PLANS if count == 2 else PLANS.replace("plans(piece=2).items()", "[('sgd', plans(piece=2)['sgd'])]")
    processes.run(lines, tmp_path, count=count)
    found = saved(tmp_path, count)
    for name, plan in plans(piece=None).items():
        if name in found[0]:
            alone = Training(TASK, plan)
            alone.advance()
            for ends in found:
                hold_equal(ends[name], alone.model.state_dict())
    assert count == 3 or found[0].keys() == plans(piece=None).keys()


class HalfUsed(nn.Module):
    """One layer that takes part, and one that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.used(inputs)


def test_a_weight_that_is_never_used_and_a_batch_smaller_than_the_processes_are_as_in_one(tmp_path: Path) -> None:
    lines = """
from integration.test_distributed import half_used_task
from critbatch.recipes import adam
from critbatch.training.trainer import Training

training = Training(half_used_task(), adam(batch_size=3, learning_rate=0.1, epochs=3, weight_decay=0.5))
training.advance()
torch.save({"model": training.model.state_dict()}, out / f"{rank}.pt")
"""
    processes.run(lines, tmp_path, count=3)
    from critbatch.recipes import adam

    alone = Training(half_used_task(), adam(batch_size=3, learning_rate=0.1, epochs=3, weight_decay=0.5))
    assert alone.task.examples % 3 == 1
    alone.advance()
    for found in saved(tmp_path, 3):
        hold_equal(found["model"], alone.model.state_dict())


def half_used_task() -> Task:
    task = tiny_task(dtype=torch.float64, examples=31)
    return Task(
        "half", model=lambda: HalfUsed().double(), train=task.train, validation=task.validation, target=task.target
    )


def test_the_noise_scale_of_processes_is_that_of_their_micro_batches(tmp_path: Path) -> None:
    lines = """
from critbatch.recipes import sgd
from critbatch.training.trainer import Training
from tiny import tiny_task

training = Training(tiny_task(dtype=torch.float64, examples=48), sgd(batch_size=24, learning_rate=1e-30, epochs=9),
                    noise_every=1)
from critbatch.training.state import Budget
training.advance(Budget(steps=2))
torch.save({"pairs": [pair.sum(-1) for pair in training.meter.pairs]}, out / f"{rank}.pt")
"""
    processes.run(lines, tmp_path)
    task = tiny_task(dtype=torch.float64, examples=48)
    training = Training(task, sgd(batch_size=24, learning_rate=1e-30, epochs=9))
    cursor, source = training.cursor.copy(), BatchGatherer(task.train, torch.device("cpu"))

    def norm2(rows: Tensor) -> Tensor:
        inputs, targets = source.take(rows)
        loss = task.loss(training.model(inputs), targets).mean()
        grads = torch.autograd.grad(loss, list(training.model.parameters()))
        return torch.stack([grad.square().sum() for grad in grads]).sum()

    # The first step is summed by hand, the second by DistributedDataParallel.
    for n in range(2):
        rows = cursor.take(24)
        pieces = [piece for share in rows.split(12) for piece in share.split(6)]
        truth = noise_scale(
            torch.stack([norm2(piece) for piece in pieces]).mean(), norm2(rows), small=6, big=24, examples=48
        )
        for found in saved(tmp_path):
            noise, signal = found["pairs"][n][:, 0].tolist()
            assert noise == pytest.approx(truth.covariance_trace, rel=1e-9)
            assert signal == pytest.approx(truth.gradient_norm2, rel=1e-9)


def test_processes_see_one_evaluation_and_the_mean_of_their_batch_norms(tmp_path: Path) -> None:
    lines = """
from integration.test_distributed import normalized_task
from critbatch.recipes import sgd
from critbatch.training.trainer import Training

training = Training(normalized_task(), sgd(batch_size=8, learning_rate=0.1, epochs=2))
training.advance()
run = training.record()
state = {"curve": [p.validation_loss for p in run.curve], "mean": training.model[1].running_mean}
torch.save(state, out / f"{rank}.pt")
"""
    processes.run(lines, tmp_path)
    first, second = saved(tmp_path)
    assert first["curve"] == second["curve"]
    assert torch.equal(first["mean"], second["mean"])
    assert not torch.equal(first["mean"], torch.zeros_like(first["mean"]))


def normalized_task() -> Task:
    task = tiny_task(dtype=torch.float64, examples=48)

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()

    return Task("normalized", model=model, train=task.train, validation=task.validation, target=task.target)


LONG = """
import time
import critbatch.training.trainer
from critbatch.recipes import sgd
from tiny import tiny_task

critbatch.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = 0.0

def look(progress):
    if rank == 0:
        (out / "step").write_text(str(progress.step))
    while progress.step >= 20 and not (out / "go").exists():
        time.sleep(0.01)

training = critbatch.training.trainer.Training(
    tiny_task(dtype=torch.float64, examples=50),
    sgd(batch_size=9, learning_rate=0.02, epochs=60, momentum=0.9),
    checkpoint=out / "run.pt",
    progress=look,
)
began = training.run_state.step
outcome = training.advance()
end = training.run_state.step
torch.save({"outcome": str(outcome), "from": began, "to": end, "model": training.model.state_dict()},
           out / f"{rank}.pt")
"""


def wait_until_step(out: Path, step: int, workers: list[processes.Worker]) -> None:
    began = time.monotonic()
    while not (out / "step").exists() or int((out / "step").read_text() or 0) < step:
        assert time.monotonic() - began < 240
        assert all(worker.returncode is None for worker in workers), processes.ends(workers)
        time.sleep(0.02)


def hold_that_the_run_goes_on_to_its_end(out: Path, count: int, *, begins: int | None = None) -> None:
    """With so many processes, and to the weights of one process that nothing stopped."""
    processes.run(LONG, out, count=count)
    whole = Training(TASK, sgd(batch_size=9, learning_rate=0.02, epochs=60, momentum=0.9))
    whole.advance()
    for found in saved(out, count):
        assert (found["outcome"], found["to"]) == ("finished", whole.run_state.step)
        assert found["from"] == begins if begins is not None else 0 < found["from"] < whole.run_state.step
        hold_equal(found["model"], whole.model.state_dict())
    assert not (out / "run.pt").exists()


@pytest.mark.parametrize("count", [1, 3])
def test_ctrl_c_in_one_of_two_stops_both_and_another_number_goes_on_from_there(count: int, tmp_path: Path) -> None:
    workers = processes.start(LONG, tmp_path)
    wait_until_step(tmp_path, 20, workers)
    workers[1].send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    said = processes.ends(workers)
    assert [worker.returncode for worker in workers] == [0, 0], said
    first, second = saved(tmp_path)
    assert first["outcome"] == second["outcome"] == "interrupted"
    assert first["to"] == second["to"] >= 20
    hold_that_the_run_goes_on_to_its_end(tmp_path, count, begins=first["to"])


@pytest.mark.parametrize("dies", [0, 1])
def test_when_a_process_is_killed_the_other_says_so_and_the_run_goes_on_alone(dies: int, tmp_path: Path) -> None:
    workers = processes.start(LONG, tmp_path)
    wait_until_step(tmp_path, 20, workers)
    workers[dies].kill()
    (tmp_path / "go").touch()
    said = processes.ends(workers)
    assert workers[1 - dies].returncode == 1
    assert "UserError: Another process of this run has ended" in said[1 - dies]
    assert "start the same command again; it goes on from" in said[1 - dies]
    hold_that_the_run_goes_on_to_its_end(tmp_path, 1)


def test_torchrun_makes_one_record_of_many_processes(tmp_path: Path) -> None:
    words = "train digits-mlp --batch-size 64 --epochs 2 --to-the-end --json --out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    called = [*torchrun, processes.free_port(), "-m", "critbatch", *words.split(), str(tmp_path / "two")]
    two = subprocess.run(called, capture_output=True, text=True, timeout=300)
    assert two.returncode == 0, two.stderr
    alone = [sys.executable, "-m", "critbatch", *words.split(), str(tmp_path / "one")]
    one = subprocess.run(alone, capture_output=True, text=True, timeout=300)
    runs = [Run.from_json(said.stdout) for said in (two, one)]
    assert [(run.steps, run.epochs) for run in runs] == [(46, 2.0)] * 2
    assert runs[0].curve[-1].validation_loss == pytest.approx(runs[1].curve[-1].validation_loss, rel=1e-3)
    refused = subprocess.run(
        [*torchrun, processes.free_port(), "-m", "critbatch", "speed", "digits-mlp", "--out", str(tmp_path / "no")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode != 0
    assert "This command runs in one process: start it without torchrun." in refused.stderr


def test_a_batch_that_is_smaller_than_the_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critbatch.training.trainer.this_shard", lambda: Shard(0, 8))
    with pytest.raises(UserError, match="batch_size=4 cannot be shared by 8 processes: use 8 or more"):
        Training(TASK, sgd(batch_size=4, learning_rate=0.1, epochs=1))


def test_alone_the_clock_and_the_request_to_stop_are_taken_as_they_come() -> None:
    clock = RunClock(Shard(), torch.device("cpu"))
    clock.start()
    time.sleep(0.01)
    seconds = clock.read_clock(step=3, stop_requested=True)
    assert clock.stop and 0.01 <= seconds == clock.seconds
    clock.pause()
    assert clock.read_clock(step=3, stop_requested=False) == seconds and not clock.stop


def test_processes_exchange_now_and_then_and_again_when_the_steps_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[float]] = []

    def exchange(numbers: list[float], device: torch.device) -> list[float]:
        asked.append(numbers)
        return [10.0 * len(asked), 0.0]

    monkeypatch.setattr("critbatch.training.state.largest_over_processes", exchange)
    clock = RunClock(Shard(0, 2), torch.device("cpu"))
    for step in (100, 101, 102):
        clock.read_clock(step=step, stop_requested=False)
    before = len(asked)
    clock._next = 1000
    clock.read_clock(step=103, stop_requested=False)
    assert len(asked) == before
    assert clock.read_clock(step=1, stop_requested=False) == 10.0 * (before + 1)


def test_only_the_loss_of_a_process_counts_as_that() -> None:
    assert is_lost_process(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]"))
    assert not is_lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_last_of_some_items_is_known() -> None:
    assert list(with_last(iter("abc"))) == [(False, "a"), (False, "b"), (True, "c")]
    assert list(with_last([])) == []


def test_one_process_leaves_gradients_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    assert not sum_gradients([weight], Shard())
    assert weight.grad is None


def test_a_rank_outside_its_world_is_refused() -> None:
    with pytest.raises(UserError, match=r"rank=2 is not possible: with world_size=2 use 0 or more, below it\."):
        Shard(2, 2)


SHARDED_RECIPES = ("sgd", "adam", "lars2017", "lamb2020", "akiba2017")
SHARDED = """
from integration.test_distributed import SHARDED_RECIPES, TASK, sharded_plan
from critbatch.training.state import Budget
from critbatch.training.data_parallel import whole_state
from critbatch.training.trainer import Training

path = out / "sharded.pt"
ends = {}
for name in SHARDED_RECIPES:
    whole = Training(TASK, sharded_plan(name), shard_weights=True)
    held = sum(weight.to_local().numel() for weight in whole.model.parameters())
    whole.advance()
    first = Training(TASK, sharded_plan(name), shard_weights=True, checkpoint=path)
    first.advance(Budget(steps=5))
    first.save()
    second = Training(TASK, sharded_plan(name), shard_weights=True, checkpoint=path)
    assert second.run_state.step == 5
    second.advance()
    ends[name] = [held, whole_state(whole.model), whole_state(second.model)]
torch.save(ends, out / f"{rank}.pt")
"""


def sharded_plan(name: str) -> Plan:
    return replace(tiny_plan(name, batch_size=8, epochs=2.0), micro_batch_size=2, drop_last=True)


def test_with_sharded_weights_two_processes_do_what_one_does_and_hold_half(tmp_path: Path) -> None:
    processes.run(SHARDED, tmp_path)
    first, second = saved(tmp_path)
    for name in SHARDED_RECIPES:
        alone = Training(TASK, sharded_plan(name))
        alone.advance()
        weights = sum(weight.numel() for weight in alone.model.parameters())
        assert first[name][0] + second[name][0] == weights and abs(first[name][0] - second[name][0]) <= 10
        for _, unbroken, resumed in (first[name], second[name]):
            hold_equal(unbroken, alone.model.state_dict())
            hold_equal(resumed, alone.model.state_dict())


def test_what_sharded_weights_do_not_go_with_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="can be sharded over several processes only: start them with torchrun"):
        Training(TASK, sharded_plan("sgd"), shard_weights=True)
    monkeypatch.setattr("critbatch.training.trainer.this_shard", lambda: Shard(0, 2))
    with pytest.raises(UserError, match="must be shared equally by 2 processes: use a multiple of 2, and drop_last"):
        Training(TASK, tiny_plan("sgd", batch_size=9), shard_weights=True)
    with pytest.raises(UserError, match="do not go with copies of the model, the noise of the gradient"):
        Training(TASK, sharded_plan("swap2020"), shard_weights=True, noise_every=1)


SHARDED_OPTIMIZERS = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from critbatch import LAMB, LARS
from critbatch.optim.rmsprop_warmup import RMSpropWarmUp

mesh = init_device_mesh("cpu", (2,))
# Shared unequally, not at all by one process, along the second axis, and by none: a copy in each.
layouts = [((5, 3), Shard(0)), ((1, 4), Shard(0)), ((6, 5), Shard(1)), ((7,), Shard(0)), ((2, 2), Replicate())]
makers = {
    "LARS": lambda weights: LARS(weights, lr=0.5, weight_decay=0.1, trust_coefficient=0.1),
    "LAMB": lambda weights: LAMB(weights, lr=0.1, weight_decay=0.1, max_gradient_norm=1.5),
    "RMSprop": lambda weights: RMSpropWarmUp(weights, lr=0.1),
}
for name, make in makers.items():
    generator = torch.Generator().manual_seed(0)
    numbers = [[torch.randn(shape, generator=generator).double() for shape, _ in layouts] for _ in range(4)]
    whole = [torch.nn.Parameter(value.clone()) for value in numbers[0]]
    parts = [
        torch.nn.Parameter(distribute_tensor(value, mesh, [layout]))
        for value, (_, layout) in zip(numbers[0], layouts)
    ]
    optimizers = make(whole), make(parts)
    for grads in numbers[1:]:
        for weight, part, grad, (_, layout) in zip(whole, parts, grads, layouts):
            weight.grad, part.grad = grad, distribute_tensor(grad, mesh, [layout])
        for optimizer in optimizers:
            optimizer.step()
    for weight, part in zip(whole, parts):
        torch.testing.assert_close(part.full_tensor(), weight.detach(), rtol=1e-12, atol=1e-12)
    if name != "RMSprop":
        assert list(optimizers[0].trust_ratios().values()) == list(map(
            lambda ratio: __import__("pytest").approx(ratio, rel=1e-12), optimizers[1].trust_ratios().values()
        ))
"""


def test_optimizers_step_on_the_parts_of_weights_as_on_the_whole(tmp_path: Path) -> None:
    processes.run(SHARDED_OPTIMIZERS, tmp_path)
