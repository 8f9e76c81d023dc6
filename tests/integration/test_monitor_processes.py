"""A monitor in two processes on gloo: the gradients of both are compared, whichever way they are shared out."""

from __future__ import annotations

import pytest
import torch

import processes
from critbatch.gradient_noise.estimator import noise_scale
from tiny import tiny_task

TASK = tiny_task(dtype=torch.float64)
PIECES = [(0, 6), (6, 12), (12, 18), (18, 24)]  # the first two are those of the first process

WORKER = """
import contextlib
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from critbatch.gradient_noise.monitor import Monitor
from integration.test_monitor_processes import PIECES, TASK

def parallel(**options):
    return DistributedDataParallel(TASK.new_model(0), **options)

def sharded():
    model = TASK.new_model(0)
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model

def steps(model, monitor, sync, steps=3, update=True):
    for _ in range(steps):
        model.zero_grad()
        for i, piece in enumerate(PIECES[2 * rank : 2 * rank + 2]):
            inputs, targets = TASK.train.span(*piece)
            with sync(model, i):
                (TASK.loss(model(inputs), targets).mean() / 2).backward()
        if update:
            monitor.update()

def every(model, i):
    return contextlib.nullcontext()

def last(model, i):
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(i == 1)
        return contextlib.nullcontext()
    return model.no_sync() if i == 0 else contextlib.nullcontext()

def told(monitor):
    scale = monitor.noise_scale()
    return {
        "numbers": [scale.gradient_norm2, scale.covariance_trace],
        "reason": scale.reason,
        "size": monitor.advice().batch_size,
        "layers": [layer.name for layer in monitor.layers()],
        "left_out": dict(monitor.left_out),
    }

found = {}
for kind, make in (("ddp", parallel), ("fsdp", sharded)):
    for by in ("examples", "micro_batches", "processes") if kind == "ddp" else ("micro_batches", "auto"):
        for name, sync in (("every", every), ("last", last)):
            model = make()
            with Monitor(model, by=by) as monitor:
                steps(model, monitor, sync)
                found[f"{kind} {by} {name}"] = told(monitor)

model = parallel(gradient_as_bucket_view=True)
with Monitor(model, by="micro_batches") as monitor:
    steps(model, monitor, last)
    steps(model, monitor, last, steps=1, update=False)
    steps(model, monitor, last, steps=1)
    found["ddp micro_batches thrown away"] = told(monitor)

def summed(state, bucket):
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])

model = parallel()
model.register_comm_hook(None, summed)
with Monitor(model, by="examples") as monitor:
    steps(model, monitor, last)
    found["ddp examples summed, not averaged"] = told(monitor)

model = parallel()
with Monitor(model, by="micro_batches") as monitor:
    steps(model, monitor, lambda model, i: model.no_sync())
    found["never averaged"] = told(monitor)

class Flattened(torch.nn.Module):
    # Only on one of the processes is it not known how many examples there are.
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 1)

    def forward(self, inputs, extra):
        return self.inner(inputs)

model = DistributedDataParallel(Flattened())
with Monitor(model, by="micro_batches") as monitor:
    for _ in range(12):
        model.zero_grad()
        model(torch.randn(6, 4), torch.zeros(2 if rank else 6)).mean().backward()
        monitor.update()
    found["one process in doubt"] = told(monitor)

model = sharded()
with Monitor(model, by="micro_batches") as monitor:
    for piece in PIECES:  # gradients are never set to zero
        inputs, targets = TASK.train.span(*piece)
        TASK.loss(model(inputs), targets).mean().backward()
        monitor.update()
    found["fsdp zero_grad forgotten"] = told(monitor)
try:
    Monitor(model, by="examples")
except ValueError as error:
    found["fsdp by examples"] = str(error)
torch.save(found, out / f"{rank}.pt")
"""


def gradient(first: int, last: int) -> torch.Tensor:
    model = TASK.new_model(0)
    inputs, targets = TASK.train.span(first, last)
    loss = TASK.loss(TASK.forward(model, inputs), targets).mean()
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, object]]]:
    out = tmp_path_factory.mktemp("processes")
    processes.run(WORKER, out)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_both_processes_gradients_are_compared_in_each_way(told: list[dict[str, dict[str, object]]]) -> None:
    big = gradient(0, 24).square().sum()
    small = {
        "examples": torch.stack([gradient(i, i + 1).square().sum() for i in range(24)]).mean(),
        "micro_batches": torch.stack([gradient(*piece).square().sum() for piece in PIECES]).mean(),
    }
    small["processes"] = small["auto"] = small["micro_batches"]
    of_all = [name for name in told[0] if name.partition(" ")[2].partition(" ")[0] in small]
    assert len(of_all) == 12
    for name in of_all:
        by = name.split()[1]
        truth = noise_scale(small[by], big, small=1 if by == "examples" else 6, big=24)
        for one in told:
            assert one[name]["numbers"] == pytest.approx([truth.gradient_norm2, truth.covariance_trace], rel=1e-6), name
            assert (one[name]["size"], one[name]["layers"]) == (24, ["0", "3"]), name
            assert one[name]["left_out"] == {}, name


@pytest.mark.parametrize(
    ("name", "reason"), [("never averaged", "gradients_changed"), ("fsdp zero_grad forgotten", "gradients_changed")]
)
def test_gradients_that_are_not_the_mean_over_the_processes_are_a_reason(
    told: list[dict[str, dict[str, object]]], name: str, reason: str
) -> None:
    assert [one[name]["reason"] for one in told] == [reason, reason]


def test_single_examples_of_a_sharded_model_are_refused_in_a_sentence(told: list[dict[str, dict[str, object]]]) -> None:
    assert "use by='processes'" in told[0]["fsdp by examples"]


def test_what_one_process_cannot_measure_both_leave_out_and_neither_waits(
    told: list[dict[str, dict[str, object]]],
) -> None:
    assert [one["one process in doubt"]["left_out"] for one in told] == [
        {"not_measurable": 12},
        {"batch_size_unknown": 12},
    ]
