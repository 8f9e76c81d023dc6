"""How long the processes of a running group take to add up, against bytes, and the link that lies between them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from scipy.optimize import nnls

from critbatch.errors import UserError
from critbatch.law.allreduce import ring
from critbatch.measure.speed import median_interval
from critbatch.records.core import Estimate
from critbatch.records.scaling import Communication, CommunicationPoint
from critbatch.runtime.device import wait_for
from critbatch.runtime.distributed import Shard, largest_over_processes, sum_over_processes, this_shard
from critbatch.runtime.provenance import Stopwatch

PAYLOADS = (4, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)
"""Bytes: from a single float to the gradients of 17 million weights."""

ROUNDS = 6
"""As many as a 95 % interval of the median needs."""

LEAST = 3
"""All-reduces in a visit, after one that is not counted."""

SECONDS_PER_VISIT = 0.05

LIMIT = 0.5
"""Seconds: a payload that takes longer is the largest that is tried."""

SMALLEST = 1e-9
"""Seconds of a message, and of a byte times 1000: what is told where the fit finds none at all."""


def communication(
    payloads: Sequence[int] = PAYLOADS,
    *,
    device: torch.device,
    rounds: int = ROUNDS,
    seconds_per_visit: float = SECONDS_PER_VISIT,
    seed: int = 0,
    command: str = "",
) -> Communication:
    """Time all-reduces in the group that has been started, and fit the link to them. All processes take part.

    The payloads are visited in rounds, in random order but for the first, so that a slow minute falls on all of them.
    An all-reduce begins when all processes have come to it and ends with the slowest. A point is the median over the
    rounds of the median within a visit; its interval is that of the median by order statistics. The link is fitted to
    each round on its own, by least squares of the relative error: ``t = 2 (n - 1) latency + 2 (n - 1) / n bytes /
    bandwidth``, as if the sum went round a ring. Gloo's does; NCCL may choose another way, whose cost is then told in
    a ring's terms. It holds for this number of processes, on this machine as busy as it was.

    Args:
        payloads: bytes, a multiple of 4 each; larger ones than take LIMIT seconds are left out.
        device: where the numbers lie.
        rounds: how often each payload is visited.
        seconds_per_visit: of one payload in one round.
        seed: of the order.

    Raises:
        UserError: if there is one process only, or a payload is not possible.
    """
    shard = this_shard()
    if shard.world_size < 2:
        raise UserError("One process has none to talk to: start two or more with torchrun.")
    if len(payloads) < 2 or any(size < 4 or size % 4 for size in payloads):
        raise UserError(f"Payloads of {list(payloads)} bytes are not possible: give two or more multiples of 4.")
    watch, order = Stopwatch(), random.Random(seed)
    found: dict[int, list[float]] = {}
    for size in sorted(payloads):
        found[size] = [_visit(size, device, seconds_per_visit)]
        if found[size][0] > LIMIT:
            break
    for _ in range(1, rounds):
        sizes = list(found)
        order.shuffle(sizes)
        for size in sizes:
            found[size].append(_visit(size, device, seconds_per_visit))
    links = [_fit({size: seconds[turn] for size, seconds in found.items()}, shard) for turn in range(rounds)]
    latency, bandwidth = (_estimate([link[part] for link in links]) for part in (0, 1))
    points = tuple(CommunicationPoint(payload_bytes=size, seconds=_estimate(found[size])) for size in found)
    return Communication(
        backend=torch.distributed.get_backend(),
        processes=shard.world_size,
        one_node=int(os.environ.get("LOCAL_WORLD_SIZE", shard.world_size)) == shard.world_size,
        points=points,
        latency_seconds=latency,
        bytes_per_second=bandwidth,
        worst_miss=_worst_miss(points, latency.value, bandwidth.value, shard),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _visit(payload: int, device: torch.device, seconds: float) -> float:
    """Median seconds of one all-reduce, the same in all processes."""
    numbers = torch.zeros(payload // 4, device=device)

    def once() -> float:
        sum_over_processes(torch.zeros(1, device=device))  # all have come
        wait_for(device)
        began = time.perf_counter()
        sum_over_processes(numbers)
        wait_for(device)
        return largest_over_processes([time.perf_counter() - began], device)[0]

    once()
    times = [once() for _ in range(LEAST)]
    while sum(times) < seconds:
        times.append(once())
    return median(times)


def _fit(seconds: dict[int, float], shard: Shard) -> tuple[float, float]:
    """Latency and bytes per second that miss the seconds least, in relation to each."""
    rows = np.array([_ring_row(size, shard) for size in seconds])
    took = np.array(list(seconds.values()))
    scale = np.array([1.0, 1e-9])  # nanoseconds a byte: both columns are of one order
    found, _ = nnls(rows * scale / took[:, None], np.ones(len(took)))
    latency, each = found * scale
    return max(float(latency), SMALLEST), 1 / max(float(each), SMALLEST / 1000)


def _ring_row(payload: int, shard: Shard) -> tuple[float, float]:
    traffic = ring(payload, shard.world_size)
    return float(traffic.messages), traffic.bytes


def _worst_miss(points: Sequence[CommunicationPoint], latency: float, bandwidth: float, shard: Shard) -> float:
    misses = []
    for point in points:
        messages, size = _ring_row(point.payload_bytes, shard)
        misses.append(abs(point.seconds.value / (messages * latency + size / bandwidth) - 1))
    return max(misses)


def _estimate(values: Sequence[float]) -> Estimate:
    low, high = median_interval(values) or (None, None)
    reason = "" if low is not None else "too_few_visits"
    return Estimate(value=median(values), n=len(values), low=low, high=high, reason=reason)
