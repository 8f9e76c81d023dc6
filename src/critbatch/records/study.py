"""What studies of many runs ask and tell: frozen records, as those of `records.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from critbatch.records.core import Estimate, Provenance, Record, Run, Setting, Speed, Target

# --- the study -------------------------------------------------------------------------------------------------------


class Search(StrEnum):
    """How the learning rates of a batch size are chosen."""

    GIVEN = "given"  # those of the question, each with each seed
    WIDENING = "widening"  # those of the question, and a grid around the usual rate until the best is not at its edge
    TPE = "tpe"  # Optuna's samplers
    GP = "gp"
    CMAES = "cmaes"
    QMC = "qmc"
    RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class Question(Record):
    """What a sweep tries: every batch size with learning rates that are given or searched for, and every seed.

    A run is as long as the longest of `epochs`, `steps` and `seconds` that are given.
    """

    task: str
    fingerprint: str  # of the task's model and data
    recipe: str
    batch_sizes: tuple[int, ...]
    search: Search = Search.GIVEN
    learning_rates: tuple[float, ...] = ()  # at all batch sizes; those that are searched for come to them
    trials: int | None = None  # rates for each batch size, where a sampler of Optuna's chooses them
    seeds: tuple[int, ...]
    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None  # of training, by the clock of the study's machine
    target: Target | None
    stops_at_target: bool = True
    stops_early: bool = False  # runs that are far behind others of their batch size are ended, by successive halving
    fixed: dict[str, Setting] = field(default_factory=dict)  # options of recipe and plan, for all runs
    varied: dict[str, tuple[Setting, ...]] = field(default_factory=dict)  # options that are tried, each with each rate

    def __post_init__(self) -> None:
        self._read_old_options("fixed")
        self._read_old_options("varied")


@dataclass(frozen=True, kw_only=True)
class Study(Record):
    """A sweep, finished or half done."""

    question: Question
    unit: str
    examples: int
    runs: tuple[Run, ...] = ()
    left: int = 0  # runs not made yet, as far as is known
    speed: Speed | None = None
    analysis: Analysis | None = None
    provenance: Provenance


# --- what it says ----------------------------------------------------------------------------------------------------


class Regime(StrEnum):
    """What a larger batch does to steps to the target. Shallue et al. 2018, arXiv:1811.03600, section 4.1."""

    PERFECT_SCALING = "perfect_scaling"  # twice the batch, half the steps
    DIMINISHING_RETURNS = "diminishing_returns"
    MAXIMAL_PARALLELISM = "maximal_parallelism"  # a larger batch saves no step


@dataclass(frozen=True, kw_only=True)
class GoalPoint(Record):
    """A run, one's own or a published one, as seen from its target: one of `steps`, `epochs`, `examples` at least."""

    batch_size: int
    steps: float | None = None  # to the target; where `censored`, so many were not enough
    epochs: float | None = None
    examples: float | None = None  # seen, each as often as it was
    censored: bool = False
    seed: int | None = None
    learning_rate: float | None = None
    step_seconds: float | None = None
    devices: int | None = None


@dataclass(frozen=True, kw_only=True)
class SizeResult(Record):
    """What was found at one batch size, with the learning rate (and other settings) that is best there."""

    batch_size: int
    runs: int  # at all rates
    rates: int  # how many were tried
    diverged: int = 0  # of `runs`
    out_of_memory: int = 0
    learning_rate: float | None = None  # the best; None where no rate is known, or no run came to the target
    options: dict[str, Setting] = field(default_factory=dict)  # that were varied: the best
    usable_rates: tuple[float, float] | None = None  # from which to which rate runs reach it in at most twice the steps
    at_edge: bool = False  # the best rate is the smallest or the largest that was tried
    seeds: int = 0  # runs at the best rate
    reached: int = 0  # of `seeds`
    steps: Estimate | None = None  # to the target, at the best rate; None where it was not reached
    bound: float | None = None  # the most steps that were not enough, where it was not reached
    examples: Estimate | None = None
    epochs: Estimate | None = None
    seconds: Estimate | None = None
    regime: Regime | None = None

    def __post_init__(self) -> None:
        self._read_old_options("options")


@dataclass(frozen=True, kw_only=True)
class TradeOff(Record):
    """`(S / S_min - 1)(E / E_min - 1) = 1`: steps S against examples E to a target, each batch size tuned.

    McCandlish et al. 2018, arXiv:1812.06162, equation 2.11. The same as `S = S_min (1 + B_crit / B)`. Where E is known
    in epochs only, `min_steps` is None.
    """

    min_steps: Estimate | None
    min_examples: Estimate | None
    min_epochs: Estimate | None
    critical_batch_size: Estimate  # E_min / S_min: there both are twice their least; intervals allow for `exponent`
    critical_if_exact: Estimate | None = None  # the same, with the interval of the law taken as exact
    exponent: Estimate | None = None  # `a` of `S = S_min (1 + (B_crit / B)^a)`: 1 by the law
    n: int  # points, those that missed the target too
    sizes: int
    scatter: float  # standard deviation of log(measured / fitted)
    rounded: bool = False  # repeats are equal: each size counts as one point, known to within the rounding
    p_value: float | None  # that scatter alone gives as large a misfit; None where there is nothing to test with
    test: str = ""  # which: "lack_of_fit" against repeated sizes, "bend" against a law with one more number
    holds: bool  # the test did not refute it, and would have refuted exponents of 0.8 and 1.25 and a drift of B^0.1
    reason: str = ""  # why it does not hold, or cannot be tested: a key of reports/messages

    @property
    def undecided(self) -> bool:
        """The points are too few, or scatter too much, to say whether the law holds."""
        return not self.holds and self.reason in ("too_few_points", "little_power")


@dataclass(frozen=True, kw_only=True)
class RateLaw(Record):
    """The best learning rate grows like `batch_size ** exponent` over these sizes."""

    exponent: Estimate  # 1 is linear scaling, 1/2 the square root
    sizes: tuple[int, int]
    n: int  # batch sizes whose best rate is not at the edge of those that were tried
    linear: bool  # 1 lies in the interval of the exponent
    square_root: bool  # 1/2 does
    bends: bool  # the exponent of the larger half of the sizes is below that of the smaller: the rule saturates


class Spent(StrEnum):
    """What a comparison of batch sizes holds equal."""

    EPOCHS = "epochs"
    STEPS = "steps"
    SECONDS = "seconds"


@dataclass(frozen=True, kw_only=True)
class BudgetPoint(Record):
    """How well one batch size does when the budget is spent, at the rate that is best for that, over seeds."""

    batch_size: int
    learning_rate: float
    options: dict[str, Setting] = field(default_factory=dict)
    train_metric: Estimate
    validation_metric: Estimate
    train_loss: Estimate
    validation_loss: Estimate
    failed: int = 0  # of the runs at that rate: they diverged, or ran out of memory

    def __post_init__(self) -> None:
        self._read_old_options("options")


@dataclass(frozen=True, kw_only=True)
class BudgetReading(Record):
    """The same study read at equal epochs, equal steps, or equal seconds of training.

    Where `tuned` is False every batch size has one rate: of those tried at the most sizes, the best of the smallest.
    """

    spent: Spent
    amount: float
    tuned: bool = True
    points: tuple[BudgetPoint, ...]  # batch sizes whose runs are long enough


@dataclass(frozen=True, kw_only=True)
class Analysis(Record):
    """What all the runs of one task, recipe and target say together."""

    target: Target | None
    sizes: tuple[SizeResult, ...]
    trade_off: TradeOff | None = None  # None with fewer than three batch sizes at the target
    perfect_until: int | None = None  # the largest batch size of the regime of perfect scaling
    useful_until: int | None = None  # the largest batch size before that of maximal parallelism
    rate_law: RateLaw | None = None
    budgets: tuple[BudgetReading, ...] = ()
    cautions: tuple[str, ...] = ()  # keys of reports/messages


# --- points of the user's own ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """What one tuned run at a batch size would take by the law, with an interval for its steps."""

    batch_size: int
    steps: float | None  # None where examples are known in epochs only
    epochs: float | None  # None where the size of the data set is not known
    low: float  # of steps; of epochs where `steps` is None
    high: float
    level: float = 0.8


@dataclass(frozen=True, kw_only=True)
class Fit(Record):
    """The analysis of runs that were made elsewhere."""

    name: str  # of the file
    examples: int | None  # in the training set, where that is known
    points: tuple[GoalPoint, ...]
    analysis: Analysis
    predictions: tuple[Prediction, ...] = ()
    law_holds: bool
    reason: str = ""  # why it does not: a key of reports/messages
    provenance: Provenance
