"""The chapter of the gradient noise scale, and the advice of a monitor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.core import Estimate, LayerNoise, Noise, NoisePoint, NoiseScale, Run
from critbatch.records.monitor import MonitorAdvice, OtherSize
from critbatch.reports.charts.noise import MOST_LAYERS, has_signal, noise_along_run, noise_by_layer
from critbatch.reports.charts.theme import Picture
from critbatch.reports.model import MCCANDLISH, Answer, Block, Cell, Chart, Method, Section, Table, Text, Tile
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Parts, RecordView, view

# The advice of a monitor.

FEWEST_STEPS = 8  # as `gradient_noise.FEWEST_PAIRS`
MOST_SIZES = 2


def monitor_text(advice: MonitorAdvice, language: str = "en") -> str:
    """The noise scale and the critical batch size, the cost of one or two other sizes, and what to distrust.

    If there are many sizes, it gives the next larger one, or the next smaller one if none is larger.

    Raises:
        UserError: if there are no messages in `language`.
    """
    t = Translator(language)
    return t.join(_sentences(advice, t))


def _sentences(advice: MonitorAdvice, t: Translator) -> list[str]:
    if advice.batch_size is None:
        return [t.reason(advice.reason)]
    if advice.reason == "too_few_pairs":
        return [t("monitor_too_few", n=advice.noise.pairs, needed=FEWEST_STEPS)]
    sentences = []
    if advice.critical.low is not None:
        sentences.append(
            t(
                "monitor_noise",
                batch_size=t.count(advice.batch_size),
                noise=t.bounded(_estimate(advice), t.about),
                critical=t.bounded(advice.critical, t.about),
            )
        )
    sentences += [_size(size, advice, t) for size in _worth_telling(advice)]
    if advice.reason == "noise_not_distinguishable":
        sentences.append(t("monitor_no_signal", n=advice.noise.pairs))
    elif advice.reason:
        sentences.append(t.reason(advice.reason))
    return sentences


def _estimate(advice: MonitorAdvice) -> Estimate:
    noise = advice.noise
    return Estimate(value=noise.noise_scale, n=noise.pairs, low=noise.low, high=noise.high, level=noise.level)


def _worth_telling(advice: MonitorAdvice) -> tuple[OtherSize, ...]:
    if len(advice.sizes) <= MOST_SIZES:
        return advice.sizes
    assert advice.batch_size is not None
    sizes = sorted(advice.sizes, key=lambda size: size.batch_size)
    larger = [size for size in sizes if size.batch_size > advice.batch_size]
    return tuple(larger[:1] or sizes[-1:])


def _size(size: OtherSize, advice: MonitorAdvice, t: Translator) -> str:
    assert advice.batch_size is not None
    other = t.count(size.batch_size)
    if size.batch_size == advice.batch_size:
        return t("monitor_same", other=other)
    larger = size.batch_size > advice.batch_size
    examples, sign = size.examples, 1 if larger else -1
    assert examples.low is not None and examples.high is not None
    ends = sorted((sign * (examples.low - 1), sign * (examples.high - 1)))
    return t(
        "monitor_larger" if larger else "monitor_smaller",
        other=other,
        examples=t.percent(sign * (examples.value - 1)),
        between=t.span(ends[0], ends[1], t.percent),
        steps=t.times(size.steps.value),
        steps_between=t.bounds(size.steps, t.times),
        rate=_rate(size, advice, t),
        time=_time(size, t),
    )


def _rate(size: OtherSize, advice: MonitorAdvice, t: Translator) -> str:
    rate, now = size.learning_rate, advice.learning_rate
    if rate is None or now is None:
        return ""
    return t("monitor_rate", rate=t.rate(rate.value), between=t.bounds(rate, t.rate), now=t.rate(now))


def _time(size: OtherSize, t: Translator) -> str:
    if size.seconds is None:
        return t("monitor_even", even=t.times(size.even))
    return t("monitor_time", time=t.times(size.seconds.value), between=t.bounds(size.seconds, t.times))


def noise_of_runs(runs: Sequence[Run], unit: str, t: Translator) -> Section:
    """The noise scale along the run with the most points, and the number of other runs with one."""
    measured = sorted((run for run in runs if run.noise), key=lambda run: -len(run.noise))
    if not measured:
        return Section("noise", t("section_noise"), (Text(t("no_noise_measured")),))
    run = measured[0]
    at = {"batch_size": t.count(run.batch_size), "rate": t.rate(run.learning_rate), "seed": run.seed}
    which = Text(t("noise_which", n=len(measured), **at))
    return _section(run.noise, unit, run.batch_size, 1, (which,), (), t)


def noise_section(noise: Noise, t: Translator) -> Section:
    """The noise scale at each point, also in tokens if an example has many, and how it was measured."""
    method = noise.method if noise.method in ("processes", "examples") else "micro_batches"
    lines = [t(f"method_noise_{method}", micro=t.count(noise.micro_batch_size))]
    task = noise.task.lower()
    if task.startswith("mnist"):
        lines.append(t("method_noise_mnist"))
    elif noise.tokens_per_example > 1:
        lines.append(t("method_noise_text"))
    return _section(noise.points, noise.unit, noise.batch_size, noise.tokens_per_example, (), tuple(lines), t)


def _section(
    points: Sequence[NoisePoint],
    unit: str,
    batch_size: int,
    tokens: int,
    before: tuple[Block, ...],
    lines: tuple[str, ...],
    t: Translator,
) -> Section:
    title = t("section_noise")
    if not points:
        return Section("noise", title, (Text(t("no_noise_measured")),))
    blocks: list[Block] = [Text(t("noise_text")), *before]
    picture = noise_along_run(points, unit, batch_size, t)
    silent = sum(not has_signal(point.scale) for point in points)
    if picture is not None:
        blocks.append(Chart(picture))
    if silent:
        blocks.append(Text(t("noise_silent", n=silent)))
    blocks.append(_table(points, tokens, t))
    layer_points = [point for point in points if point.layers]
    if layer_points:
        blocks += _layers(layer_points[-1], unit, t)
    method_lines = [t("method_noise"), *lines, t("method_noise_interval")]
    if any(point.in_metric is not None for point in points):
        method_lines.append(t("method_noise_metric"))
    if any(point.by_curvature is not None for point in points):
        method_lines.append(t("method_noise_curvature"))
    return Section("noise", title, (*blocks, Method(tuple(method_lines), (MCCANDLISH,))))


def _table(points: Sequence[NoisePoint], tokens: int, t: Translator) -> Table:
    metric = any(point.in_metric is not None for point in points)
    curvature = any(point.by_curvature is not None for point in points)
    keys = [
        "column_step_number",
        "column_epochs",
        "column_noise",
        *(["column_tokens"] if tokens > 1 else []),
        *(["column_in_metric"] if metric else []),
        *(["column_by_curvature"] if curvature else []),
        "column_pairs",
    ]
    rows = tuple(
        (
            Cell(t.count(point.step)),
            Cell(t.about(point.epoch)),
            _cell(point.scale, t),
            *([Cell(t.about(point.scale.noise_scale * tokens))] if tokens > 1 else []),
            *([_cell(point.in_metric, t)] if metric else []),
            *([_cell(point.by_curvature, t)] if curvature else []),
            Cell(t.count(point.scale.pairs)),
        )
        for point in points
    )
    return Table(t("noise_caption"), tuple(t(key) for key in keys), rows, folded=True)


def _layers(point: NoisePoint, unit: str, t: Translator) -> list[Block]:
    picture = noise_by_layer(point.layers, unit, t)
    layers = [layer for layer in point.layers if has_signal(layer.scale)]
    blocks: list[Block] = [Text(t("noise_layers_text", steps=t.count(point.step)))]
    if picture is not None:
        many = t("noise_layers_chosen", shown=MOST_LAYERS, layers=len(layers)) if len(layers) > MOST_LAYERS else ""
        blocks.append(Chart(picture, many))
    rows = tuple(_layer(layer, t) for layer in point.layers)
    keys = ("column_layer", "column_parameters", "column_noise", "column_pairs")
    caption = t("noise_layers_caption", steps=t.count(point.step))
    return [*blocks, Table(caption, tuple(t(key) for key in keys), rows, folded=True)]


def _layer(layer: LayerNoise, t: Translator) -> tuple[Cell, ...]:
    pairs = Cell(t.count(layer.scale.pairs))
    return Cell(layer.name), Cell(t.count(layer.parameters)), _cell(layer.scale, t), pairs


def _cell(scale: NoiseScale | None, t: Translator) -> Cell:
    return Cell("–") if scale is None else Cell(t.about(scale.noise_scale), _bounds(scale, t))


def _bounds(scale: NoiseScale, t: Translator) -> str:
    if scale.low is not None and scale.high is not None:
        return t.span(scale.low, scale.high, t.about)
    if scale.low is not None:
        return t("at_least", low=t.about(scale.low))
    return t("no_interval")


def _noise_tiles(noise: Noise, t: Translator) -> list[Tile]:
    points = [point for point in noise.points if math.isfinite(point.scale.noise_scale) and point.scale.noise_scale > 0]
    ends = (("tile_noise_end", points[-1]), ("tile_noise_start", points[0])) if points else ()
    note = "tile_step_tokens" if noise.tokens_per_example > 1 else "tile_step"
    return [
        Tile(t(key), t.about(point.scale.noise_scale), t(note, steps=t.count(point.step), tokens=tokens))
        for key, point in ends
        for tokens in (t.about(point.scale.noise_scale * noise.tokens_per_example),)
    ]


@view(Noise)
class NoiseView(RecordView[Noise]):
    """The gradient noise scale along a run."""

    def answer(self, noise: Noise, t: Translator) -> Answer:
        sentences = [
            point for point in noise.points if math.isfinite(point.scale.noise_scale) and point.scale.noise_scale > 0
        ]
        if not sentences:
            return Answer(t("noise_nothing", task=noise.task), (t("noise_nothing_help"),))
        first, last = sentences[0], sentences[-1]
        scale = t.noise(last.scale)
        headline = t("noise_headline", task=noise.task, noise=t.about(last.scale.noise_scale), unit=t.units(noise.unit))
        at = {"scale": scale, "steps": t.count(last.step), "batch_size": t.count(noise.batch_size)}
        more = [t("noise_meaning")]
        if len(sentences) > 1:
            more.insert(0, t("noise_start", first=t.about(first.scale.noise_scale), steps=t.count(first.step)))
        if noise.tokens_per_example > 1:
            more.append(t("noise_tokens", tokens=t.about(last.scale.noise_scale * noise.tokens_per_example)))
        return Answer(headline, (t("noise_lead", **at),), tuple(more))

    def parts(self, noise: Noise, t: Translator, /) -> Parts:
        return _noise_tiles(noise, t), None, [noise_section(noise, t)]

    def cautions(self, noise: Noise) -> list[str]:
        scales = [scale for p in noise.points for scale in (p.scale, p.in_metric, p.by_curvature) if scale is not None]
        return [scale.reason for scale in scales] + (["noise_not_best_size"] if scales else [])

    def figure(self, noise: Noise, t: Translator, /) -> Picture | None:
        return noise_along_run(noise.points, noise.unit, noise.batch_size, t)
