"""Copies of a model that train each on its own, and their mean."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.recipes.plan import Plan
from critbatch.records.core import ReplicaResult
from critbatch.runtime.device import wait_for
from critbatch.runtime.distributed import Shard, gathered, sum_over_processes
from critbatch.runtime.process import RandomState
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import norms_in_training, pieces_of, taken_anew
from critbatch.training.data_parallel import Replica
from critbatch.training.phase_cursor import PhaseCursor
from critbatch.training.state import LossWatch, RunState
from critbatch.training.step import Step


class LocalReplica:
    """One copy: its weights, optimizer, place in the data and random state.

    Args:
        index: which of the copies.
        phase_cursor: its own, at the phase of the copies.
        before: the optimizer to take momentum from; None begins anew.
    """

    def __init__(
        self,
        index: int,
        task: Task,
        plan: Plan,
        model: nn.Module,
        phase_cursor: PhaseCursor,
        random: RandomState,
        before: Any,
    ) -> None:
        self.index, self.phase_cursor, self.random = index, phase_cursor, random
        self.model = copy.deepcopy(model)
        self.optimizer: Optimizer = phase_cursor.phase.optimizer(self.model.parameters())
        if before is not None:
            # Torch takes over the tensors themselves: without a copy all members would share one momentum.
            self.optimizer.load_state_dict(copy.deepcopy(before.state_dict()))
        self._step = Step(task, self.model, self.optimizer, replica=Replica(self.model, Shard()), sam_rho=plan.sam_rho)
        self.steps, self.examples, self.seconds = 0, 0, 0.0

    def step(self) -> Tensor:
        """One update of this copy. Returns its loss, shape ()."""
        rate, epoch = self.phase_cursor.learning_rate, self.phase_cursor.epoch
        size, pieces = next(self.phase_cursor.feed)
        own = len(self.phase_cursor.shard.of(torch.arange(size)))
        self.steps += 1
        self.examples += own
        if own == 0:
            return next(self.model.parameters()).detach().new_zeros(())
        loss = self._step.gradient(pieces, own)
        self._step.update(rate, epoch=epoch)
        return loss

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.phase_cursor.cursor.epoch,
            "offset": self.phase_cursor.cursor.offset,
            "random": self.random.states,
            "counts": [self.steps, self.examples, self.seconds],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.phase_cursor.cursor.epoch, self.phase_cursor.cursor.offset = state["epoch"], state["offset"]
        self.random.restore(state["random"])
        self.steps, self.examples, self.seconds = state["counts"]


class LocalSGD:
    """The copies of a phase that this process trains, one after the other, and the mean of all of them.

    Copy k is trained by process k modulo the number of processes. Either each sees all the data in an order of its own
    (SWAP), augmented by numbers of its own, or each takes its share of every batch (local SGD).

    Memory: weights and optimizer state of every copy that this process trains.

    Args:
        model: the weights that the copies begin with; the mean is put there.
        phase_cursor: of the run, at the phase of the copies.
        seed: of the run; the copies draw from seeds of their own.
        shard: of this process.
        before: the optimizer to take momentum from; None begins anew.
        steps: of the run so far.
        examples: likewise.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        model: nn.Module,
        phase_cursor: PhaseCursor,
        *,
        seed: int,
        shard: Shard,
        before: Any,
        steps: int,
        examples: int,
    ) -> None:
        phase = phase_cursor.phase
        if phase.copies % shard.world_size:
            raise UserError(
                f"{phase.copies} copies cannot be shared equally by {shard.world_size} processes: use a number of "
                f"processes that divides {phase.copies}."
            )
        self.task, self.model, self.phase, self.shard, self.phase_cursor = task, model, phase, shard, phase_cursor
        self.steps, self.examples, self.rounds = steps, examples, 0
        self.device = next(model.parameters()).device
        self.members = []
        for index in range(shard.rank, phase.copies, shard.world_size):
            own = int(np.random.SeedSequence((seed, 1 + index)).generate_state(1)[0])
            cursor = phase_cursor.cursor.copy()
            if not phase.shares_batches:
                cursor.seed = own
            part = Shard(index, phase.copies) if phase.shares_batches else Shard()
            path = PhaseCursor(plan, phase_cursor.source, cursor, part, augment=phase_cursor.augment)
            path.begin_phase(phase_cursor.index, step=0, start=phase_cursor.start)
            self.members.append(LocalReplica(index, task, plan, model, path, RandomState(own, self.device), before))

    def is_done(self, member: LocalReplica) -> bool:
        """Whether the copy has come to the end of the round."""
        every = self.phase.average_every
        return member.phase_cursor.phase_is_over or (every is not None and member.steps >= (self.rounds + 1) * every)

    @property
    def round_is_over(self) -> bool:
        return all(self.is_done(member) for member in self.members)

    @property
    def phase_is_over(self) -> bool:
        return all(member.phase_cursor.phase_is_over for member in self.members)

    def round(self, losses: LossWatch, stops: Callable[[int], bool]) -> None:
        """Train each copy, one after the other, to the end of the round.

        Args:
            losses: where the losses go.
            stops: told the step of the run after each step of a copy; whether to leave it there.
        """
        for member in self.members:
            began, before, stopped = time.perf_counter(), member.seconds, False
            with member.random.in_place():
                while not stopped and not self.is_done(member):
                    losses.add([member.step()])
                    stopped = stops(self.steps + member.steps)
            wait_for(self.device)
            member.seconds = before + time.perf_counter() - began
            if stopped:
                return

    def close(self) -> None:
        """End the workers that make the batches of copies."""
        for member in self.members:
            member.phase_cursor.close()

    def ends(self, examine: Callable[[nn.Module], dict[str, float]]) -> list[ReplicaResult]:
        """How good each copy is, of all processes, where the phase is over.

        Args:
            examine: gives the four numbers of an evaluation.
        """
        own = [
            ReplicaResult(copy=member.index, steps=member.steps, seconds=member.seconds, **examine(member.model))
            for member in (self.members if self.phase_is_over else ())
        ]
        results = [result for part in gathered(own, self.shard) for result in part]
        return sorted(results, key=lambda result: result.copy)

    def join(self, run_state: RunState) -> None:
        """Put the mean of all copies into the model, and, before the next round, into the copies.

        Where the phase ends, batch norm's statistics are taken anew.
        """
        mean = self._mean()
        self.model.load_state_dict(mean)
        self.rounds += 1
        # All copies are as far in the data.
        there = self.members[0].phase_cursor.cursor
        self.phase_cursor.cursor.epoch, self.phase_cursor.cursor.offset = there.epoch, there.offset
        examples = gathered(sum(member.examples for member in self.members), self.shard)
        run_state.examples = self.examples + sum(examples)
        if not self.phase_is_over:
            for member in self.members:
                member.model.load_state_dict(mean)
            return
        seconds = [member.seconds for member in self.members]
        run_state.saved_seconds += sum(seconds) - max(seconds)
        if norms_in_training(self.model):
            self._take_statistics_anew()

    def _take_statistics_anew(self) -> None:
        source, size = self.phase_cursor.source, self.phase.batch_size
        with taken_anew(self.model):
            for inputs, _ in source.stream(iter(pieces_of(torch.arange(self.task.examples), size))):
                self.task.forward(self.model, inputs)

    @torch.no_grad()
    def _mean(self) -> dict[str, Tensor]:
        states = [member.model.state_dict() for member in self.members]
        mean = {}
        for name, first in states[0].items():
            mean[name] = first
            # What is frozen stays as it is, bit for bit: 0.1 three times over three is not 0.1.
            frozen = self.shard.world_size == 1 and all(torch.equal(first, state[name]) for state in states[1:])
            if first.is_floating_point() and not frozen:
                total = torch.stack([state[name] for state in states]).sum(0)
                if self.shard.world_size > 1:
                    sum_over_processes(total)
                mean[name] = total / self.phase.copies
        return mean

    def state(self) -> dict[str, Any]:
        """Of all copies of all processes."""
        own = {member.index: member.state() for member in self.members}
        counts = [self.rounds, self.steps, self.examples]
        return {"counts": counts, "members": {k: v for part in gathered(own, self.shard) for k, v in part.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        self.rounds, self.steps, self.examples = state["counts"]
        for member in self.members:
            member.restore(state["members"][member.index])
