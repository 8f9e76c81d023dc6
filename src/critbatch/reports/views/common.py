"""How the loss was measured, in the lines that several methods share."""

from __future__ import annotations

from collections.abc import Iterable

from critbatch.records.core import Estimate
from critbatch.records.loss_surface import Setup
from critbatch.reports.model import Cell
from critbatch.reports.translator import SURE, Translator, Write


def setup_lines(setup: Setup, t: Translator) -> list[str]:
    """The function of the weights that was measured."""
    data = setup.data if setup.data in ("train", "validation") else "own"
    counts = {"examples": t.count(setup.examples), "parameters": t.count(setup.parameters)}
    lines = [t(f"method_setup_{data}", precision=setup.precision, **counts)]
    if setup.batch_norm:
        lines.append(t(f"method_norm_{setup.mode}", chunk=t.count(setup.chunk)))
    return lines


def cell(estimate: Estimate | None, write: Write, t: Translator) -> Cell:
    """A number with its interval beneath, or a word why there is none."""
    if estimate is None:
        return Cell("–")
    if estimate.low is not None and estimate.high is not None:
        n = t("cell_n", n=t.count(estimate.n))
        return Cell(write(estimate.value), t("cell_interval", span=t.span(estimate.low, estimate.high, write), n=n))
    return Cell(write(estimate.value), t(f"tile_{estimate.reason}" if estimate.reason in SURE else "no_interval"))


def notes(estimates: Iterable[Estimate | None], t: Translator) -> tuple[str, ...]:
    """The levels of the intervals, and why some numbers have none."""
    told = [each for each in estimates if each is not None]
    levels = sorted({each.level for each in told if each.low is not None})
    reasons = sorted({each.reason for each in told if each.low is None} - {""})
    found = [t("cell_level", level=t.percent(level)) for level in levels]
    return (*found, *(t("cost_no_interval", reason=t.reason(key)) for key in reasons))
