"""The tables of `docs/evidence.md` on noise, curvature, minima and escapes, from the records in `results/`.

python benchmarks/loss_figures.py        # prints them
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from critbatch.records.core import Noise, NoiseScale
from critbatch.records.loss_surface import Escape, Shift, SolutionSharpness
from critbatch.reports.translator import significant

RESULTS = Path(__file__).parent / "results"


def measured() -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RESULTS / "measure.json").read_text(encoding="utf-8"))
    return record


def norms_table() -> str:
    rows = [
        "| | goal | critbatch | `vmap(grad)` | Opacus, ghost | Opacus | BackPACK |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, goal in (("mlp", "1.2"), ("transformer", "1.4"), ("cnn", "1.9")):
        results = measured()["norms"][model]
        names = ("critbatch", "vmap", "opacus-ghost", "opacus", "backpack")
        cells = ["fails" if "error" in results[name] else f"{results[name]['ratio']:.2f}" for name in names]
        low, high = results["critbatch"]["quartiles"]
        cells[0] += f" ({low:.2f} to {high:.2f})"
        rows.append(f"| {model} | {goal} | {' | '.join(cells)} |")
    return "\n".join(rows)


def monitor_table() -> str:
    rows = ["| a step with the monitor over one without | goal | mlp | transformer | cnn |", "|---|---|---|---|---|"]
    for way, name in (("accumulate", "two micro-batches"), ("processes", "the processes of DDP")):
        cells = []
        for model in ("mlp", "transformer", "cnn"):
            one = measured()[way][model]["critbatch"]
            cells.append(f"{one['ratio']:.2f} ({one['quartiles'][0]:.2f} to {one['quartiles'][1]:.2f})")
        rows.append(f"| {name} | 1.1 | {' | '.join(cells)} |")
    return "\n".join(rows)


def curvature_table() -> str:
    rows = [
        "| | largest eigenvalue: ms | over critbatch | error | trace: ms | over critbatch | error |",
        "|---|---|---|---|---|---|---|",
    ]
    top, trace = measured()["curvature"]["top"], measured()["curvature"]["trace"]
    for name in ("critbatch", "pyhessian", "curvlinops", "hessian-eigenthings"):
        cells = []
        for result in (top[name], trace[name]):
            cells += [f"{result['milliseconds']:,.0f}", f"{result['ratio']:.2f}", f"{result['error_median']:.1e}"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def minima_table() -> str:
    shift = Shift.from_json((RESULTS / "shift-keskar-f1.json").read_bytes())
    rows = ["| | batch size 256 | batch size 6,000 |", "|---|---|---|"]

    def row(name: str, value: Callable[[SolutionSharpness], float]) -> None:
        cells = []
        for size in (256, 6000):
            own = [value(result) for result in shift.sharpness if result.solution.batch_size == size]
            cells.append(f"{significant(mean(own), 3)} ± {significant(stdev(own), 2)}")
        rows.append(f"| {name} | {' | '.join(cells)} |")

    row("training accuracy, %", lambda result: 100 * result.metric)
    row("validation accuracy, %", lambda result: 100 * result.validation_metric)
    row("training loss", lambda result: result.loss)
    for i, value in enumerate(shift.sharpness[0].values):
        row(f"sharpness, {value.box} box, ε = {value.epsilon:g}", lambda result, i=i: result.values[i].value.value)
    row("largest eigenvalue", lambda result: result.largest.value if result.largest else math.nan)
    row("trace", lambda result: result.trace.value if result.trace else math.nan)
    for kind, strength in dict.fromkeys((rise.shift, rise.strength) for rise in shift.rises):
        if kind == "resampled":
            continue
        cells = []
        for size in (256, 6000):
            labels = [result.solution.label for result in shift.sharpness if result.solution.batch_size == size]
            own = [r.rise.value for r in shift.rises if r.label in labels and (r.shift, r.strength) == (kind, strength)]
            cells.append(f"{significant(mean(own), 3)} ± {significant(stdev(own), 2)}")
        strong = f" {strength:g}" if strength else ""
        rows.append(f"| rise of the loss, {kind}{strong} | {' | '.join(cells)} |")
    return "\n".join(rows)


def escape_table() -> str:
    rows = ["| task | starts stand at | batch size: escapes (95 % interval) |", "|---|---|---|"]
    for name in ("surface-saddle", "surface-double-well", "surface-two-weights", "digits-narrow"):
        record = Escape.from_json((RESULTS / f"escape-{name}.json").read_bytes())
        standings = ", ".join(f"{count} {what}" for what, count in record.standings.items())
        cells = [
            f"{count.batch_size}: {count.escapes} of {record.starts} "
            f"({100 * (count.share.low or 0):.0f} to {100 * (count.share.high or 0):.0f} %)"
            for count in record.counts
        ]
        rows.append(f"| `{name}` | {standings} | {'; '.join(cells)} |")
    return "\n".join(rows)


def noise_table() -> str:
    rows = ["| task | step | B_simple (95 % interval) | in Adam's metric | tr(HΣ) / GᵀHG |", "|---|---|---|---|---|"]
    for name in ("mnist-mlp", "shakespeare-gpt"):
        record = Noise.from_json((RESULTS / f"noise-{name}.json").read_bytes())
        points = record.points
        picked = [points[0], points[len(points) // 2], points[-1]] if len(points) > 2 else list(points)
        for point in picked:
            scales = [scale_cell(point.scale), scale_cell(point.in_metric), scale_cell(point.by_curvature)]
            rows.append(f"| `{name}`, B = {record.batch_size} | {point.step:,} | {' | '.join(scales)} |")
    return "\n".join(rows)


def scale_cell(scale: NoiseScale | None) -> str:
    if scale is None:
        return "–"
    if not math.isfinite(scale.noise_scale) or scale.noise_scale <= 0:
        return "no signal"
    low = significant(scale.low or 0, 3)
    ends = f"{low} to {significant(scale.high, 3)}" if scale.high is not None else f"at least {low}"
    return f"{significant(scale.noise_scale, 3)} ({ends})"


TABLES = (norms_table, monitor_table, curvature_table, noise_table, minima_table, escape_table)

if __name__ == "__main__":
    for table in TABLES:
        print(table(), "\n")
