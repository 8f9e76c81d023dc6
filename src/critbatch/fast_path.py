"""Whether a run goes through the compiled graph of several steps, and when."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.compiled import CannotCompile, CompiledSteps, pays
from critbatch.recipes.plan import Phase
from critbatch.tasks.data import Examples
from critbatch.tasks.sampler import Cursor, Source
from critbatch.tasks.task import Task

# Single steps that are timed before the decision.
STEPS_TO_TIME = 50


class FastPath:
    """Several steps of a phase in one graph, once it is known to pay.

    Args:
        wanted: True for from the first step on, False for never, None for when the run is long enough.
    """

    def __init__(self, task: Task, model: nn.Module, source: Source, *, wanted: bool | None) -> None:
        self.task, self.model, self.source = task, model, source
        self.wanted = wanted
        self._steps: CompiledSteps | None = None
        self._optimizer: Optimizer | None = None
        self._phase: Phase | None = None

    def enter(self, optimizer: Optimizer, phase: Phase) -> None:
        """Begin a phase: what was compiled belongs to the one before."""
        self._optimizer, self._phase, self._steps = optimizer, phase, None

    def consider(self, *, steps_done: int, steps_left: float, seconds_done: float) -> float:
        """Compile now if that is wanted, or pays. The decision is made once, and kept with the checkpoint.

        Returns:
            The seconds it took.
        """
        if self.wanted is None and steps_done >= STEPS_TO_TIME:
            self.wanted = pays(steps_left=steps_left, eager_step_seconds=seconds_done / steps_done)
        if not self.wanted or self._steps is not None:
            return 0.0
        assert self._optimizer is not None and self._phase is not None
        data, size = self.source.data, self._phase.batch_size
        # The graph gathers its batches itself, from the examples as they are.
        if not isinstance(data, Examples) or self.task.augment is not None:
            self.wanted = False
            return 0.0
        started = time.perf_counter()
        try:
            self._steps = CompiledSteps(self.task, self.model, self._optimizer, data, batch_size=size)
        except CannotCompile:
            self.wanted = False
        return time.perf_counter() - started

    @property
    def count(self) -> int:
        """Steps in one graph; 0 where there is none."""
        return self._steps.count if self._steps is not None else 0

    def run(self, cursor: Cursor, phase_start: float) -> Tensor:
        """The next `count` steps. The cursor moves. Returns the loss of each, shape (count,)."""
        assert self._steps is not None and self._phase is not None
        count, size = self._steps.count, self._phase.batch_size
        places = [cursor.position - phase_start + step * size / cursor.examples for step in range(count)]
        rates = torch.tensor([self._phase.learning_rate(place) for place in places], dtype=torch.float64)
        return self._steps(cursor.take(count * size).view(count, size), rates)
