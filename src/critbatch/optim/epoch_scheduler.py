"""Schedules of this package in a training loop of your own: a torch scheduler around a function of the epoch."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from critbatch.errors import UserError
from critbatch.optim.lr_schedule import Rate
from critbatch.runtime.distributed import this_shard


def batch_size_of(per_process: int, *, accumulation: int = 1, processes: int | None = None) -> int:
    """Return the examples in one optimizer step, over all processes.

    `EpochScheduler` and all scaling rules count batches in this way.

    Args:
        per_process: Examples in one forward pass of one process.
        accumulation: Backward passes per step.
        processes: Number of processes; by default what torch.distributed says.

    Raises:
        UserError: If one of them is below 1.

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

    Call `step()` after each ``optimizer.step()``, not once per epoch. The epoch of step t is ``t / steps_per_epoch``,
    or ``t batch_size / examples``. Give ``steps_per_epoch=len(loader)`` if each epoch ends with a short batch or leaves
    some examples out. Give `examples` and `batch_size` if every step has a full batch.

    In several processes, each process has its own scheduler and calls `step()` once per optimizer step. ``batch_size``
    is the batch over all processes. Accelerate calls a prepared scheduler once per process at each step, unless it
    splits batches: then give ``calls_per_step``, or do not prepare the scheduler.

    If a GradScaler skips the optimizer step because a gradient is not finite, skip the scheduler's step as well.

    The first parameter group has the learning rate of the schedule. The other groups keep the ratio that their rate had
    to the first one when the scheduler was created. In torch's SequentialLR it counts from its own first step. In a
    ChainedScheduler put it first: it sets the rate and does not multiply it, so that a factor after it applies only
    once.

    Args:
        optimizer: The optimizer whose learning rates are set.
        schedule: A function of the epoch, such as those in `critbatch.optim.lr_schedule`.
        steps_per_epoch: Optimizer steps per epoch.
        examples: Examples in the training set.
        batch_size: Examples in one optimizer step, over all processes: see `batch_size_of`.
        calls_per_step: How often `step()` is called per optimizer step.
        last_epoch: As in torch's schedulers: the number of the last step taken; -1 for none.

    Raises:
        UserError: Unless either the steps, or both examples and batch size, are given and above 0; or if the learning
            rate of the first group is 0 and that of another is not, so that there is no ratio.
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
        arguments = {"steps_per_epoch": steps_per_epoch, "examples": examples, "batch_size": batch_size}
        for name, number in {**arguments, "calls_per_step": calls_per_step}.items():
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
        """The epoch of the next step, a float."""
        assert self._examples is not None
        return max(0, self.last_epoch) // self.calls_per_step * self._batch_size / self._examples

    def get_lr(self) -> list[Any]:
        """Return the learning rate of each parameter group for the next step."""
        rate = self.schedule(self.epoch)
        return [rate * ratio for ratio in self._ratios]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps. The schedule is not in it, because it is a function in your code."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        The learning rates themselves are in the optimizer's state. As usual in torch: create the scheduler first, which
        sets the first rate, and then load both states.
        """
        self.last_epoch = state_dict["last_epoch"]
        self._last_lr = self.get_lr()
