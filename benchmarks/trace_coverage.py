"""How often the interval of the trace holds the trace: matrices of every rank, sign and decay, over many seeds.

    .venv/bin/python benchmarks/trace_coverage.py --seeds 500

Each matrix is known, so the truth is the sum of its eigenvalues. A trace that is called exact must be right to six
digits of the sum of magnitudes. One thread; about ten minutes for 500 seeds.
"""

from __future__ import annotations

import argparse
import math

import torch

from critbatch.measure.trace import hutch_plus_plus

RANKS = (1, 2, 3, 5, 10, 15, 19, 20, 21, 22, 25, 30, 40)


def spectra(size: int) -> dict[str, list[float]]:
    """Eigenvalues other than 0 by the name of their shape."""
    ranks = {f"rank {rank}": [1.0] * rank for rank in RANKS}
    mixed = {f"rank {rank}, both signs": [(-1.0) ** i for i in range(rank)] for rank in (2, 10, 22, 25, 30, 40)}
    powers = {f"1 / i^{power}": [1 / i**power for i in range(1, size + 1)] for power in (1, 2, 4)}
    geometric = {f"{base:g}^i": [base**i for i in range(size)] for base in (0.8, 0.5, -0.8, -0.5)}
    return {
        **ranks,
        **mixed,
        **powers,
        **geometric,
        "one large, others equal": [100.0] + [1.0] * (size - 1),
        "5, -1, -1": [5.0, -1.0, -1.0],
        "negative, rank 23": [-1.0] * 23,
        "multiple of the identity": [1.0] * size,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--size", type=int, default=101)
    parser.add_argument("--products", type=int, nargs="+", default=[60, 30, 12])
    options = parser.parse_args()
    torch.set_num_threads(1)
    basis = torch.linalg.qr(
        torch.randn(options.size, options.size, generator=torch.Generator().manual_seed(1)).double()
    )
    print(
        f"{options.seeds} seeds, size {options.size}; the standard error of a coverage of 0.95 is "
        f"{math.sqrt(0.95 * 0.05 / options.seeds):.3f}"
    )
    for dtype in (torch.float64, torch.float32):
        for products in options.products:
            for name, values in spectra(options.size).items():
                padded = torch.zeros(options.size, dtype=torch.float64)
                padded[: len(values)] = torch.tensor(values, dtype=torch.float64)
                matrix = ((basis.Q * padded) @ basis.Q.T).to(dtype)
                report(name, matrix, float(padded.sum()), float(padded.abs().sum()), products, options.seeds)


def report(name: str, matrix: torch.Tensor, truth: float, scale: float, products: int, seeds: int) -> None:
    below = above = exact = wrong = 0
    for seed in range(seeds):
        estimate = hutch_plus_plus(lambda vector: matrix @ vector, matrix[0], products=products, seed=seed)
        if estimate.low is None or estimate.high is None:
            exact += 1
            wrong += abs(estimate.value - truth) > 2e-6 * scale
        else:
            below += truth < estimate.low
            above += truth > estimate.high
    coverage = 1 - (below + above + wrong) / seeds
    print(
        f"{matrix.dtype!s:13} {products:3} products  {name:26} coverage {coverage:.3f}  (below {below / seeds:.3f}, "
        f"above {above / seeds:.3f})  exact {exact / seeds:.2f}, of those wrong {wrong}",
        flush=True,
    )


if __name__ == "__main__":
    main()
