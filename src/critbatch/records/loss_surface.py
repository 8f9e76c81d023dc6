"""Records of the loss around some weights: curvature, sharpness, landscape, shift, critical points and escapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from critbatch.records.core import Estimate, NoiseScale, Provenance, Record


@dataclass(frozen=True, kw_only=True)
class Solution(Record):
    """The weights that were measured, and the run that they come from, as far as known."""

    label: str  # its name in reports
    recipe: str = ""
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    steps: int | None = None


class Mode(StrEnum):
    """What batch norm does while the loss is measured. Dropout is always off."""

    EVAL = "eval"  # running statistics: the loss is a function of the weights and of one example
    BATCH = "batch"  # statistics of each chunk of examples, as in training


@dataclass(frozen=True, kw_only=True)
class Setup(Record):
    """The function of the weights that was measured."""

    task: str
    data: str  # "train" or "validation"
    examples: int
    parameters: int  # number of weights
    mode: Mode
    chunk: int  # examples in one pass; with Mode.BATCH their statistics are computed together
    precision: str  # "float32" or "float64"
    batch_norm: bool = False  # whether the model has batch norm, so that `mode` matters


# --- curvature -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Eigenvalue(Record):
    """An eigenvalue of a symmetric matrix, known to within `residual`.

    If `placed`, it is the first, second, ... from its end of the spectrum, copies counted: the probability that others
    beyond it were missed is at most 1 %.
    """

    value: float
    residual: float  # ||A v - value v|| for the unit vector v that was found
    converged: bool  # whether it is accurate and placed
    placed: bool = True  # False: there may be others beyond it, or copies


@dataclass(frozen=True, kw_only=True)
class Density(Record):
    """Where the eigenvalues lie, by stochastic Lanczos quadrature: weights at nodes, averaged over random probes."""

    nodes: tuple[float, ...]
    weights: tuple[float, ...]  # shares of all eigenvalues, which add up to 1
    probes: int
    steps: int  # of Lanczos, for each probe

    def at(self, places: Sequence[float], *, width: float) -> list[float]:
        """Return the density, with each node widened to a normal distribution of this standard deviation."""
        scale = 1 / (width * math.sqrt(2 * math.pi))
        return [
            sum(
                weight * scale * math.exp(-(((place - node) / width) ** 2) / 2)
                for node, weight in zip(self.nodes, self.weights, strict=True)
            )
            for place in places
        ]


class Matrix(StrEnum):
    """Which matrix of second derivatives is measured."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"


@dataclass(frozen=True, kw_only=True)
class Curvature(Record):
    """Eigenvalues, trace and spectral density of the Hessian, or of the Gauss-Newton matrix, of the mean loss."""

    renamed_fields: ClassVar[Mapping[str, str]] = {"by": "method"}

    solution: Solution
    setup: Setup
    matrix: Matrix
    method: str  # "autograd" or "differences" of gradients
    loss: float
    gradient_norm: float
    largest: tuple[Eigenvalue, ...]  # in descending order
    smallest: tuple[Eigenvalue, ...]  # in ascending order
    trace: Estimate | None  # with the interval over the probes; None if it was not requested
    density: Density | None
    products: int  # number of matrix-vector products
    provenance: Provenance


# --- sharpness -------------------------------------------------------------------------------------------------------


class Box(StrEnum):
    """The region around the weights x in which the highest loss is searched for."""

    FULL = "full"  # |z_i| <= epsilon (|x_i| + 1), Keskar's Metric 2.1 with A = I
    RANDOM = "random"  # the same, in a random subspace
    ADAPTIVE = "adaptive"  # |z_i| <= epsilon |x_i|, which does not change when layers are rescaled


@dataclass(frozen=True, kw_only=True)
class SharpnessValue(Record):
    """`100 (max f - f(x)) / (1 + f(x))` over a box. It is never negative, because x lies in the box."""

    box: Box
    epsilon: float
    dimensions: int
    value: Estimate  # over `n` random subspaces; if nothing is random, n is 1 and there is no interval
    evaluations: int  # number of evaluations of the loss


@dataclass(frozen=True, kw_only=True)
class SolutionSharpness(Record):
    """The sharpness of one solution, with its accuracy and the ends of the spectrum of its Hessian."""

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

    kind: str  # "line": solutions at alpha 0 and 1; "plane": one at (0, 0), filter-normalized directions
    solutions: tuple[Solution, ...]
    setup: Setup
    validation_examples: int
    metric_name: str
    batch_norm_recomputed: bool  # whether its statistics were recomputed at each point
    points: tuple[LandscapePoint, ...]
    provenance: Provenance


# --- shift -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShiftRise(Record):
    """How much the loss of one solution rises when other data replace the training set."""

    label: str  # of the solution
    shift: str  # "resampled", "validation", "noise", "moved", or a name given by the user
    strength: float  # of the shift, in its own unit; 0 if it has none
    loss: float  # on the shifted data
    metric: float  # on the shifted data
    rise: Estimate  # of the loss, compared with the training set


@dataclass(frozen=True, kw_only=True)
class ShiftPrediction(Record):
    """How well a measure of sharpness ranks the solutions by the rise of their loss."""

    measure: str  # "full", "random", "adaptive", "largest", "trace"
    shift: str
    strength: float
    correlation: Estimate  # Spearman's, over the solutions


@dataclass(frozen=True, kw_only=True)
class Shift(Record):
    """How much the loss of flat and of sharp solutions rises when the data shift."""

    setup: Setup
    metric_name: str
    sharpness: tuple[SolutionSharpness, ...]
    rises: tuple[ShiftRise, ...]
    predictions: tuple[ShiftPrediction, ...]
    provenance: Provenance


# --- critical points -------------------------------------------------------------------------------------------------


class PointType(StrEnum):
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
    n: int  # number of batches
    median: float  # of the norms
    quartiles: tuple[float, float]  # of the norms
    descending: float  # share of the batches whose own gradient step lowers the loss over all examples


@dataclass(frozen=True, kw_only=True)
class CriticalPoint(Record):
    """Whether training is stuck, and at which kind of point."""

    solution: Solution
    setup: Setup
    standing: PointType
    reason: str  # why it is undecided: a key of reports/messages; else empty
    loss: float
    metric: float
    metric_name: str
    gradient_norm: float
    expected_drop: float  # fall of the loss by one best step along the gradient, by the quadratic model
    noise: NoiseScale
    largest: Eigenvalue
    smallest: Eigenvalue
    batches: tuple[BatchGradients, ...]
    tries: tuple[str, ...]  # what to try: keys of reports/messages
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class EscapeCount(Record):
    """How many of the starts escaped at one batch size."""

    batch_size: int
    share: Estimate  # of the starts that escaped, with its exact binomial interval
    escapes: int
    steps: Estimate | None  # median, of the starts that escaped
    loss: Estimate  # median at the end, over all starts


@dataclass(frozen=True, kw_only=True)
class Escape(Record):
    """After full-batch descent has stopped: how often full and small batches escape from there."""

    task: str
    unit: str
    examples: int
    starts: int
    learning_rate: float
    descent_steps: int  # at most, before descent counted as stopped
    steps: int  # after descent, at every batch size
    drop: float  # an escape is a fall of the loss below (1 - drop) times that of the start
    standings: dict[str, int]  # number of starts at each kind of point, by `Standing`
    start_losses: tuple[float, ...]  # where descent stopped
    counts: tuple[EscapeCount, ...]
    provenance: Provenance
