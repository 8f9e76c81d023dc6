"""Makes the run of a key: its plan, its length, its checkpoint, and its end if it is far behind others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from critbatch.campaigns.halving import PARTS, WHOLE, Report, standing
from critbatch.campaigns.settings import planned
from critbatch.campaigns.terms import Key
from critbatch.records.core import Run
from critbatch.records.study import Question
from critbatch.runtime.progress import Progress
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training


@dataclass(frozen=True)
class Maker:
    """All that the runs of a study have in common.

    Args:
        lengths: epochs of a run by its batch size.
        compiled: as that of `Training`.
    """

    task: Task
    question: Question
    lengths: dict[int, float]
    evaluation: Evaluation
    device: torch.device
    compiled: bool | None

    def make(
        self,
        key: Key,
        checkpoint: Path,
        *,
        pause_at: float | None,
        progress: Callable[[Progress], None],
        report: Report | None,
    ) -> Run:
        """The run of `key`, from its checkpoint where there is one.

        Args:
            pause_at: a value of `time.monotonic()` at which it stops, to go on another time.
            report: where the study stops runs early: asked on the way whether this one is hopeless.
        """
        question, options = self.question, {**self.question.fixed, **dict(key.options)}
        length = self.lengths[key.batch_size]
        plan = planned(
            question.recipe,
            batch_size=key.batch_size,
            learning_rate=key.learning_rate,
            epochs=length,
            options=options,
        )
        training = Training(
            self.task,
            plan,
            seed=key.seed,
            device=self.device,
            target=question.target if question.stops_at_target else None,
            evaluation=self.evaluation,
            checkpoint=checkpoint,
            keeps_checkpoint=True,
            compiled=self.compiled,
            progress=progress,
        )
        behind = report is not None and self._falls_behind(training, length, report, pause_at)
        if not behind and not training.interrupted:
            training.advance(pause_at=pause_at)
        return replace(training.record(), options=dict(options), stopped_early=behind)

    def _falls_behind(self, training: Training, length: float, report: Report, pause_at: float | None) -> bool:
        for part in PARTS:
            examples = max(1, int(length * self.task.examples * part / WHOLE))
            if training.advance(Budget(examples=examples), pause_at=pause_at) is not None:
                return False
            if report(part, standing(self.question, training.record())):
                return True
        return False
