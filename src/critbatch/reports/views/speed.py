"""The chapter of speed: time and memory of a step on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.law.clock_check import WAITED
from critbatch.records.core import ClockCheck, Speed, SpeedPoint
from critbatch.reports.charts.speed import both_panels, epoch_time, peak_memory, step_time, time_split
from critbatch.reports.derived.runs import timed_points
from critbatch.reports.model import Answer, Block, Cell, Chart, Charts, Method, Section, Table, Text, Tile
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Parts, RecordView, tile, view, without_interval


def hardware(speed: Speed | None, t: Translator) -> Section:
    """Seconds per step and epoch, parts of a step, memory, and the table."""
    title = t("section_hardware")
    step = step_time(speed, t) if speed is not None else None
    epoch = epoch_time(speed, t) if speed is not None else None
    if speed is None or step is None or epoch is None:
        return Section("hardware", title, (Text(t("hardware_nothing")),))
    blocks: list[Block] = [Text(t("hardware_text")), Charts((Chart(step), Chart(epoch)))]
    if speed.fit is not None:
        knee = t.estimate(speed.fit.knee, t.about)
        reason = speed.fit.knee.reason
        blocks.append(Text(t("hardware_knee", knee=knee)))
        blocks += [Text(t.reason(reason))] if reason else []
    else:
        blocks.append(Text(t("hardware_no_fit")))
    failed_sizes = [point.batch_size for point in speed.points if not point.fits]
    if failed_sizes:
        blocks.append(
            Text(t("does_not_fit", n=len(failed_sizes), sizes=", ".join(t.count(size) for size in failed_sizes)))
        )
    split, memory = time_split(speed, t), peak_memory(speed, t)
    details = tuple(Chart(picture) for picture in (split, memory) if picture is not None)
    if details:
        blocks.append(Charts(details))
    absent = [key for key, picture in (("no_split", split), ("no_memory", memory)) if picture is None]
    blocks += [Text(t(key)) for key in absent]
    return Section("hardware", title, (*blocks, _table(speed, t), _method(speed, t)))


def _table(speed: Speed, t: Translator) -> Table:
    header = ("batch_size", "column_step", "column_epoch", "column_per_second", "column_memory", "column_n")
    rows = tuple(_row(speed, point, t) for point in sorted(speed.points, key=lambda point: point.batch_size))
    return Table(t("hardware_caption"), tuple(t(key) for key in header), rows, folded=True)


def _row(speed: Speed, point: SpeedPoint, t: Translator) -> tuple[Cell, ...]:
    size, step = Cell(t.count(point.batch_size)), point.step_seconds
    if not point.fits or step is None:
        return (size, Cell(t("not_fitting" if not point.fits else "not_timed")), *(Cell("–") for _ in range(4)))
    return (
        size,
        Cell(t.seconds(step.value), t.interval(step, t.seconds) or t("no_interval")),
        Cell(t.seconds(speed.epoch_seconds(point))),
        Cell(t.about(point.batch_size / step.value)),
        Cell(t.bytes(point.peak_bytes) if point.peak_bytes else "–"),
        Cell(t.count(step.n)),
    )


def _method(speed: Speed, t: Translator) -> Method:
    lines = [t("method_step"), t("method_epoch", examples=t.count(speed.examples)), t("method_memory")]
    if speed.fit is not None:
        at = {
            "fixed": t.seconds(speed.fit.fixed_seconds),
            "each": t.seconds(speed.fit.example_seconds),
            "miss": t.percent(speed.fit.worst_miss),
        }
        lines.append(t("method_fit", **at))
    return Method(tuple(lines))


# The warning if the numbers depend on an unsteady clock.


def clock_warning(speeds: Sequence[Speed], t: Translator) -> str:
    """A warning about the most unsteady clock. Empty if all are steady."""
    checks = [speed.check for speed in speeds if speed.check is not None and speed.check.is_busy]
    if not checks:
        return ""
    worst = max(checks, key=lambda check: check.swing)
    return t.join((t(_key(worst), swing=t.about(worst.swing)), *_waited(worst, t)))


def _key(check: ClockCheck) -> str:
    """The message key: either the times disagree, or only the system reports other work."""
    return "clock_may_be_off" if check.signs == ("clock_waited",) else "clock_swings"


def _waited(check: ClockCheck, t: Translator) -> list[str]:
    has_waited = check.waited is not None and check.waited > WAITED
    share = [t("clock_share", share=t.percent(check.waited or 0.0))] if has_waited else []
    return [*share, t("clock_again")]


# Largest relative error of a straight line that still describes the seconds per step.
AFFINE_MISS = 0.25


def speed_cautions(speed: Speed) -> list[str]:
    keys = [*speed.check.signs] if speed.check is not None else []
    keys += ["out_of_memory"] if any(not point.fits for point in speed.points) else []
    if speed.fit is not None and speed.fit.worst_miss > AFFINE_MISS:
        keys.append("time_not_affine")
    return keys + without_interval(point.step_seconds for point in speed.fitting)


def _speed_tiles(speed: Speed, t: Translator) -> list[Tile]:
    tiles = [Tile(t("tile_largest"), t.count(speed.largest_that_fits), "")]
    if speed.fit is not None:
        tiles.insert(0, tile(t("tile_knee"), speed.fit.knee, t.about, t))
    if points := timed_points(speed):
        fastest = min(points, key=speed.epoch_seconds)
        size = t("tile_at_batch_size", batch_size=t.count(fastest.batch_size))
        tiles.append(Tile(t("tile_epoch"), t.seconds(speed.epoch_seconds(fastest)), size))
    return tiles


@view(Speed)
class SpeedView(RecordView[Speed]):
    """Seconds and memory of a step."""

    def answer(self, speed: Speed, t: Translator) -> Answer:
        points = timed_points(speed)
        failed_sizes = [point.batch_size for point in speed.points if not point.fits]
        if not points:
            return Answer(t("speed_nothing", task=speed.task), (t("speed_nothing_help"),))
        first, last = points[0], points[-1]
        knee = speed.fit.knee.value if speed.fit is not None else math.nan
        if math.isnan(knee) or len(points) < 2:
            headline = t("speed_headline", task=speed.task, n=len(points))
        elif knee <= first.batch_size:
            headline = t("speed_grows", task=speed.task, batch_size=t.count(first.batch_size))
        elif knee >= last.batch_size:
            headline = t("speed_flat", task=speed.task, batch_size=t.count(last.batch_size))
        else:
            headline = t("speed_knee", task=speed.task, knee=t.about(knee))
        lead = t(
            "speed_epoch",
            low=t.count(first.batch_size),
            first=t.seconds(speed.epoch_seconds(first)),
            high=t.count(last.batch_size),
            last=t.seconds(speed.epoch_seconds(last)),
        )
        largest = t.count(speed.largest_that_fits)
        fits = [t("speed_fits", lost=t.count(min(failed_sizes)), largest=largest)] if failed_sizes else []
        return Answer(headline, (lead,), tuple(fits))

    def parts(self, speed: Speed, t: Translator, /) -> Parts:
        return _speed_tiles(speed, t), None, [hardware(speed, t)]

    def cautions(self, speed: Speed, /) -> list[str]:
        return [*speed_cautions(speed), "one_machine"]

    def figure(self, speed: Speed, t: Translator, /) -> go.Figure | None:
        return both_panels(speed, t)

    def speeds(self, speed: Speed, /) -> list[Speed]:
        return [speed]
