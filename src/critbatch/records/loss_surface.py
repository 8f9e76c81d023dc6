"""Records of the loss around some weights: its curvature, its sharpness, its landscape, and where training stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from critbatch.records.core import Estimate, NoiseScale, Provenance, Record


@dataclass(frozen=True, kw_only=True)
class Solution(Record):
    """The weights that a measurement belongs to, and the run they come from as far as it is known."""

    label: str  # how the report calls it
    recipe: str = ""
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    steps: int | None = None


class Mode(StrEnum):
    """What batch norm does while the loss is measured. Dropout is off in both."""

    EVAL = "eval"  # running statistics: a function of the weights and of one example
    BATCH = "batch"  # the statistics of each chunk of examples, as in training


@dataclass(frozen=True, kw_only=True)
class Setup(Record):
    """The function of the weights that was measured."""

    task: str
    data: str  # "train" or "validation"
    examples: int
    parameters: int
    mode: Mode
    chunk: int  # examples in one pass; with Mode.BATCH those whose statistics are taken together
    precision: str  # "float32" or "float64"
    batch_norm: bool = False  # whether the model has any, so that `mode` matters


# --- curvature -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Eigenvalue(Record):
    """An eigenvalue of a symmetric matrix lies within `residual` of `value`.

    It is the first, second, ... from its end of the spectrum, copies counted, if `placed`: then others beyond it were
    left out with a chance of 1 % at most.
    """

    value: float
    residual: float  # ||A v - value v|| for the unit vector v that was found
    converged: bool  # accurate and placed
    placed: bool = True  # False: others may lie beyond it, or copies of it or of those beyond it


@dataclass(frozen=True, kw_only=True)
class Density(Record):
    """Where the eigenvalues lie, by stochastic Lanczos quadrature: weights at nodes, averaged over random probes."""

    nodes: tuple[float, ...]
    weights: tuple[float, ...]  # they sum to 1: shares of all eigenvalues
    probes: int
    steps: int  # of Lanczos, for each probe

    def at(self, places: Sequence[float], *, width: float) -> list[float]:
        """The density with each node widened to a normal distribution of this standard deviation."""
        scale = 1 / (width * math.sqrt(2 * math.pi))
        return [
            sum(
                weight * scale * math.exp(-(((place - node) / width) ** 2) / 2)
                for node, weight in zip(self.nodes, self.weights, strict=True)
            )
            for place in places
        ]


class Matrix(StrEnum):
    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"


@dataclass(frozen=True, kw_only=True)
class Curvature(Record):
    """Eigenvalues, trace and spectral density of the Hessian, or of the Gauss-Newton matrix, of the mean loss."""

    solution: Solution
    setup: Setup
    matrix: Matrix
    by: str  # "autograd" or "differences" of gradients
    loss: float
    gradient_norm: float
    largest: tuple[Eigenvalue, ...]  # descending
    smallest: tuple[Eigenvalue, ...]  # ascending
    trace: Estimate | None  # the interval is of the probes; None where it was not asked for
    density: Density | None
    products: int  # matrix-vector products spent
    provenance: Provenance


# --- sharpness -------------------------------------------------------------------------------------------------------


class Box(StrEnum):
    """Where the highest loss near the weights x is looked for."""

    FULL = "full"  # |z_i| <= epsilon (|x_i| + 1), Keskar's Metric 2.1 with A = I
    RANDOM = "random"  # the same in a random subspace
    ADAPTIVE = "adaptive"  # |z_i| <= epsilon |x_i|: invariant to rescaling of layers


@dataclass(frozen=True, kw_only=True)
class SharpnessValue(Record):
    """`100 (max f - f(x)) / (1 + f(x))` over a box; never negative, since x is in the box."""

    box: Box
    epsilon: float
    dimensions: int
    value: Estimate  # over `n` random subspaces; n is 1, without interval, where nothing is random
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class SolutionSharpness(Record):
    """The sharpness of one solution, with its accuracy and the ends of its Hessian's spectrum."""

    solution: Solution
    loss: float
    metric: float
    validation_loss: float
    validation_metric: float
    values: tuple[SharpnessValue, ...]
    largest: Eigenvalue | None
    trace: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Sharpness(Record):
    """How sharp some solutions of one task are."""

    setup: Setup
    metric_name: str
    solutions: tuple[SolutionSharpness, ...]
    provenance: Provenance


# --- landscape -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LandscapePoint(Record):
    """Loss and metric at `first + alpha (second - first)`, or at `weights + alpha d1 + beta d2`."""

    alpha: float
    beta: float = 0.0
    train_loss: float
    train_metric: float
    validation_loss: float
    validation_metric: float


@dataclass(frozen=True, kw_only=True)
class Landscape(Record):
    """The loss along the line through two solutions, or on a plane through one."""

    kind: str  # "line": solutions at alpha 0 and 1; "plane": one solution at (0, 0), filter-normalized directions
    solutions: tuple[Solution, ...]
    setup: Setup
    validation_examples: int
    metric_name: str
    batch_norm_recomputed: bool  # at each point; False where there is none to recompute
    points: tuple[LandscapePoint, ...]
    provenance: Provenance


# --- shift -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShiftRise(Record):
    """How much the loss of one solution rises when the training set is replaced."""

    label: str  # of the solution
    shift: str  # "resampled", "validation", "noise", "moved", or a name that the user gave
    strength: float  # of the shift, in its own unit; 0 where it has none
    loss: float  # on the shifted set
    metric: float
    rise: Estimate  # of the loss over that on the training set


@dataclass(frozen=True, kw_only=True)
class ShiftPrediction(Record):
    """How well a measure of sharpness ranks the solutions by the rise of their loss."""

    measure: str  # "full", "random", "adaptive", "largest", "trace"
    shift: str
    strength: float
    correlation: Estimate  # Spearman's, over the n solutions


@dataclass(frozen=True, kw_only=True)
class Shift(Record):
    """The lecture's last figure: what a shift between training and test does at flat and at sharp solutions."""

    setup: Setup
    metric_name: str
    sharpness: tuple[SolutionSharpness, ...]
    rises: tuple[ShiftRise, ...]
    predictions: tuple[ShiftPrediction, ...]
    provenance: Provenance


# --- critical points -------------------------------------------------------------------------------------------------


class Standing(StrEnum):
    """Where training stands."""

    MINIMUM = "minimum"
    SADDLE = "saddle"
    PLATEAU = "plateau"
    MAXIMUM = "maximum"
    DESCENDING = "descending"  # at no critical point: the gradient still leads down
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class BatchGradients(Record):
    """The norms of the gradients of single batches at one point."""

    batch_size: int
    n: int
    median: float
    quartiles: tuple[float, float]
    descending: float  # share of the batches whose own gradient step lowers the loss over all examples


@dataclass(frozen=True, kw_only=True)
class CriticalPoint(Record):
    """Whether training is stuck, and at what."""

    solution: Solution
    setup: Setup
    standing: Standing
    reason: str  # why it is undecided: a key of reports/messages; empty otherwise
    loss: float
    metric: float
    metric_name: str
    gradient_norm: float
    expected_drop: float  # what one best step along the gradient would take off the loss, by the quadratic model
    noise: NoiseScale
    largest: Eigenvalue
    smallest: Eigenvalue
    batches: tuple[BatchGradients, ...]
    tries: tuple[str, ...]  # what to try: keys of reports/messages
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class EscapeCount(Record):
    """What became of all starts at one batch size."""

    batch_size: int
    share: Estimate  # of `n` starts that escaped, with its exact binomial interval
    escapes: int
    steps: Estimate | None  # median, of those that escaped
    loss: Estimate  # median in the end, over all starts


@dataclass(frozen=True, kw_only=True)
class Escape(Record):
    """The lecture's experiment: full-batch descent has stopped; go on with full and with small batches, and count."""

    task: str
    unit: str
    examples: int
    starts: int
    learning_rate: float
    descent_steps: int  # at the most, before it counted as stopped
    steps: int  # after it, at every batch size
    drop: float  # an escape is a fall of the loss below (1 - drop) times that of the start
    standings: dict[str, int]  # how many starts stood at what, by `Standing`
    start_losses: tuple[float, ...]
    counts: tuple[EscapeCount, ...]
    provenance: Provenance
