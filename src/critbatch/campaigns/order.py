"""What a worker is told, wherever it is: the task, the question, and where the runs are kept."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from critbatch.campaigns.making import Maker
from critbatch.campaigns.terms import Terms
from critbatch.errors import UserError
from critbatch.records.study import Question
from critbatch.runtime.device import pick_device, use_threads
from critbatch.tasks.registry import find_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that is needed to take part in a study.

    Args:
        task: or its name, which a worker finds again.
        terms: of the store.
        lengths: epochs of a run by its batch size.
        device: its name; of several accelerators of one kind each worker takes the next.
        folder, url: of the store.
        threads: of torch; None for its own choice.
        compiled: as that of `Training`.
    """

    task: Task | str
    question: Question
    terms: Terms
    lengths: dict[int, float]
    evaluation: Evaluation
    device: str
    folder: Path
    url: str | None
    threads: int | None
    compiled: bool | None

    def maker(self) -> Maker:
        """The task found and the device picked, in the process that will make runs."""
        use_threads(self.threads)
        return Maker(
            task=find_task(self.task) if isinstance(self.task, str) else self.task,
            question=self.question,
            lengths=self.lengths,
            evaluation=self.evaluation,
            device=pick_device(self.device),
            compiled=self.compiled,
        )

    def packed(self) -> bytes:
        """For another process. A task of a notebook or script goes with its code.

        Raises:
            UserError: if the task cannot be sent.
        """
        import cloudpickle

        try:
            return bytes(cloudpickle.dumps(self))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise UserError(
                f"The task {self.question.task!r} cannot be sent to other processes ({error}): give its name, such as "
                "path/to/file.py:task, or use one worker."
            ) from error
