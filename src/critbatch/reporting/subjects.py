"""What a chapter of the report can be of, and what the records around the loss are called in it."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.errors import UserError
from critbatch.loss_records import (
    CriticalPoint,
    Curvature,
    Escape,
    Landscape,
    Sharpness,
    Shift,
    Solution,
)
from critbatch.records import Advice, Noise, Record, Run, Speed
from critbatch.reporting.voice import Voice
from critbatch.scale_records import Scale
from critbatch.study_records import Fit, Study

LossRecord = Curvature | Sharpness | Landscape | Shift | CriticalPoint | Escape
Single = Advice | Speed | Noise | Study | Fit | Scale | LossRecord
Subject = Single | Sequence[Run]

KINDS = "Advice, Speed, Noise, Run, Study, Fit, Scale, Curvature, Sharpness, Landscape, Shift, CriticalPoint or Escape"


def subjects(records: Sequence[Record]) -> list[Subject]:
    """The records as chapters, in their order; runs of one task together.

    Raises:
        UserError: if there is none, or one of which no chapter can be made.
    """
    if not records:
        raise UserError("There is no record to report: make one with `critbatch advise TASK`.")
    found: list[Subject] = []
    told = [record.speed for record in records if isinstance(record, (Advice, Study))]
    runs: dict[str, list[Run]] = {}
    for record in records:
        if isinstance(record, Run):
            if record.task not in runs:
                runs[record.task] = []
                found.append(runs[record.task])
            runs[record.task].append(record)
        elif isinstance(record, Study) and not record.runs:
            task = record.question.task
            raise UserError(
                f"The study of task {task!r} has no run yet: make some with `critbatch sweep {task}`, then ask again."
            )
        elif isinstance(record, Speed) and record in told:
            continue  # it is a part of another chapter
        elif isinstance(record, Single):
            found.append(record)
        else:
            raise UserError(f"A report cannot be made of a {type(record).__name__}: give {KINDS}.")
    return found


def task_of(record: Subject) -> str:
    if isinstance(record, (Advice, Speed, Noise, Scale, Escape)):
        return record.task
    if isinstance(record, Study):
        return record.question.task
    if isinstance(record, Fit):
        return record.name
    return record.setup.task if isinstance(record, LossRecord) else record[0].task


def name_of(solution: Solution, task: str, voice: Voice) -> str:
    """The solution's label; where it is only that of the task, a word for the weights that were given."""
    return voice("given_weights") if solution.label == task else solution.label
