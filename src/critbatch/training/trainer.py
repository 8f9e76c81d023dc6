"""The only loop that moves weights: a task and a plan in, a `Run` record out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from critbatch.arguments import as_path, checked_arguments, checked_call, renamed_arguments
from critbatch.errors import UserError, first_line
from critbatch.gradient_noise.noise_meter import NoiseMeter, norms_by, preconditioner
from critbatch.recipes.plan import Plan
from critbatch.records.core import Outcome, Run, Target
from critbatch.runtime.device import as_device, is_out_of_memory, pick_device, wait_for
from critbatch.runtime.distributed import gathered, is_lost_process, seen_by_all, this_shard
from critbatch.runtime.process import Interruption, RandomState, seeded
from critbatch.runtime.progress import Progress
from critbatch.tasks.registry import as_task
from critbatch.tasks.sampler import EpochSampler, training_source, validation_source
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import has_batch_norm
from critbatch.training.callbacks import Callback, CallbackList, StepInfo
from critbatch.training.checkpoint import (
    fresh_model,
    load_checkpoint,
    remove_checkpoint,
    restore,
    save_checkpoint,
    state_of,
)
from critbatch.training.compiled import CompiledModel
from critbatch.training.data_parallel import Replica, ShardedReplica, fit_for_parts, refuse_sharding
from critbatch.training.evaluation import Evaluation, EvaluationHook, EvaluationStoppedError, Evaluator
from critbatch.training.local_sgd import LocalSGD
from critbatch.training.phase_cursor import NOISE_PIECES, PhaseCursor
from critbatch.training.plan_checks import refuse_misfits, refuse_single_examples
from critbatch.training.state import NO_BUDGET, Budget, LossWatch, RunClock, RunState, run_record
from critbatch.training.step import Step

SECONDS_BETWEEN_CHECKPOINTS = 30.0
# Steps from one at which the noise is measured to the next, where a plan asks for it.
NOISE_EVERY = 2


@renamed_arguments(compiled="compile")
@checked_call
def train(
    task: Task | str, plan: Plan, *, budget: Budget = NO_BUDGET, pause_at: float | None = None, **settings: Any
) -> Run:
    """Train once, to the target, the end of the epochs or a limit.

    A run that diverges, runs out of memory or misses its target is a record, too.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        plan: Plan of a recipe, such as `critbatch.recipes.sgd(batch_size=64, learning_rate=0.1, epochs=10)`.
        budget: Limits of steps, examples or seconds of training.
        pause_at: Value of `time.monotonic()` at which the run stops as at Ctrl-C, to be resumed later. Default: never.
        settings: Keyword arguments of `Training`. The device may be a name, the checkpoint text.

    Raises:
        UserError: if plan and task do not fit together, or the checkpoint belongs to another run or is damaged.
    """
    for name, convert in (("device", as_device), ("checkpoint", as_path)):
        if isinstance(settings.get(name), str):
            settings[name] = convert(settings[name])
    settings |= checked_arguments("train", settings, Training.__init__)
    training = Training(as_task(task), plan, **settings)
    training.advance(budget, pause_at=pause_at)
    return training.record()


class Training:
    """A run that can be advanced piece by piece: several runs can take turns.

    Args:
        task: Model, data, loss.
        plan: Plan of a recipe.
        seed: Seed of the weights and of the order of the examples.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        target: Validation metric or validation loss at which the run stops. Default: none, it runs to its end.
        evaluation: When to evaluate, and on how many examples. Default: `Evaluation()`.
        noise_every: Measure the gradient noise scale at every n-th step; 0 for never.
        noise_by: What the gradient of the batch is compared with: "micro_batches" or "examples".
        checkpoint: File of the checkpoint. If it exists, the run resumes from it and ends, on a CPU, bit for bit as the
            uninterrupted run. It is written from time to time and at Ctrl-C, and removed when the run has ended. The
            previous checkpoint is kept beside it, and is used if the newer one is damaged. Default: none.
        keeps_checkpoint: Keep the checkpoint at the end, for a caller that removes it once the record is saved: a
            process that is killed in between does not lose the run.
        compile: Compile the model with `torch.compile`, for whole batches. The sums differ from those of a model that
            is not compiled in the last bits. If compiling fails, a warning says why and training goes on without.
            Phases with several copies, and weights that `shard_weights` splits, are not compiled.
        workers: Processes that load the data, for data that are not tensors.
        shard_weights: Split the model over the processes of torchrun (FSDP2). Each process holds a part of the
            weights, gradients and optimizer state.
        start: Initial weights, a state of the task's model. Default: freshly drawn.
        progress: Function to call at each evaluation.
        callbacks: Loggers and other followers of the run; see `critbatch.training.callbacks.Callback`.
        max_seconds: End the run, as finished, after so many seconds of training. Default: no limit.

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
        keeps_checkpoint: bool = False,
        compile: bool = False,
        workers: int = 0,
        shard_weights: bool = False,
        start: dict[str, Any] | None = None,
        progress: Callable[[Progress], None] | None = None,
        callbacks: Sequence[Callback] = (),
        max_seconds: float | None = None,
    ) -> None:
        refuse_misfits(task, plan, seed=seed, processes=this_shard().world_size)
        if target is not None:
            task.check_target(target)
        self.task, self.plan, self.seed, self.target = task, plan, seed, target
        self.device = device or pick_device()
        noise_every = self.noise_every = noise_every or (NOISE_EVERY if plan.needs_noise else 0)
        self.checkpoint, self.progress = checkpoint, progress
        if max_seconds is not None and not max_seconds > 0:
            raise UserError(f"max_seconds={max_seconds} allows nothing: use a number above 0.")
        self.max_seconds = max_seconds
        self.evaluation = evaluation or Evaluation()
        self.shard = this_shard()
        self.callbacks = CallbackList(callbacks, is_main_process=self.shard.rank == 0, device=self.device)
        self._removes_checkpoint = not keeps_checkpoint and self.shard.rank == 0
        self.source = training_source(task, self.device, workers=workers)
        validation = validation_source(task, self.device, workers=workers)
        self.evaluator = Evaluator(task, self.source, validation, self.evaluation, shard=self.shard)
        # Of a model that does not fit on the device, only parts may go there.
        built_on = torch.device("cpu") if shard_weights else self.device
        self.model = fresh_model(task, plan, seed=seed, device=built_on, start=start)
        self._refuse_optimizers()
        if shard_weights:
            trial = plan.phases[0].optimizer(self.model.parameters())
            refuse_sharding(plan, trial, examples=task.examples, shard=self.shard, noise_every=noise_every)
            self.replica: Replica = ShardedReplica(self.model, self.shard, self.device)
        else:
            self.replica = Replica(self.model, self.shard)
        if compile and shard_weights:
            warnings.warn("The model is not compiled, since its weights are split by shard_weights.", stacklevel=2)
        self.compiled = CompiledModel(task, self.model, self.source, wanted=compile and not shard_weights)
        self.meter = NoiseMeter(
            self.model,
            examples=task.examples,
            shard=self.shard,
            batch_norm=has_batch_norm(self.model),
            norms=norms_by(noise_by, self.model, task),
            metric=lambda: preconditioner(self.optimizer, self.meter.parameters),
        )
        self.cursor = EpochSampler(task.examples, seed=seed, order=plan.order, drop_last=plan.drop_last)
        pieces = NOISE_PIECES if noise_by == "micro_batches" else 1
        refuse_single_examples(
            task,
            plan,
            self.model,
            self.source,
            processes=self.shard.world_size,
            noise_pieces=pieces,
            noise_every=noise_every,
        )
        self.phase_cursor = PhaseCursor(
            plan,
            self.source,
            self.cursor,
            self.shard,
            augment=task.augment,
            noise_every=noise_every,
            noise_pieces=pieces,
        )
        self.evaluation_hook = EvaluationHook(self.evaluator, self.meter, target, self.shard)
        self.random = RandomState(seed, self.device, rank=self.shard.rank)
        self.run_state = RunState()
        self.clock, self._losses = RunClock(self.shard, self.device), LossWatch(self.shard)
        self.interrupted = False
        self._saved = 0.0
        self.optimizer: Optimizer
        self.enter_phase(0)
        if checkpoint is not None and checkpoint.is_dir():
            raise UserError(f"The checkpoint {checkpoint} is a folder: give the path of a file.")
        if checkpoint is not None and seen_by_all(checkpoint, self.shard):
            restore(self, load_checkpoint(checkpoint, self.device))
            self.clock.seconds = self._saved = self.run_state.seconds

    def advance(self, until: Budget = NO_BUDGET, *, pause_at: float | None = None) -> Outcome | None:
        """Train on. Returns how the run ended, or None if `until` came first and it can go on.

        Args:
            until: stop there.
            pause_at: a value of `time.monotonic()` at which it stops as it does at Ctrl-C: to go on later.
        """
        run_state = self.run_state
        self.callbacks.start(self.record)
        with Interruption(pause_at) as stop:
            try:
                while run_state.outcome is None and not self._stops(until, stop, always=True):
                    self._one_segment(until, stop)
            except Exception as error:
                run_state.outcome = self._outcome_of(error)
            finally:
                self.phase_cursor.close()
                if self.local_sgd is not None:
                    self.local_sgd.close()
            self.interrupted = run_state.outcome is None and not self._spent(until)
        if self.interrupted:
            self.save()
        elif run_state.outcome is not None and self.checkpoint is not None and self._removes_checkpoint:
            remove_checkpoint(self.checkpoint)
        if self.interrupted or run_state.outcome is not None:
            self.callbacks.end(self.record)
        return Outcome.INTERRUPTED if self.interrupted else run_state.outcome

    def save(self) -> None:
        """Write the checkpoint, if the run has one and is not over. All processes take part in it."""
        if self.checkpoint is not None and self.run_state.outcome is None:
            state = state_of(self)
            if self.shard.rank == 0:
                save_checkpoint(self.checkpoint, state, keeps_previous=True)
            gathered(None, self.shard)  # nobody goes on before it is written
            self._saved = self.run_state.seconds

    def record(self) -> Run:
        """What is known of the run by now."""
        return run_record(self)

    # From one evaluation to the next.

    def _one_segment(self, until: Budget, stop: Interruption) -> None:
        run_state = self.run_state
        if not run_state.curve or self._evaluation_was_left_out():
            return self._examine(stop)
        if self._is_out_of_time():
            run_state.outcome = Outcome.FINISHED
            return None
        if self._phase_is_over():
            if self.phase_cursor.is_last_phase:
                run_state.outcome = Outcome.FINISHED
                return None
            self.enter_phase(self.phase_cursor.index + 1, start=min(self.phase_cursor.end, self.cursor.position))
        if self.local_sgd is None:
            with seeded(self.seed, [self.device]):
                run_state.compile_seconds += self.compiled.prepare(self.phase_cursor.pass_size)
        wait_for(self.device)
        self.clock.start()
        if self.local_sgd is None:
            # Only while weights move: evaluations and the caller's `progress` draw nothing from it, and a checkpoint
            # that is written in between holds the state of now.
            with self.random.in_place():
                self._steps(until, stop)
        else:
            self.local_sgd.round(self._losses, lambda step: self._stops(until, stop, step=step))
        wait_for(self.device)
        self._stops(until, stop, always=True)
        self.clock.pause()
        self._check_losses()
        if (
            run_state.outcome is None
            and not self.clock.stop
            and (self.local_sgd is None or self.local_sgd.round_is_over)
        ):
            if self.local_sgd is not None:
                run_state.members = self.local_sgd.ends(self.evaluator.alone().examine) or run_state.members
                self.clock.start()
                with self.random.in_place():
                    self.local_sgd.join(run_state)
                run_state.seconds = self.clock.read_clock(step=run_state.step, stop_requested=False, always=True)
                self.clock.pause()
            self._examine(stop)
            if run_state.seconds - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
                self.save()
        return None

    def _evaluation_was_left_out(self) -> bool:
        """Whether the run was asked to stop when it was about to be evaluated, or meanwhile."""
        last = self.run_state.curve[-1].step
        is_due = self.phase_cursor.phase_is_over or self.run_state.step >= self.evaluation.step_after(last)
        return self.local_sgd is None and self.run_state.step > last and is_due

    def _phase_is_over(self) -> bool:
        bar, last = self.phase_cursor.phase.until_train_metric, self.run_state.curve[-1]
        early = bar is not None and last.train_metric >= bar and last.epoch > self.phase_cursor.start
        return self.phase_cursor.phase_is_over or early

    def _steps(self, until: Budget, stop: Interruption) -> None:
        """Up to the next evaluation."""
        run_state = self.run_state
        last = min(self.evaluation.step_after(run_state.curve[-1].step), until.steps or math.inf)
        while run_state.step < last and not self.phase_cursor.phase_is_over:
            self._single_step()
            if self._stops(until, stop) or self._is_out_of_time():
                break

    def _is_out_of_time(self) -> bool:
        return self.max_seconds is not None and self.run_state.seconds >= self.max_seconds

    def _stops(self, until: Budget, stop: Interruption, *, step: int | None = None, always: bool = False) -> bool:
        """Read the clock, look at the losses now and then: whether no further step is to be made, in any process."""
        run_state = self.run_state
        run_state.step = run_state.step if step is None else step
        run_state.seconds = self.clock.read_clock(step=run_state.step, stop_requested=stop.asked, always=always)
        if self._losses.is_due:
            self._check_losses()
        return run_state.outcome is not None or self.clock.stop or self._spent(until)

    def _outcome_of(self, error: Exception) -> Outcome:
        """How the run has ended by this error, where that is a result. Otherwise it is raised, as a sentence if it is
        one that has a known reason."""
        if isinstance(error, UserError):
            raise error
        if self.shard.world_size > 1 and is_lost_process(error):
            raise UserError(self._lost_process()) from error
        if is_out_of_memory(error):
            return Outcome.OUT_OF_MEMORY
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise UserError(
                f"Batch norm cannot train on a batch of one example (step {self.run_state.step + 1} of batch size "
                f"{self.phase_cursor.batch_size}): use a batch size above 1, and drop_last if one is left over."
            ) from error
        for source in (self.source, self.evaluator.validation):
            if source.odd_batch:
                raise UserError(
                    f"The model fails ({first_line(error)}) where {source.odd_batch}: make all items alike."
                ) from error
        raise error

    def _lost_process(self) -> str:
        resume_hint = f"it goes on from {self.checkpoint}" if self.checkpoint is not None else "it has no checkpoint"
        return (
            f"Another process of this run has ended, at step {self.run_state.step} or the next, so that this one "
            f"cannot go on: start the same command again; {resume_hint}."
        )

    def _single_step(self) -> None:
        rate, epoch = self.phase_cursor.learning_rate, self.phase_cursor.epoch
        meter = self.meter if self.phase_cursor.is_noise_step(self.run_state.step) else None
        size, pieces = next(self.phase_cursor.feed)
        loss = self._step.gradient(pieces, size, meter=meter)
        self._losses.add([loss])
        self._step.update(rate, epoch=epoch)
        self.run_state.step += 1
        self.run_state.examples += size
        self.callbacks.step(
            lambda: StepInfo(
                step=self.run_state.step,
                epoch=self.cursor.position,
                batch_size=size,
                learning_rate=rate,
                loss=loss,
            )
        )
        self.run_state.compiled_steps += meter is None and self.compiled.is_on and size == self.phase_cursor.batch_size

    def _check_losses(self) -> None:
        since = self._losses.steps_since_the_first_bad_one()
        if since is not None:
            self.run_state.outcome, self.run_state.diverged_at = Outcome.DIVERGED, self.run_state.step - since

    def _examine(self, stop: Interruption) -> None:
        run_state = self.run_state
        try:
            point = self.evaluation_hook.evaluate(self.model, run_state, self.phase_cursor, lambda: stop.asked)
        except EvaluationStoppedError:
            return
        self.callbacks.evaluation(point)
        if self.progress is not None:
            self.progress(
                Progress(
                    step=point.step, epoch=point.epoch, epochs=self.plan.epochs, seconds=run_state.seconds, point=point
                )
            )

    def enter_phase(self, index: int, *, start: float | None = None) -> None:
        """Begin a phase of the plan: with a new optimizer, or that of the phase before where it says so.

        Args:
            start: the epoch at which it begins; as planned unless given.
        """
        self.phase_cursor.begin_phase(index, step=self.run_state.step, start=start)
        phase, keeps = self.phase_cursor.phase, index > 0 and self.phase_cursor.phase.keeps_optimizer
        before = self.optimizer if keeps else None
        if not keeps:
            self.optimizer = phase.optimizer(self.model.parameters())
            if isinstance(self.replica, ShardedReplica):
                fit_for_parts(self.optimizer)
        self._step = Step(
            self.task,
            self.model,
            self.optimizer,
            replica=self.replica,
            sam_rho=self.plan.sam_rho,
            compiled=self.compiled,
        )
        self.local_sgd: LocalSGD | None = None
        if phase.copies > 1:
            self.local_sgd = LocalSGD(
                self.task,
                self.plan,
                self.model,
                self.phase_cursor,
                seed=self.seed,
                shard=self.shard,
                before=before,
                steps=self.run_state.step,
                examples=self.run_state.examples,
            )

    def _refuse_optimizers(self) -> None:
        """Make the optimizer of each phase, so that one that does not take the model's weights is found now."""
        kinds = sorted({str(weight.dtype).removeprefix("torch.") for weight in self.model.parameters()})
        is_complex = any(weight.is_complex() for weight in self.model.parameters())
        for phase in self.plan.phases:
            try:
                optimizer = phase.optimizer(self.model.parameters())
                # Torch finds this at the first step.
                if is_complex and any(group.get("fused") for group in optimizer.param_groups):
                    raise TypeError("a fused optimizer takes real numbers only")
            except UserError:
                raise
            except Exception as error:
                raise UserError(
                    f"The optimizer of recipe {self.plan.recipe} does not take this model, whose weights are "
                    f"{' and '.join(kinds)} ({first_line(error)}): use floating-point weights, or another recipe."
                ) from error

    def _spent(self, until: Budget) -> bool:
        return until.spent(steps=self.run_state.step, examples=self.run_state.examples, seconds=self.run_state.seconds)
