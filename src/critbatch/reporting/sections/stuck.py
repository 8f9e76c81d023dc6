"""Where training stands, and what becomes of it: numbers and method."""

from __future__ import annotations

from critbatch.records.loss_surface import CriticalPoint, Escape
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import DAUPHIN, KESKAR, MCCANDLISH
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reporting.voice import Voice

# The measurement looks at the steps of single batches on so many examples.
EXAMPLES_OF_A_STEP = 1000


def critical_section(point: CriticalPoint, voice: Voice) -> Section:
    """What the verdict rests on."""
    blocks: list[Block] = [Text(voice("critical_text"))]
    rows = tuple(
        (
            Cell(voice.count(each.batch_size)),
            Cell(voice.about(each.median)),
            Cell(voice.span(*each.quartiles, voice.about)),
            Cell(voice.percent(each.descending)),
            Cell(voice.count(each.n)),
        )
        for each in point.batches
    )
    if rows:
        keys = ("batch_size", "column_median_norm", "column_quartiles", "column_descending", "column_n")
        header = tuple(voice(key) for key in keys)
        blocks.append(Table(voice("critical_caption"), header, rows, folded=True))
    else:
        blocks.append(Text(voice("critical_nothing")))
    few = voice.count(min(point.setup.examples, EXAMPLES_OF_A_STEP))
    lines = (
        *setup_lines(point.setup, voice),
        voice("method_standing"),
        voice("method_seen_ends"),
        voice("method_batch_steps", examples=few),
    )
    return Section("critical", voice("section_critical"), (*blocks, Method(lines, (DAUPHIN, MCCANDLISH))))


def escape_section(escape: Escape, voice: Voice) -> Section:
    """What became of the starts at each batch size."""
    blocks: list[Block] = [Text(voice("escape_text", drop=voice.percent(escape.drop)))]
    rows = tuple(
        (
            Cell(voice.count(count.batch_size)),
            cell(count.share, voice.percent, voice),
            Cell(voice("escapes_of", escapes=count.escapes, starts=count.share.n)),
            cell(count.steps, voice.count, voice),
            cell(count.loss, voice.score, voice),
        )
        for count in sorted(escape.counts, key=lambda count: count.batch_size)
    )
    if rows:
        keys = ("batch_size", "column_escaped", "column_starts", "column_median_steps", "column_median_loss")
        told = notes([e for count in escape.counts for e in (count.share, count.steps, count.loss)], voice)
        blocks.append(Table(voice("escape_caption"), tuple(voice(key) for key in keys), rows, told, folded=True))
    descent = voice.count(escape.descent_steps)
    lines = (voice("method_escape", starts=voice.count(escape.starts), descent=descent), voice("method_same_starts"))
    return Section("escape", voice("section_escape"), (*blocks, Method(lines, (KESKAR, DAUPHIN))))
