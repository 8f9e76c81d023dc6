"""State of a run: its limits, its counts and curve, the check for finite losses, and the clock that processes share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from critbatch.arguments import check_fields
from critbatch.errors import UserError
from critbatch.recipes.plan import Plan
from critbatch.records.core import CurvePoint, NoisePoint, Outcome, ReplicaResult, Run, Target
from critbatch.runtime.distributed import Shard, largest_over_processes, sum_over_processes
from critbatch.tasks.sampler import EpochSampler
from critbatch.tasks.task import MODEL, Task

# How far a run may go.


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Where a run stops: at whichever limit comes first. The epochs of its plan are a limit too.

    Args:
        steps: Changes of the weights.
        examples: Training examples, each counted as often as it is seen.
        seconds: Seconds of training, without evaluation.

    Raises:
        UserError: If a limit is not above 0.
    """

    steps: int | None = None
    examples: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "examples", "seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"A budget of {value} {name} allows nothing: use a number above 0.")

    def spent(self, *, steps: int, examples: int, seconds: float) -> bool:
        """Return whether one of the limits is reached."""
        return (
            (self.steps is not None and steps >= self.steps)
            or (self.examples is not None and examples >= self.examples)
            or (self.seconds is not None and seconds >= self.seconds)
        )


NO_BUDGET = Budget()

# Shares of a wall-clock budget that are reserved for the answer and its report. A small budget needs a larger share,
# because on a busy machine they take up to the third number of seconds.
REPORT_SHARE, SMALL_BUDGET_REPORT_SHARE, MAX_SMALL_BUDGET_REPORT_SECONDS = 0.02, 0.15, 10.0


def seconds_for_report(budget: float) -> float:
    """Return the seconds at the end of a wall-clock budget that are reserved for the answer and its report.

    >>> seconds_for_report(30), seconds_for_report(300), seconds_for_report(3600)
    (4.5, 10.0, 72.0)
    """
    return max(REPORT_SHARE * budget, min(MAX_SMALL_BUDGET_REPORT_SECONDS, SMALL_BUDGET_REPORT_SHARE * budget))


@dataclass
class RunState:
    """Counts, curve, noise and outcome of a run so far, for its checkpoints and its `Run` record."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    compile_seconds: float = 0.0
    compiled_steps: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    noise: list[NoisePoint] = field(default_factory=list)
    members: list[ReplicaResult] = field(default_factory=list)
    saved_seconds: float = 0.0  # by copies that could have been trained at the same time
    outcome: Outcome | None = None
    diverged_at: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Convert to plain values, which can be loaded without running code."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "curve": [point.to_json() for point in self.curve],
            "noise": [point.to_json() for point in self.noise],
            "members": [member.to_json() for member in self.members],
            "outcome": self.outcome.value if self.outcome else None,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RunState:
        """Read what `to_plain` wrote, in this version or another. Unknown fields are ignored."""
        plain = {field.name: plain[field.name] for field in fields(cls) if field.name in plain}
        curve = [CurvePoint.from_json(point) for point in plain["curve"]]
        noise = [NoisePoint.from_json(point) for point in plain["noise"]]
        members = [ReplicaResult.from_json(member) for member in plain["members"]]
        outcome = Outcome(plain["outcome"]) if plain["outcome"] else None
        return cls(**plain | {"curve": curve, "noise": noise, "members": members, "outcome": outcome})


# Losses are not checked at every step, because reading them waits for the device.
STEPS_BETWEEN_CHECKS = 64


class LossWatch:
    """Collects the losses of steps, and checks that they are finite. Each process adds its own part of the loss."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self._losses: list[Tensor] = []

    def add(self, losses: Iterable[Tensor]) -> None:
        self._losses.extend(losses)

    @property
    def is_due(self) -> bool:
        return len(self._losses) >= STEPS_BETWEEN_CHECKS

    def steps_since_the_first_bad_one(self) -> int | None:
        """Steps since the first loss after the last call that is not finite: 0 if it is the last; None if none."""
        if not self._losses:
            return None
        losses = torch.stack(self._losses)
        self._losses = []
        if self.shard.world_size > 1:
            sum_over_processes(losses)
        fine = losses.isfinite()
        return None if bool(fine.all()) else len(fine) - 1 - int(fine.int().argmin())


SECONDS_BETWEEN_EXCHANGES = 0.1
MOST_STEPS_BETWEEN_EXCHANGES = 1000


class RunClock:
    """Seconds of training and the request to stop, the same in all processes at each step.

    The processes exchange both now and then, at steps that all know beforehand. Their clocks differ, and Ctrl-C
    reaches them at different moments: a process that acted on its own would leave the others waiting for it.
    """

    def __init__(self, shard: Shard, device: torch.device) -> None:
        self.shard, self.device = shard, device
        self.seconds, self.stop = 0.0, False
        self._started: float | None = None
        self._before = 0.0
        self._step, self._next = 0, 0

    def start(self) -> None:
        self._started, self._before = time.perf_counter(), self.seconds

    def pause(self) -> None:
        self._started = None

    def read_clock(self, *, step: int, stop_requested: bool, always: bool = False) -> float:
        """Return the seconds of training so far: those of the slowest process at the last exchange.

        Args:
            step: Step of the run.
            stop_requested: Whether this process was asked to stop. One is enough.
            always: Exchange now, even if it is not due.
        """
        if step < self._step:  # copies are trained one after the other, each from the same step on
            self._step = self._next = step
        seconds = self._before + time.perf_counter() - self._started if self._started is not None else self.seconds
        if self.shard.world_size == 1:
            self.seconds, self.stop = seconds, stop_requested
        elif always or step >= self._next:
            before = self.seconds
            self.seconds, stop = largest_over_processes([seconds, float(stop_requested)], self.device)
            self.stop = bool(stop)
            pace = (self.seconds - before) / max(1, step - self._step)
            gap = SECONDS_BETWEEN_EXCHANGES / pace if pace > 0 else 1
            self._step, self._next = step, step + int(min(max(gap, 1), MOST_STEPS_BETWEEN_EXCHANGES))
        return self.seconds


class SupportsRecord(Protocol):
    """The parts of a training that its record needs."""

    task: Task
    plan: Plan
    seed: int
    target: Target | None
    interrupted: bool
    noise_every: int
    run_state: RunState
    cursor: EpochSampler


def run_record(training: SupportsRecord) -> Run:
    run_state, plan, target = training.run_state, training.plan, training.target
    reached = run_state.outcome is Outcome.REACHED and target is not None
    return Run(
        task=training.task.name,
        recipe=plan.recipe,
        batch_size=plan.batch_size,
        micro_batch_size=plan.micro_batch_size or plan.batch_size,
        learning_rate=plan.peak,
        seed=training.seed,
        target=target,
        outcome=run_state.outcome or (Outcome.INTERRUPTED if training.interrupted else Outcome.FINISHED),
        crossing=target.crossing(run_state.curve) if reached and target is not None else None,
        steps=run_state.step,
        examples=run_state.examples,
        epochs=training.cursor.position,
        seconds=run_state.seconds,
        evaluation_seconds=run_state.evaluation_seconds,
        compiled_steps=run_state.compiled_steps,
        compile_seconds=run_state.compile_seconds,
        diverged_at=run_state.diverged_at,
        curve=tuple(run_state.curve),
        noise=tuple(run_state.noise),
        noise_every=training.noise_every,
        metric_name=training.task.metric_name,
        options={f"{MODEL}{name}": value for name, value in training.task.model_options.items()},
        replicas=tuple(run_state.members),
        parallel_seconds=run_state.seconds - run_state.saved_seconds if run_state.members else None,
    )
