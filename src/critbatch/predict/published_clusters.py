"""Published steps on many devices: what a model of a cluster can be held against.

Papers rarely print seconds of a step, but the time of a run, or of an epoch, and how many steps it has: the seconds are
the quotient of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from critbatch.predict.links import LINKS
from critbatch.records import Estimate
from critbatch.scale_records import Algorithm, Constants, StepMeasurement

IMAGENET = 1_281_167


@dataclass(frozen=True, kw_only=True)
class PublishedCluster:
    """Steps at one batch size on each device, and all that is known of the machines."""

    name: str
    source: str
    constants: Constants
    measured: tuple[StepMeasurement, ...]  # fewest devices first


def _step(devices: int, batch_size: int, seconds: float, steps: float, source: str) -> StepMeasurement:
    estimate = Estimate(value=seconds / steps, n=1, reason="published")
    return StepMeasurement(devices=devices, batch_size=batch_size, step_seconds=estimate, source=source)


_GOYAL = "Goyal et al. 2017, arXiv:1706.02677"
# 53 convolutions, 53 batch norms of two tensors, a layer with weight and bias.
_RESNET50_TENSORS = 53 + 2 * 53 + 2

GOYAL = PublishedCluster(
    name="goyal2017",
    source=f"{_GOYAL}: ResNet-50 on ImageNet, 32 images on each P100",
    constants=Constants(
        gradient_bytes=4 * 25_557_032,
        buckets=_RESNET50_TENSORS,
        devices_per_node=8,
        between=LINKS["ethernet-50"],
        within=LINKS["nvlink-1"],
        algorithm=Algorithm.HALVING_DOUBLING,
        sources={
            "gradient_bytes": "25,557,032 weights of ResNet-50 in float32",
            "buckets": f"{_GOYAL}, section 4: an all-reduce for each layer; here for each of its 161 tensors",
            "devices_per_node": f"{_GOYAL}, section 4: Big Basin, 8 P100 with NVLink",
            "between": f"{_GOYAL}, section 4: 50 Gbit Ethernet",
            "algorithm": f"{_GOYAL}, section 4",
        },
    ),
    measured=(
        _step(8, 256, 29 * 3600, 90 * IMAGENET / 256, "29 h for 90 epochs"),
        _step(256, 8192, 3600, 90 * IMAGENET / 8192, "1 h for 90 epochs"),
        _step(352, 11_264, 30, IMAGENET / 11_264, "figure 7: 30 s for an epoch"),
    ),
)

_LAMB = "You et al. 2019, arXiv:1904.00962v1"

LAMB = PublishedCluster(
    name="lamb2020",
    source=f"{_LAMB}, table 1: BERT-Large, 32 sequences on each TPU v3, nine tenths of the epochs with 128 tokens",
    constants=Constants(
        gradient_bytes=4 * 340_000_000,
        buckets=1,
        devices_per_node=1,
        between=LINKS["tpu-v3"],
        algorithm=Algorithm.HALVING_DOUBLING,
        sources={
            "gradient_bytes": "340 million weights of BERT-Large in float32: Devlin et al. 2018, arXiv:1810.04805",
            "buckets": "assumed: the gradients of a step are summed at once",
            "devices_per_node": "every chip is in one torus",
            "between": "Google Cloud, TPU v3",
            "algorithm": "assumed: the fewest messages",
        },
    ),
    measured=(
        _step(16, 512, 82.8 * 3600, 1_000_000, "82.8 h, 1,000k steps"),
        _step(32, 1024, 43.2 * 3600, 500_000, "43.2 h, 500k steps"),
        _step(64, 2048, 21.4 * 3600, 250_000, "21.4 h, 250k steps"),
        _step(128, 4096, 693.6 * 60, 125_000, "693.6 min, 125k steps"),
        _step(256, 8192, 390.5 * 60, 62_500, "390.5 min, 62.5k steps"),
        _step(512, 16_384, 200.0 * 60, 31_250, "200.0 min, 31.25k steps"),
        _step(1024, 32_768, 101.2 * 60, 15_625, "101.2 min, 15,625 steps"),
    ),
)

PUBLISHED = {each.name: each for each in (GOYAL, LAMB)}
"""Not among them: the LAMB paper's 76 minutes, which take fewer and cheaper steps at two batch sizes."""
