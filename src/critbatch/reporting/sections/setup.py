"""How the loss was measured, in the lines that several methods share."""

from __future__ import annotations

from collections.abc import Iterable

from critbatch.records.core import Estimate
from critbatch.records.loss_surface import Setup
from critbatch.reporting.blocks import Cell
from critbatch.reporting.voice import SURE, Voice, Write


def setup_lines(setup: Setup, voice: Voice) -> list[str]:
    """The function of the weights that was measured."""
    data = setup.data if setup.data in ("train", "validation") else "own"
    counts = {"examples": voice.count(setup.examples), "parameters": voice.count(setup.parameters)}
    lines = [voice(f"method_setup_{data}", precision=setup.precision, **counts)]
    if setup.batch_norm:
        lines.append(voice(f"method_norm_{setup.mode}", chunk=voice.count(setup.chunk)))
    return lines


def cell(estimate: Estimate | None, write: Write, voice: Voice) -> Cell:
    """A number with its interval beneath, or a word why there is none."""
    if estimate is None:
        return Cell("–")
    if estimate.low is not None and estimate.high is not None:
        n = voice("cell_n", n=voice.count(estimate.n))
        return Cell(
            write(estimate.value), voice("cell_interval", span=voice.span(estimate.low, estimate.high, write), n=n)
        )
    return Cell(write(estimate.value), voice(f"tile_{estimate.reason}" if estimate.reason in SURE else "no_interval"))


def notes(estimates: Iterable[Estimate | None], voice: Voice) -> tuple[str, ...]:
    """The levels of the intervals, and why some numbers have none."""
    told = [each for each in estimates if each is not None]
    levels = sorted({each.level for each in told if each.low is not None})
    reasons = sorted({each.reason for each in told if each.low is None} - {""})
    found = [voice("cell_level", level=voice.percent(level)) for level in levels]
    return (*found, *(voice("cost_no_interval", reason=voice.reason(key)) for key in reasons))
