"""Where training stands, told from the gradient and the ends of the Hessian's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

from critbatch.records.loss_surface import Eigenvalue, Standing

TOLERANCE = 1e-3
# A direction counts as flat if going a tenth of the weights' norm along it changes the loss by less than the tolerance.
REACH = 0.1


@dataclass(frozen=True, kw_only=True)
class View:
    """What is seen at a point.

    Args:
        gradient_norm: over all examples.
        along: curvature along the gradient, ``g^T H g / |g|^2``.
        largest: eigenvalue of the Hessian.
        smallest: likewise.
        loss_scale: what losses are compared with: the larger of the loss here and that of untrained weights.
        weight_scale: what distances are compared with: the larger of the weights' norms here and untrained.
    """

    gradient_norm: float
    along: float
    largest: Eigenvalue
    smallest: Eigenvalue
    loss_scale: float
    weight_scale: float

    @property
    def expected_drop(self) -> float:
        """What the best step along the gradient takes off the loss, by the quadratic model: ``|g|^2 / 2c`` for a
        curvature c along it. Where that is not above 0 the model has no lowest point, and c is the largest magnitude of
        an eigenvalue: the drop is then at least this (the descent lemma)."""
        steepest = max(abs(self.largest.value), abs(self.smallest.value))
        bend = self.along if self.along > 1e-3 * steepest else steepest
        return self.gradient_norm**2 / (2 * bend) if bend > 0 else float("inf") if self.gradient_norm > 0 else 0.0

    def weight_of(self, curvature: float) -> float:
        """The change of the loss along a direction of this curvature, a tenth of the weights' norm away, relative."""
        return curvature * (REACH * self.weight_scale) ** 2 / 2 / self.loss_scale


def standing(view: View, *, tolerance: float = TOLERANCE) -> tuple[Standing, str]:
    """What the point is, and why it is undecided where it is.

    All sizes are relative, so that a loss times a constant, or weights in other units, stand where they stood: a
    gradient counts if the best step along it lowers the loss by more than `tolerance` of its scale, a curvature if a
    tenth of the weights' norm along it changes the loss by more than that, and an eigenvalue's sign only beyond its
    residual.
    """
    if view.loss_scale <= 0 or view.weight_scale <= 0:
        return Standing.UNDECIDED, "no_scale"
    steep = max(abs(view.weight_of(view.largest.value)), abs(view.weight_of(view.smallest.value)))
    flat_drop = view.gradient_norm * REACH * view.weight_scale / view.loss_scale
    if view.expected_drop / view.loss_scale > tolerance and flat_drop > tolerance:
        return Standing.DESCENDING, ""
    if steep < tolerance:
        return Standing.PLATEAU, ""
    if not (view.largest.converged and view.smallest.converged):
        known = view.largest.placed and view.smallest.placed
        return Standing.UNDECIDED, "not_converged" if known else "place_unknown"
    up = view.largest.value > view.largest.residual and view.weight_of(view.largest.value) >= tolerance
    down = -view.smallest.value > view.smallest.residual and view.weight_of(-view.smallest.value) >= tolerance
    if not down and view.weight_of(view.smallest.residual - view.smallest.value) >= tolerance:
        return Standing.UNDECIDED, "curvature_within_error"
    if up:
        return (Standing.SADDLE if down else Standing.MINIMUM), ""
    return (Standing.MAXIMUM if down else Standing.PLATEAU), ""


TRIES: dict[Standing, tuple[str, ...]] = {
    Standing.MINIMUM: ("try_small_batches", "try_other_start", "try_larger_model"),
    Standing.SADDLE: ("try_small_batches", "try_momentum", "try_negative_curvature"),
    Standing.PLATEAU: ("try_other_start", "try_normalization", "try_larger_rate"),
    Standing.MAXIMUM: ("try_small_batches", "try_negative_curvature"),
    Standing.DESCENDING: ("try_larger_rate", "try_momentum", "try_more_steps"),
    Standing.UNDECIDED: ("try_double",),
}
