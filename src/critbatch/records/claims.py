"""Records of the ten claims about batch size: what was measured for each, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from critbatch.records.core import Advice, Estimate, Noise, Provenance, Record, Run, Speed
from critbatch.records.loss_surface import Escape, Landscape, Sharpness, Shift
from critbatch.records.study import Study


class ClaimId(StrEnum):
    """The claims, in the order of the lecture that they come from."""

    BATCHES = "batches"  # an epoch is all batches once, and reshuffling makes new batches
    PATHS = "paths"  # one steady update against twenty noisy ones
    TIME = "time"  # of an update and of an epoch
    OPTIMIZATION = "optimization"  # larger batches train worse in equal epochs
    NOISE = "noise"  # small batches escape from where full-batch descent is stuck
    GENERALIZATION = "generalization"  # if both train equally well, small batches do better on new data
    MINIMA = "minima"  # large batches end in sharper minima, which suffer more from a shift of the data
    SUMMARY = "summary"  # the table of small against large batches
    CHOICE = "choice"  # batch size is a hyper-parameter
    BOTH = "both"  # recipes with the speed of large batches and the result of small ones


class ClaimVerdict(StrEnum):
    """A verdict."""

    HELD = "held"
    NOT_HELD = "not_held"
    UNDECIDED = "undecided"


class Measure(StrEnum):
    """What the effect of a statement is, and therefore at which value there is no effect."""

    RATIO = "ratio"  # no effect at 1
    DIFFERENCE = "difference"  # of metrics or of shares, no effect at 0
    CORRELATION = "correlation"  # no effect at 0
    EXACT = "exact"  # true or false: 1 or 0, without an interval


@dataclass(frozen=True, kw_only=True)
class ClaimTest(Record):
    """A part of a claim that one number decides.

    It is not held if the interval of the effect lies wholly below `margin`, the smallest effect that matters. Otherwise
    it is held if the interval lies wholly above no effect, in the claimed direction. Otherwise it is undecided.
    """

    key: str  # of reports/messages, after "statement_"
    holds: ClaimVerdict
    measure: Measure
    effect: Estimate | None  # its n is the number of seeds, or of starts; None if it could not be measured
    margin: float  # the smallest effect that matters
    main: bool = True  # whether the verdict on the claim depends on it
    subject: str = ""  # the network, recipe, order or shift that it is about, if there are several
    small_batch_size: int | None = None  # the two sizes that were compared
    large_batch_size: int | None = None
    reason: str = ""  # why it is undecided, if not only because of the interval: a key of reports/messages


@dataclass(frozen=True, kw_only=True)
class Claim(Record):
    """The verdict on a claim: held if all its main statements are held, not held if one is not, else undecided."""

    name: ClaimId
    holds: ClaimVerdict
    statements: tuple[ClaimTest, ...]
    reason: str = ""  # why nothing was measured: a key of reports/messages


# --- what was measured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Partition(Record):
    """How one order of the examples divides a few of them into batches."""

    order: str  # a `critbatch.Order`
    batch_size: int
    epochs: tuple[tuple[int, ...], ...]  # the examples of each epoch, in their order


@dataclass(frozen=True, kw_only=True)
class Path(Record):
    """The path of two weights during training: one point more than there are updates."""

    batch_size: int
    learning_rate: float
    places: tuple[tuple[float, float], ...]
    losses: tuple[float, ...]  # over all examples


@dataclass(frozen=True, kw_only=True)
class DirectionSpread(Record):
    """How much the directions of single steps differ at one batch size.

    It is 1 minus the length of the mean of their unit vectors: 0 if all steps have the same direction, 1 if all
    directions are equally likely.
    """

    batch_size: int
    spread: Estimate  # over draws of the examples
    loss: Estimate  # after one epoch, divided by that before; each draw at the best rate of the batch size
    full_over: Estimate | None = None  # `loss` of the full batch divided by that of this batch size, in pairs of draws


@dataclass(frozen=True, kw_only=True)
class Paths(Record):
    """Gradient descent on two weights and a few examples, by batch size."""

    data: str
    weights: tuple[str, str]  # their names
    examples: int
    draws: int
    paths: tuple[Path, ...]  # of the first draw, one epoch
    first: tuple[float, ...]  # values of the first weight in the contour plot
    second: tuple[float, ...]  # values of the second weight
    heights: tuple[tuple[float, ...], ...]  # the loss, one row for each value of the second weight
    spreads: tuple[DirectionSpread, ...]
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class PairedEnd(Record):
    """A run with small and a run with large batches, with the same seed.

    They are compared at the end, and where both are trained equally well.
    """

    seed: int
    small: Run
    large: Run
    level: float  # the training metric that both reached
    small_validation: float  # the validation metric where they reached it
    large_validation: float


@dataclass(frozen=True, kw_only=True)
class NetworkPair(Record):
    """One network trained with small and with large batches. Keskar et al. 2016, arXiv:1609.04836, table 2."""

    task: str
    network: str  # its name in the paper, such as F1; empty for another network
    examples: int  # in the training set that was used
    of_examples: int  # in the whole training set
    metric_name: str
    small_batch_size: int
    large_batch_size: int
    ends: tuple[PairedEnd, ...]
    small_train: Estimate  # metrics at the end, over seeds
    large_train: Estimate
    small_validation: Estimate
    large_validation: Estimate
    difference: Estimate  # small minus large validation metric, at equal training metric, over pairs


class Winner(StrEnum):
    """Which of two batch sizes is better."""

    SMALL = "small"
    LARGE = "large"
    EVEN = "even"  # the intervals overlap
    OPEN = "open"  # one of the two was not measured


@dataclass(frozen=True, kw_only=True)
class SummaryRow(Record):
    """A row of the summary table of small against large batches."""

    key: str  # "update_alone", "update_parallel", "epoch_alone", "epoch_parallel", "gradient", "optimization", ...
    unit: str  # "seconds", "share", "metric"
    small: Estimate | None
    large: Estimate | None
    better: Winner
    expected: Winner  # in the lecture's table


@dataclass(frozen=True, kw_only=True)
class RecipeRow(Record):
    """The result of one recipe at one batch size, tuned in the same way as the others."""

    recipe: str
    batch_size: int
    tuned: bool  # False for the small batch's learning rate at the large batch
    learning_rate: float | None
    runs: int  # at all learning rates
    seeds: int
    reached: int  # of the `seeds` runs at the best rate
    steps: Estimate | None  # to the target
    epochs: Estimate | None
    seconds: Estimate | None  # of training, copies one after the other
    train_metric: Estimate | None  # at the end
    validation_metric: Estimate | None


@dataclass(frozen=True, kw_only=True)
class ClaimsReport(Record):
    """The ten claims on one task: what was measured, and the verdicts."""

    task: str
    unit: str
    examples: int
    metric_name: str
    seeds: int
    small_batch_size: int
    large_batch_size: int
    full: bool  # whether all six networks of Keskar et al. were trained on all their data
    claims: tuple[Claim, ...]
    partitions: tuple[Partition, ...] = ()
    orders: Study | None = None  # the orders of the examples
    paths: Paths | None = None
    speeds: tuple[Speed, ...] = ()  # with one thread, with all threads, on an accelerator
    study: Study | None = None  # batch sizes at equal epochs, steps and seconds
    escapes: tuple[Escape, ...] = ()
    networks: tuple[NetworkPair, ...] = ()
    sharpness: tuple[Sharpness, ...] = ()
    lines: tuple[Landscape, ...] = ()
    shifts: tuple[Shift, ...] = ()
    noise: Noise | None = None
    summary: tuple[SummaryRow, ...] = ()
    advice: Advice | None = None
    recipes: tuple[RecipeRow, ...] = ()
    left: tuple[str, ...] = ()  # parts that were not measured, because of time or an error: keys of reports/messages
    provenance: Provenance
