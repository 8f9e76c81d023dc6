"""Records of studies: what a sweep tries, its runs, and what they say together; runs made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from critbatch.records.core import Estimate, OptionValue, Provenance, Record, Run, Speed, Target

# --- the study -------------------------------------------------------------------------------------------------------


class SearchMethod(StrEnum):
    """How the learning rates of a batch size are chosen."""

    GIVEN = "given"  # the given rates, each with each seed
    WIDENING = "widening"  # the given rates, and a grid that widens until the best rate is not at its edge
    TPE = "tpe"  # this one and those below: samplers of Optuna
    GP = "gp"
    CMAES = "cmaes"
    QMC = "qmc"
    RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class StudySpec(Record):
    """What a sweep tries: every batch size, with given or searched learning rates, and every seed.

    A run is as long as the longest of `epochs`, `steps` and `seconds` that are given.
    """

    renamed_fields: ClassVar[Mapping[str, str]] = {
        "stops_early": "prune",
        "varied": "option_grid",
        "fixed": "fixed_options",
    }

    task: str
    fingerprint: str  # hash of the task's model and data
    recipe: str
    batch_sizes: tuple[int, ...]
    search: SearchMethod = SearchMethod.GIVEN
    learning_rates: tuple[float, ...] = ()  # given for all batch sizes; searched ones are added
    trials: int | None = None  # learning rates per batch size, if a sampler of Optuna chooses them
    seeds: tuple[int, ...]
    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None  # of training, by the step times of the study's machine
    target: Target | None
    stops_at_target: bool = True  # whether a run ends when it reaches the target
    prune: bool = False  # whether successive halving ends runs that are far behind others of their batch size
    fixed_options: dict[str, OptionValue] = field(default_factory=dict)  # options of recipe and plan, for all runs
    option_grid: dict[str, tuple[OptionValue, ...]] = field(
        default_factory=dict
    )  # options that are tried, with each rate

    def __post_init__(self) -> None:
        self._read_old_options("fixed_options")
        self._read_old_options("option_grid")


@dataclass(frozen=True, kw_only=True)
class Study(Record):
    """A sweep, finished or not."""

    renamed_fields: ClassVar[Mapping[str, str]] = {"left": "runs_left"}

    question: StudySpec
    unit: str  # what an example is
    examples: int  # in the training set
    runs: tuple[Run, ...] = ()
    runs_left: int = 0  # runs still to make, as far as this is known
    speed: Speed | None = None
    analysis: Analysis | None = None
    provenance: Provenance


# --- what it says ----------------------------------------------------------------------------------------------------


class Regime(StrEnum):
    """What a larger batch does to the steps to the target. Shallue et al. 2018, arXiv:1811.03600, section 4.1."""

    PERFECT_SCALING = "perfect_scaling"  # twice the batch size, half the steps
    DIMINISHING_RETURNS = "diminishing_returns"  # between the two others
    MAXIMAL_PARALLELISM = "maximal_parallelism"  # a larger batch saves no steps


@dataclass(frozen=True, kw_only=True)
class GoalPoint(Record):
    """The result of one run, measured here or published. It needs at least one of `steps`, `epochs` and `examples`."""

    batch_size: int
    steps: float | None = None  # to the target; if `censored`, this many were not enough
    epochs: float | None = None
    examples: float | None = None  # seen, repeats counted
    censored: bool = False  # whether the run missed the target
    seed: int | None = None
    learning_rate: float | None = None
    step_seconds: float | None = None
    devices: int | None = None


@dataclass(frozen=True, kw_only=True)
class SizeResult(Record):
    """The result at one batch size, with the learning rate (and other settings) that is best there."""

    batch_size: int
    runs: int  # at all learning rates
    rates: int  # how many learning rates were tried
    diverged: int = 0  # of `runs`
    out_of_memory: int = 0
    learning_rate: float | None = None  # the best one; None if no rate is known, or no run reached the target
    options: dict[str, OptionValue] = field(default_factory=dict)  # the best values of the options that were varied
    usable_rates: tuple[float, float] | None = None  # range of rates that need at most twice the steps
    at_edge: bool = False  # whether the best rate is the smallest or the largest that was tried
    seeds: int = 0  # runs at the best learning rate
    reached: int = 0  # of `seeds`
    steps: Estimate | None = None  # to the target, at the best rate; None if it was not reached
    bound: float | None = None  # most steps that were not enough, if the target was not reached
    examples: Estimate | None = None  # to the target
    epochs: Estimate | None = None  # to the target
    seconds: Estimate | None = None  # to the target
    regime: Regime | None = None

    def __post_init__(self) -> None:
        self._read_old_options("options")


@dataclass(frozen=True, kw_only=True)
class TradeOff(Record):
    """The law `(S / S_min - 1)(E / E_min - 1) = 1`: steps S against examples E to a target, each batch size tuned.

    McCandlish et al. 2018, arXiv:1812.06162, equation 2.11. It is the same as `S = S_min (1 + B_crit / B)`. If examples
    are known only in epochs, `min_steps` is None.
    """

    renamed_fields: ClassVar[Mapping[str, str]] = {"holds": "is_consistent"}

    min_steps: Estimate | None  # S_min, steps of a very large batch
    min_examples: Estimate | None  # E_min, examples of a very small batch
    min_epochs: Estimate | None  # the same in epochs
    critical_batch_size: Estimate  # E_min / S_min, where both are twice their least; intervals allow for `exponent`
    critical_if_exact: Estimate | None = None  # the same, with the interval that it had if the law were exact
    exponent: Estimate | None = None  # a in `S = S_min (1 + (B_crit / B)^a)`; 1 by the law
    n: int  # number of points, including those that missed the target
    sizes: int  # number of batch sizes
    scatter: float  # standard deviation of log(measured / fitted)
    rounded: bool = False  # repeats are equal, so each size counts as one point, known to within the rounding
    p_value: float | None  # probability that scatter alone gives such a misfit; None if there is nothing to test with
    test: str = ""  # "lack_of_fit" against repeated sizes, or "bend" against a law with one more number
    is_consistent: (
        bool  # the test did not refute it, and would have refuted exponents of 0.8 and 1.25 and a drift of B^0.1
    )
    reason: str = ""  # why it does not hold, or cannot be tested: a key of reports/messages

    @property
    def undecided(self) -> bool:
        """Whether there are too few points, or too scattered ones, to say if the law holds."""
        return not self.is_consistent and self.reason in ("too_few_points", "little_power")


@dataclass(frozen=True, kw_only=True)
class RateLaw(Record):
    """The best learning rate grows like `batch_size ** exponent` over these batch sizes."""

    exponent: Estimate  # 1 is linear scaling, 1/2 square-root scaling
    sizes: tuple[int, int]  # smallest and largest batch size
    n: int  # number of batch sizes whose best rate is not at the edge of those tried
    linear: bool  # whether 1 lies in the interval of the exponent
    square_root: bool  # whether 1/2 lies in it
    bends: bool  # the exponent of the larger half of the sizes is below that of the smaller half: it levels off


class BudgetUnit(StrEnum):
    """What a comparison of batch sizes keeps equal."""

    EPOCHS = "epochs"
    STEPS = "steps"
    SECONDS = "seconds"


@dataclass(frozen=True, kw_only=True)
class BudgetPoint(Record):
    """How good one batch size is when the budget is spent, at the learning rate that is best then, over seeds."""

    batch_size: int
    learning_rate: float
    options: dict[str, OptionValue] = field(default_factory=dict)
    train_metric: Estimate
    validation_metric: Estimate
    train_loss: Estimate
    validation_loss: Estimate
    failed: int = 0  # runs at that rate that diverged or ran out of memory

    def __post_init__(self) -> None:
        self._read_old_options("options")


@dataclass(frozen=True, kw_only=True)
class BudgetReading(Record):
    """A study compared at equal epochs, equal steps, or equal seconds of training.

    If `tuned` is False, all batch sizes have the same learning rate: of those tried at the most batch sizes, the best
    one for the smallest.
    """

    spent: BudgetUnit
    amount: float  # the epochs, steps or seconds
    tuned: bool = True
    points: tuple[BudgetPoint, ...]  # batch sizes whose runs are long enough


@dataclass(frozen=True, kw_only=True)
class Analysis(Record):
    """What all runs of one task, recipe and target say together."""

    target: Target | None
    sizes: tuple[SizeResult, ...]
    trade_off: TradeOff | None = None  # None with fewer than three batch sizes that reached the target
    perfect_until: int | None = None  # largest batch size of perfect scaling
    useful_until: int | None = None  # largest batch size below maximal parallelism
    rate_law: RateLaw | None = None
    budgets: tuple[BudgetReading, ...] = ()
    cautions: tuple[str, ...] = ()  # keys of reports/messages


# --- points of the user's own ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """What one tuned run at a batch size would take by the law, with an interval for its steps."""

    batch_size: int
    steps: float | None  # None if examples are known only in epochs
    epochs: float | None  # None if the size of the data set is not known
    low: float  # interval, of steps; of epochs if `steps` is None
    high: float
    level: float = 0.8


@dataclass(frozen=True, kw_only=True)
class Fit(Record):
    """The analysis of runs that were made elsewhere."""

    name: str  # of the file
    examples: int | None  # in the training set, if known
    points: tuple[GoalPoint, ...]
    analysis: Analysis
    predictions: tuple[Prediction, ...] = ()
    law_holds: bool
    reason: str = ""  # why the law does not hold: a key of reports/messages
    provenance: Provenance
