"""Each batch size at its best: the table of a study, on the page and in the terminal."""

from __future__ import annotations

from critbatch.records.core import Estimate
from critbatch.records.study import SizeResult
from critbatch.reporting.blocks import Block, Cell, Chart, Method, Section, Table, Text
from critbatch.reporting.figures.theme import Picture
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import SHALLUE
from critbatch.reporting.sections.setup import notes
from critbatch.reports.translator import Translator, Write


def sizes_section(findings: Findings, picture: Picture | None, note: str, t: Translator) -> Section:
    """The table, and time to target where a picture of it is given."""
    rated = any(size.learning_rate is not None for size in findings.sizes)
    blocks: list[Block] = [Text(t("sizes_text" if rated else "sizes_text_plain")), sizes_table(findings, t)]
    if findings.left_out:
        total = len(findings.sizes) + findings.left_out
        blocks.append(Text(t("sizes_left_out", shown=len(findings.sizes), total=total)))
    if picture is not None:
        blocks.append(Chart(picture, note))
    keys = ("method_crossing", "method_sizes", "method_sizes_interval", "method_usable", "method_regimes")
    method = Method(tuple(t(key) for key in keys), (SHALLUE,))
    return Section("sizes", t("section_sizes"), (*blocks, method))


def sizes_table(findings: Findings, t: Translator) -> Table:
    """A row for each batch size; columns that no size has are left out."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    rated = any(size.learning_rate is not None for size in sizes)
    chosen = any(size.options for size in sizes)
    told = {name: any(getattr(size, name) is not None for size in sizes) for name in ("epochs", "examples", "seconds")}
    # Examples say the same.
    told["epochs"] = told["epochs"] and (findings.in_epochs or not told["examples"])
    header = [
        "batch_size",
        *(["column_best_rate"] if rated else []),
        *(["column_options"] if chosen else []),
        *([] if findings.in_epochs else ["column_steps"]),
        *(["axis_epochs_to_target"] if told["epochs"] else []),
        *(["column_examples"] if told["examples"] else []),
        *(["column_time"] if told["seconds"] else []),
        "column_regime",
        "column_reached",
    ]
    soonest = findings.soonest
    rows = []
    for size in sizes:
        marks = (t("mark_best"),) if soonest is not None and size.batch_size == soonest.batch_size else ()
        row = [
            Cell(t.count(size.batch_size), marks=marks),
            *([_rate_cell(size, t)] if rated else []),
            *([Cell(t.options(size.options) or "–")] if chosen else []),
            *([] if findings.in_epochs else [_steps(size, t)]),
            *([_number(size.epochs, t.about, t)] if told["epochs"] else []),
            *([Cell(t.about(size.examples.value) if size.examples else "–")] if told["examples"] else []),
            *([_number(size.seconds, t.seconds, t)] if told["seconds"] else []),
            Cell(t(f"regime_{size.regime}") if size.regime is not None else "–"),
            _tried(size, t),
        ]
        rows.append(tuple(row))
    estimates = [each for size in sizes for each in (size.steps, size.seconds)]
    caption = t("sizes_caption")
    told_notes = notes(estimates, t)
    if any(size.usable_rates for size in sizes):
        told_notes = (*told_notes, t("sizes_usable"))
    return Table(caption, tuple(t(key) for key in header), tuple(rows), told_notes)


def brief_table(findings: Findings, t: Translator) -> Table:
    """What a terminal has room for: the best rate, steps or epochs, seconds and regime of each size."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    rated, timed = (any(getattr(size, name) is not None for size in sizes) for name in ("learning_rate", "seconds"))
    rows = [
        (
            Cell(t.count(size.batch_size)),
            *((Cell(t.rate(size.learning_rate) if size.learning_rate is not None else "–"),) if rated else ()),
            _number(size.epochs, t.about, t) if findings.in_epochs else _steps(size, t),
            *((_number(size.seconds, t.seconds, t),) if timed else ()),
            Cell(t(f"regime_{size.regime}") if size.regime is not None else "–"),
        )
        for size in sizes
    ]
    header = [
        "batch_size",
        *(["column_best_rate"] if rated else []),
        "axis_epochs_to_target" if findings.in_epochs else "column_steps",
        *(["column_time"] if timed else []),
        "column_regime",
    ]
    return Table(t("sizes_caption"), tuple(t(key) for key in header), tuple(rows))


def _rate_cell(size: SizeResult, t: Translator) -> Cell:
    if size.learning_rate is None:
        return Cell("–")
    usable = t.span(*size.usable_rates, t.about) if size.usable_rates else ""
    return Cell(t.rate(size.learning_rate), usable, (t("sizes_at_edge"),) if size.at_edge else ())


def _tried(size: SizeResult, t: Translator) -> Cell:
    rates = t("rates_tried", n=size.rates) if size.rates else ""
    return Cell(t("of_seeds", reached=size.reached, runs=size.seeds) if size.seeds else "–", rates)


def _steps(size: SizeResult, t: Translator) -> Cell:
    if size.steps is not None:
        return _number(size.steps, t.about, t)
    if size.bound is not None:
        return Cell(t("sizes_bound", steps=t.about(size.bound)), t("sizes_missed"))
    return Cell(t("sizes_missed"))


def _number(estimate: Estimate | None, write: Write, t: Translator) -> Cell:
    if estimate is None:
        return Cell("–")
    return Cell(write(estimate.value), t.bounds(estimate, write) or t("no_interval"))
