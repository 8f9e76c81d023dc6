"""The lecture's claims: the table of all ten, and the frame of each one's section."""

from __future__ import annotations

from collections.abc import Callable

from critbatch.records.claims import Claim, ClaimName, Lecture
from critbatch.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Chart,
    Literature,
    Method,
    Paper,
    Section,
    Table,
    Text,
    Verdict,
)
from critbatch.reporting.figures.lecture_effects import claims_overview
from critbatch.reporting.lecture_readings import (
    effect_cell,
    finding,
    number_of,
    open_reasons,
    section_of,
    stated,
    verdict,
)
from critbatch.reporting.papers import (
    AKIBA,
    DAUPHIN,
    DINH,
    GOYAL,
    HOFFER,
    KESKAR,
    KWON,
    LAMB,
    LARS,
    MASTERS,
    MCCANDLISH,
    NADO,
    SHALLUE,
    SMITH,
    SWAP,
)
from critbatch.reporting.sections.lecture_minima import generalization_blocks, minima_blocks
from critbatch.reporting.sections.lecture_training import both_blocks, choice_blocks, noise_blocks, optimization_blocks
from critbatch.reporting.sections.lecture_updates import batches_blocks, paths_blocks, summary_blocks, time_blocks
from critbatch.reporting.sections.setup import notes
from critbatch.reports.translator import Translator

PARTS: dict[ClaimName, Callable[[Lecture, Claim, Translator], list[Block]]] = {
    ClaimName.BATCHES: batches_blocks,
    ClaimName.PATHS: paths_blocks,
    ClaimName.TIME: time_blocks,
    ClaimName.OPTIMIZATION: optimization_blocks,
    ClaimName.NOISE: noise_blocks,
    ClaimName.GENERALIZATION: generalization_blocks,
    ClaimName.MINIMA: minima_blocks,
    ClaimName.SUMMARY: summary_blocks,
    ClaimName.CHOICE: choice_blocks,
    ClaimName.BOTH: both_blocks,
}
# More of them are read on demand: the pictures and tables before them say what is in them.
MANY_STATEMENTS = 8
PAPERS: dict[ClaimName, tuple[Paper, ...]] = {
    ClaimName.BATCHES: (GOYAL,),
    ClaimName.PATHS: (MCCANDLISH,),
    ClaimName.TIME: (GOYAL,),
    ClaimName.OPTIMIZATION: (SHALLUE,),
    ClaimName.NOISE: (SMITH, DAUPHIN),
    ClaimName.GENERALIZATION: (KESKAR, HOFFER, GOYAL, SHALLUE, MASTERS),
    ClaimName.MINIMA: (KESKAR, DINH, KWON),
    ClaimName.SUMMARY: (SHALLUE,),
    ClaimName.CHOICE: (SHALLUE, MCCANDLISH),
    ClaimName.BOTH: (LAMB, AKIBA, SWAP, LARS, GOYAL, NADO),
}


def lecture_section(lecture: Lecture, t: Translator) -> Section:
    """Every claim with its verdict and its finding, then all effects in one picture."""
    header = tuple(t(key) for key in ("column_lecture_claim", "column_verdict", "column_finding"))
    rows = tuple(_claim_row(lecture, claim, t) for claim in lecture.claims)
    blocks: list[Block] = [Table(t("lecture_caption"), header, rows, wraps=True)]
    picture = claims_overview(lecture, t)
    blocks += [Chart(picture, t("lecture_overview_note"))] if picture is not None else []
    blocks.append(Method((t("lecture_text"), t("method_interval"))))
    return Section("lecture", t("section_lecture"), tuple(blocks))


def _claim_row(lecture: Lecture, claim: Claim, t: Translator) -> tuple[Cell, ...]:
    name = t("lecture_number", number=number_of(claim.name), claim=t(f"lecture_claim_{claim.name}"))
    return (
        Cell(name, target=section_of(claim.name)),
        Cell(verdict(claim.holds, t), badge=str(claim.holds)),
        Cell(finding(lecture, claim, t)),
    )


def claim_section(lecture: Lecture, claim: Claim, t: Translator) -> Section:
    """The claim, its verdict, its pictures, what it rests on, why it is open, and what is known since."""
    parts = PARTS[claim.name](lecture, claim, t)
    blocks: list[Block] = [
        Text(t(f"lecture_claim_{claim.name}")),
        Verdict(str(claim.holds), verdict(claim.holds, t), finding(lecture, claim, t)),
        *(part for part in parts if not isinstance(part, Method)),
    ]
    # The rows of the lecture's own table are its statements.
    if claim.statements and claim.name is not ClaimName.SUMMARY:
        blocks.append(_statements(lecture, claim, t))
    reasons = open_reasons(claim, t)
    if reasons and claim.statements:
        blocks.append(Bullets(reasons, t("lecture_why")))
    later = t(f"lecture_later_{claim.name}")
    blocks.append(Literature(t("lecture_later"), later, PAPERS[claim.name]))
    methods = [part for part in parts if isinstance(part, Method)]
    lines = (t(f"lecture_method_{claim.name}"), *(line for method in methods for line in method.lines))
    papers = dict.fromkeys(paper for method in methods for paper in method.papers)
    blocks.append(Method(tuple(dict.fromkeys(lines)), tuple(papers)))
    return Section(section_of(claim.name), t(f"lecture_section_{claim.name}"), tuple(blocks))


def _statements(lecture: Lecture, claim: Claim, t: Translator) -> Table:
    header = tuple(t(key) for key in ("column_statement", "column_effect", "column_verdict", "column_decides"))
    rows = tuple(
        (
            Cell(stated(lecture, statement, t)),
            effect_cell(lecture, statement, t),
            Cell(verdict(statement.holds, t), badge=str(statement.holds)),
            Cell(t("yes" if statement.main else "no")),
        )
        for statement in claim.statements
    )
    told = [statement.effect for statement in claim.statements]
    levels = tuple(note for note in notes([each for each in told if each is not None and each.low is not None], t))
    folded = len(rows) > MANY_STATEMENTS
    return Table(t("lecture_statements"), header, rows, levels, folded=folded, wraps=True)
