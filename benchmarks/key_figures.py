"""The tables of `docs/evidence.md` on advice, step times and overhead, from records of the commands.

    python benchmarks/key_figures.py critbatch-out/mnist-mlp critbatch-out/fashion-cnn critbatch-out/speed-mnist-mlp

Saves the parts of `advice.json` and `speed.json` that the page shows in `benchmarks/results/`, and prints the tables.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from critbatch.records.core import Advice, Estimate, Speed, TimePoint

RESULTS = Path(__file__).parent / "results"


def keep(folder: Path) -> None:
    """Save the key figures of the folder's advice, or of its speed if there is no advice."""
    if (folder / "advice.json").is_file():
        advice = Advice.from_json((folder / "advice.json").read_bytes())
        plain = json.loads(advice.to_json())
        kept = {
            key: plain[key] for key in ("task", "recipe", "target", "best", "within_ten_percent", "current", "largest")
        }
        kept |= {key: plain[key] for key in ("law", "cautions", "provenance")} | {"runs": len(advice.runs)}
        name = f"advise-{advice.task}"
    else:
        speed = Speed.from_json((folder / "speed.json").read_bytes())
        kept, name = json.loads(speed.to_json()), f"speed-{speed.task}"
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def read(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def seconds(estimate: Estimate) -> str:
    interval = f" ({estimate.low:.3g} to {estimate.high:.3g})" if estimate.low is not None else ""
    return f"{estimate.value:.3g} s{interval}"


def advice_table(tasks: list[str]) -> str:
    rows = [
        "| task | target accuracy | batch size (within 10 %) | learning rate | time to target, 80 % interval "
        "| at the largest timed | runs | wall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        kept = read(f"advise-{task}")
        best, largest = (TimePoint.from_json(json.dumps(kept[name])) for name in ("best", "largest"))
        low, high = kept["within_ten_percent"]
        rows.append(
            f"| `{task}` | {kept['target']['value']} | {best.batch_size:,} ({low:,} to {high:,}) | "
            f"{best.learning_rate.value:g} | {seconds(best.seconds)} | "
            f"{largest.batch_size:,}: {seconds(largest.seconds)} | "
            f"{kept['runs']} | {kept['provenance']['wall_seconds']:.0f} s |"
        )
    return "\n".join(rows)


def speed_table(task: str) -> str:
    speed = Speed.from_json(json.dumps(read(f"speed-{task}")))
    rows = [
        "| B | seconds an update (quartiles), n | data | forward and backward | optimizer | seconds an epoch |",
        "|---|---|---|---|---|---|",
    ]
    for point in speed.fitting:
        assert point.step_seconds is not None and point.quartiles is not None
        step = point.step_seconds
        parts = [
            part / step.value for part in (point.data_seconds, point.compute_seconds, point.optimizer_seconds) if part
        ]
        low, high = point.quartiles
        rows.append(
            f"| {point.batch_size:,} | {step.value:.3g} ({low:.3g} to {high:.3g}), {step.n:,} | "
            + " | ".join(f"{part:.0%}" for part in parts)
            + f" | {speed.epoch_seconds(point):.3g} |"
        )
    assert speed.fit is not None and speed.fit.knee.low is not None and speed.fit.knee.high is not None
    fit = speed.fit
    rows += [
        "",
        f"Fitted: {1e3 * fit.fixed_seconds:.2g} ms + B x {1e6 * fit.example_seconds:.2g} us, "
        f"knee at B = {fit.knee.value:.0f} "
        f"({fit.knee.low:.0f} to {fit.knee.high:.0f}), worst miss {fit.worst_miss:.0%}.",
    ]
    return "\n".join(rows)


def overhead_table() -> str:
    rows = ["| goal | ratio, median (quartiles) | |", "|---|---|---|"]
    for goal in read("overhead")["goals"]:
        ratio = goal["found"]
        spread = f"{ratio['median']:.2f} ({ratio['lower_quartile']:.2f} to {ratio['upper_quartile']:.2f})"
        rows.append(f"| {goal['goal']} | {spread} | {'met' if goal['met'] else 'missed'} |")
    return "\n".join(rows)


def main() -> None:
    for folder in sys.argv[1:]:
        keep(Path(folder))
    print(advice_table(["digits-mlp", "mnist-mlp", "fashion-cnn"]))
    print()
    print(speed_table("mnist-mlp"))
    print()
    print(overhead_table())


if __name__ == "__main__":
    main()
