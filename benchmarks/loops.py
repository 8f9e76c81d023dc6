"""The same training in several loops. Each can be taken a number of steps further, again and again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from critbatch.recipes.plan import Phase, Plan
from critbatch.records.core import Quantity, Target
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

RATE, MOMENTUM = 0.1, 0.9


class Loop(Protocol):
    def advance(self, steps: int) -> float:
        """Take so many steps, across the ends of epochs. Returns the seconds that they took."""


def make_data(examples: int = 60_000, features: int = 784) -> tuple[Tensor, Tensor]:
    """Inputs of length one, so that a rate of 0.1 is stable at batch size 1, with labels that can be learned."""
    torch.manual_seed(0)
    inputs = torch.randn(examples, features).div_(features**0.5)
    return inputs, (inputs @ torch.randn(features, 10)).argmax(1)


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_task(inputs: Tensor, labels: Tensor) -> Task:
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=1.0)
    validation = (inputs[:100], labels[:100])
    return Task("overhead", model=make_model, train=(inputs, labels), validation=validation, target=target)


class BareLoop:
    """What one writes by hand, with batches from wherever."""

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        torch.manual_seed(0)
        self.batches, self.model = batches, make_model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)

    def advance(self, steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            inputs, labels = next(self.batches)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(inputs), labels).backward()
            self.optimizer.step()
        return time.perf_counter() - started


def loaded(inputs: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """DataLoader as it is."""
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size, shuffle=True)
    while True:
        yield from loader


def indexed(inputs: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Tensors indexed by parts of a fresh permutation."""
    while True:
        for indices in torch.randperm(len(inputs)).split(batch_size):
            yield inputs.index_select(0, indices), labels.index_select(0, indices)


class OurLoop:
    """`critbatch.training`. Evaluation and compilation are not in its seconds, since the other loops have none."""

    def __init__(self, inputs: Tensor, labels: Tensor, batch_size: int, *, compile: bool) -> None:
        phase = Phase(
            epochs=1e9,
            batch_size=batch_size,
            optimizer=lambda weights: torch.optim.SGD(weights, lr=RATE, momentum=MOMENTUM, fused=True),
            learning_rate=lambda epoch: RATE,
        )
        self.training = Training(
            make_task(inputs, labels),
            Plan(recipe="sgd", peak=RATE, phases=(phase,)),
            evaluation=Evaluation(growth=1e9, validation_examples=1, train_examples=0),
            compile=compile,
        )

    def advance(self, steps: int) -> float:
        run_state = self.training.run_state
        until = Budget(steps=run_state.step + steps)
        aside, started = run_state.evaluation_seconds + run_state.compile_seconds, time.perf_counter()
        outcome = self.training.advance(until)
        seconds = time.perf_counter() - started - (run_state.evaluation_seconds + run_state.compile_seconds - aside)
        if outcome is not None or run_state.step != until.steps:
            raise RuntimeError(f"The run ended with {outcome} at step {run_state.step}: its time means nothing.")
        return seconds


class LightningLoop:
    """Lightning with DataLoader, in a process of another environment."""

    def __init__(self, python: str, batch_size: int) -> None:
        script = Path(__file__).with_name("lightning_loop.py")
        command = [python, str(script), str(batch_size), str(torch.get_num_threads())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = str(self._answer()["lightning"])

    def advance(self, steps: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self._answer()["seconds"])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)

    def _answer(self) -> dict[str, object]:
        assert self.process.stdout is not None
        # Lightning prints of its own accord, too.
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, object] = json.loads(line)
                return answer
        sys.exit(f"The Lightning process ended with code {self.process.wait()}.")
