"""Two real processes on gloo against one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from critbatch.distributed import Shard, sum_gradients
from critbatch.errors import UserError
from critbatch.recipes import sgd
from critbatch.training import Training
from tiny import tiny_task

WORKER = """
import sys
import torch
from critbatch.recipes import sgd
from critbatch.training import Training
sys.path.insert(0, sys.argv[1])
from tiny import tiny_task

rank, port, out = int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
seen = []
task = tiny_task(dtype=torch.float64, examples=50)
training = Training(task, sgd(batch_size=9, learning_rate=0.1, epochs=2))
gather = training.source.data.take
training.source.data.take = lambda indices: seen.append(indices) or gather(indices)
training.examiner.train_indices = training.examiner.validation_indices[:0]
training.examiner.validation_indices = training.examiner.validation_indices[:1]
training.advance()
torch.save({"seen": seen, "model": training.model.state_dict()}, f"{out}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_see_the_batches_that_one_sees_and_end_with_its_weights(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    tests = str(Path(__file__).parent)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, tests, str(rank), port, str(tmp_path)]) for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]

    task = tiny_task(dtype=torch.float64, examples=50)
    alone = Training(task, sgd(batch_size=9, learning_rate=0.1, epochs=2))
    cursor = alone.cursor.copy()
    batches = [cursor.take(9) for _ in range(12)]
    together = [torch.cat(parts) for parts in zip(both[0]["seen"], both[1]["seen"], strict=True)]
    assert [batch.tolist() for batch in together] == [batch.tolist() for batch in batches]
    assert [len(batch) for batch in batches[-2:]] == [9, 5]

    alone.advance()
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(both[0]["model"][name], both[1]["model"][name])
        torch.testing.assert_close(both[0]["model"][name], weight, rtol=1e-12, atol=1e-14)


def test_one_process_leaves_gradients_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    sum_gradients([weight], Shard())
    assert weight.grad is None


def test_a_rank_outside_its_world_is_refused() -> None:
    with pytest.raises(UserError, match=r"rank=2 is not possible: with world_size=2 use 0 or more, below it\."):
        Shard(2, 2)
