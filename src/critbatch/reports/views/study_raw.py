"""The chapter of a study that could not be analysed, for example because it has too few runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from critbatch.records.study import Study
from critbatch.reports.charts.advice import measured_time_to_target
from critbatch.reports.derived.runs import metric_name, soonest_settings
from critbatch.reports.model import Answer, Block, Cell, Chart, Method, Section, Table, Text, Tile
from critbatch.reports.translator import Translator, Write
from critbatch.reports.views.common import Parts
from critbatch.reports.views.noise import noise_of_runs
from critbatch.reports.views.runs import accuracy_section, cautions_of_runs, closest_run, runs_section, steps_section
from critbatch.reports.views.speed import hardware


def unanalysed_answer(study: Study, t: Translator) -> Answer:
    question, runs = study.question, study.runs
    total = len(runs) + study.runs_left
    best = soonest_settings(runs)
    run_count = t("study_done", n=len(runs), total=t.count(total))
    if question.target is None:
        closest_sentences = closest_run(runs, None, t)
        return Answer(t("study_no_target", task=question.task, n=len(runs)), (*closest_sentences, run_count))
    target = t.target(question.target, metric_name(runs))
    if not best:
        headline = t("study_none_reached", task=question.task, target=target)
        return Answer(headline, (*closest_run(runs, question.target, t), run_count))
    soonest = min(best, key=lambda setting: median(setting.seconds))
    headline = t(
        "study_headline",
        task=question.task,
        batch_size=t.count(soonest.batch_size),
        rate=t.rate(soonest.learning_rate),
        recipe=question.recipe,
    )
    seconds = soonest.seconds
    span = t.span(seconds[0], seconds[-1], t.seconds)
    lead = t("study_time", n=len(seconds), target=target, seconds=t.seconds(median(seconds)), span=span)
    return Answer(headline, (lead, run_count))


def unanalysed_parts(study: Study, t: Translator) -> Parts:
    picture = measured_time_to_target(study.runs, study.unit, t)
    hero = Chart(picture, t("hero_note_study")) if picture is not None else None
    question, runs = study.question, study.runs
    target_sections = [cost_of_study(study, t), steps_section(runs, (), None, study.unit, t)] if question.target else []
    sections = [
        *target_sections[:1],
        hardware(study.speed, t),
        accuracy_section(runs, study.unit, t),
        *target_sections[1:],
        runs_section(runs, t),
        noise_of_runs(runs, study.unit, t),
    ]
    best = soonest_settings(runs)
    if not best:
        return [], hero, sections
    soonest = min(best, key=lambda setting: median(setting.seconds))
    seconds = soonest.seconds
    tiles = [
        Tile(t("batch_size"), t.count(soonest.batch_size), ""),
        Tile(t("learning_rate"), t.rate(soonest.learning_rate), ""),
        Tile(t("column_time"), t.seconds(median(seconds)), t.span(seconds[0], seconds[-1], t.seconds)),
        Tile(t("tile_runs"), t.count(len(runs)), t("tile_left", left=study.runs_left) if study.runs_left else ""),
    ]
    return tiles, hero, sections


def unanalysed_cautions(study: Study) -> list[str]:
    keys = ["runs_left"] if study.runs_left else []
    keys += cautions_of_runs(study.runs)
    best = soonest_settings(study.runs)
    if best:
        soonest = min(best, key=lambda setting: median(setting.seconds))
        sizes = [run.batch_size for run in study.runs]
        rates = [run.learning_rate for run in study.runs if run.batch_size == soonest.batch_size]
        if soonest.batch_size in (min(sizes), max(sizes)):
            keys.append("best_at_edge")
        if soonest.learning_rate in (min(rates), max(rates)):
            keys.append("rate_at_edge")
    if not any(run.noise for run in study.runs):
        keys.append("no_noise_measured")
    return [*keys, "generalization_not_measured", "one_machine"]


def cost_of_study(study: Study, t: Translator) -> Section:
    """Measured cost of each batch size at its fastest learning rate, by the median run."""
    best, title = soonest_settings(study.runs), t("section_cost")
    if not best:
        return Section("cost", title, (Text(t("cost_nothing")),))
    fastest = min(median(setting.seconds) for setting in best)
    header = ("batch_size", "column_time", "column_times", "learning_rate", "column_steps", "column_runs")
    rows = []
    for setting in best:
        steps = [run.crossing.step for run in setting.runs if run.crossing]
        soonest = median(setting.seconds) == fastest
        rows.append(
            (
                Cell(t.count(setting.batch_size), marks=(t("mark_best"),) if soonest else ()),
                _spread(setting.seconds, t.seconds, t),
                Cell(t("times", times=t.times(median(setting.seconds) / fastest))),
                Cell(t.rate(setting.learning_rate)),
                _spread(steps, t.about, t),
                Cell(t("reached_of", reached=len(setting.seconds), runs=len(setting.runs))),
            )
        )
    blocks: tuple[Block, ...] = (
        Text(t("cost_study_text")),
        Table(t("cost_caption"), tuple(t(key) for key in header), tuple(rows), (t("cost_spread"),)),
        Method((t("method_crossing"), t("method_median"))),
    )
    return Section("cost", title, blocks)


def _spread(values: Sequence[float], write: Write, t: Translator) -> Cell:
    note = t.span(min(values), max(values), write) if len(values) > 1 else ""
    return Cell(write(median(values)), note)
