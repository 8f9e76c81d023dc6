"""The networks of the claims on generalization: the task's own and those of Keskar et al. 2016, and their run pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from critbatch.claims.effects import network_pair, paired_end
from critbatch.claims.experiments import EVALUATION, TaskSubset, make_line, make_run, make_shift
from critbatch.claims.pool import Job
from critbatch.errors import UserError
from critbatch.records.claims import NetworkPair
from critbatch.records.core import Outcome, Run
from critbatch.records.loss_surface import Sharpness, Shift
from critbatch.tasks.builtin import TASKS
from critbatch.tasks.datasets import is_at_hand
from critbatch.tasks.models import KeskarC1, KeskarC2
from critbatch.tasks.task import Task
from critbatch.tasks.timit import timit_is_at_hand
from critbatch.training.evaluation import Evaluation

# Keskar et al. 2016, table 1: the name of each, its whole training set, and the two batch sizes there.
PAPERS = {
    "keskar-f1": "F1",
    "keskar-f2": "F2",
    "keskar-c1": "C1",
    "keskar-c2": "C2",
    "keskar-c3": "C3",
    "keskar-c4": "C4",
}
SMALL_BATCH, MIN_SMALL_BATCH, LARGE_SHARE = 256, 8, 0.1
# Used where the paper's data are not there: synthetic data of the same shape, not comparable with the paper's numbers.
STAND_IN = {"keskar-f2": "keskar-f2-stand-in"}
# Without `full`: so many examples, with batch sizes in proportion.
REDUCED, REDUCED_OTHERS = {"keskar-f1": 6000, "keskar-c1": 500}, 2000
EPOCHS, REDUCED_EPOCHS = 20.0, 30.0
# A convolutional network needs milliseconds per image on a CPU: it is evaluated less often, on fewer examples.
MAX_MINIMA_EXAMPLES, FEWER_MINIMA_EXAMPLES = 2000, 300
COARSE = Evaluation(growth=1.5, train_examples=1000, validation_examples=1000)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network to be trained with small and with large batches.

    Args:
        name: Name of the task.
        paper: Name in Keskar et al.; empty for another network.
        part: Task to train.
        recipe: Recipe of its runs.
        metric_name: Name of the metric.
        examples: Number of training examples in use.
        of_examples: Number of examples in the whole training set.
        small: Small batch size.
        large: Large batch size.
        epochs: Length of a run.
        folder: Folder of its runs.
        evaluation: When runs are evaluated, and on what.
        minima_examples: Number of examples that the minima are measured on.
        curvature: Whether eigenvalues of the Hessian are measured too.
    """

    name: str
    paper: str = ""
    part: TaskSubset
    recipe: str
    metric_name: str
    examples: int
    of_examples: int
    small: int
    large: int
    epochs: float
    folder: Path
    evaluation: Evaluation = EVALUATION
    minima_examples: int
    curvature: bool = False

    def runs(self, seeds: Sequence[int], pause_at: float | None) -> list[Job]:
        """Jobs of the run pairs: for each seed the small batch size, then the large one."""
        return [
            Job(
                f"{self.name}, batch size {size}, seed {seed}",
                make_run,
                {
                    "part": self.part,
                    "folder": self.folder,
                    "recipe": self.recipe,
                    "batch_size": size,
                    "epochs": self.epochs,
                    "seed": seed,
                    "pause_at": pause_at,
                    "evaluation": self.evaluation,
                },
            )
            for seed in seeds
            for size in (self.small, self.large)
        ]

    def pair(self, runs: Sequence[Run | None]) -> NetworkPair | None:
        """The pairs of completed runs, which come in the order of `runs()`. None stands for a run that was not made."""
        ends = [
            paired_end(small, large)
            for small, large in zip(runs[::2], runs[1::2], strict=True)
            if small is not None and large is not None and small.outcome is large.outcome is Outcome.FINISHED
        ]
        return network_pair(
            [end for end in ends if end is not None],
            task=self.name,
            network=self.paper,
            examples=self.examples,
            of_examples=self.of_examples,
            metric_name=self.metric_name,
        )

    def minima(self, pair: NetworkPair, *, folder: Path, key: str, command: str) -> list[Job]:
        """Jobs that measure the minima: the effect of data shifts on them, and the loss between two of them."""
        ends = [run for end in pair.ends for run in (end.small, end.large)]
        shared = {
            "part": self.part,
            "folder": folder,
            "runs": self.folder,
            "key": key,
            "examples": self.minima_examples,
            "command": command,
        }
        shift = {**shared, "ends": ends, "seed": pair.ends[0].seed, "curvature": self.curvature}
        return [
            Job(f"minima of {self.name}", make_shift, shift),
            Job(f"between minima of {self.name}", make_line, {**shared, "ends": ends[:2]}),
        ]


def own_network(
    task: Task, part: TaskSubset, *, small: int, large: int, epochs: float, minima_examples: int, folder: Path
) -> Network:
    """The task's own model on all its data. The folder's name has the task's fingerprint: a changed task has others."""
    return Network(
        name=task.name,
        part=part,
        recipe=task.recipe,
        metric_name=task.metric_name,
        examples=task.examples,
        of_examples=task.examples,
        small=small,
        large=large,
        epochs=epochs,
        folder=folder / f"own-{epochs:g}-{task.fingerprint()[:8]}",
        minima_examples=minima_examples,
        curvature=True,
    )


def papers_network(name: str, *, full: bool, device: str, folder: Path) -> Network:
    """One of the paper's networks, whole or at reduced size.

    Raises:
        UserError: if the paper has no such network, or its data are not there.
    """
    refuse_unknown([name])
    whole = TaskSubset(name, device=device).build()
    examples = whole.examples if full else min(whole.examples, REDUCED.get(name, REDUCED_OTHERS))
    share = examples / whole.examples
    coarse = isinstance(whole.new_model(0), (KeskarC1, KeskarC2))
    return Network(
        name=name,
        paper=PAPERS.get(name, ""),
        part=TaskSubset(name, None if examples == whole.examples else examples, device),
        recipe=whole.recipe,
        metric_name=whole.metric_name,
        examples=examples,
        of_examples=whole.examples,
        small=SMALL_BATCH if full else max(MIN_SMALL_BATCH, round(SMALL_BATCH * share)),
        large=round(LARGE_SHARE * examples),
        epochs=EPOCHS if full else REDUCED_EPOCHS,
        folder=folder / f"{name}-{examples}",
        evaluation=COARSE if coarse else EVALUATION,
        minima_examples=FEWER_MINIMA_EXAMPLES if coarse else MAX_MINIMA_EXAMPLES,
    )


def refuse_unknown(names: Sequence[str]) -> None:
    """Raise UserError if one of these is not a network of the paper."""
    allowed = (*PAPERS, *STAND_IN.values())
    for name in names:
        if name not in allowed:
            raise UserError(f"The network {name!r} is not one of the paper's: use {', '.join(allowed)}.")


def usual_networks(*, full: bool) -> list[str]:
    """F1 and C1, or with `full` all six, if their data are there; F2 has a stand-in otherwise."""
    names = []
    for name in PAPERS if full else REDUCED:
        entry = TASKS[name]
        has_data = timit_is_at_hand() if entry.data == "own" else is_at_hand(entry.data)
        if has_data or name in STAND_IN:
            names.append(name if has_data else STAND_IN[name])
    return names


def sharpness_of(shift: Shift) -> Sharpness:
    """The sharpness values of a shift record, as a record of their own."""
    return Sharpness(
        setup=shift.setup,
        metric_name=shift.metric_name,
        solutions=shift.sharpness,
        provenance=shift.provenance,
    )
