"""Where training stands, and what becomes of it: numbers and method."""

from __future__ import annotations

from critbatch.records.loss_surface import CriticalPoint, Escape
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import DAUPHIN, KESKAR, MCCANDLISH
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reports.translator import Translator

# The measurement looks at the steps of single batches on so many examples.
EXAMPLES_OF_A_STEP = 1000


def critical_section(point: CriticalPoint, t: Translator) -> Section:
    """What the verdict rests on."""
    blocks: list[Block] = [Text(t("critical_text"))]
    rows = tuple(
        (
            Cell(t.count(each.batch_size)),
            Cell(t.about(each.median)),
            Cell(t.span(*each.quartiles, t.about)),
            Cell(t.percent(each.descending)),
            Cell(t.count(each.n)),
        )
        for each in point.batches
    )
    if rows:
        keys = ("batch_size", "column_median_norm", "column_quartiles", "column_descending", "column_n")
        header = tuple(t(key) for key in keys)
        blocks.append(Table(t("critical_caption"), header, rows, folded=True))
    else:
        blocks.append(Text(t("critical_nothing")))
    few = t.count(min(point.setup.examples, EXAMPLES_OF_A_STEP))
    lines = (
        *setup_lines(point.setup, t),
        t("method_standing"),
        t("method_seen_ends"),
        t("method_batch_steps", examples=few),
    )
    return Section("critical", t("section_critical"), (*blocks, Method(lines, (DAUPHIN, MCCANDLISH))))


def escape_section(escape: Escape, t: Translator) -> Section:
    """What became of the starts at each batch size."""
    blocks: list[Block] = [Text(t("escape_text", drop=t.percent(escape.drop)))]
    rows = tuple(
        (
            Cell(t.count(count.batch_size)),
            cell(count.share, t.percent, t),
            Cell(t("escapes_of", escapes=count.escapes, starts=count.share.n)),
            cell(count.steps, t.count, t),
            cell(count.loss, t.score, t),
        )
        for count in sorted(escape.counts, key=lambda count: count.batch_size)
    )
    if rows:
        keys = ("batch_size", "column_escaped", "column_starts", "column_median_steps", "column_median_loss")
        told = notes([e for count in escape.counts for e in (count.share, count.steps, count.loss)], t)
        blocks.append(Table(t("escape_caption"), tuple(t(key) for key in keys), rows, told, folded=True))
    descent = t.count(escape.descent_steps)
    lines = (t("method_escape", starts=t.count(escape.starts), descent=descent), t("method_same_starts"))
    return Section("escape", t("section_escape"), (*blocks, Method(lines, (KESKAR, DAUPHIN))))
