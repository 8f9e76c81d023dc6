"""The arms of the recipe study, and one run of one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import torch
from scipy.stats.qmc import Halton

from critbatch.recipes import plan_of, usual_rate
from critbatch.recipes.plan import Plan
from critbatch.tasks.data import Data, Examples, count
from critbatch.tasks.registry import find_task
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation, evaluate, sample
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

SMALL, LARGE = 128, 8192
VALIDATION = 5000  # of the training images, for tuning
TRAIN_SAMPLE = 10_000
CPU = torch.device("cpu")
# Seconds of training that a run has before the next one's turn: what slows the machine slows all runs of a seed.
SLICE = 0.5


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A recipe at a batch size.

    Args:
        told: how tables call it.
        recipe: by its name.
        batch_size: at the start.
        options: of the recipe, other than batch size, rate and epochs.
        centre: of the grid of learning rates; None where nothing is tuned.
        rate_of: another arm, whose best learning rate it takes.
        rate_factor: times this.
        epochs_factor: times the epochs of the study.
        trials: instead of a grid, so many draws of a quasi-random search, as in Nado et al. 2021.
        second_rate_of: another arm, half of whose best learning rate the small batches of SWAP's copies take.
        looks_often: whether the recipe acts on evaluations, which then are many.
    """

    told: str
    recipe: str
    batch_size: int
    options: dict[str, Any] = field(default_factory=dict)
    centre: float | None = None
    rate_of: str | None = None
    rate_factor: float = 1.0
    epochs_factor: float = 1.0
    trials: int = 0
    second_rate_of: str | None = None
    looks_often: bool = False


def _usual(recipe: str, told: str, batch_size: int = LARGE, **more: Any) -> Arm:
    """The recipe as it stands, its grid around its usual rate."""
    return Arm(told=told, recipe=recipe, batch_size=batch_size, centre=usual_rate(recipe, batch_size), **more)


LINEAR = {"lr_decay": "linear"}
NADO = {"warmup_epochs": 1.0, "lr_decay": "linear"}
REFERENCE, LARGE_SGD, SWAP, SWAP_TOO = "sgd-small", "nesterov-large", "swap2020", "swap2020-second-rate"
# LARS: biases take plain steps at the full rate, so the rate is made small and the trust coefficient large; only their
# product counts for the other weights. 30 x 0.001 of table 4 is 1.5 x 0.02.
TRUST = 0.02
LARS_CENTRE = usual_rate("lars2017", LARGE) * 0.001 / TRUST

# Four times the runs that the others have.
TRIALS = 36

ARMS: dict[str, Arm] = {
    REFERENCE: _usual("sgd", "SGD, small batch, linear decay", SMALL, options=LINEAR),
    "sgd-small-constant": _usual("sgd", "SGD, small batch, constant rate", SMALL),
    "adam-small": _usual("adam", "Adam, small batch, linear decay", SMALL, options=LINEAR),
    "sgd-large-same-rate": Arm(
        told="SGD, large batch, the small batch's rate", recipe="sgd", batch_size=LARGE, options=LINEAR,
        rate_of=REFERENCE,
    ),
    "sgd-large-scaled-rate": Arm(
        told="SGD, large batch, that rate x 64, no warm-up", recipe="sgd", batch_size=LARGE, options=LINEAR,
        rate_of=REFERENCE, rate_factor=LARGE / SMALL,
    ),
    "goyal2017": _usual("goyal2017", "`goyal2017`"),
    LARGE_SGD: _usual("sgd", "Nesterov SGD, warm-up, linear decay", options=NADO | {"nesterov": True}),
    "adam-large": _usual("adam", "Adam, warm-up, linear decay", options=NADO),
    "lars2017": Arm(
        told=f"`lars2017`, trust coefficient {TRUST}", recipe="lars2017", batch_size=LARGE,
        options={"trust_coefficient": TRUST}, centre=LARS_CENTRE,
    ),
    "akiba2017": _usual("akiba2017", "`akiba2017`"),
    "lamb2020": _usual("lamb2020", "`lamb2020`"),
    SWAP: _usual("swap2020", "`swap2020`, 8 copies", options={"small_batch_size": SMALL}, looks_often=True),
    SWAP_TOO: _usual(
        "swap2020", "`swap2020`, the copies at half the small batch's rate", options={"small_batch_size": SMALL},
        second_rate_of=REFERENCE, looks_often=True,
    ),
    "smith2017": _usual("smith2017", "`smith2017`, to 8,192 at most", SMALL, options={"largest_batch": LARGE}),
    "adaptive": _usual(
        "adaptive", "`adaptive`, to 8,192 at most", SMALL, options={"largest_batch": LARGE}, looks_often=True
    ),
    "post-local-sgd": _usual("post-local-sgd", "`post-local-sgd`, 8 copies"),
    "nesterov-large-search": Arm(
        told=f"Nesterov SGD, {TRIALS} trials of a search", recipe="sgd", batch_size=LARGE, options={"nesterov": True},
        trials=TRIALS,
    ),
    "adam-large-search": Arm(
        told=f"Adam, {TRIALS} trials of a search", recipe="adam", batch_size=LARGE, trials=TRIALS
    ),
    "nesterov-large-longer": Arm(
        told="Nesterov SGD, warm-up, linear decay, four times the epochs", recipe="sgd", batch_size=LARGE,
        options=NADO | {"nesterov": True, "warmup_epochs": 4.0}, rate_of=LARGE_SGD, epochs_factor=4.0,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all runs of a study share."""

    task: str
    epochs: float = 10.0
    examples: int | None = None  # of the training set; fewer for a quick look
    grid: int = 7  # learning rates at first; two more follow
    tuning_seed: int = 100
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"seeds": list(self.seeds)}


@dataclass(frozen=True)
class Split:
    """The task, with part of the training images as its validation set, and the test set apart."""

    task: Task
    test: Data


@cache
def split(name: str, examples: int | None) -> Split:
    """5,000 training images, the last of a random order, become the validation set."""
    whole = find_task(name)
    assert isinstance(whole.train, Examples)
    order = torch.randperm(count(whole.train), generator=torch.Generator().manual_seed(0))
    train, held = order[:-VALIDATION], order[-VALIDATION:]
    parts = [Examples(*whole.train.take(indices.sort().values)) for indices in (train[:examples], held)]
    return Split(replace(whole, train=parts[0], validation=parts[1]), whole.validation)


def plan(arm: Arm, rate: float, epochs: float) -> Plan:
    return plan_of(
        arm.recipe,
        batch_size=arm.batch_size,
        learning_rate=rate,
        epochs=epochs * arm.epochs_factor,
        **arm.options,
    )


def begin(setting: Setting, arm: Arm, rate: float, seed: int) -> Training:
    """A run that has not made a step yet."""
    # What a recipe acts on is looked at often: the training accuracy that ends SWAP's first phase, the noise scale.
    looks = Evaluation(
        growth=1.1 if arm.looks_often else 3.0,
        validation_examples=1000,
        train_examples=TRAIN_SAMPLE if arm.recipe == "swap2020" else 1000,
    )
    task = split(setting.task, setting.examples).task
    plans = plan(arm, rate, setting.epochs)
    return Training(task, plans, seed=seed, device=CPU, evaluation=looks, compile=False)


def advance_in_turn(trainings: Iterable[Training]) -> None:
    """All of them to their end, a slice each in turn."""
    going = list(trainings)
    while going:
        left = []
        for training in going:
            outcome = training.advance(Budget(seconds=training.run_state.seconds + SLICE))
            if training.interrupted:
                raise KeyboardInterrupt
            if outcome is None:
                left.append(training)
        going = left


def told(setting: Setting, training: Training, *, test: bool) -> dict[str, Any]:
    """The numbers of a run that has ended; those of the test set only where they are asked for."""
    parts = split(setting.task, setting.examples)
    run = training.record()
    device, model, task = training.device, training.model, parts.task

    def numbers(data: BatchGatherer, indices: torch.Tensor, of: torch.nn.Module = model) -> tuple[float | None, float]:
        loss, accuracy = evaluate(task, of, data, indices)
        return (loss if math.isfinite(loss) else None), accuracy

    train_loss, train_accuracy = numbers(training.source, sample(task.examples, TRAIN_SAMPLE))
    held = BatchGatherer(task.validation, device)
    validation_loss, validation_accuracy = numbers(held, sample(count(task.validation), None))
    found: dict[str, Any] = {
        "outcome": run.outcome.value,
        "diverged_at": run.diverged_at,
        "steps": run.steps,
        "epochs": round(run.epochs, 4),
        "examples": run.examples,
        "seconds": round(run.seconds, 4),
        "parallel_seconds": None if run.parallel_seconds is None else round(run.parallel_seconds, 4),
        "last_batch_size": training.phase_cursor.batch_size,
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
    }
    if test:
        source, everything = BatchGatherer(parts.test, device), sample(count(parts.test), None)
        found["test_loss"], found["test_accuracy"] = numbers(source, everything)
        if training.local_sgd is not None and run.replicas:
            ends = [numbers(source, everything, member.model)[1] for member in training.local_sgd.members]
            # Copies that were averaged before the end are no models of their own.
            found["members_test_accuracy"] = ends if training.phase_cursor.phase.average_every is None else None
    return found


def settled(name: str, tuned: dict[str, dict[str, Any]]) -> Arm:
    """The arm, with the options that its tuning found, and what it takes from the tuning of another."""
    arm = ARMS[name]
    if arm.second_rate_of is not None:
        rate = tuned[arm.second_rate_of]["learning_rate"]
        return replace(arm, options=arm.options | {"small_learning_rate": rate / 2})
    return replace(arm, options=arm.options | tuned.get(name, {}).get("options", {}))


def search(name: str, epochs: float) -> list[tuple[Arm, float]]:
    """The trials of an arm: rate, momentum (Adam: both betas), warm-up and decay, by a scrambled Halton sequence.

    As in Nado et al. 2021, arXiv:2102.06356, and Shallue et al. 2018, arXiv:1811.03600, rate and 1 - momentum are drawn
    evenly in their logarithms. The ranges were set once, after the grids of MNIST had been seen.
    """
    arm = ARMS[name]
    trials = []
    for a, b, c, d, e in Halton(5, seed=0).random(arm.trials).tolist():
        options: dict[str, Any] = {
            "warmup_epochs": round(0.5 * epochs * c, 3),
            "decay": ("linear", "cosine", "polynomial")[int(3 * d)],
        }
        if arm.recipe == "sgd":
            rate = between(0.03, 1.5, a)
            options["momentum"] = round(1 - between(0.02, 0.5, b), 4)
        else:
            rate = between(0.003, 0.1, a)
            options["betas"] = [round(1 - between(0.02, 0.5, b), 4), round(1 - between(0.001, 0.1, e), 5)]
        trials.append((replace(arm, options=arm.options | options), float(f"{rate:.4g}")))
    return trials


def between(low: float, high: float, share: float) -> float:
    """Even in the logarithm."""
    return low * (high / low) ** share


def tuning_run(setting: Setting, name: str, arm: Arm, rate: float) -> dict[str, Any]:
    """One run with the seed for tuning. The test set is not looked at."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    training = begin(setting, arm, rate, setting.tuning_seed)
    advance_in_turn([training])
    kept = {"arm": name, "learning_rate": rate, "seed": setting.tuning_seed, "part": "tuning"}
    if arm.trials:
        kept["options"] = arm.options
    return kept | told(setting, training, test=False) | {"wall_seconds": round(time.perf_counter() - started, 3)}


def final_round(
    setting: Setting,
    arms: dict[str, tuple[Arm, float]],
    seed: int,
    say: Callable[[str], None],
    *,
    beside: tuple[Arm, float],
) -> list[dict[str, Any]]:
    """One run of each arm with the same seed, in turns of half a second.

    The reference runs along wherever it was not asked for, so that its time is known from the same minutes.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    names = list(arms)
    names = names[seed % len(names) :] + names[: seed % len(names)]
    trainings = {name: begin(setting, *arms[name], seed) for name in names}
    reference = trainings.get(REFERENCE) or begin(setting, *beside, seed)
    advance_in_turn(trainings.values() if REFERENCE in trainings else [reference, *trainings.values()])
    wall = round(time.perf_counter() - started, 3)
    say(f"seed {seed}: {len(names)} arms in {wall:.0f} s")
    return [
        {"arm": name, "learning_rate": arms[name][1], "seed": seed, "part": "final"}
        | told(setting, training, test=True)
        | {"reference_seconds": round(reference.run_state.seconds, 4), "round_seconds": wall}
        for name, training in trainings.items()
    ]
