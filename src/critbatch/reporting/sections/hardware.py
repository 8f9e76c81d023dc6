"""Time and memory of a step on this machine."""

from __future__ import annotations

from critbatch.records.core import Speed, SpeedPoint
from critbatch.reporting.blocks import Block, Cell, Chart, Charts, Method, Section, Table, Text
from critbatch.reporting.figures.parts import peak_memory, time_split
from critbatch.reporting.figures.speed import epoch_time, step_time
from critbatch.reporting.voice import Voice


def hardware(speed: Speed | None, voice: Voice) -> Section:
    """Seconds per step and per epoch, where they go, memory, and the table behind them."""
    title = voice("section_hardware")
    step = step_time(speed, voice) if speed is not None else None
    epoch = epoch_time(speed, voice) if speed is not None else None
    if speed is None or step is None or epoch is None:
        return Section("hardware", title, (Text(voice("hardware_nothing")),))
    blocks: list[Block] = [Text(voice("hardware_text")), Charts((Chart(step), Chart(epoch)))]
    if speed.fit is not None:
        knee = voice.estimate(speed.fit.knee, voice.about)
        reason = speed.fit.knee.reason
        blocks.append(Text(voice("hardware_knee", knee=knee)))
        blocks += [Text(voice.reason(reason))] if reason else []
    else:
        blocks.append(Text(voice("hardware_no_fit")))
    lost = [point.batch_size for point in speed.points if not point.fits]
    if lost:
        blocks.append(Text(voice("does_not_fit", n=len(lost), sizes=", ".join(voice.count(size) for size in lost))))
    split, memory = time_split(speed, voice), peak_memory(speed, voice)
    details = tuple(Chart(picture) for picture in (split, memory) if picture is not None)
    if details:
        blocks.append(Charts(details))
    absent = [key for key, picture in (("no_split", split), ("no_memory", memory)) if picture is None]
    blocks += [Text(voice(key)) for key in absent]
    return Section("hardware", title, (*blocks, _table(speed, voice), _method(speed, voice)))


def _table(speed: Speed, voice: Voice) -> Table:
    header = ("batch_size", "column_step", "column_epoch", "column_per_second", "column_memory", "column_n")
    rows = tuple(_row(speed, point, voice) for point in sorted(speed.points, key=lambda point: point.batch_size))
    return Table(voice("hardware_caption"), tuple(voice(key) for key in header), rows, folded=True)


def _row(speed: Speed, point: SpeedPoint, voice: Voice) -> tuple[Cell, ...]:
    size, step = Cell(voice.count(point.batch_size)), point.step_seconds
    if not point.fits or step is None:
        return (size, Cell(voice("not_fitting" if not point.fits else "not_timed")), *(Cell("–") for _ in range(4)))
    return (
        size,
        Cell(voice.seconds(step.value), voice.interval(step, voice.seconds) or voice("no_interval")),
        Cell(voice.seconds(speed.epoch_seconds(point))),
        Cell(voice.about(point.batch_size / step.value)),
        Cell(voice.bytes(point.peak_bytes) if point.peak_bytes else "–"),
        Cell(voice.count(step.n)),
    )


def _method(speed: Speed, voice: Voice) -> Method:
    lines = [voice("method_step"), voice("method_epoch", examples=voice.count(speed.examples)), voice("method_memory")]
    if speed.fit is not None:
        at = {
            "fixed": voice.seconds(speed.fit.fixed_seconds),
            "each": voice.seconds(speed.fit.example_seconds),
            "miss": voice.percent(speed.fit.worst_miss),
        }
        lines.append(voice("method_fit", **at))
    return Method(tuple(lines))
