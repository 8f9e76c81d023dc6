"""Saves the verdicts on the ten claims in `results/`, without their runs, and prints the tables of `docs/claims.md`.

python benchmarks/lecture_tables.py FOLDER ...     # of `critbatch claims`: keeps lecture-TASK.json, prints the tables
python benchmarks/lecture_tables.py                # prints them from the saved records
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from critbatch.claims.tables import PUBLISHED
from critbatch.records.claims import ClaimsReport, ClaimVerdict
from critbatch.records.core import Estimate
from critbatch.reports.derived.claims import effect_sentence, network_name, number_of, open_reasons, verdict
from critbatch.reports.translator import Translator

RESULTS = Path(__file__).parent / "results"
TASKS = ("digits-mlp", "mnist-mlp")


def keep(folder: Path) -> None:
    told = ClaimsReport.from_json((folder / "claims.json").read_bytes())
    networks = tuple(replace(pair, ends=()) for pair in told.networks)
    small = replace(
        told,
        orders=None,
        paths=None,
        speeds=(),
        study=None,
        networks=networks,
        sharpness=(),
        lines=(),
        shifts=(),
        noise=None,
        advice=None,
    )
    (RESULTS / f"lecture-{told.task}.json").write_text(small.to_json(indent=1) + "\n", encoding="utf-8")


def lectures() -> dict[str, ClaimsReport]:
    kept = {task: RESULTS / f"lecture-{task}.json" for task in TASKS}
    return {task: ClaimsReport.from_json(file.read_bytes()) for task, file in kept.items() if file.is_file()}


def tables() -> dict[str, str]:
    """All tables by name."""
    made = {}
    for task, told in lectures().items():
        made[f"claims on {task}"] = claims_table(told)
        made[f"summary of {task}"] = summary_table(told)
        made[f"networks with {task}"] = networks_table(told)
    return made


def claims_table(told: ClaimsReport) -> str:
    t = Translator("en")
    rows = ["| | claim | verdict | what decided it |", "|---|---|---|---|"]
    for claim in told.claims:
        main = [statement for statement in claim.statements if statement.main]
        said = [effect_sentence(told, statement, t) for statement in main if statement.key != "table_row"]
        by = " ".join([*said, *(open_reasons(claim, t) if said and claim.holds is ClaimVerdict.UNDECIDED else ())])
        rows.append(
            f"| {number_of(claim.name)} | {t(f'claims_short_{claim.name}')} "
            f"| {verdict(claim.holds, t)} | {by or 'the table below'} |"
        )
    return "\n".join(rows)


def summary_table(told: ClaimsReport) -> str:
    t = Translator("en")
    small, large = t.count(told.small_batch_size), t.count(told.large_batch_size)
    rows = [
        f"| | batch size {small} | batch size {large} | better | claimed |",
        "|---|---|---|---|---|",
    ]
    for row in told.summary:
        cells = (t(f"claims_row_{row.key}"), _number(row.small, row.unit), _number(row.large, row.unit))
        rows.append(f"| {' | '.join(cells)} | {row.better} | {row.expected} |")
    return "\n".join(rows)


def networks_table(told: ClaimsReport) -> str:
    rows = [
        "| network | examples | batch sizes | training, small / large | validation, small / large "
        "| the paper's validation |",
        "|---|---|---|---|---|---|",
    ]
    for pair in told.networks:
        theirs = PUBLISHED.get(pair.network)
        paper = f"{100 * theirs.test_small.mean:.2f} / {100 * theirs.test_large.mean:.2f}" if theirs else "–"
        cells = (
            network_name(pair),
            f"{pair.examples:,}",
            f"{pair.small_batch_size:,} / {pair.large_batch_size:,}",
            f"{_percent(pair.small_train)} / {_percent(pair.large_train)}",
            f"{_percent(pair.small_validation)} / {_percent(pair.large_validation)}",
            paper,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _percent(estimate: Estimate) -> str:
    half = f" ± {100 * (estimate.high - estimate.value):.2f}" if estimate.high is not None else ""
    return f"{100 * estimate.value:.2f}{half}"


def _number(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "–"
    if unit == "seconds":
        return f"{1000 * estimate.value:.3g} ms"
    return _percent(estimate) + " %" if unit == "metric" else f"{estimate.value:.3g}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        keep(Path(name))
    for title, table in tables().items():
        print(f"\n{title}\n\n{table}")
