"""The live view of a study in a terminal: progress, best results so far, and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from string import ascii_uppercase

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critbatch.records.core import OptionValue, Quantity
from critbatch.records.monitor import RunningRun, SizeStatus, StudyStatus, WatchSnapshot
from critbatch.records.study import StudySpec
from critbatch.reports.model import width as columns_of
from critbatch.reports.translator import Translator
from critbatch.reports.views.study import list_text, question_length, question_rates

# Curves in a terminal: braille dots, eight per cell, and a letter along each curve, so that no colour is needed.

# Bits of a braille character by column and row of its dots (Unicode block 2800).
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE = 0x2800
LETTERS_EVERY = 14  # columns
LEVEL = "╌"
WORST = 0.2  # share of all values that is not plotted


@dataclass(frozen=True)
class Line:
    """A curve: its letter, its colour in rich, and its points from left to right."""

    letter: str
    colour: str
    points: Sequence[tuple[float, float]]

    def at(self, x: float) -> float | None:
        """The height at x, interpolated between the points. None beyond the ends."""
        for (left, low), (right, high) in zip(self.points, self.points[1:], strict=False):
            if left <= x <= right:
                return low + (high - low) * ((x - left) / (right - left) if right > left else 1.0)
        return None


def plot_lines(
    lines: Sequence[Line],
    *,
    width: int,
    height: int,
    write: Callable[[float], str],
    level: float | None = None,
    rises: bool = True,
) -> list[Text]:
    """Plot lines in `height` rows of at most `width` columns, including the axis. Empty if there is nothing to draw.

    Args:
        lines: the first is drawn last, on top.
        write: formats a value of either axis.
        level: a height to mark by a dashed line.
        rises: whether higher values are better. The worst values, those of the first steps, are not plotted.
    """
    curves = [line for line in lines if line.points]
    if not curves or height < 4:
        return []
    heights = sorted((y for line in curves for _, y in line.points), reverse=not rises)
    scale_heights = [*heights[int(WORST * len(heights)) :], *([level] if level is not None else [])]
    low, high = min(scale_heights), max(scale_heights)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    end = max(x for line in curves for x, _ in line.points) or 1.0
    names = {0: write(high), (height - 2) // 2: write(high - (high - low) / 2), height - 2: write(low)}
    margin = max(map(columns_of, names.values()))
    cells = _plot_cells(curves, width - margin - 2, height - 1, end=end, low=low, high=high, level=level)
    rows = []
    for number, row in enumerate(cells):
        name = names.get(number, "")
        text = Text(f"{name:>{margin}} {'┤' if name else '│'}", no_wrap=True)
        for letter, colour in row:
            text.append(letter, style=colour)
        rows.append(text)
    last = write(end)
    rows.append(Text(f"{'':>{margin}} └0{last:>{width - margin - 3}}", no_wrap=True))
    return rows


def _plot_cells(
    lines: Sequence[Line], columns: int, rows: int, *, end: float, low: float, high: float, level: float | None
) -> list[list[tuple[str, str]]]:
    def dot_of(y: float) -> int:
        return round((high - y) / (high - low) * (4 * rows - 1))

    cells = [[(" ", "")] * columns for _ in range(rows)]
    if level is not None:
        cells[dot_of(level) // 4] = [(LEVEL, "dim")] * columns
    for line in reversed(lines):
        for (row, column), bits in _dots(line, 2 * columns, 4 * rows, end, dot_of).items():
            cells[row][column] = (chr(BRAILLE + bits), line.colour)
    for number, line in enumerate(lines):
        first = 2 + number * LETTERS_EVERY // max(1, len(lines))
        last = min(columns - 1, int(line.points[-1][0] / end * (columns - 1)))
        for column in {*range(first, last, LETTERS_EVERY), last}:
            y = line.at(end * column / (columns - 1))
            if y is not None and 0 <= dot_of(y) < 4 * rows:
                cells[dot_of(y) // 4][column] = (line.letter, f"bold {line.colour}")
    return cells


def _dots(line: Line, across: int, down: int, end: float, dot_of: Callable[[float], int]) -> dict[tuple[int, int], int]:
    """The braille bits of each cell on the line, without gaps where it is steep."""
    bits: dict[tuple[int, int], int] = {}
    before: int | None = None
    for column in range(across):
        if (y := line.at(end * column / (across - 1))) is None:
            continue
        here = dot_of(y)
        first, last = sorted((here, here if before is None else before))
        for dot in range(max(0, first), min(down - 1, last) + 1):
            place = dot // 4, column // 2
            bits[place] = bits.get(place, 0) | DOTS[column % 2][dot % 4]
        before = here
    return bits


COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red", "bright_cyan", "bright_yellow", "bright_green")
MOST_AT_WORK = 4
PLOT_ROWS = (6, 14)
WIDEST = 100


def view(snapshot: WatchSnapshot, t: Translator, *, width: int, height: int, live: bool = False) -> RenderableType:
    """The study that has workers, or else the latest one, in full; one line for each other study.

    Args:
        width, height: of the terminal, in characters.
        live: show the time of the snapshot, and how to stop watching.
    """
    foot = [Text(t("watch_at", time=datetime.fromisoformat(snapshot.at).strftime("%X")), style="dim")] if live else []
    if not snapshot.studies:
        return Group(Text(t("watch_no_study")), *foot)
    main = next((study for study in snapshot.studies if study.at_work), snapshot.studies[0])
    others = [*(_other(study, t) for study in snapshot.studies if study is not main), *foot]
    rows: list[RenderableType] = [*_head(main, t), *_progress(main, snapshot, t), _table(main, t)]
    used_rows = 4 + sum(_lines(row, width) for row in rows[:-1]) + len(main.sizes) + len(others)
    least, most = PLOT_ROWS
    rows += _curves(main, t, width=min(width, WIDEST), height=max(least, min(most, height - used_rows - 2)))
    return Group(*rows, *others)


def farewell(t: Translator) -> str:
    """The message after Ctrl-C."""
    return t("watch_goes_on")


def _head(study: StudyStatus, t: Translator) -> list[RenderableType]:
    names = {"task": _plain(study.task), "recipe": _plain(study.recipe)}
    if study.target is None:
        title = t("watch_title_no_target", **names)
    else:
        title = t("watch_title", target=t.target(study.target, study.metric_name), **names)
    return [Text(title, style="bold"), *([_question(study.question, t)] if study.question is not None else [])]


def _question(question: StudySpec, t: Translator) -> Text:
    sentence = t(
        "watch_asked",
        sizes=list_text([t.count(size) for size in question.batch_sizes], t),
        rates=question_rates(question, t),
        seeds=list_text([str(seed) for seed in question.seeds], t),
        length=question_length(question, t),
    )
    return Text(sentence, style="dim")


def _progress(study: StudyStatus, snapshot: WatchSnapshot, t: Translator) -> list[RenderableType]:
    running = len(study.at_work)
    if study.left is None:
        sentences = [t("watch_count_open", done=study.done, running=running)]
    else:
        total = study.done + study.left
        sentences = [t("watch_count", done=study.done, total=total, left=study.left, running=running)]
    if study.failed:
        sentences.append(t("watch_failed", n=study.failed))
    if study.broken_off:
        sentences.append(t("watch_broken", n=study.broken_off))
    sentences.append(_time(study, snapshot, t))
    sentences += [_run(run, t) for run in study.at_work[:MOST_AT_WORK]]
    if running > MOST_AT_WORK:
        sentences.append(t("watch_more_runs", n=running - MOST_AT_WORK))
    return [Text(sentence) for sentence in sentences]


def _time(study: StudyStatus, snapshot: WatchSnapshot, t: Translator) -> str:
    if study.left == 0:
        return t("watch_over")
    if not study.at_work:
        if snapshot.held:
            return t("watch_between")
        return t("watch_ended" if study.left is None else "watch_nobody")
    if study.seconds_left is None:
        return t("watch_time_unknown")
    key = "watch_time_at_most" if study.at_most else "watch_time_about"
    return t(key, time=t.seconds(study.seconds_left))


def _run(run: RunningRun, t: Translator) -> str:
    placeholders = {
        "batch_size": t.count(run.batch_size),
        "rate": _setting(run.learning_rate, run.options, t),
        "seed": run.seed,
        "host": _plain(run.host),
    }
    if not run.at_least_seconds:
        return t("watch_run", **placeholders)
    time = t.seconds(run.at_least_seconds)
    if run.expected_seconds is None or run.at_least_seconds > run.expected_seconds:
        return t("watch_run_for", time=time, **placeholders)
    return t("watch_run_of", time=time, whole=t.seconds(run.expected_seconds), **placeholders)


def _table(study: StudyStatus, t: Translator) -> Table:
    loss = study.curves_of == Quantity.VALIDATION_LOSS
    value = t("watch_lowest_loss") if loss else t("watch_best_metric", metric=t.metric(study.metric_name))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    for name in (
        t("batch_size"),
        t("column_runs"),
        t("watch_best_rate"),
        t("column_steps_made"),
        t("watch_time"),
        value,
    ):
        table.add_column(name, justify="right")
    table.add_column(t("watch_goal"))
    for number, size in enumerate(study.sizes):
        letter = Text(_letter(number), style=f"bold {_colour(number)}")
        table.add_row(letter, *_cells(size, study, t))
    return table


def _cells(size: SizeStatus, study: StudyStatus, t: Translator) -> list[str]:
    head = [t.count(size.batch_size), t.count(size.made)]
    if size.learning_rate is None or size.steps is None or size.seconds is None:
        return [*head, "–", "–", "–", "–", "–"]
    goal = "–" if study.target is None else t("watch_reached" if size.reached else "watch_missed")
    return [
        *head,
        _setting(size.learning_rate, size.options, t),
        t.about(size.steps),
        t.seconds(size.seconds),
        "–" if size.best_value is None else t.score(size.best_value),
        goal,
    ]


def _curves(study: StudyStatus, t: Translator, *, width: int, height: int) -> list[RenderableType]:
    lines = [
        Line(_letter(number), _colour(number), size.curve) for number, size in enumerate(study.sizes) if size.curve
    ]
    on_target = study.target is not None and study.target.quantity == study.curves_of
    level = study.target.value if study.target is not None and on_target else None
    loss = study.curves_of == Quantity.VALIDATION_LOSS
    rows = plot_lines(lines, width=width, height=height, write=t.score, level=level, rises=not loss)
    if not rows:
        return []
    metric = t.metric(study.metric_name)
    title = t("watch_curves_loss") if loss else t("watch_curves", metric=metric)
    return [Text(""), Text(title, style="dim"), *rows]


def _other(study: StudyStatus, t: Translator) -> Text:
    names = {"task": _plain(study.task), "recipe": _plain(study.recipe)}
    return Text(t("watch_other", done=study.done, running=len(study.at_work), **names), style="dim")


def _setting(rate: float, options: Mapping[str, OptionValue], t: Translator) -> str:
    texts = [t.rate(rate), *([t.options(options)] if options else [])]
    return _plain(t("comma").join(texts))


def _letter(number: int) -> str:
    return ascii_uppercase[number % len(ascii_uppercase)]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _plain(text: str) -> str:
    """Replace control characters, which a terminal would interpret."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _lines(row: RenderableType, width: int) -> int:
    return math.ceil(row.cell_len / max(1, width)) if isinstance(row, Text) else 1
