"""The chapter of a claims report: the table of the ten claims, and one section per claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from critbatch.records.claims import Claim, ClaimId, ClaimsReport, ClaimTest, ClaimVerdict, Measure, RecipeRow
from critbatch.records.core import Record, Speed
from critbatch.reports.charts.advice import time_to_target
from critbatch.reports.charts.claims import claims_overview, is_base, recipes_picture
from critbatch.reports.charts.loss_surface import escape_picture
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.claims import (
    SIGNS,
    count_of,
    effect_formatter,
    effect_text,
    finding,
    has_reduced_data,
    number_of,
    open_reasons,
    recipe_name,
    section_of,
    statement_label,
    verdict,
)
from critbatch.reports.derived.study import findings
from critbatch.reports.model import (
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
    Answer,
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
    Tile,
    Verdict,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import answer
from critbatch.reports.views.claims_evidence import (
    batches_blocks,
    generalization_blocks,
    minima_blocks,
    paths_blocks,
    summary_blocks,
    time_blocks,
)
from critbatch.reports.views.common import Parts, RecordView, cell, notes, view
from critbatch.reports.views.curvature import escape_section
from critbatch.reports.views.study_law import budgets_section

# Blocks of the claims on training: larger batches, noise, the choice of a batch size, and recipes.


def optimization_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """Training and validation at equal epochs, steps and seconds."""
    results = findings(report.study) if report.study is not None else None
    if results is None:
        return [_missing(t)]
    return list(budgets_section(results, t).blocks)


def noise_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """The escape experiment of each task, with the type of its starting points."""
    blocks: list[Block] = []
    methods: list[Block] = []
    for escape in report.escapes:
        escape_answer, picture = answer(escape, t), escape_picture(escape, t)
        if picture is None:
            continue
        parts = escape_section(escape, t).blocks
        blocks += [Text(escape_answer.headline), Chart(picture), Bullets(escape_answer.more)]
        blocks += [part for part in parts if isinstance(part, Table)]
        methods = [part for part in parts if isinstance(part, Method)]
    return [*blocks, *methods] if blocks else [_missing(t)]


def choice_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """The recommendation for this task, and the picture behind it."""
    advice = report.advice
    if advice is None:
        return [_missing(t)]
    advice_answer, picture = answer(advice, t), time_to_target(advice, t)
    blocks: list[Block] = [Text(sentence) for sentence in (advice_answer.headline, *advice_answer.lead)]
    blocks.append(Chart(picture, t("hero_note")) if picture is not None else _missing(t))
    return [*blocks, *([Bullets(advice_answer.more)] if advice_answer.more else [])]


def both_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """Recipes at a large batch beside plain training with small ones."""
    if not report.recipes:
        return [_missing(t)]
    metric, small = t.metric(report.metric_name), report.small_batch_size
    picture = recipes_picture(report.recipes, small, metric, t)
    blocks: list[Block] = [Chart(picture, t("claims_recipes_note"))] if picture is not None else [_missing(t)]
    keys = (
        "column_recipe",
        "learning_rate",
        "column_reached",
        "column_steps",
        "column_epochs",
        "column_seconds",
        "column_train_metric",
        "column_validation_metric",
    )
    rows = tuple(_recipe_row(row, small, t) for row in report.recipes)
    estimates = [
        estimate
        for row in report.recipes
        for estimate in (row.steps, row.epochs, row.seconds, row.train_metric, row.validation_metric)
    ]
    header = tuple(t(key, metric=metric) for key in keys)
    return [*blocks, Table(t("claims_recipes_caption"), header, rows, notes(estimates, t), wraps=True)]


def _recipe_row(row: RecipeRow, small: int, t: Translator) -> tuple[Cell, ...]:
    marks = (t("mark_baseline"),) if is_base(row, small) else ()
    rate = row.learning_rate
    return (
        Cell(recipe_name(row, t), marks=marks),
        Cell(t.rate(rate) if rate is not None else "–"),
        Cell(t("of_seeds", reached=row.reached, runs=row.seeds)),
        cell(row.steps, t.about, t),
        cell(row.epochs, t.about, t),
        cell(row.seconds, t.seconds, t),
        cell(row.train_metric, t.score, t),
        cell(row.validation_metric, t.score, t),
    )


def _missing(t: Translator) -> Text:
    return Text(t("claims_no_picture"))


PARTS: dict[ClaimId, Callable[[ClaimsReport, Claim, Translator], list[Block]]] = {
    ClaimId.BATCHES: batches_blocks,
    ClaimId.PATHS: paths_blocks,
    ClaimId.TIME: time_blocks,
    ClaimId.OPTIMIZATION: optimization_blocks,
    ClaimId.NOISE: noise_blocks,
    ClaimId.GENERALIZATION: generalization_blocks,
    ClaimId.MINIMA: minima_blocks,
    ClaimId.SUMMARY: summary_blocks,
    ClaimId.CHOICE: choice_blocks,
    ClaimId.BOTH: both_blocks,
}
# A longer table of statements is folded, since the pictures and tables before it have the same contents.
MANY_STATEMENTS = 8
PAPERS: dict[ClaimId, tuple[Paper, ...]] = {
    ClaimId.BATCHES: (GOYAL,),
    ClaimId.PATHS: (MCCANDLISH,),
    ClaimId.TIME: (GOYAL,),
    ClaimId.OPTIMIZATION: (SHALLUE,),
    ClaimId.NOISE: (SMITH, DAUPHIN),
    ClaimId.GENERALIZATION: (KESKAR, HOFFER, GOYAL, SHALLUE, MASTERS),
    ClaimId.MINIMA: (KESKAR, DINH, KWON),
    ClaimId.SUMMARY: (SHALLUE,),
    ClaimId.CHOICE: (SHALLUE, MCCANDLISH),
    ClaimId.BOTH: (LAMB, AKIBA, SWAP, LARS, GOYAL, NADO),
}


def overview_section(report: ClaimsReport, t: Translator) -> Section:
    """Every claim with its verdict and its finding, then all effects in one picture."""
    header = tuple(t(key) for key in ("column_claim", "column_verdict", "column_finding"))
    rows = tuple(_claim_row(report, claim, t) for claim in report.claims)
    blocks: list[Block] = [Table(t("claims_caption"), header, rows, wraps=True)]
    picture = claims_overview(report, t)
    blocks += [Chart(picture, t("claims_overview_note"))] if picture is not None else []
    blocks.append(Method((t("claims_text"), t("method_interval"))))
    return Section("lecture", t("section_claims"), tuple(blocks))


def _claim_row(report: ClaimsReport, claim: Claim, t: Translator) -> tuple[Cell, ...]:
    name = t("claims_number", number=number_of(claim.name), claim=t(f"claims_full_{claim.name}"))
    return (
        Cell(name, target=section_of(claim.name)),
        Cell(verdict(claim.holds, t), badge=str(claim.holds)),
        Cell(finding(report, claim, t)),
    )


def claim_section(report: ClaimsReport, claim: Claim, t: Translator) -> Section:
    """The claim, its verdict, pictures, statements, the reasons if it is undecided, and later literature."""
    parts = PARTS[claim.name](report, claim, t)
    blocks: list[Block] = [
        Text(t(f"claims_full_{claim.name}")),
        Verdict(str(claim.holds), verdict(claim.holds, t), finding(report, claim, t)),
        *(part for part in parts if not isinstance(part, Method)),
    ]
    # The statements of the summary claim are already the rows of its table.
    if claim.statements and claim.name is not ClaimId.SUMMARY:
        blocks.append(_statements(report, claim, t))
    reasons = open_reasons(claim, t)
    if reasons and claim.statements:
        blocks.append(Bullets(reasons, t("claims_why")))
    later = t(f"claims_later_{claim.name}")
    blocks.append(Literature(t("claims_later"), later, PAPERS[claim.name]))
    methods = [part for part in parts if isinstance(part, Method)]
    lines = (t(f"claims_method_{claim.name}"), *(line for method in methods for line in method.lines))
    papers = dict.fromkeys(paper for method in methods for paper in method.papers)
    blocks.append(Method(tuple(dict.fromkeys(lines)), tuple(papers)))
    return Section(section_of(claim.name), t(f"claims_section_{claim.name}"), tuple(blocks))


def _statements(report: ClaimsReport, claim: Claim, t: Translator) -> Table:
    header = tuple(t(key) for key in ("column_statement", "column_effect", "column_verdict", "column_decides"))
    rows = tuple(
        (
            Cell(statement_label(report, statement, t)),
            _effect_cell(report, statement, t),
            Cell(verdict(statement.holds, t), badge=str(statement.holds)),
            Cell(t("yes" if statement.main else "no")),
        )
        for statement in claim.statements
    )
    effects = [statement.effect for statement in claim.statements]
    levels = tuple(note for note in notes([each for each in effects if each is not None and each.low is not None], t))
    is_folded = len(rows) > MANY_STATEMENTS
    return Table(t("claims_statements"), header, rows, levels, folded=is_folded, wraps=True)


def verdict_tiles(report: ClaimsReport, t: Translator) -> list[Tile]:
    """One tile per verdict with the number of claims."""
    of = t("tile_of_claims", n=len(report.claims))
    return [Tile(t(f"tile_holds_{holds}"), t.count(count_of(report, holds)), of) for holds in ClaimVerdict]


def _lines(report: ClaimsReport, t: Translator) -> list[str]:
    """One line per claim: sign, number, name, verdict, finding."""
    return [
        t(
            "claims_line",
            sign=SIGNS[claim.holds],
            number=number_of(claim.name),
            claim=t(f"claims_short_{claim.name}"),
            verdict=t(f"holds_{claim.holds}"),
            finding=finding(report, claim, t),
        )
        for claim in report.claims
    ]


@view(ClaimsReport)
class ClaimsView(RecordView[ClaimsReport]):
    """The ten claims and their verdicts."""

    def answer(self, report: ClaimsReport, t: Translator) -> Answer:
        """The number of claims that held, and the batch sizes."""
        headline = t(
            "claims_headline",
            n=len(report.claims),
            task=report.task,
            held=count_of(report, ClaimVerdict.HELD),
            not_held=count_of(report, ClaimVerdict.NOT_HELD),
            undecided=count_of(report, ClaimVerdict.UNDECIDED),
        )
        sizes = {"small": t.count(report.small_batch_size), "large": t.count(report.large_batch_size)}
        lead = [t("claims_sizes", n=report.seeds, **sizes)]
        if has_reduced_data(report) and not report.full:
            lead.append(t("claims_reduced"))
        return Answer(headline, tuple(lead))

    def parts(self, report: ClaimsReport, t: Translator, /) -> Parts:
        sections = [overview_section(report, t), *(claim_section(report, claim, t) for claim in report.claims)]
        return verdict_tiles(report, t), None, sections

    def cautions(self, report: ClaimsReport) -> list[str]:
        """Message keys for claims that were left out, undecided statements, and limits of every such test."""
        keys = ["lecture_one_seed"] if report.seeds == 1 else []
        keys += [claim.reason for claim in report.claims]
        keys += [
            statement.reason
            for claim in report.claims
            for statement in claim.statements
            if statement.holds is ClaimVerdict.UNDECIDED
        ]
        return [*report.left, *keys, "many_claims", "one_machine", "one_task"]

    def figure(self, report: ClaimsReport, t: Translator, /) -> Picture | go.Figure | None:
        return claims_overview(report, t)

    def speeds(self, report: ClaimsReport, /) -> Sequence[Speed]:
        return report.speeds

    def records_shown(self, report: ClaimsReport, /) -> Sequence[Record | None]:
        lists = (report.speeds, report.escapes, report.sharpness, report.lines, report.shifts)
        single = (report.study, report.orders, report.noise, report.advice)
        return [*(record for records in lists for record in records), *single]

    def lines(self, report: ClaimsReport, t: Translator, /) -> list[str]:
        return ["", *_lines(report, t)]


def _effect_cell(report: ClaimsReport, statement: ClaimTest, t: Translator) -> Cell:
    """The number with its interval and n beneath."""
    if statement.measure is Measure.EXACT and statement.effect is not None:
        return Cell(effect_text(report, statement, t))
    return cell(statement.effect, effect_formatter(report, statement, t), t)
