"""How much the prediction of steps on many devices leans on its priors, and whether its intervals hold without them.

    python benchmarks/scale_priors.py

Published: the tables of `benchmarks/scale.py` again, with each prior's median, and each published bandwidth, halved and
doubled. Simulated: clusters that are run device by device and pass by pass, their costs uniform in the logarithm, which
is nobody's prior; fitted on 4 and 8 devices in 32 and 16 passes, judged on 256 in one. Nothing is timed. Prints both,
and writes `benchmarks/results/scale-priors.json`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from critbatch.law import cluster_fit
from critbatch.law.allreduce import LINKS
from critbatch.law.cluster import Compute
from critbatch.law.published_clusters import FAMILIES, PublishedCluster
from critbatch.records.core import Estimate
from critbatch.records.scaling import Constants, Link, StepMeasurement
from critbatch.runtime.provenance import RunTimer
from scale import published

PRIORS = ("EFFICIENCY", "JOINING", "DELAY", "SLOWDOWN")
PASS_SECONDS, SCATTER, STEPS = 0.1, 0.01, 60
RANGES = ((0.006, 0.16), (0.001, 0.1))
"""Of each cost, in passes: join, mean delay, slowdown of a pass."""


def misses(tables: tuple[PublishedCluster, ...]) -> dict[str, float]:
    """Of all points that no constants were fitted to."""
    points = [point for table in tables for point in published(table)["points"][2:]]
    logs = np.array([math.log1p(point["miss"]) for point in points])
    held = [point["interval"][0] <= point["published_seconds"] <= point["interval"][1] for point in points]
    return {"points": len(points), "mean_miss": float(np.abs(logs).mean()), "interval_holds": float(np.mean(held))}


@contextmanager
def scaled_prior(name: str, times: float) -> Iterator[None]:
    prior = getattr(cluster_fit, name)
    setattr(cluster_fit, name, replace(prior, median=times * prior.median))
    try:
        yield
    finally:
        setattr(cluster_fit, name, prior)


def with_links(table: PublishedCluster, times: float) -> PublishedCluster:
    def faster(link: Link) -> Link:
        return replace(link, bytes_per_second=times * link.bytes_per_second)

    held = table.constants
    within = None if held.within is None else faster(held.within)
    return replace(table, constants=replace(held, between=faster(held.between), within=within))


def sensitivity() -> list[dict[str, Any]]:
    rows = [{"changed": "nothing", "times": 1.0, **_all(FAMILIES)}]
    for times in (0.5, 2.0):
        for name in PRIORS:
            with scaled_prior(name, times):
                rows.append({"changed": name, "times": times, **_all(FAMILIES)})
        moved = {name: tuple(with_links(table, times) for table in tables) for name, tables in FAMILIES.items()}
        rows.append({"changed": "published bandwidths", "times": times, **_all(moved)})
    return rows


def _all(families: dict[str, tuple[PublishedCluster, ...]]) -> dict[str, Any]:
    return {name: misses(tables) for name, tables in families.items()}


def coverage(low: float, high: float, clusters: int) -> dict[str, float]:
    """How often the 80 % interval holds the step on 256 devices, and on which side it is missed."""
    generator = np.random.default_rng(0)
    constants = Constants(gradient_bytes=100_000_000, buckets=4, devices_per_node=1, between=LINKS["nvlink-4"])
    logs, shorter, longer = [], 0, 0
    for _ in range(clusters):
        join, delay, slowdown = np.exp(generator.uniform(math.log(low), math.log(high), 3))

        def seconds(
            devices: int, passes: int, join: float = join, delay: float = delay, slowdown: float = slowdown
        ) -> float:
            late = delay * (generator.exponential(1.0, (STEPS, devices, passes)).sum(2) - passes)
            mean = passes * (1 + slowdown) + late.max(1).mean() + join
            return float(PASS_SECONDS * mean * math.exp(SCATTER * generator.standard_normal()))

        measured = [
            StepMeasurement(
                devices=devices,
                batch_size=devices * passes,
                step_seconds=Estimate(value=seconds(devices, passes), n=1, reason="given"),
                source="simulated",
                micro_batch_size=1,
            )
            for devices, passes in ((4, 32), (8, 16))
        ]
        fit = cluster_fit.fit_constants(measured, constants)
        assert fit.compute_seconds is not None
        step = fit.step(Compute(micro_batch_size=1, passes=1, seconds=fit.compute_seconds), 256)
        assert step.low is not None and step.high is not None
        took = seconds(256, 1)
        logs.append(math.log(step.value / took))
        shorter, longer = shorter + (took < step.low), longer + (took > step.high)
    return {
        "lowest_cost": low,
        "highest_cost": high,
        "clusters": clusters,
        "interval_holds": 1 - (shorter + longer) / clusters,
        "shorter": shorter / clusters,
        "longer": longer / clusters,
        "mean_log": float(np.mean(logs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale-priors.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    watch = RunTimer()
    rows = sensitivity()
    simulated = [coverage(low, high, given.clusters) for low, high in RANGES]
    provenance = watch.provenance(command="python benchmarks/scale_priors.py", seed=0, device=torch.device("cpu"))
    record = {"provenance": asdict(provenance), "published": rows, "simulated": simulated}
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        shares = ", ".join(f"{name} {100 * row[name]['mean_miss']:.1f} %" for name in FAMILIES)
        print(f"{row['changed']} times {row['times']:g}: {shares}")
    for row in simulated:
        print(row)


if __name__ == "__main__":
    main()
