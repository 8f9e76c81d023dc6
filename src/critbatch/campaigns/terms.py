"""What the runs of a study share, what tells them apart, and which is better."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field

from critbatch.records import Record, Run, Target


@dataclass(frozen=True, kw_only=True)
class Terms(Record):
    """What runs must share so that they can be compared: one Optuna study holds the runs of the same terms.

    Args:
        task: its name.
        fingerprint: of the task's model and data.
        recipe: its name.
        target: what ended the runs; None where nothing but their length did.
        epochs: the length of a run that does not reach its target.
        settings: whatever else moves the result, such as the kind of device or how often a run is evaluated.
    """

    task: str
    fingerprint: str
    recipe: str
    target: Target | None
    epochs: float
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        ordered = json.dumps(json.loads(self.to_json()), sort_keys=True)
        return hashlib.sha256(ordered.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Key:
    """Which run of the same terms it is.

    Args:
        stage: what the run is for: runs of the same numbers that were made for different ends are kept apart.
    """

    batch_size: int
    learning_rate: float
    seed: int
    stage: str = "sweep"

    @property
    def digest(self) -> str:
        words = f"{self.stage} {self.batch_size} {float(self.learning_rate).hex()} {self.seed}"
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"batch size {self.batch_size}, learning rate {self.learning_rate:g}, seed {self.seed}"


def lowest_validation_loss(run: Run) -> float:
    """Infinite where there is none."""
    return min((point.validation_loss for point in run.curve if math.isfinite(point.validation_loss)), default=math.inf)


def score(run: Run) -> float:
    """What Optuna minimizes: steps to the target, infinite if it was missed; or without one, the lowest loss."""
    if run.target is None:
        return lowest_validation_loss(run)
    return run.crossing.step if run.crossing is not None else math.inf
