"""Saves the results of studies in `results/`, without their runs, and prints the tables of `docs/sweep-study.md`.

python benchmarks/sweep_study.py FOLDER ...     # of `critbatch sweep`: keeps study-TASK.json, prints the tables
python benchmarks/sweep_study.py                # prints them from the saved records
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from critbatch.records.core import Estimate
from critbatch.records.study import BudgetPoint, BudgetReading, BudgetUnit, Study

RESULTS = Path(__file__).parent / "results"
TASKS = ("digits-mlp", "mnist-mlp", "fashion-cnn")
WORDS = {BudgetUnit.EPOCHS: "epochs", BudgetUnit.STEPS: "steps", BudgetUnit.SECONDS: "s of training"}


def keep(folder: Path) -> None:
    (file,) = folder.glob("study-*.json")
    study = Study.from_json(file.read_bytes())
    task = study.question.task
    seconds = sum(run.seconds + run.evaluation_seconds + run.compile_seconds for run in study.runs)
    print(f"{task}: {len(study.runs)} runs, {seconds / 60:.0f} minutes of one core")
    (RESULTS / f"study-{task}.json").write_text(replace(study, runs=(), speed=None).to_json(indent=1), encoding="utf-8")


def studies() -> dict[str, Study]:
    kept = {task: RESULTS / f"study-{task}.json" for task in TASKS}
    return {task: Study.from_json(file.read_bytes()) for task, file in kept.items() if file.is_file()}


def tables() -> dict[str, str]:
    """All tables by name."""
    tables_by_name = {}
    for task, study in studies().items():
        assert study.analysis is not None
        tables_by_name[f"sizes of {task}"] = sizes_table(study)
        tables_by_name[f"budgets of {task}"] = budgets_table(study)
    return tables_by_name


def sizes_table(study: Study) -> str:
    assert study.analysis is not None
    rows = [
        "| batch size | best rate (usable) | steps to target | examples | time | regime |",
        "|---|---|---|---|---|---|",
    ]
    for size in study.analysis.sizes:
        usable = f" ({size.usable_rates[0]:g} to {size.usable_rates[1]:g})" if size.usable_rates else ""
        rate = f"{size.learning_rate:g}{usable}{', at the edge' if size.at_edge else ''}" if size.learning_rate else "–"
        steps = interval(size.steps) if size.steps else f"more than {size.bound:,.0f}" if size.bound else "–"
        examples = f"{size.examples.value:,.0f}" if size.examples else "–"
        seconds = f"{size.seconds.value:.3g} s" if size.seconds else "–"
        regime = size.regime.replace("_", " ") if size.regime else "–"
        rows.append(f"| {size.batch_size:,} | {rate} | {steps} | {examples} | {seconds} | {regime} |")
    return "\n".join(rows)


def budgets_table(study: Study) -> str:
    """Accuracy in percent, training / validation, with tuned rates; in brackets, with one rate for all sizes."""
    assert study.analysis is not None
    readings = {(reading.spent, reading.tuned): reading for reading in study.analysis.budgets}
    kinds = [spent for spent in BudgetUnit if (spent, True) in readings]
    heads = [f"{readings[spent, True].amount:,.3g} {WORDS[spent]}" for spent in kinds]
    rows = [f"| batch size | {' | '.join(f'{head}: training / validation' for head in heads)} |"]
    rows.append("|---" * (len(kinds) + 1) + "|")
    for size in study.question.batch_sizes:
        cells = [accuracy_cell(readings[spent, True], readings.get((spent, False)), size) for spent in kinds]
        rows.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def accuracy_cell(tuned: BudgetReading, fixed: BudgetReading | None, size: int) -> str:
    tuned_point = point_of(tuned, size)
    if tuned_point is None:
        return "–"
    fixed_point = point_of(fixed, size) if fixed is not None else None
    cell = f"{percent(tuned_point.train_metric)} / {percent(tuned_point.validation_metric)}"
    if fixed_point is None:
        return cell
    return f"{cell} ({percent(fixed_point.train_metric)} / {percent(fixed_point.validation_metric)})"


def point_of(reading: BudgetReading, size: int) -> BudgetPoint | None:
    return next((point for point in reading.points if point.batch_size == size), None)


def percent(estimate: Estimate) -> str:
    half = f" ± {100 * (estimate.high - estimate.value):.2f}" if estimate.high is not None else ""
    return f"{100 * estimate.value:.2f}{half}"


def interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:,.0f}"
    return f"{estimate.value:,.0f} ({estimate.low:,.0f} to {estimate.high:,.0f})"


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        keep(Path(folder))
    for name, table in tables().items():
        print(f"\n{name}\n\n{table}")
