"""Schedules of this package in a training loop of your own: a torch scheduler around a function of the epoch."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from critbatch.errors import UserError
from critbatch.learning_rate import Rate
from critbatch.runtime.distributed import this_shard


def batch_size_of(per_process: int, *, accumulation: int = 1, processes: int | None = None) -> int:
    """Examples in one optimizer step, over all processes: what an `EpochScheduler` and every scaling rule count.

    Args:
        per_process: examples in one forward pass of one process.
        accumulation: backward passes for one step.
        processes: how many there are; as torch.distributed says, unless given.

    Raises:
        UserError: if one of them is below 1.

    >>> batch_size_of(32, accumulation=2, processes=8)
    512
    """
    processes = this_shard().world_size if processes is None else processes
    for name, number in {"per_process": per_process, "accumulation": accumulation, "processes": processes}.items():
        if number < 1:
            raise UserError(f"{name}={number} is not possible: use 1 or more.")
    return per_process * accumulation * processes


class EpochScheduler(LRScheduler):
    """Sets the learning rate to ``schedule(epoch)`` before every training step.

    Call `step()` after each ``optimizer.step()``, not once an epoch. The epoch of step t is ``t / steps_per_epoch``, or
    ``t batch_size / examples``. Give the steps, ``len(loader)``, where each epoch ends with a short batch or leaves
    some examples out; give examples and batch size where every step has a whole batch.

    In several processes each holds a scheduler and calls `step()` once for each optimizer step; it does not count the
    processes: ``batch_size`` is that over all of them. Accelerate, unless it splits batches, calls a prepared
    scheduler once for each process at each step: tell that as ``calls_per_step``, or leave the scheduler unprepared.

    A GradScaler that finds a gradient not finite leaves out the optimizer's step: leave out the scheduler's as well.

    The first parameter group has the rate of the schedule; the others keep the ratio that their rate has to the first's
    when the scheduler is made. In torch's SequentialLR it counts from its own first step. In a ChainedScheduler put it
    first: it sets the rate and does not multiply it, so that of a factor behind it only the last step's is seen.

    Args:
        optimizer: whose rates are set.
        schedule: such as those in `critbatch.learning_rate`.
        steps_per_epoch: optimizer steps in an epoch.
        examples: in the training set.
        batch_size: examples in one optimizer step, over all processes: see `batch_size_of`.
        calls_per_step: how often `step()` is called for one optimizer step.
        last_epoch: torch's word: the number of the last step that was taken; -1 for none.

    Raises:
        UserError: unless either the steps or both examples and batch size are given, all above 0; or if the first
            group's rate is 0, to which the others have no ratio.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Rate,
        *,
        steps_per_epoch: float | None = None,
        examples: int | None = None,
        batch_size: int | None = None,
        calls_per_step: int = 1,
        last_epoch: int = -1,
    ) -> None:
        if (steps_per_epoch is None) == (examples is None) or (examples is None) != (batch_size is None):
            raise UserError("The length of an epoch is not clear: give steps_per_epoch, or examples and batch_size.")
        given = {"steps_per_epoch": steps_per_epoch, "examples": examples, "batch_size": batch_size}
        for name, number in {**given, "calls_per_step": calls_per_step}.items():
            if number is not None and not number > 0:
                raise UserError(f"{name}={number} is not possible: use a number above 0.")
        self.schedule, self.calls_per_step = schedule, calls_per_step
        # Whole numbers as long as they are whole: 30 epochs are 30.0, not a bit less.
        self._batch_size = batch_size or 1
        self._examples = examples if steps_per_epoch is None else steps_per_epoch
        bases = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        if bases[0] == 0 and any(bases):
            raise UserError(
                f"The first parameter group has lr=0 and others have not: give it the first of {bases[1:]}."
            )
        self._ratios = [base / bases[0] if bases[0] else 1.0 for base in bases]
        super().__init__(optimizer, last_epoch)

    @property
    def epoch(self) -> float:
        """Of the next step."""
        assert self._examples is not None
        return max(0, self.last_epoch) // self.calls_per_step * self._batch_size / self._examples

    def get_lr(self) -> list[Any]:
        rate = self.schedule(self.epoch)
        return [rate * ratio for ratio in self._ratios]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps alone: schedules are functions, which your code has."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        The rates themselves are in the optimizer's state. Make the scheduler first, which sets the first rate, and then
        load both: torch's order.
        """
        self.last_epoch = state_dict["last_epoch"]
        self._last_lr = self.get_lr()
