"""The chapter of a study: its question, each batch size at its best rate, the law, and the runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from critbatch.errors import UserError
from critbatch.records.core import Estimate, Outcome, Record, Run, Speed, Target
from critbatch.records.study import Regime, SearchMethod, SizeResult, Study, StudySpec
from critbatch.reports.charts.advice import measured_time_to_target
from critbatch.reports.charts.runs import accuracy
from critbatch.reports.charts.study import steps_against_size, three_budgets
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.runs import metric_name, runs_worth_marking
from critbatch.reports.derived.study import StudyResults, claim, comparisons, findings
from critbatch.reports.model import (
    SHALLUE,
    Answer,
    Block,
    Bullets,
    Cell,
    Chart,
    Facts,
    Method,
    Section,
    Table,
    Text,
    Tile,
    plain,
)
from critbatch.reports.translator import SURE, Translator, Write
from critbatch.reports.views.common import Parts, RecordView, notes, view, without_interval
from critbatch.reports.views.noise import noise_of_runs
from critbatch.reports.views.runs import cautions_of_runs, marks_note, runs_section
from critbatch.reports.views.speed import hardware
from critbatch.reports.views.study_law import budgets_section, law_section, rate_law_section, rate_law_sentences
from critbatch.reports.views.study_raw import unanalysed_answer, unanalysed_cautions, unanalysed_parts

# A longer list shows only its first and last item.
MOST_LISTED = 16


def question_section(study: Study, t: Translator) -> Section:
    """Batch sizes, learning rates, seeds and lengths of the question, and the outcomes of the runs."""
    question = study.question
    pairs = [
        (t("column_recipe"), question.recipe),
        (t("asked_sizes"), list_text([t.count(size) for size in question.batch_sizes], t)),
        (t("asked_rates"), question_rates(question, t)),
        (t("asked_seeds"), list_text([str(seed) for seed in question.seeds], t)),
        (t("asked_length"), question_length(question, t)),
    ]
    if question.target is None:
        pairs.append((t("asked_target"), t("asked_no_target")))
    else:
        pairs.append((t("asked_target"), t.target(question.target, metric_name(study.runs))))
        pairs.append((t("asked_at_target"), t("asked_ends" if question.stops_at_target else "asked_goes_on")))
    pairs.append((t("asked_stopping"), t("asked_stopped" if question.prune else "asked_not_stopped")))
    if question.fixed_options:
        pairs.append((t("asked_fixed"), t.options(question.fixed_options)))
    if question.option_grid:
        pairs.append((t("asked_varied"), t.choices(question.option_grid)))
    blocks: list[Block] = [Text(t("asked_text")), Facts(tuple(pairs))]
    sentences = outcomes(study.runs, study.runs_left, t, target=question.target)
    blocks.append(Bullets(tuple(sentences), t("outcomes_title")))
    return Section("asked", t("section_asked"), tuple(blocks))


def outcomes(runs: Sequence[Run], left: int, t: Translator, *, target: Target | None) -> list[str]:
    """One sentence per outcome. A run that went on after the target counts as reached."""
    counts = Counter(_ending(run, target) for run in runs)
    counts["left"] = left
    order = ("reached", "finished", "missed", "stopped", "diverged", "out_of_memory", "interrupted", "left")
    return [t(f"outcomes_{key}", n=counts[key]) for key in order if counts[key]]


def _ending(run: Run, target: Target | None) -> str:
    if run.pruned:
        return "stopped"
    if run.crossing is not None or (target is not None and target.crossing(run.curve) is not None):
        return "reached"
    if run.outcome is Outcome.FINISHED:
        return "missed" if target is not None else "finished"
    return str(run.outcome)


def question_rates(question: StudySpec, t: Translator) -> str:
    if question.search is SearchMethod.GIVEN or (
        question.search is not SearchMethod.WIDENING and question.learning_rates
    ):
        return list_text([t.rate(rate) for rate in question.learning_rates], t)
    trials = t.count(question.trials) if question.trials is not None else "?"
    return t(f"search_{question.search}", trials=trials)


def question_length(question: StudySpec, t: Translator) -> str:
    lengths = []
    if question.epochs is not None:
        lengths.append(t("amount_epochs", value=t.about(question.epochs)))
    if question.steps is not None:
        lengths.append(t("amount_steps", value=t.count(question.steps)))
    if question.seconds is not None:
        lengths.append(t.seconds(question.seconds))
    if not lengths:
        return "–"
    return lengths[0] if len(lengths) == 1 else t("asked_longest", lengths=t("comma").join(lengths))


def list_text(texts: Sequence[str], t: Translator) -> str:
    if not texts:
        return "–"
    if len(texts) > MOST_LISTED:
        return t("list_ends", n=len(texts), first=texts[0], last=texts[-1])
    return t("comma").join(texts)


def sizes_section(findings: StudyResults, picture: Picture | None, note: str, t: Translator) -> Section:
    """The table of batch sizes, and time to target if there is a picture of it."""
    has_rates = any(size.learning_rate is not None for size in findings.sizes)
    blocks: list[Block] = [Text(t("sizes_text" if has_rates else "sizes_text_plain")), sizes_table(findings, t)]
    if findings.left_out:
        total = len(findings.sizes) + findings.left_out
        blocks.append(Text(t("sizes_left_out", shown=len(findings.sizes), total=total)))
    if picture is not None:
        blocks.append(Chart(picture, note))
    keys = ("method_crossing", "method_sizes", "method_sizes_interval", "method_usable", "method_regimes")
    method = Method(tuple(t(key) for key in keys), (SHALLUE,))
    return Section("sizes", t("section_sizes"), (*blocks, method))


def sizes_table(findings: StudyResults, t: Translator) -> Table:
    """One row per batch size. Empty columns are left out."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    has_rates = any(size.learning_rate is not None for size in sizes)
    has_options = any(size.options for size in sizes)
    has_column = {
        name: any(getattr(size, name) is not None for size in sizes) for name in ("epochs", "examples", "seconds")
    }
    # Epochs are left out if there are examples, which are proportional to them.
    has_column["epochs"] = has_column["epochs"] and (findings.in_epochs or not has_column["examples"])
    header = [
        "batch_size",
        *(["column_best_rate"] if has_rates else []),
        *(["column_options"] if has_options else []),
        *([] if findings.in_epochs else ["column_steps"]),
        *(["axis_epochs_to_target"] if has_column["epochs"] else []),
        *(["column_examples"] if has_column["examples"] else []),
        *(["column_time"] if has_column["seconds"] else []),
        "column_regime",
        "column_reached",
    ]
    soonest = findings.soonest
    rows = []
    for size in sizes:
        marks = (t("mark_best"),) if soonest is not None and size.batch_size == soonest.batch_size else ()
        row = [
            Cell(t.count(size.batch_size), marks=marks),
            *([_rate_cell(size, t)] if has_rates else []),
            *([Cell(t.options(size.options) or "–")] if has_options else []),
            *([] if findings.in_epochs else [_steps(size, t)]),
            *([_number(size.epochs, t.about, t)] if has_column["epochs"] else []),
            *([Cell(t.about(size.examples.value) if size.examples else "–")] if has_column["examples"] else []),
            *([_number(size.seconds, t.seconds, t)] if has_column["seconds"] else []),
            Cell(t(f"regime_{size.regime}") if size.regime is not None else "–"),
            _reached_cell(size, t),
        ]
        rows.append(tuple(row))
    estimates = [each for size in sizes for each in (size.steps, size.seconds)]
    caption = t("sizes_caption")
    table_notes = notes(estimates, t)
    if any(size.usable_rates for size in sizes):
        table_notes = (*table_notes, t("sizes_usable"))
    return Table(caption, tuple(t(key) for key in header), tuple(rows), table_notes)


def brief_table(findings: StudyResults, t: Translator) -> Table:
    """A short table for the terminal: best rate, steps or epochs, seconds and regime of each size."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    has_rates, has_seconds = (
        any(getattr(size, name) is not None for size in sizes) for name in ("learning_rate", "seconds")
    )
    rows = [
        (
            Cell(t.count(size.batch_size)),
            *((Cell(t.rate(size.learning_rate) if size.learning_rate is not None else "–"),) if has_rates else ()),
            _number(size.epochs, t.about, t) if findings.in_epochs else _steps(size, t),
            *((_number(size.seconds, t.seconds, t),) if has_seconds else ()),
            Cell(t(f"regime_{size.regime}") if size.regime is not None else "–"),
        )
        for size in sizes
    ]
    header = [
        "batch_size",
        *(["column_best_rate"] if has_rates else []),
        "axis_epochs_to_target" if findings.in_epochs else "column_steps",
        *(["column_time"] if has_seconds else []),
        "column_regime",
    ]
    return Table(t("sizes_caption"), tuple(t(key) for key in header), tuple(rows))


def _rate_cell(size: SizeResult, t: Translator) -> Cell:
    if size.learning_rate is None:
        return Cell("–")
    usable = t.span(*size.usable_rates, t.about) if size.usable_rates else ""
    return Cell(t.rate(size.learning_rate), usable, (t("sizes_at_edge"),) if size.at_edge else ())


def _reached_cell(size: SizeResult, t: Translator) -> Cell:
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


def law_sentences(results: StudyResults, t: Translator) -> list[str]:
    """Whether the law holds, with the critical batch size if it is known."""
    if results.trade_off is None:
        return [t.reason(results.law_reason)] if results.law_reason else [t("law_said_missing")]
    # The reason is shown among the cautions.
    critical = t.bounded(results.trade_off.critical_batch_size, t.about)
    return [t(f"law_said_{results.law_state}", critical=critical) if critical else t("law_said_unbounded")]


def regime_sentences(results: StudyResults, t: Translator) -> list[str]:
    """The batch size up to which scaling is perfect, and the one from which a larger batch saves no steps."""
    if not results.bands or results.in_epochs:
        return []
    perfect, useful = results.analysis.perfect_until, results.analysis.useful_until
    largest = t.count(results.reached[-1][0].batch_size)
    late = "_late" if perfect is None else ""
    sizes = {"perfect": t.count(perfect) if perfect is not None else "", "largest": largest}
    if all(regime is Regime.PERFECT_SCALING for regime, _ in results.bands):
        return [t("regimes_perfect", **sizes)] if len(results.reached) > 1 else []
    if all(regime is Regime.MAXIMAL_PARALLELISM for regime, _ in results.bands):
        return [t("regimes_flat")] if len(results.reached) > 1 else []
    if results.still_falling or useful is None:
        return [t(f"regimes_open{late}", **sizes)]
    return [t(f"regimes_three{late}", useful=t.count(useful), **sizes)]


def rate_sentences(results: StudyResults, t: Translator) -> list[str]:
    law = results.analysis.rate_law
    return rate_law_sentences(law, t) if law is not None else []


def critical_bound(results: StudyResults, t: Translator) -> str:
    return t.bounded(results.critical, t.about) if results.critical is not None else ""


# Tiles in one row.
ROW_OF_TILES = 5


def study_hero(results: StudyResults, t: Translator) -> Chart | None:
    """Steps against batch size, or metrics at equal budgets if there is no target."""
    picture = steps_against_size(results, t)
    if picture is not None:
        return Chart(picture, t("hero_note_sizes"))
    picture = three_budgets(results, t)
    return Chart(picture, t("hero_note_budgets")) if picture is not None else None


def study_tiles(results: StudyResults, t: Translator) -> list[Tile]:
    tiles, best, law = [], results.soonest, results.trade_off
    if best is not None:
        tiles.append(Tile(t("tile_soonest"), t.count(best.batch_size), _rate(best.learning_rate, t)))
    if law is not None:
        tiles.append(_tile("tile_critical", law.critical_batch_size, t.about, t))
        if law.min_steps is not None:
            tiles.append(_tile("tile_min_steps", law.min_steps, t.about, t))
        if law.min_epochs is not None:
            tiles.append(_tile("tile_min_epochs", law.min_epochs, t.about, t))
        elif law.min_examples is not None:
            tiles.append(_tile("tile_min_examples", law.min_examples, t.about, t))
    if results.analysis.rate_law is not None:
        tiles.append(_tile("tile_exponent", results.analysis.rate_law.exponent, t.about, t))
    return tiles


def _rate(rate: float | None, t: Translator) -> str:
    return t("tile_at_rate", rate=t.rate(rate)) if rate is not None else ""


def _tile(key: str, estimate: Estimate, write: Write, t: Translator) -> Tile:
    """A tile of the number with its interval, or of the bound alone if the number is 0 or infinite."""
    bounds = t.bounds(estimate, write)
    if not math.isfinite(estimate.value) or estimate.value == 0:
        return Tile(t(key), bounds or t("not_known"), t("tile_bound") if bounds else "")
    if estimate.low is not None and estimate.high is not None:
        return Tile(t(key), write(estimate.value), t.interval(estimate, write))
    sure = f"tile_{estimate.reason}" if estimate.reason in SURE else "no_interval"
    return Tile(t(key), write(estimate.value), bounds or t(sure))


# Cautions that do not apply to runs without a target.
ABOUT_TARGET = {"no_run_reached_target", "few_sizes", "censored_sizes", "coarse_evaluations", "target_met_at_start"}


def _study_answer(study: Study, results: StudyResults, t: Translator) -> Answer | None:
    """The fastest batch size, and where a larger one stops saving steps. None if the target was not reached."""
    question, runs, best = study.question, study.runs, results.soonest
    run_count = t("study_done", n=t.count(len(runs)), total=t.count(len(runs) + study.runs_left))
    claims = [t(f"claim_{claim(results.analysis.budgets)}")] if comparisons(results.analysis.budgets) else []
    if question.target is None:
        sizes = len({run.batch_size for run in runs})
        headline = t("study_claims_headline", task=question.task, n=len(runs), sizes=sizes)
        return Answer(headline, tuple(claims), (*rate_sentences(results, t), run_count))
    if best is None or best.learning_rate is None:
        return None
    headline = t(
        "study_headline",
        task=question.task,
        batch_size=t.count(best.batch_size),
        rate=t.rate(best.learning_rate),
        recipe=question.recipe,
    )
    target = t.target(question.target, metric_name(runs))
    time = best.seconds
    lead = [t("study_time_at_best", target=target, seconds=t.estimate(time, t.seconds))] if time else []
    more = [*law_sentences(results, t), *rate_sentences(results, t), *claims, run_count]
    return Answer(headline, (*lead, *regime_sentences(results, t)), tuple(more))


def _study_parts(study: Study, results: StudyResults, t: Translator) -> Parts:
    """The question, the batch sizes, the law, the learning rates, the equal budgets, and the runs."""
    runs, has_target = study.runs, study.question.target is not None
    picture = steps_against_size(results, t) if has_target else None
    hero = study_hero(results, t)
    sections: list[Section] = [question_section(study, t)]
    if has_target:
        time = measured_time_to_target(runs, study.unit, t)
        note = " ".join(filter(None, (t("hero_note_study"), marks_note(runs, runs_worth_marking(runs), t))))
        sections += [sizes_section(results, time, note, t), law_section(results, t), rate_law_section(results, t)]
    sections.append(budgets_section(results, t, drawn=picture is None and hero is not None))
    sections += [hardware(study.speed, t)] if study.speed is not None else []
    sections.append(runs_section(runs, t))
    sections += [noise_of_runs(runs, study.unit, t)] if any(run.noise for run in runs) else []
    tiles = study_tiles(results, t)
    if 0 < len(tiles) < ROW_OF_TILES:
        runs_left = t("tile_left", left=t.count(study.runs_left)) if study.runs_left else ""
        tiles.append(Tile(t("tile_runs"), t.count(len(runs)), runs_left))
    return tiles, hero, sections


def _study_cautions(study: Study, results: StudyResults) -> list[str]:
    keys = ["runs_left"] if study.runs_left else []
    result_keys = cautions_of_findings(results)
    keys += [
        *(
            result_keys
            if study.question.target is not None
            else (key for key in result_keys if key not in ABOUT_TARGET)
        ),
        *cautions_of_runs(study.runs),
    ]
    best = results.soonest
    if best is not None and study.question.target is not None:
        sizes = [size.batch_size for size in results.sizes]
        if best.batch_size in (min(sizes), max(sizes)):
            keys.append("best_at_edge")
        if best.at_edge:
            keys.append("rate_at_edge")
    if not comparisons(results.analysis.budgets):
        keys.append("generalization_not_measured")
    return [*keys, "one_machine"]


def cautions_of_findings(results: StudyResults) -> list[str]:
    keys = [*results.analysis.cautions]
    if not results.law_holds or results.law_reason:
        keys.append(results.law_reason)
    best = results.soonest
    return [*keys, *without_interval((best.steps, best.seconds))] if best is not None else keys


def size_lines(results: StudyResults | None, t: Translator) -> list[str]:
    """The batch sizes as a plain-text table. Empty if the study was not analysed."""
    if results is None or not any(size.steps or size.epochs or size.bound for size in results.sizes):
        return []
    return ["", *plain(brief_table(results, t))]


@view(Study)
class StudyView(RecordView[Study]):
    """A sweep over batch sizes and learning rates."""

    def name(self, study: Study, /) -> str:
        return study.question.task

    def check(self, study: Study, /) -> None:
        if not study.runs:
            task = study.question.task
            raise UserError(
                f"The study of task {task!r} has no run yet: make some with `critbatch sweep {task}`, then ask again."
            )

    def answer(self, study: Study, t: Translator, /) -> Answer:
        results = findings(study)
        analysed_answer = _study_answer(study, results, t) if results is not None else None
        return analysed_answer or unanalysed_answer(study, t)

    def parts(self, study: Study, t: Translator, /) -> Parts:
        results = findings(study)
        return unanalysed_parts(study, t) if results is None else _study_parts(study, results, t)

    def cautions(self, study: Study, /) -> list[str]:
        results = findings(study)
        return unanalysed_cautions(study) if results is None else _study_cautions(study, results)

    def figure(self, study: Study, t: Translator) -> Picture | None:
        results = findings(study)
        if results is not None:
            return steps_against_size(results, t) or three_budgets(results, t)
        return measured_time_to_target(study.runs, study.unit, t) or accuracy(study.runs, study.unit, t)

    def speeds(self, study: Study, /) -> list[Speed]:
        return [study.speed] if study.speed is not None else []

    def runs(self, study: Study, /) -> Sequence[Run]:
        return study.runs

    def records_shown(self, study: Study, /) -> Sequence[Record | None]:
        return [study.speed]

    def lines(self, study: Study, t: Translator, /) -> list[str]:
        return size_lines(findings(study), t)
