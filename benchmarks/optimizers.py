"""A step of LARS and LAMB beside the peers, and over the time that its words need to move, in rounds that take turns.

    .venv/bin/python benchmarks/optimizers.py --peers peers/bin/python

Without `--peers` there are only those of torch to compare with. Writes `results/optimizers.json`.

The floor of a step is the number of words that it cannot help moving, for tensors larger than cache, times the seconds
for a word. LARS must read the weight and the gradient for their norms, and then read weight, gradient and velocity and
write two of them: 7 words an element. LAMB must read weight, gradient and two moments and write the moments up to its
norms, and then read weight and moments and write the weight: 10. A tensor of one dimension, which is not adapted, needs
5 and 7, as all of them do in torch's SGD with momentum and in Adam. The seconds for a word are those of `a.add_(b)` on
half a gigabyte each, in the same round: it moves words faster than `copy_`, so the floor is the stricter one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import torch

from critbatch.runtime.provenance import RunTimer
from optimizer_worker import shapes_of
from overhead import Spread

HERE = Path(__file__).parent
MODELS = ("resnet-50", "bert-base", "tiny")
OURS = ("critbatch LARS", "critbatch LAMB", "critbatch LARS compiled", "critbatch LAMB compiled")
TORCHS = ("torch SGD fused", "torch Adam fused")
PEERS = (
    "timm LARS",
    "timm LARS foreach",
    "timm LAMB",
    "timm LAMB foreach",
    "pytorch_optimizer LARS",
    "pytorch_optimizer LAMB",
)
GOAL = 1.3
ROUNDS = 11


def words(name: str, model: str) -> int:
    """That a step cannot help moving."""
    adapted, plain = (7, 5) if "LARS" in name else (10, 7) if "LAMB" in name else (5, 5) if "SGD" in name else (7, 7)
    return sum(prod(shape) * (adapted if len(shape) > 1 else plain) for shape in shapes_of(model))


class Worker:
    """A process that makes steps when asked."""

    def __init__(self, python: str, model: str) -> None:
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [python, str(HERE / "optimizer_worker.py"), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=settings,
        )

    def ask(self, name: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(model: str, *, rounds: int, peers: str | None) -> dict[str, Any]:
    """Seconds a step of each optimizer and seconds a word, round by round."""
    own = Worker(sys.executable, model)
    other = Worker(peers, model) if peers is not None else None
    who = dict.fromkeys((*OURS, *TORCHS), own) | (dict.fromkeys(PEERS, other) if other is not None else {})
    found: dict[str, list[float]] = {name: [] for name in who}
    stream: dict[str, list[float]] = {"copy": [], "add": []}
    errors: dict[str, str] = {}
    # The first round warms up.
    for turn in range(rounds + 1):
        names = list(who)
        start = turn % len(names)
        speed = own.ask("stream")
        for name in names[start:] + names[:start]:
            answer = who[name].ask(name) if name not in errors else {}
            if "error" in answer:
                errors[name] = answer["error"]
            elif turn and "seconds" in answer:
                found[name].append(answer["seconds"])
        for kind, seconds in own.ask("stream").items():
            if turn:
                stream[kind].append((seconds + speed[kind]) / 2)
    own.close()
    if other is not None:
        other.close()
    seconds = {name: values for name, values in found.items() if name not in errors}
    return {"model": model, "seconds": seconds, "errors": errors, "seconds_a_word": stream}


def over_floor(result: dict[str, Any], name: str) -> Spread:
    amount, best = words(name, result["model"]), result["seconds_a_word"]["add"]
    return Spread.of(own / (amount * word) for own, word in zip(result["seconds"][name], best, strict=True))


def ratio(result: dict[str, Any], one: str, other: str) -> Spread:
    return Spread.of(a / b for a, b in zip(result["seconds"][one], result["seconds"][other], strict=True))


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: times over the floor for the large models, milliseconds for tiny tensors; median (quartiles)."""
    heads = {"resnet-50": "ResNet-50, over the floor", "bert-base": "BERT-base, over the floor", "tiny": "500 tiny, ms"}
    lines = [f"| | {' | '.join(heads[result['model']] for result in results)} |", "|---" * (len(results) + 1) + "|"]
    for name in (*OURS, *TORCHS, *PEERS):
        cells = []
        for result in results:
            if name not in result["seconds"]:
                cells.append("")
            elif result["model"] == "tiny":
                cells.append(str(Spread.of(1000 * seconds for seconds in result["seconds"][name])))
            else:
                cells.append(str(over_floor(result, name)))
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def goals(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for result in results:
        for name in ("critbatch LARS", "critbatch LAMB"):
            if result["model"] != "tiny":
                spread = over_floor(result, name)
                goal = f"{name}, {result['model']}: at most {GOAL} times the floor"
                found.append({"goal": goal, "found": asdict(spread), "met": spread.median <= GOAL})
                continue
            same = [peer for peer in PEERS if peer in result["seconds"] and peer.split()[1] == name.split()[1]]
            twin = "torch SGD fused" if "LARS" in name else "torch Adam fused"
            for peer in (*same, twin):
                spread = ratio(result, name, peer)
                goal = f"{name}, 500 tiny tensors: no slower than {peer}"
                found.append({"goal": goal, "found": asdict(spread), "met": spread.median <= 1})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="the Python of an environment with timm and pytorch-optimizer")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default: {ROUNDS})")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "optimizers.json")
    asked = parser.parse_args()
    watch = RunTimer()
    results = []
    for model in asked.models:
        results.append(measure(model, rounds=asked.rounds, peers=asked.peers))
        rates = {kind: Spread.of(4e-9 / word for word in of) for kind, of in results[-1]["seconds_a_word"].items()}
        told = ", ".join(f"{kind} {rate}" for kind, rate in rates.items())
        print(f"{model}: GB/s of {told}", *(f"\n  {name}: {why}" for name, why in results[-1]["errors"].items()))
    print(f"\nMedian (quartiles) of {asked.rounds} rounds, one thread.\n\n{table(results)}\n")
    met = goals(results)
    for goal in met:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['goal']}: {Spread(**goal['found'])}")
    provenance = watch.provenance(command=shlex.join(["python", *sys.argv]), seed=0, device=torch.device("cpu"))
    record = {"provenance": asdict(provenance), "rounds": asked.rounds, "goals": met, "models": results}
    asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\n{asked.out}")


if __name__ == "__main__":
    main()
