"""Whether the system has killed a process for want of memory, and the record of a run that ended so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from critbatch.records.core import Outcome, Run

if TYPE_CHECKING:
    from critbatch.campaigns.order import Order
    from critbatch.campaigns.terms import Key

# The control group's own count where there is one, else the whole machine's.
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


def memory_kills() -> int:
    """How many processes the system has killed for want of memory by now; 0 where it does not say."""
    for counter in COUNTERS:
        if counter.is_file():
            for line in counter.read_text(encoding="utf-8").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return 0


def ran_out_of_memory(order: Order, key: Key) -> Run:
    """The record of a run whose process was killed for want of memory: no more is known of it."""
    question = order.question
    return Run(
        task=question.task,
        recipe=question.recipe,
        batch_size=key.batch_size,
        micro_batch_size=key.batch_size,
        learning_rate=key.learning_rate,
        seed=key.seed,
        target=question.target if question.stops_at_target else None,
        outcome=Outcome.OUT_OF_MEMORY,
        crossing=None,
        steps=0,
        examples=0,
        epochs=0.0,
        seconds=0.0,
        evaluation_seconds=0.0,
        curve=(),
        options={**question.fixed, **dict(key.options)},
    )
