"""The only loop that moves weights: a task and a plan in, a `Run` record out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from critbatch.agreement import Agreement
from critbatch.batches import Cursor, Source
from critbatch.budget import NO_BUDGET, Budget, Progress
from critbatch.checkpoint import load_checkpoint, save_checkpoint
from critbatch.device import is_out_of_memory, pick_device, wait_for
from critbatch.distributed import averaged_statistics, is_lost_process, sum_over_processes, this_shard
from critbatch.errors import UserError
from critbatch.evaluation import Evaluation, Examiner
from critbatch.fast_path import FastPath
from critbatch.fresh_model import fresh_model
from critbatch.gradient_noise import FEWEST_PAIRS
from critbatch.interruption import Interruption
from critbatch.ledger import Ledger
from critbatch.noise_meter import NoiseMeter, norms_by, preconditioner
from critbatch.phases import NOISE_PIECES, PlanWalk
from critbatch.plan import Plan
from critbatch.random_state import RandomState
from critbatch.records import CurvePoint, Outcome, Run, Target
from critbatch.replica import Replica
from critbatch.resuming import restore, state_of
from critbatch.step import Step
from critbatch.task import Task

# A loss this many times that of the untrained model is no detour any more.
DIVERGED = 100.0
STEPS_BETWEEN_CHECKS = 64
SECONDS_BETWEEN_CHECKPOINTS = 30.0
PAIRS_PER_NOISE_POINT = 16


def train(task: Task, plan: Plan, *, budget: Budget = NO_BUDGET, pause_at: float | None = None, **settings: Any) -> Run:
    """Train until the target, the end of the plan or of the budget, or divergence. Every end is a record.

    Args:
        task: model, data, loss.
        plan: of a recipe, such as `critbatch.recipes.sgd(batch_size=64, learning_rate=0.1, epochs=10)`.
        budget: stop there.
        pause_at: a value of `time.monotonic()` at which the run stops as it does at Ctrl-C: to go on later.
        settings: those of `Training`.

    Raises:
        UserError: if plan and task do not fit together, or the checkpoint belongs to another run.
    """
    training = Training(task, plan, **settings)
    training.advance(budget, pause_at=pause_at)
    return training.record()


class Training:
    """A run that can be advanced a piece at a time: several can be held and continued in turn.

    Args:
        task: model, data, loss.
        plan: of a recipe.
        seed: of the weights and of the order of the examples.
        device: the accelerator where there is one, unless given.
        target: stop when it is reached; None trains on.
        evaluation: when and on how many examples.
        noise_every: measure the gradient noise scale at every n-th step; 0 for never.
        noise_by: "micro_batches" or "examples": what the gradient of the batch is compared with.
        checkpoint: a file. If it is there the run goes on from it, and ends, on a CPU, bit for bit where the unbroken
            run ends. It is written now and then and on Ctrl-C, and removed when the run has ended.
        compiled: several steps in one compiled graph, where the model allows it. None switches it on by the clock, when
            the run is long enough to pay for compiling: its sums differ in the last bits from those of single steps.
        workers: of the DataLoader, for data that are no tensors.
        start: weights to begin with, a state of the task's model; freshly drawn ones unless given.
        progress: called at each evaluation.

    Raises:
        UserError: if plan and task do not fit together, or the checkpoint belongs to another run.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        target: Target | None = None,
        evaluation: Evaluation | None = None,
        noise_every: int = 0,
        noise_by: str = "micro_batches",
        checkpoint: Path | None = None,
        compiled: bool | None = None,
        workers: int = 0,
        start: dict[str, Any] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        largest = max(phase.batch_size for phase in plan.phases)
        if largest > task.examples:
            raise UserError(
                f"batch_size={largest} is above the {task.examples} training examples: use {task.examples} or less."
            )
        if seed < 0:
            raise UserError(f"seed={seed} is not possible: use 0 or more.")
        self.task, self.plan, self.seed, self.target = task, plan, seed, target
        self.device = device or pick_device()
        self.noise_every, self.checkpoint, self.progress = noise_every, checkpoint, progress
        self.evaluation = evaluation or Evaluation()
        self.shard = this_shard()
        smallest = min(phase.batch_size for phase in plan.phases)
        if smallest < self.shard.world_size:
            raise UserError(
                f"batch_size={smallest} cannot be shared by {self.shard.world_size} processes: use "
                f"{self.shard.world_size} or more, or fewer processes."
            )
        self.source = Source(task.train, self.device, workers=workers)
        validation = Source(task.validation, self.device, workers=workers)
        self.examiner = Examiner(task, self.source, validation, self.evaluation, shard=self.shard)
        self.model = fresh_model(task, plan, seed=seed, device=self.device, start=start)
        self.replica = Replica(self.model, self.shard)
        many_passes = plan.micro_batch_size is not None or self.shard.world_size > 1 or plan.changes_the_step
        single_steps = noise_every > 0 or many_passes
        self.fast_path = FastPath(task, self.model, self.source, wanted=False if single_steps else compiled)
        self.meter = NoiseMeter(
            self.model,
            examples=task.examples,
            shard=self.shard,
            batch_norm=_has_batch_norm(self.model),
            norms=norms_by(noise_by, self.model),
            metric=lambda: preconditioner(self.optimizer, self.meter.parameters),
        )
        self.cursor = Cursor(task.examples, seed=seed, order=plan.order, drop_last=plan.drop_last)
        pieces = NOISE_PIECES if noise_by == "micro_batches" else 1
        self.walk = PlanWalk(plan, self.source, self.cursor, self.shard, noise_every=noise_every, noise_pieces=pieces)
        self.random = RandomState(seed, self.device, rank=self.shard.rank)
        self.ledger = Ledger()
        self.agreement = Agreement(self.shard, self.device)
        self.interrupted = False
        self._losses: list[Tensor] = []
        self._saved = 0.0
        self._started: float | None = None
        self._before = 0.0  # seconds of training, until the clock was started
        self.enter_phase(0)
        if checkpoint is not None and checkpoint.is_file():
            restore(self, load_checkpoint(checkpoint, self.device))

    def advance(self, until: Budget = NO_BUDGET, *, pause_at: float | None = None) -> Outcome | None:
        """Train on. Returns how the run ended, or None if `until` came first and it can go on.

        Args:
            until: stop there.
            pause_at: a value of `time.monotonic()` at which it stops as it does at Ctrl-C: to go on later.
        """
        ledger = self.ledger
        with Interruption(pause_at) as stop, self.random.in_place():
            try:
                while ledger.outcome is None and not self._is_over(until, stop):
                    self._one_segment(until, stop)
            except (RuntimeError, MemoryError) as error:
                if self.shard.world_size > 1 and is_lost_process(error):
                    raise UserError(self._lost_process()) from error
                if not is_out_of_memory(error):
                    raise
                ledger.outcome = Outcome.OUT_OF_MEMORY
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise UserError(
                    f"Batch norm cannot train on a batch of one example (step {ledger.step + 1} of batch size "
                    f"{self.walk.phase.batch_size}): use a batch size above 1, and drop_last if one is left over."
                ) from error
            self.interrupted = ledger.outcome is None and not self._spent(until)
        if self.interrupted:
            self.save()
        elif ledger.outcome is not None and self.checkpoint is not None and self.shard.rank == 0:
            self.checkpoint.unlink(missing_ok=True)
        return Outcome.INTERRUPTED if self.interrupted else ledger.outcome

    def save(self) -> None:
        """Write the checkpoint, if the run has one and is not over. All processes take part in it."""
        if self.checkpoint is not None and self.ledger.outcome is None:
            state = state_of(self)
            if self.shard.rank == 0:
                save_checkpoint(self.checkpoint, state)
            self._saved = self.ledger.seconds

    def record(self) -> Run:
        """What is known of the run by now."""
        ledger, plan = self.ledger, self.plan
        reached = ledger.outcome is Outcome.REACHED and self.target is not None
        return Run(
            task=self.task.name,
            recipe=plan.recipe,
            batch_size=plan.batch_size,
            micro_batch_size=plan.micro_batch_size or plan.batch_size,
            learning_rate=plan.peak,
            seed=self.seed,
            target=self.target,
            outcome=ledger.outcome or (Outcome.INTERRUPTED if self.interrupted else Outcome.FINISHED),
            crossing=self.target.crossing(ledger.curve) if reached and self.target else None,
            steps=ledger.step,
            examples=ledger.examples,
            epochs=self.cursor.position,
            seconds=ledger.seconds,
            evaluation_seconds=ledger.evaluation_seconds,
            compiled_steps=ledger.compiled_steps,
            compile_seconds=ledger.compile_seconds,
            diverged_at=ledger.diverged_at,
            curve=tuple(ledger.curve),
            noise=tuple(ledger.noise),
            noise_every=self.noise_every,
            metric_name=self.task.metric_name,
        )

    # From one evaluation to the next.

    def _one_segment(self, until: Budget, stop: Interruption) -> None:
        ledger = self.ledger
        if not ledger.curve:
            return self._examine()
        if self.walk.phase_is_over:
            if self.walk.is_last_phase:
                ledger.outcome = Outcome.FINISHED
                return None
            self.enter_phase(self.walk.index + 1)
        ledger.compile_seconds += self.fast_path.consider(
            steps_done=ledger.step, steps_left=self._steps_left(until), seconds_done=ledger.seconds
        )
        first = ledger.curve[-1].step
        last = min(self.evaluation.step_after(first), until.steps or math.inf)
        wait_for(self.device)
        self._started, self._before = time.perf_counter(), ledger.seconds
        while ledger.step < last and not self.walk.phase_is_over:
            count = self.fast_path.count
            room = min(last - ledger.step, self.walk.whole_batches_left) if count else 0
            if count and (ledger.step - first) % count == 0 and room >= count:
                self._compiled_steps()
            else:
                self._single_step()
            self._agree(stop)
            if len(self._losses) >= STEPS_BETWEEN_CHECKS:
                self._check_losses()
            if ledger.outcome is not None or self.agreement.stop or self._spent(until):
                break
        wait_for(self.device)
        self._agree(stop, always=True)
        self._started = None
        self._check_losses()
        if ledger.outcome is None and not self.agreement.stop:
            self._examine()
            if ledger.seconds - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
                self.save()
        return None

    def _is_over(self, until: Budget, stop: Interruption) -> bool:
        self._agree(stop, always=True)
        return self.agreement.stop or self._spent(until)

    def _agree(self, stop: Interruption, *, always: bool = False) -> None:
        """Read the clock, and whether to stop, so that all processes do the same."""
        ledger = self.ledger
        seconds = self._before + time.perf_counter() - self._started if self._started is not None else ledger.seconds
        self.agreement.reach(step=ledger.step, seconds=seconds, asked=stop.asked, always=always)
        ledger.seconds = self.agreement.seconds

    def _lost_process(self) -> str:
        kept = f"it goes on from {self.checkpoint}" if self.checkpoint is not None else "it has no checkpoint"
        return (
            f"Another process of this run has ended, at step {self.ledger.step} or the next, so that this one cannot "
            f"go on: start the same command again; {kept}."
        )

    def _single_step(self) -> None:
        rate, epoch = self.walk.learning_rate, self.walk.epoch
        meter = self.meter if self.walk.is_noise_step(self.ledger.step) else None
        size, pieces = next(self.walk.feed)
        self._losses.append(self._step.gradient(pieces, size, meter=meter))
        self._step.update(rate, epoch=epoch)
        self.ledger.step += 1
        self.ledger.examples += size

    def _compiled_steps(self) -> None:
        losses = self.fast_path.run(self.cursor, self.walk.start)
        self._losses.extend(losses)
        self.ledger.step += len(losses)
        self.ledger.examples += len(losses) * self.walk.phase.batch_size
        self.ledger.compiled_steps += len(losses)

    def _check_losses(self) -> None:
        """End the run if a loss since the last check was not finite. Not at every step: the device is waited for."""
        if not self._losses:
            return
        losses = torch.stack(self._losses)
        if self.shard.world_size > 1:
            sum_over_processes(losses)
        fine = losses.isfinite()
        if not fine.all():
            self.ledger.outcome = Outcome.DIVERGED
            self.ledger.diverged_at = self.ledger.step - len(fine) + int(fine.int().argmin()) + 1
        self._losses = []

    def _examine(self) -> None:
        ledger = self.ledger
        started = time.perf_counter()
        buffers = dict(self.model.named_buffers())
        for name, mean in averaged_statistics(buffers, self.shard).items():
            buffers[name].copy_(mean)
        numbers = self.examiner.examine(self.model)
        ledger.evaluation_seconds += time.perf_counter() - started
        epoch = self.cursor.position
        point = CurvePoint(
            step=ledger.step,
            examples=ledger.examples,
            epoch=epoch,
            seconds=ledger.seconds,
            learning_rate=self.walk.learning_rate,
            **numbers,
        )
        ledger.curve.append(point)
        if self.target is not None and self.target.reached_by(point):
            ledger.outcome = Outcome.REACHED
        elif not point.validation_loss <= DIVERGED * max(1.0, ledger.curve[0].validation_loss):
            ledger.outcome, ledger.diverged_at = Outcome.DIVERGED, ledger.step
        if len(self.meter.pairs) >= (PAIRS_PER_NOISE_POINT if ledger.outcome is None else FEWEST_PAIRS):
            ledger.noise.append(self.meter.take_point(step=ledger.step, epoch=epoch))
        if self.progress is not None:
            self.progress(
                Progress(step=ledger.step, epoch=epoch, epochs=self.plan.epochs, seconds=ledger.seconds, point=point)
            )

    def enter_phase(self, index: int) -> None:
        """Begin a phase of the plan: with a new optimizer, or that of the phase before where it says so."""
        self.walk.enter(index, step=self.ledger.step)
        if index == 0 or not self.walk.phase.keeps_optimizer:
            self.optimizer = self.walk.phase.optimizer(self.model.parameters())
        self._step = Step(self.task, self.model, self.optimizer, replica=self.replica, sam_rho=self.plan.sam_rho)
        self.fast_path.enter(self.optimizer, self.walk.phase)

    def _steps_left(self, until: Budget) -> float:
        ledger = self.ledger
        left = [self.walk.steps_left]
        if until.steps is not None:
            left.append(until.steps - ledger.step)
        if until.seconds is not None and ledger.step:
            left.append((until.seconds - ledger.seconds) / (ledger.seconds / ledger.step))
        return min(left)

    def _spent(self, until: Budget) -> bool:
        return until.spent(steps=self.ledger.step, examples=self.ledger.examples, seconds=self.ledger.seconds)


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
