"""The model of a cluster against published tables, and against two gloo processes on this machine.

    CRITBATCH_DATA=data python benchmarks/scale.py

Published: constants are fitted to the two smallest numbers of devices, all others are predicted. Measured: in each
round both processes time steps on their own, at the same time, so that both cores are busy as they will be, then steps
together; a ratio is predicted over measured within one round, so that what slows the machine for a minute slows both.
Prints tables, and writes `benchmarks/results/scale.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

import critbatch
from critbatch.distributed import joined_processes, this_shard
from critbatch.measure.communication import communication
from critbatch.measure.joint_step import joint_step
from critbatch.measure.scale import buckets_of, gradient_bytes
from critbatch.predict.all_reduce import all_reduce_seconds, sync_seconds
from critbatch.predict.cluster import Compute, compute_of, fit_constants, step_seconds_on
from critbatch.predict.links import measured_link
from critbatch.predict.published_clusters import GOYAL, PUBLISHED, PublishedCluster
from critbatch.provenance import Stopwatch
from critbatch.scale_records import Algorithm, Communication, Constants, StepMeasurement
from overhead import Spread

CPU = torch.device("cpu")
PAYLOADS = (4, 1 << 14, 1 << 18, 1 << 20, 1 << 22)
BOTH = (Algorithm.RING, Algorithm.HALVING_DOUBLING)


def published(table: PublishedCluster, algorithm: Algorithm) -> dict[str, Any]:
    """Fitted to the two smallest numbers of devices, with all points predicted."""
    found = fit_constants(table.measured[:2], replace(table.constants, algorithm=algorithm))
    assert found.compute_seconds is not None
    alone = Compute(micro_batch_size=32, passes=1, seconds=found.compute_seconds)
    network = replace(found.constants, overlap=1.0, delay_seconds=0.0)
    # The network alone: the step on one device is such that the smallest point is met.
    base = table.measured[0].step_seconds.value - sync_seconds(network, table.measured[0].devices)
    points = []
    for each in table.measured:
        told, plain = step_seconds_on(found.constants, alone, each.devices), base + sync_seconds(network, each.devices)
        points.append(
            {
                "devices": each.devices,
                "published_seconds": each.step_seconds.value,
                "predicted_seconds": told,
                "miss": told / each.step_seconds.value - 1,
                "network_alone_miss": plain / each.step_seconds.value - 1,
                "sync_seconds": sync_seconds(found.constants, each.devices),
                "source": each.source,
            }
        )
    return {
        "source": table.source,
        "algorithm": algorithm,
        "compute_seconds": found.compute_seconds,
        "constants": asdict(found.constants),
        "points": points,
        "worst_miss": max(abs(point["miss"]) for point in points),
    }


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


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Markdown, as in docs/scale.md: the published tables by halving and doubling, and what was measured."""
    found = {}
    for name in PUBLISHED:
        lines = ["| devices | published, s | predicted, s | miss |", "|---|---|---|---|"]
        points = record["published"][f"{name}, {Algorithm.HALVING_DOUBLING}"]["points"]
        for n, at in enumerate(points):
            miss = f"{100 * at['miss']:+.1f} %" if n > 1 else "fitted"
            lines.append(
                f"| {at['devices']:,} | {at['published_seconds']:.4f} | {at['predicted_seconds']:.4f} | {miss} |"
            )
        found[name] = "\n".join(lines) + "\n"
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
    found["measured"] = "\n".join(lines) + "\n"
    return found


def _milliseconds(spread: dict[str, float]) -> str:
    return f"{1000 * spread['median']:.3g}"


def show(record: dict[str, Any]) -> None:
    found = tables(record)
    for name, each in PUBLISHED.items():
        print(f"\n{each.source}\n\n{found[name]}")
        ring = record["published"][f"{name}, {Algorithm.RING}"]["points"][-1]
        plain = record["published"][f"{name}, {Algorithm.HALVING_DOUBLING}"]["points"][-1]
        print(f"The last by a ring {ring['miss']:+.1%}, by the network alone {plain['network_alone_miss']:+.1%}.")
    print("\nRing over halving-doubling between 32 servers:")
    for row in record["ring_against_halving_doubling"]:
        print(f"{row['bytes']:>12,} bytes: {row['ratio']:.2f}")
    print("\nPredicted over measured with two processes, median (quartiles) of rounds:\n")
    print(found["measured"])
    for each in record["measured"]:
        load, joining = Spread(**each["load_average"]), Spread(**each["joining_seconds"])
        print(f"{each['task']}: load average {load}, fitted t_join {joining} s, n = {load.n}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["keskar-f1", "digits-mlp"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 128, 512, 1024])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.worker is not None:
        return worker(given.task, given.batch_sizes, given.rounds, given.worker)
    watch = Stopwatch()
    tables = [
        (table, algorithm) for table in PUBLISHED.values() for algorithm in (Algorithm.HALVING_DOUBLING, Algorithm.RING)
    ]
    record: dict[str, Any] = {
        "published": {f"{table.name}, {algorithm}": published(table, algorithm) for table, algorithm in tables},
        "ring_against_halving_doubling": ring_against_halving(),
        "measured": [measured(name, given.batch_sizes, given.rounds) for name in given.tasks],
    }
    command = shlex.join(["python", *sys.argv])
    record = {"provenance": asdict(watch.provenance(command=command, seed=0, device=CPU)), **record}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return show(record)


if __name__ == "__main__":
    main()
