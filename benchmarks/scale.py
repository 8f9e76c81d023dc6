"""The model of a cluster against published tables, and against two gloo processes on this machine.

    CRITBATCH_DATA=data python benchmarks/scale.py

Published: constants are fitted to the two smallest numbers of devices, all others are predicted; beside it stands what
holding the second step comes to, per pass where a step has several. `--published` does only that. Measured: in each
round both processes time steps on their own, at the same time, so that both cores are busy as they will be, then steps
together; a ratio is predicted over measured within one round, so that what slows the machine for a minute slows both.
Prints tables, and writes `scale-published.json` and `scale.json` in `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import critbatch
from critbatch.law.allreduce import all_reduce_seconds, measured_link, sync_seconds
from critbatch.law.cluster import Compute, compute_of, step_seconds_on
from critbatch.law.cluster_fit import fit_constants
from critbatch.law.published_clusters import FAMILIES, GOYAL, PUBLISHED, PublishedCluster
from critbatch.measure.allreduce import communication, joint_step
from critbatch.measure.device_scaling import buckets_of, gradient_bytes
from critbatch.records.scaling import Algorithm, Communication, Constants, StepMeasurement
from critbatch.runtime.distributed import joined_processes, this_shard
from critbatch.runtime.provenance import RunTimer
from overhead import Spread

CPU = torch.device("cpu")
PAYLOADS = (4, 1 << 14, 1 << 18, 1 << 20, 1 << 22)
RESULTS = Path(__file__).parent / "results"
BOTH = (Algorithm.RING, Algorithm.HALVING_DOUBLING)


def published(table: PublishedCluster) -> dict[str, Any]:
    """Fitted to the two smallest numbers of devices, with all points predicted; beside it holding the second step."""
    fit = fit_constants(table.measured[:2], table.constants, _compute(table) if table.alone_seconds else None)
    seconds = table.alone_seconds or fit.compute_seconds
    assert seconds is not None
    compute = _compute(replace(table, alone_seconds=seconds))
    last = table.measured[1]
    points = []
    for each in table.measured:
        step, took = fit.step(compute(each), each.devices), each.step_seconds.value
        assert step.low is not None and step.high is not None
        held = last.step_seconds.value * compute(each).passes / compute(last).passes
        points.append(
            {
                "devices": each.devices,
                "passes": compute(each).passes,
                "published_seconds": took,
                "predicted_seconds": step.value,
                "interval": [step.low, step.high],
                "level": step.level,
                "miss": step.value / took - 1,
                "held_miss": held / took - 1,
                "source": each.source,
            }
        )
    return {
        "source": table.source,
        "pass_seconds_on_one_device": table.alone_seconds,
        "constants": asdict(fit.constants),
        "points": points,
    }


def _compute(table: PublishedCluster) -> Callable[[StepMeasurement], Compute]:
    def compute(each: StepMeasurement) -> Compute:
        assert each.micro_batch_size is not None and table.alone_seconds is not None
        passes = each.batch_size // each.devices // each.micro_batch_size
        return Compute(micro_batch_size=each.micro_batch_size, passes=passes, seconds=passes * table.alone_seconds)

    return compute


def all_published() -> dict[str, Any]:
    watch = RunTimer()
    families = {name: {table.name: published(table) for table in tables} for name, tables in FAMILIES.items()}
    command = "python benchmarks/scale.py --published"
    provenance = asdict(watch.provenance(command=command, seed=0, device=CPU))
    return {"provenance": provenance, "families": families, "ring_against_halving_doubling": ring_against_halving()}


def ring_against_halving() -> list[dict[str, float]]:
    """Between 32 servers of Goyal's, by the bytes of one all-reduce."""
    link, whole = GOYAL.constants.between, GOYAL.constants.gradient_bytes
    rows = []
    for size in (4, 1 << 16, whole // GOYAL.constants.buckets, 1 << 22, whole):
        ring, halved = (all_reduce_seconds(algorithm, size, 32, link) for algorithm in BOTH)
        rows.append({"bytes": size, "ring_seconds": ring, "halving_doubling_seconds": halved, "ratio": ring / halved})
    return rows


def worker(task_name: str, sizes: list[int], rounds: int, out: Path) -> None:
    """What each of two processes runs."""
    task = critbatch.find_task(task_name)
    with joined_processes(CPU):
        first = this_shard().rank == 0
        turns = []
        for _ in range(rounds):
            torch.distributed.barrier()
            shares = sorted({share for size in sizes for share in (size // 2, size)})
            alone = critbatch.speed(task, shares, device=CPU, seconds_per_point=0.2)
            torch.distributed.barrier()
            together = [joint_step(task, size, device=CPU, seconds=0.3) for size in sizes]
            link = communication(PAYLOADS, device=CPU, rounds=1, seconds_per_visit=0.02)
            turns.append(
                {
                    "alone": alone.to_json(),
                    "together": [each.to_json() for each in together],
                    "link": link.to_json(),
                    "load": os.getloadavg()[0],
                }
            )
        if first:
            out.write_text(json.dumps(turns), encoding="utf-8")
    os._exit(0)


def measured(task_name: str, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Predicted over measured seconds of a step of two processes, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        words = ["--worker", str(out), "--task", task_name, "--rounds", str(rounds), "--batch-sizes", *map(str, sizes)]
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", __file__, *words]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        turns = json.loads(out.read_text(encoding="utf-8"))
    size = gradient_bytes(critbatch.find_task(task_name))
    by_link: dict[int, list[float]] = {each: [] for each in sizes}
    by_fit: dict[int, list[float]] = {each: [] for each in sizes[1:]}
    alone_seconds: dict[int, list[float]] = {each: [] for each in sizes}
    seconds: dict[int, list[float]] = {each: [] for each in sizes}
    fitted, links = [], []
    for turn in turns:
        links.append(measured_link(Communication.from_json(turn["link"])))
        constants = Constants(
            gradient_bytes=size, buckets=buckets_of(size), devices_per_node=2, between=links[-1], within=links[-1]
        )
        speed = critbatch.records.Speed.from_json(turn["alone"])
        steps = [StepMeasurement.from_json(each) for each in turn["together"]]
        fit = fit_constants(steps[:1], constants, lambda each, speed=speed: compute_of(speed, each.batch_size, 2))
        fitted.append(fit.constants)
        for step in steps:
            compute = compute_of(speed, step.batch_size, 2)
            took = step.step_seconds.value
            seconds[step.batch_size].append(took)
            alone_seconds[step.batch_size].append(compute_of(speed, step.batch_size, 1).seconds)
            by_link[step.batch_size].append(step_seconds_on(constants, compute, 2) / took)
            if step.batch_size in by_fit:
                by_fit[step.batch_size].append(step_seconds_on(fit.constants, compute, 2) / took)
    return {
        "task": task_name,
        "gradient_bytes": size,
        "load_average": asdict(Spread.of(turn["load"] for turn in turns)),
        "latency_seconds": asdict(Spread.of(link.latency_seconds for link in links)),
        "bytes_per_second": asdict(Spread.of(link.bytes_per_second for link in links)),
        "sync_seconds": asdict(Spread.of(sync_seconds(each, 2) for each in fitted)),
        "fitted_at_batch_size": sizes[0],
        "joining_seconds": asdict(Spread.of(each.joining_seconds for each in fitted)),
        "overlap": asdict(Spread.of(each.overlap for each in fitted)),
        "points": [
            {
                "batch_size": each,
                "one_process_seconds": asdict(Spread.of(alone_seconds[each])),
                "two_processes_seconds": asdict(Spread.of(seconds[each])),
                "predicted_over_measured_by_link_alone": asdict(Spread.of(by_link[each])),
                "predicted_over_measured_fitted": asdict(Spread.of(by_fit[each])) if each in by_fit else None,
            }
            for each in sizes
        ],
    }


def tables(record: dict[str, Any], timed: dict[str, Any], before: dict[str, Any]) -> dict[str, str]:
    """Markdown, as in docs/scale.md: published tables, all of them together, and what was measured."""
    found = {name: _points(record["families"]["weak"][name]["points"]) for name in PUBLISHED}
    found["families"] = _families(record["families"], before["misses"])
    found["accumulating"] = _accumulating(record["families"]["accumulating"], before["misses"])
    found["measured"] = _measured(timed)
    return found


def _points(points: list[dict[str, Any]]) -> str:
    lines = ["| devices | published, s | predicted, s | 80 % interval | miss |", "|---|---|---|---|---|"]
    for n, at in enumerate(points):
        miss = f"{100 * at['miss']:+.1f} %" if n > 1 else "fitted"
        low, high = at["interval"]
        lines.append(
            f"| {at['devices']:,} | {at['published_seconds']:.4f} | {at['predicted_seconds']:.4f} | "
            f"{low:.3f} to {high:.3f} | {miss} |"
        )
    return "\n".join(lines) + "\n"


def _families(families: dict[str, Any], before: dict[str, Any]) -> str:
    lines = [
        "| steps | tables | points | mean miss | 80 % interval holds | holding the last step | closer than that | "
        "model before, points | its mean miss | the model on these |",
        "|---" * 10 + "|",
    ]
    for name, each in families.items():
        points = [(table, at) for table, result in each.items() for at in result["points"][2:]]
        model, held = (np.array([abs(np.log1p(at[key])) for _, at in points]) for key in ("miss", "held_miss"))
        covered = [at["interval"][0] <= at["published_seconds"] <= at["interval"][1] for _, at in points]
        old = [
            (abs(np.log1p(before[table][str(at["devices"])])), abs(np.log1p(at["miss"])))
            for table, at in points
            if table in before
        ]
        earlier, now = np.mean(old, axis=0)
        lines.append(
            f"| {name} | {len(each)} | {len(points)} | {_per_cent(model.mean())} | {_per_cent(np.mean(covered), 0)} | "
            f"{_per_cent(held.mean())} | {_per_cent(np.mean(model < held), 0)} | {len(old)} | {_per_cent(earlier)} | "
            f"{_per_cent(now)} |"
        )
    return "\n".join(lines) + "\n"


def _accumulating(results: dict[str, Any], before: dict[str, Any]) -> str:
    header = ["table", "fitted on", "passes there", "devices", "passes", "model", "80 % interval", "holding", "before"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, result in results.items():
        first, second, *_, last = result["points"]
        took = last["published_seconds"]
        low, high = (end / took - 1 for end in last["interval"])
        earlier = before.get(name, {}).get(str(last["devices"]))
        cells = [
            name,
            f"{first['devices']}, {second['devices']}",
            f"{first['passes']:,}, {second['passes']:,}",
            f"{last['devices']:,}",
            f"{last['passes']:,}",
            _signed(last["miss"]),
            f"{_signed(low)} to {_signed(high)}",
            _signed(last["held_miss"]),
            _signed(earlier) if earlier is not None else "no pass on one device",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _measured(record: dict[str, Any]) -> str:
    header = ["task", "batch size", "one process, ms", "two, ms", "by the link alone", "fitted at another size"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for each in record["measured"]:
        for at in each["points"]:
            fit = at["predicted_over_measured_fitted"]
            cells = [
                each["task"],
                f"{at['batch_size']:,}",
                _milliseconds(at["one_process_seconds"]),
                _milliseconds(at["two_processes_seconds"]),
                str(Spread(**at["predicted_over_measured_by_link_alone"])),
                str(Spread(**fit)) if fit else "fitted here",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _per_cent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _milliseconds(spread: dict[str, float]) -> str:
    return f"{1000 * spread['median']:.3g}"


def show(found: dict[str, str], record: dict[str, Any]) -> None:
    for name, table in found.items():
        print(f"\n{name}\n\n{table}")
    print("\nRing over halving-doubling between 32 servers:")
    for row in record["ring_against_halving_doubling"]:
        print(f"{row['bytes']:>12,} bytes: {row['ratio']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true", help="Only the published tables: nothing is timed.")
    parser.add_argument("--tasks", nargs="+", default=["keskar-f1", "digits-mlp"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 128, 512, 1024])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS, help="The folder of the records.")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.worker is not None:
        return worker(given.task, given.batch_sizes, given.rounds, given.worker)
    given.out.mkdir(parents=True, exist_ok=True)
    record, timed = all_published(), given.out / "scale.json"
    (given.out / "scale-published.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if not given.published:
        watch = RunTimer()
        steps = [measured(name, given.batch_sizes, given.rounds) for name in given.tasks]
        command = shlex.join(["python", *sys.argv])
        provenance = asdict(watch.provenance(command=command, seed=0, device=CPU))
        timed.write_text(json.dumps({"provenance": provenance, "measured": steps}, indent=1) + "\n", encoding="utf-8")
    before = json.loads((RESULTS / "scale-before.json").read_text(encoding="utf-8"))
    return show(tables(record, json.loads(timed.read_text(encoding="utf-8")), before), record)


if __name__ == "__main__":
    main()
