"""Keys of studies and runs, and summaries of runs."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field

from critbatch.arguments import current_options, first_options
from critbatch.records.core import VERSION_FIELD, OptionValue, Outcome, Record, Run, Target


@dataclass(frozen=True, kw_only=True)
class StudyKey(Record):
    """What the runs of one study share, so that they can be compared.

    Args:
        task: its name.
        fingerprint: of the task's model and data.
        parts: of the fingerprint, by what each is of: to say what has changed. They tell no terms apart.
        recipe: its name.
        target: what ended the runs; None where nothing but their length did.
        judged_by: the target that they are looked at for, which need not end them. It tells no terms apart.
        epochs: the length of a run that does not reach its target; None where `settings` say it.
        settings: whatever else moves the result, such as the kind of device or how often a run is evaluated.
    """

    task: str
    fingerprint: str
    parts: dict[str, str] = field(default_factory=dict)
    recipe: str
    target: Target | None
    judged_by: Target | None = None
    epochs: float | None
    settings: dict[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", current_options(self.settings))

    @property
    def digest(self) -> str:
        fields = json.loads(self.to_json())
        del fields["parts"], fields["judged_by"], fields[VERSION_FIELD]
        fields["settings"] = first_options(fields["settings"])
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """The key of a run within a study.

    Args:
        stage: what the run is for: runs of the same numbers that were made for different ends are kept apart.
        options: of recipe and plan that differ from run to run, sorted by name.
    """

    batch_size: int
    learning_rate: float
    seed: int
    stage: str = "sweep"
    options: tuple[tuple[str, OptionValue], ...] = ()

    def __post_init__(self) -> None:
        if self.options:
            object.__setattr__(self, "options", tuple(sorted(current_options(dict(self.options)).items())))

    @property
    def digest(self) -> str:
        text = f"{self.stage} {self.batch_size} {float(self.learning_rate).hex()} {self.seed}"
        text += f" {tuple(sorted(first_options(dict(self.options)).items()))!r}" if self.options else ""
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps([self.batch_size, self.learning_rate, self.seed, self.stage, self.options])

    @classmethod
    def from_json(cls, text: str) -> RunKey:
        batch_size, learning_rate, seed, stage, options = json.loads(text)
        option_pairs = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in options)
        return cls(batch_size=batch_size, learning_rate=learning_rate, seed=seed, stage=stage, options=option_pairs)

    def __str__(self) -> str:
        options = "".join(f", {name}={value}" for name, value in self.options)
        return f"batch size {self.batch_size}, learning rate {self.learning_rate:g}{options}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class RunSummary(Record):
    """The result of a run in a few numbers: enough to choose the next run, without its curve.

    Args:
        score: as `score`.
        loss: as `lowest_validation_loss`.
        metric: the highest on the validation set; minus infinity where there is none.
        wall_seconds: training, evaluation and compilation.
        judged_by: the target that `steps_to_target` and `crossing_seconds` are of, which need not have ended the run.
        steps_to_target: infinite where it was missed, or there is none.
        crossing_seconds: of training, at the target; None likewise.
    """

    outcome: Outcome
    score: float
    loss: float
    metric: float
    steps: int
    examples: int
    seconds: float
    wall_seconds: float
    judged_by: Target | None
    steps_to_target: float
    crossing_seconds: float | None
    stopped_early: bool = False

    @property
    def failed(self) -> bool:
        return self.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)

    @property
    def missed(self) -> bool:
        return math.isinf(self.steps_to_target)


def summary_of(run: Run, *, target: Target | None) -> RunSummary:
    """The summary of a run with respect to a target."""
    crossing = run.crossing if target == run.target else target.crossing(run.curve) if target is not None else None
    return RunSummary(
        outcome=run.outcome,
        score=score(run),
        loss=lowest_validation_loss(run),
        metric=max((p.validation_metric for p in run.curve if math.isfinite(p.validation_metric)), default=-math.inf),
        steps=run.steps,
        examples=run.examples,
        seconds=run.seconds,
        wall_seconds=run.seconds + run.evaluation_seconds + run.compile_seconds,
        judged_by=target,
        steps_to_target=crossing.step if crossing is not None else math.inf,
        crossing_seconds=crossing.seconds if crossing is not None else None,
        stopped_early=run.pruned,
    )


def lowest_validation_loss(run: Run) -> float:
    """The lowest finite validation loss of a run; infinite if there is none."""
    return min((point.validation_loss for point in run.curve if math.isfinite(point.validation_loss)), default=math.inf)


def score(run: Run) -> float:
    """Steps to the target, infinite if the run missed it; without a target, the lowest validation loss."""
    if run.target is None:
        return lowest_validation_loss(run)
    return run.crossing.step if run.crossing is not None else math.inf
