"""Small-batch and large-batch minima compared, as in tables 3 and 4 and figure 3 of Keskar et al. 2016.

    .venv/bin/python benchmarks/minima.py --runs critbatch-out/keskar-f1 --examples 5000

`--runs` is a folder that `critbatch train keskar-f1` filled, at batch sizes 256 and 6,000 and some seeds.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import torch

from critbatch.measure.distribution_shift import shift
from critbatch.measure.landscape import landscape
from critbatch.records.loss_surface import Sharpness, Shift
from critbatch.tasks.registry import find_task
from critbatch.training.checkpoint import SUFFIX, load_solution, model_with

RESULTS = Path(__file__).parent / "results"


def as_sharpness(record: Shift) -> Sharpness:
    """A shift's record holds the sharpness of every solution: it is not measured twice."""
    return Sharpness(
        setup=record.setup,
        metric_name=record.metric_name,
        solutions=record.sharpness,
        provenance=record.provenance,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=5000, help="of the training set, the same for all")
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1e-3, 5e-4])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    device = torch.device("cpu")
    command = f"python benchmarks/minima.py {shlex.join(sys.argv[1:])}"
    found = [load_solution(path, device) for path in sorted(asked.runs.glob(f"*{SUFFIX}"))]
    (name,) = {name for name, _, _ in found}
    task = find_task(name)
    solutions = {solution.label: solution for _, solution, _ in found}
    models = {solution.label: model_with(task, weights, device) for _, solution, weights in found}

    def say(stage: str, done: int, total: int) -> None:
        print(f"{stage} {done}/{total}", file=sys.stderr, flush=True)

    def keep(kind: str, record: object) -> None:
        path = asked.out / f"{kind}-{name}.json"
        path.write_text(record.to_json(indent=1) + "\n", encoding="utf-8")  # type: ignore[attr-defined]
        print(path)

    settings = {"device": device, "progress": say, "command": command, "examples": asked.examples}
    pair = [min((label for label in models if solutions[label].batch_size == size), default="") for size in (256, 6000)]
    line = {label: models[label] for label in pair}
    keep("landscape", landscape(task, line, solutions=solutions, **settings))
    shifted = shift(task, models, solutions=solutions, epsilons=asked.epsilons, **settings)
    keep("shift", shifted)
    keep("sharpness", as_sharpness(shifted))


if __name__ == "__main__":
    main()
