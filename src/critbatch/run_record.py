"""What is known of a run by now, as a record."""

from __future__ import annotations

from typing import Protocol

from critbatch.ledger import Ledger
from critbatch.recipes.plan import Plan
from critbatch.records.core import Outcome, Run, Target
from critbatch.tasks.sampler import Cursor
from critbatch.tasks.task import Task


class Recorded(Protocol):
    """What of a run goes into its record."""

    task: Task
    plan: Plan
    seed: int
    target: Target | None
    interrupted: bool
    noise_every: int
    ledger: Ledger
    cursor: Cursor


def run_of(training: Recorded) -> Run:
    ledger, plan, target = training.ledger, training.plan, training.target
    reached = ledger.outcome is Outcome.REACHED and target is not None
    return Run(
        task=training.task.name,
        recipe=plan.recipe,
        batch_size=plan.batch_size,
        micro_batch_size=plan.micro_batch_size or plan.batch_size,
        learning_rate=plan.peak,
        seed=training.seed,
        target=target,
        outcome=ledger.outcome or (Outcome.INTERRUPTED if training.interrupted else Outcome.FINISHED),
        crossing=target.crossing(ledger.curve) if reached and target is not None else None,
        steps=ledger.step,
        examples=ledger.examples,
        epochs=training.cursor.position,
        seconds=ledger.seconds,
        evaluation_seconds=ledger.evaluation_seconds,
        compiled_steps=ledger.compiled_steps,
        compile_seconds=ledger.compile_seconds,
        diverged_at=ledger.diverged_at,
        curve=tuple(ledger.curve),
        noise=tuple(ledger.noise),
        noise_every=training.noise_every,
        metric_name=training.task.metric_name,
        members=tuple(ledger.members),
        parallel_seconds=ledger.seconds - ledger.saved_seconds if ledger.members else None,
    )
