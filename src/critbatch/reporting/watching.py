"""A look at a study as a terminal shows it: how far it is, the best so far, and the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from string import ascii_uppercase

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critbatch.records.core import Quantity, Setting
from critbatch.records.monitor import Look, RunAtWork, SizeSoFar, StudySoFar
from critbatch.records.study import Question
from critbatch.reporting.sections.asked import length_asked, listed, rates_asked
from critbatch.reporting.terminal_plot import Line, plotted
from critbatch.reporting.voice import Voice

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red", "bright_cyan", "bright_yellow", "bright_green")
MOST_AT_WORK = 4
PLOT_ROWS = (6, 14)
WIDEST = 100


def view(look: Look, voice: Voice, *, width: int, height: int, live: bool = False) -> RenderableType:
    """The study that somebody works on, or the one that was begun last, in full; a line for each of the others.

    Args:
        width, height: of the terminal, in characters.
        live: with the time of the look, and how to end the watch.
    """
    foot = [Text(voice("watch_at", time=datetime.fromisoformat(look.at).strftime("%X")), style="dim")] if live else []
    if not look.studies:
        return Group(Text(voice("watch_no_study")), *foot)
    shown = next((study for study in look.studies if study.at_work), look.studies[0])
    others = [*(_other(study, voice) for study in look.studies if study is not shown), *foot]
    rows: list[RenderableType] = [*_head(shown, voice), *_standing(shown, look, voice), _table(shown, voice)]
    taken = 4 + sum(_lines(row, width) for row in rows[:-1]) + len(shown.sizes) + len(others)
    least, most = PLOT_ROWS
    rows += _curves(shown, voice, width=min(width, WIDEST), height=max(least, min(most, height - taken - 2)))
    return Group(*rows, *others)


def farewell(voice: Voice) -> str:
    """What Ctrl-C is answered with."""
    return voice("watch_goes_on")


def _head(study: StudySoFar, voice: Voice) -> list[RenderableType]:
    names = {"task": _plain(study.task), "recipe": _plain(study.recipe)}
    if study.target is None:
        title = voice("watch_title_no_target", **names)
    else:
        title = voice("watch_title", target=voice.target(study.target, study.metric_name), **names)
    return [Text(title, style="bold"), *([_asked(study.question, voice)] if study.question is not None else [])]


def _asked(question: Question, voice: Voice) -> Text:
    sentence = voice(
        "watch_asked",
        sizes=listed([voice.count(size) for size in question.batch_sizes], voice),
        rates=rates_asked(question, voice),
        seeds=listed([str(seed) for seed in question.seeds], voice),
        length=length_asked(question, voice),
    )
    return Text(sentence, style="dim")


def _standing(study: StudySoFar, look: Look, voice: Voice) -> list[RenderableType]:
    running = len(study.at_work)
    if study.left is None:
        told = [voice("watch_count_open", done=study.done, running=running)]
    else:
        total = study.done + study.left
        told = [voice("watch_count", done=study.done, total=total, left=study.left, running=running)]
    if study.failed:
        told.append(voice("watch_failed", n=study.failed))
    if study.broken_off:
        told.append(voice("watch_broken", n=study.broken_off))
    told.append(_time(study, look, voice))
    told += [_run(run, voice) for run in study.at_work[:MOST_AT_WORK]]
    if running > MOST_AT_WORK:
        told.append(voice("watch_more_runs", n=running - MOST_AT_WORK))
    return [Text(sentence) for sentence in told]


def _time(study: StudySoFar, look: Look, voice: Voice) -> str:
    if study.left == 0:
        return voice("watch_over")
    if not study.at_work:
        if look.held:
            return voice("watch_between")
        return voice("watch_ended" if study.left is None else "watch_nobody")
    if study.seconds_left is None:
        return voice("watch_time_unknown")
    key = "watch_time_at_most" if study.at_most else "watch_time_about"
    return voice(key, time=voice.seconds(study.seconds_left))


def _run(run: RunAtWork, voice: Voice) -> str:
    told = {
        "batch_size": voice.count(run.batch_size),
        "rate": _setting(run.learning_rate, run.options, voice),
        "seed": run.seed,
        "host": _plain(run.host),
    }
    if not run.at_least_seconds:
        return voice("watch_run", **told)
    time = voice.seconds(run.at_least_seconds)
    if run.expected_seconds is None or run.at_least_seconds > run.expected_seconds:
        return voice("watch_run_for", time=time, **told)
    return voice("watch_run_of", time=time, whole=voice.seconds(run.expected_seconds), **told)


def _table(study: StudySoFar, voice: Voice) -> Table:
    loss = study.curves_of == Quantity.VALIDATION_LOSS
    value = voice("watch_lowest_loss") if loss else voice("watch_best_metric", metric=voice.metric(study.metric_name))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    for name in (
        voice("batch_size"),
        voice("column_runs"),
        voice("watch_best_rate"),
        voice("column_steps_made"),
        voice("watch_time"),
        value,
    ):
        table.add_column(name, justify="right")
    table.add_column(voice("watch_goal"))
    for number, size in enumerate(study.sizes):
        letter = Text(_letter(number), style=f"bold {_colour(number)}")
        table.add_row(letter, *_cells(size, study, voice))
    return table


def _cells(size: SizeSoFar, study: StudySoFar, voice: Voice) -> list[str]:
    head = [voice.count(size.batch_size), voice.count(size.made)]
    if size.learning_rate is None or size.steps is None or size.seconds is None:
        return [*head, "–", "–", "–", "–", "–"]
    goal = "–" if study.target is None else voice("watch_reached" if size.reached else "watch_missed")
    return [
        *head,
        _setting(size.learning_rate, size.options, voice),
        voice.about(size.steps),
        voice.seconds(size.seconds),
        "–" if size.best_value is None else voice.score(size.best_value),
        goal,
    ]


def _curves(study: StudySoFar, voice: Voice, *, width: int, height: int) -> list[RenderableType]:
    lines = [
        Line(_letter(number), _colour(number), size.curve) for number, size in enumerate(study.sizes) if size.curve
    ]
    on_target = study.target is not None and study.target.quantity == study.curves_of
    level = study.target.value if study.target is not None and on_target else None
    loss = study.curves_of == Quantity.VALIDATION_LOSS
    rows = plotted(lines, width=width, height=height, write=voice.score, level=level, rises=not loss)
    if not rows:
        return []
    metric = voice.metric(study.metric_name)
    title = voice("watch_curves_loss") if loss else voice("watch_curves", metric=metric)
    return [Text(""), Text(title, style="dim"), *rows]


def _other(study: StudySoFar, voice: Voice) -> Text:
    names = {"task": _plain(study.task), "recipe": _plain(study.recipe)}
    return Text(voice("watch_other", done=study.done, running=len(study.at_work), **names), style="dim")


def _setting(rate: float, options: Mapping[str, Setting], voice: Voice) -> str:
    told = [voice.rate(rate), *([voice.options(options)] if options else [])]
    return _plain(voice("comma").join(told))


def _letter(number: int) -> str:
    return ascii_uppercase[number % len(ascii_uppercase)]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _plain(text: str) -> str:
    """Without what a terminal takes for orders."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _lines(row: RenderableType, width: int) -> int:
    return math.ceil(row.cell_len / max(1, width)) if isinstance(row, Text) else 1
