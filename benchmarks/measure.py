"""Curvature and examples' gradient norms beside the peers: time and error, in rounds that take turns.

    .venv/bin/python benchmarks/measure.py --peers peers/bin/python

Without `--peers` critbatch is measured against plain torch alone. Writes `results/measure.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from critbatch.runtime.device import describe_machine
from measure_worker import BATCH, EXAMPLES, PRODUCTS

HERE = Path(__file__).parent
OWN = {"plain", "critbatch", "vmap", "truth"}
NORMS = ("plain", "critbatch", "vmap", "opacus-ghost", "opacus", "backpack")
GOALS = {"mlp": 1.2, "transformer": 1.4, "cnn": 1.9}
CURVATURE = ("critbatch", "pyhessian", "curvlinops", "hessian-eigenthings")


class Worker:
    """A process that does jobs."""

    def __init__(self, python: str, **environment: str) -> None:
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **environment}
        self.process = subprocess.Popen(
            [python, str(HERE / "measure_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=settings,
        )

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, words: str) -> dict[str, Any]:
        self.say(words)
        return self.hear()


class Pair:
    """Two processes that do a job together, and wait for each other in it."""

    def __init__(self, python: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        self.workers = [Worker(python, RANK=str(rank), **meeting) for rank in range(2)]

    def ask(self, words: str) -> dict[str, Any]:
        for worker in self.workers:
            worker.say(words)
        first, second = [worker.hear() for worker in self.workers]
        return first if "error" in first or "error" not in second else second


def rounds(
    workers: Mapping[str, Worker | Pair], what: str, names: tuple[str, ...], times: int
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    own = "pair" if what.startswith("processes") else "own"
    for _ in range(times):
        for name in names:
            worker = workers[own if name in OWN else "peers"]
            if not (found[name] and "error" in found[name][-1]):
                found[name].append(worker.ask(f"{what} {name}"))
    return found


def ratios(found: dict[str, list[dict[str, Any]]], base: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, answers in found.items():
        if "error" in answers[-1]:
            told[name] = {"error": answers[-1]["error"]}
            continue
        shares = [one["seconds"] / other["seconds"] for one, other in zip(answers, found[base], strict=True)]
        ordered = sorted(shares)
        told[name] = {
            "milliseconds": 1000 * median(answer["seconds"] for answer in answers),
            "ratio": median(shares),
            "quartiles": [ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]],
            "values": [answer["value"] for answer in answers],
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="the Python of an environment with the peers")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    workers: dict[str, Worker | Pair] = {"own": Worker(sys.executable), "pair": Pair(sys.executable)}
    if asked.peers:
        workers["peers"] = Worker(asked.peers)
    norms = tuple(name for name in NORMS if asked.peers or name in OWN)
    curvature = tuple(name for name in CURVATURE if asked.peers or name in OWN)
    result: dict[str, Any] = {
        "batch": BATCH,
        "examples": EXAMPLES,
        "products": PRODUCTS,
        "rounds": asked.rounds,
        "norms": {},
        "curvature": {},
    }
    for model, goal in GOALS.items():
        told = ratios(rounds(workers, f"norms {model}", norms, asked.rounds), "plain")
        result["norms"][model] = told
        print(f"\nexamples' gradient norms, {model}, over a plain forward and backward pass (goal {goal})")
        for name, one in told.items():
            print(f"  {name:<14}", one.get("error") or f"{one['ratio']:.2f}  ({one['milliseconds']:.1f} ms)")
    for way in ("accumulate", "processes"):
        result[way] = {}
        print(f"\n{way}: a step with a monitor over one without (goal 1.1)")
        for model in GOALS:
            told = ratios(rounds(workers, f"{way} {model}", ("plain", "critbatch"), asked.rounds), "plain")
            result[way][model] = told
            print(f"  {model:<14} {told['critbatch']['ratio']:.2f}")
    for what in ("top", "trace"):
        truth = workers["own"].ask(f"{what} truth")["value"]
        told = ratios(rounds(workers, what, curvature, asked.rounds), "critbatch")
        result["curvature"][what] = {"truth": truth, **told}
        print(f"\n{what}: truth {truth:.6g}; time over critbatch's, and error")
        for name, one in told.items():
            if "error" in one:
                print(f"  {name:<20} {one['error']}")
                continue
            misses = sorted(abs(value / truth - 1) for value in one["values"])
            one["error_median"], one["error_worst"] = median(misses), misses[-1]
            print(
                f"  {name:<20} {one['ratio']:.2f}  ({one['milliseconds']:.0f} ms)  error {one['error_median']:.1e}, "
                f"at worst {one['error_worst']:.1e}"
            )
    result["machine"] = json.loads(describe_machine(torch.device("cpu")).to_json())
    path = HERE / "results" / "measure.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
