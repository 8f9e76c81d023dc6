"""What callbacks share, and what they say where their package is missing."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import processes
from critbatch.errors import UserError
from critbatch.integrations.base import AfterBackward


@pytest.mark.parametrize(
    ("module", "packages", "sentence"),
    [
        (
            "lightning",
            ["lightning", "lightning.pytorch", "pytorch_lightning"],
            r"needs Lightning .*: pip install 'critbatch\[lightning\]'\.",
        ),
        (
            "huggingface",
            ["accelerate", "accelerate.state", "transformers"],
            r"needs transformers and accelerate .*: pip install 'critbatch\[transformers\]'\.",
        ),
    ],
)
def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, packages: list[str], sentence: str
) -> None:
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"critbatch.integrations.{module}", raising=False)
    with pytest.raises(UserError, match=sentence):
        importlib.import_module(f"critbatch.integrations.{module}")


def test_a_call_after_backward_sees_all_gradients() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    seen: list[int] = []
    after = AfterBackward(model, lambda: seen.append(sum(weight.grad is not None for weight in model.parameters())))
    model(torch.ones(4, 2)).sum().backward()
    model(torch.ones(4, 2)).sum().backward()
    with torch.no_grad():
        model(torch.ones(4, 2))
    model.eval()(torch.ones(4, 2)).sum().backward()
    after.close()
    model.train()(torch.ones(4, 2)).sum().backward()
    assert seen == [4, 4]


WORKER = """
from torch.nn.parallel import DistributedDataParallel
from critbatch.integrations.base import AfterBackward

model = torch.nn.Linear(2, 1, bias=False)
parallel = DistributedDataParallel(model)
seen = []
AfterBackward(model, lambda: seen.append(model.weight.grad.clone()))
parallel(torch.full((1, 2), float(rank))).sum().backward()
torch.save(seen, out / f"{rank}.pt")
"""


def test_in_two_processes_it_sees_their_mean(tmp_path: Path) -> None:
    processes.run(WORKER, tmp_path)
    for rank in range(2):
        assert torch.equal(*torch.load(tmp_path / f"{rank}.pt", weights_only=True), torch.full((1, 2), 0.5))
