"""Records of the lecture on batch size: its ten claims, what was measured for each, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from critbatch.records.core import Advice, Estimate, Noise, Provenance, Record, Run, Speed
from critbatch.records.loss_surface import Escape, Landscape, Sharpness, Shift
from critbatch.records.study import Study


class ClaimName(StrEnum):
    """The claims, in the lecture's order."""

    BATCHES = "batches"  # an epoch is all batches once, and reshuffling makes new ones
    PATHS = "paths"  # one steady update against twenty noisy ones
    TIME = "time"  # of an update and of an epoch
    OPTIMIZATION = "optimization"  # larger batches train worse in equal epochs
    NOISE = "noise"  # small batches get on where full-batch descent is stuck
    GENERALIZATION = "generalization"  # as well trained, small batches do better on new data
    MINIMA = "minima"  # large batches end in sharper minima, which suffer more from a shift
    SUMMARY = "summary"  # the table of small against large
    CHOICE = "choice"  # batch size is a hyper-parameter
    BOTH = "both"  # recipes that have the speed of large batches and the result of small ones


class Holds(StrEnum):
    HELD = "held"
    NOT_HELD = "not_held"
    UNDECIDED = "undecided"


class Measure(StrEnum):
    """What the effect of a statement is, and so at which value there is none."""

    RATIO = "ratio"  # none at 1
    DIFFERENCE = "difference"  # of metrics or of shares, none at 0
    CORRELATION = "correlation"  # none at 0
    EXACT = "exact"  # true or false: 1 or 0, without an interval


@dataclass(frozen=True, kw_only=True)
class Statement(Record):
    """A part of a claim that one number decides.

    It is not held if the interval of the effect lies wholly below `margin`, the smallest effect that matters, held if
    it lies wholly above that of no effect in the direction claimed, and undecided else.
    """

    key: str  # of reports/messages, after "statement_"
    holds: Holds
    measure: Measure
    effect: Estimate | None  # its n is the number of seeds, or of starts; None where it could not be measured
    margin: float
    main: bool = True  # whether the claim stands or falls with it
    subject: str = ""  # a network, a recipe, an order, a shift: what it is of, where there are several
    small_batch_size: int | None = None  # that were compared
    large_batch_size: int | None = None
    reason: str = ""  # why it is undecided where an interval is not all that is missing: a key of reports/messages


@dataclass(frozen=True, kw_only=True)
class Claim(Record):
    """What became of a claim: held if all its main statements are, not held if one is not, undecided else."""

    name: ClaimName
    holds: Holds
    statements: tuple[Statement, ...]
    reason: str = ""  # why nothing was measured: a key of reports/messages


# --- what was measured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Partition(Record):
    """How one way of shuffling puts a few examples into batches."""

    order: str  # of `critbatch.Order`
    batch_size: int
    epochs: tuple[tuple[int, ...], ...]  # the examples of each epoch in the order they are taken


@dataclass(frozen=True, kw_only=True)
class Path(Record):
    """The way of two weights, one point more than there are updates."""

    batch_size: int
    learning_rate: float
    places: tuple[tuple[float, float], ...]
    losses: tuple[float, ...]  # over all examples


@dataclass(frozen=True, kw_only=True)
class DirectionSpread(Record):
    """How unsteady the steps of a batch size are: 1 less the length of the mean of their unit vectors, at one place.

    0 where all steps have one direction, 1 where they point everywhere alike.
    """

    batch_size: int
    spread: Estimate  # over draws of the examples
    loss: Estimate  # after one epoch over that before it, each draw at the batch size's own best rate
    full_over: Estimate | None = None  # that of the full batch over this one, in pairs of draws


@dataclass(frozen=True, kw_only=True)
class Paths(Record):
    """Gradient descent on two weights and a few examples, by batch size."""

    data: str
    weights: tuple[str, str]  # what they are
    examples: int
    draws: int
    paths: tuple[Path, ...]  # of the first draw, one epoch
    first: tuple[float, ...]  # of the contours: values of the first weight
    second: tuple[float, ...]
    heights: tuple[tuple[float, ...], ...]  # the loss, a row for each value of the second weight
    spreads: tuple[DirectionSpread, ...]
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class PairedEnd(Record):
    """A run with small and one with large batches, of one seed, in the end and where both are trained alike."""

    seed: int
    small: Run
    large: Run
    level: float  # the training metric that both came to
    small_validation: float  # the validation metric where they came to it
    large_validation: float


@dataclass(frozen=True, kw_only=True)
class NetworkPair(Record):
    """One network trained with small and with large batches. Keskar et al. 2016, arXiv:1609.04836, table 2."""

    task: str
    network: str  # the paper's name for it, as F1; empty for another
    examples: int  # of the training set that was used
    of_examples: int  # that there are
    metric_name: str
    small_batch_size: int
    large_batch_size: int
    ends: tuple[PairedEnd, ...]
    small_train: Estimate  # metrics in the end, over seeds
    large_train: Estimate
    small_validation: Estimate
    large_validation: Estimate
    difference: Estimate  # of the validation metrics at equal training metric, small less large, over pairs


class Better(StrEnum):
    SMALL = "small"
    LARGE = "large"
    EVEN = "even"  # the intervals overlap
    OPEN = "open"  # one of the two was not measured


@dataclass(frozen=True, kw_only=True)
class SummaryRow(Record):
    """A row of the lecture's last table."""

    key: str  # "update_alone", "update_parallel", "epoch_alone", "epoch_parallel", "gradient", "optimization", ...
    unit: str  # "seconds", "share", "metric"
    small: Estimate | None
    large: Estimate | None
    better: Better
    expected: Better  # in the lecture's table


@dataclass(frozen=True, kw_only=True)
class RecipeRow(Record):
    """What one recipe brings at one batch size, tuned like the others."""

    recipe: str
    batch_size: int
    tuned: bool  # False for the small batch's rate at the large batch
    learning_rate: float | None
    runs: int  # at all rates
    seeds: int
    reached: int  # of `seeds` runs at that rate
    steps: Estimate | None  # to the target
    epochs: Estimate | None
    seconds: Estimate | None  # of training, copies one after the other
    train_metric: Estimate | None  # in the end
    validation_metric: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Lecture(Record):
    """Every claim of the lecture on one task: what was measured, and whether it held."""

    task: str
    unit: str
    examples: int
    metric_name: str
    seeds: int
    small_batch_size: int
    large_batch_size: int
    full: bool
    claims: tuple[Claim, ...]
    partitions: tuple[Partition, ...] = ()
    orders: Study | None = None  # the ways of shuffling
    paths: Paths | None = None
    speeds: tuple[Speed, ...] = ()  # with one thread, with all, on an accelerator
    study: Study | None = None  # batch sizes at three budgets
    escapes: tuple[Escape, ...] = ()
    networks: tuple[NetworkPair, ...] = ()
    sharpness: tuple[Sharpness, ...] = ()
    lines: tuple[Landscape, ...] = ()
    shifts: tuple[Shift, ...] = ()
    noise: Noise | None = None
    summary: tuple[SummaryRow, ...] = ()
    advice: Advice | None = None
    recipes: tuple[RecipeRow, ...] = ()
    left: tuple[str, ...] = ()  # parts that time did not allow, or that failed: keys of reports/messages
    provenance: Provenance
