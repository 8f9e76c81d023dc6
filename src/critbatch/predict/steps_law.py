"""Steps to a target at any batch size, from whatever is known of them: an advice, a study, points of one's own, or two
numbers. ``S(B) = S_min (1 + B_crit / B)``: McCandlish et al. 2018, arXiv:1812.06162, equation 2.7."""

from __future__ import annotations

import math
from dataclasses import replace

from critbatch.errors import UserError
from critbatch.records.core import Advice, Estimate
from critbatch.records.scaling import StepsLaw
from critbatch.records.study import Analysis, Fit, Study


def law_of(record: Advice | Study | Fit) -> StepsLaw | None:
    """The law that a record holds; None where it has none, since no run came to the target or too few sizes did."""
    if isinstance(record, Advice):
        if record.law is None:
            return None
        sizes = [run.batch_size for run in record.runs if run.crossing is not None]
        return StepsLaw(
            min_steps=record.law.min_steps,
            critical_batch_size=record.law.noise_examples,
            sizes=_ends(sizes),
            source="advice",
            holds=record.law.holds,
            reason=record.law.reason,
        )
    if isinstance(record, Study):
        return _of_analysis(record.analysis, "study") if record.analysis is not None else None
    return _of_analysis(record.analysis, "fit")


def given_law(min_steps: float, critical_batch_size: float) -> StepsLaw:
    """The law by its two numbers.

    Raises:
        UserError: if they are not above 0.
    """
    if not (0 < min_steps < math.inf and 0 <= critical_batch_size < math.inf):
        raise UserError(
            f"S_min={min_steps:g} steps and B_crit={critical_batch_size:g} examples make no law: "
            "give S_min above 0 and B_crit of 0 or more."
        )
    bare = Estimate(value=min_steps, n=0, reason="given")
    return StepsLaw(
        min_steps=bare, critical_batch_size=replace(bare, value=critical_batch_size), sizes=None, source="given"
    )


def steps_at(law: StepsLaw, batch_size: int) -> Estimate:
    """Steps to the target. The interval, in relation to the value, is that of S_min, at every batch size: for batches
    far below B_crit it is wider than need be.

    >>> steps_at(given_law(100, 300), 150).value
    300.0
    """
    scale = 1 + law.critical_batch_size.value / batch_size
    least = law.min_steps
    return replace(
        least,
        value=least.value * scale,
        low=None if least.low is None else least.low * scale,
        high=None if least.high is None else least.high * scale,
    )


def reaches_beyond(law: StepsLaw, batch_size: int) -> bool:
    """Whether a batch size lies outside of those with runs behind them."""
    return law.sizes is not None and not law.sizes[0] <= batch_size <= law.sizes[1]


def _of_analysis(analysis: Analysis, source: str) -> StepsLaw | None:
    found = analysis.trade_off
    if found is None or found.min_steps is None:
        return None
    return StepsLaw(
        min_steps=found.min_steps,
        critical_batch_size=found.critical_batch_size,
        sizes=_ends([size.batch_size for size in analysis.sizes if size.steps is not None]),
        source=source,
        holds=found.holds,
        reason=found.reason,
    )


def _ends(sizes: list[int]) -> tuple[int, int] | None:
    return (min(sizes), max(sizes)) if sizes else None
