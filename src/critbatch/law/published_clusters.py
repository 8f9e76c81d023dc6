"""Published steps on many devices: what a model of a cluster can be held against.

Papers rarely print seconds of a step. They print the time of a run, or of an epoch, and how many steps it has; or
examples per second and how many examples a step has: the seconds are a quotient. Each table names its source, and what
of its machines is assumed. No kept table is a part of another one; rows of one device belong to tables of one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from critbatch.law.allreduce import LINKS
from critbatch.records.core import Estimate
from critbatch.records.scaling import Algorithm, Constants, StepMeasurement

IMAGENET = 1_281_167


@dataclass(frozen=True, kw_only=True)
class PublishedCluster:
    """Steps in passes of one size, and all that is known of the machines.

    Args:
        name: one word for each choice.
        source: with what was trained.
        constants: of the cluster; what is not in `sources` is unknown.
        measured: fewest devices first.
        alone_seconds: of a pass on one device, where it was published too, measured on the same machine.
    """

    name: str
    source: str
    constants: Constants
    measured: tuple[StepMeasurement, ...]
    alone_seconds: float | None = None

    @property
    def accumulates(self) -> bool:
        """Whether steps have several passes on some numbers of devices."""
        return any(each.micro_batch_size != each.batch_size // each.devices for each in self.measured)


def _step(devices: int, batch_size: int, seconds: float, steps: float, source: str, micro: int) -> StepMeasurement:
    estimate = Estimate(value=seconds / steps, n=1, reason="published")
    return StepMeasurement(
        devices=devices, batch_size=batch_size, step_seconds=estimate, source=source, micro_batch_size=micro
    )


# --- papers ----------------------------------------------------------------------------------------------------------

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
        _step(8, 256, 29 * 3600, 90 * IMAGENET / 256, "29 h for 90 epochs", 32),
        _step(256, 8192, 3600, 90 * IMAGENET / 8192, "1 h for 90 epochs", 32),
        _step(352, 11_264, 30, IMAGENET / 11_264, "figure 7: 30 s for an epoch", 32),
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
        _step(16, 512, 82.8 * 3600, 1_000_000, "82.8 h, 1,000k steps", 32),
        _step(32, 1024, 43.2 * 3600, 500_000, "43.2 h, 500k steps", 32),
        _step(64, 2048, 21.4 * 3600, 250_000, "21.4 h, 250k steps", 32),
        _step(128, 4096, 693.6 * 60, 125_000, "693.6 min, 125k steps", 32),
        _step(256, 8192, 390.5 * 60, 62_500, "390.5 min, 62.5k steps", 32),
        _step(512, 16_384, 200.0 * 60, 31_250, "200.0 min, 31.25k steps", 32),
        _step(1024, 32_768, 101.2 * 60, 15_625, "101.2 min, 15,625 steps", 32),
    ),
)

# --- benchmarks that vendors and projects publish --------------------------------------------------------------------

_EXAMPLES = "NVIDIA DeepLearningExamples, commit 729963dd (2024-04-04)"
_DLPERF = "OneFlow DLPerf, commit c89430ba (2022-01-21)"
_BUCKET = 25 << 20

# Devices a node, link between nodes, link within: as NVIDIA's data sheets and DLPerf's report have them. The network
# cards of a node count as one link of their sum.
_MACHINES = {
    "DGX A100": (8, replace(LINKS["infiniband-hdr"], name="8 x infiniband-hdr", bytes_per_second=8 * 25e9), "nvlink-3"),
    "DGX-2": (16, replace(LINKS["infiniband-edr"], name="8 x infiniband-edr", bytes_per_second=8 * 12.5e9), "nvlink-2"),
    "DGX-1": (8, replace(LINKS["infiniband-edr"], name="4 x infiniband-edr", bytes_per_second=4 * 12.5e9), "nvlink-2"),
    "8 V100": (8, LINKS["infiniband-edr"], "nvlink-2"),
}
_WEIGHTS = {
    "BERT-large": 336e6,
    "BERT-base": 110e6,
    "BART-large": 406e6,
    "Transformer-XL": 257e6,
    "ResNet-50": 25.557e6,
}


def _table(
    name: str,
    source: str,
    machine: str,
    model: str,
    micro: int,
    rows: Sequence[tuple[int, int, float]],
    *,
    half: bool = False,
    alone: float | None = None,
) -> PublishedCluster:
    """Rows of devices, passes of a step, and examples per second over all devices.

    Args:
        name: of the table.
        source: of its numbers.
        machine: of `_MACHINES`.
        model: of `_WEIGHTS`.
        micro: examples in a pass on one device.
        rows: fewest devices first.
        half: whether gradients are summed in half precision.
        alone: examples per second of one device, in as many passes a step as one node.
    """
    here, between, within = _MACHINES[machine]
    size = int(_WEIGHTS[model] * (2 if half else 4))
    return PublishedCluster(
        name=name,
        source=f"{source}: {model}, {machine}, {micro:,} examples in a pass",
        constants=Constants(
            gradient_bytes=size,
            buckets=1 + size // _BUCKET,
            devices_per_node=here,
            between=between,
            within=LINKS[within],
            sources={
                "gradient_bytes": f"{_WEIGHTS[model] / 1e6:g} million weights",
                "buckets": "assumed: 25 MiB each",
                "devices_per_node": machine,
                "between": machine,
                "algorithm": "assumed: the sooner of both",
            },
        ),
        measured=tuple(
            _step(n, n * passes * micro, n * passes * micro / rate, 1, f"{rate:,} examples per second", micro)
            for n, passes, rate in rows
        ),
        alone_seconds=None if alone is None else micro / alone,
    )


def _doubling(first_passes: int, *rates: float) -> list[tuple[int, int, float]]:
    """On 8, 16, 32, ... devices, at one batch size for all."""
    return [(8 << power, first_passes >> power, rate) for power, rate in enumerate(rates)]


_PYTORCH = f"{_EXAMPLES}, PyTorch/LanguageModeling/BERT"
_PADDLE = f"{_EXAMPLES}, PaddlePaddle/LanguageModeling/BERT"
_TF1 = f"{_EXAMPLES}, TensorFlow/LanguageModeling/BERT"
_TF2 = f"{_EXAMPLES}, TensorFlow2/LanguageModeling/BERT"
_DGX2 = "NVIDIA DeepLearningExamples, commit a74236af, PyTorch/LanguageModeling/BERT"
_A100, _LARGE = "DGX A100", "BERT-large"

# One batch size, or nearly, on all numbers of devices: the more of them, the fewer passes a step.
_ACCUMULATING = (
    _table(
        "pytorch-a100-128-amp", _PYTORCH, _A100, _LARGE, 256,
        _doubling(32, 4553, 9191, 18_119, 35_774, 70_555, 138_294), half=True, alone=580,
    ),
    _table(
        "pytorch-a100-128-tf32", _PYTORCH, _A100, _LARGE, 128,
        _doubling(64, 2486, 4979, 9859, 19_815, 38_866, 75_706), alone=317,
    ),
    _table(
        "pytorch-a100-512-amp", _PYTORCH, _A100, _LARGE, 32,
        _doubling(128, 1648, 3291, 6464, 13_005, 25_570, 49_663), half=True, alone=210,
    ),
    _table(
        "pytorch-a100-512-tf32", _PYTORCH, _A100, _LARGE, 16,
        _doubling(256, 854, 1684, 3293, 6515, 12_131, 21_298), alone=110,
    ),
    _table(
        "paddle-a100-128-amp", _PADDLE, _A100, _LARGE, 256,
        _doubling(32, 5541, 10_646, 21_389, 41_681, 79_023, 157_952), half=True, alone=694,
    ),
    _table(
        "paddle-a100-128-tf32", _PADDLE, _A100, _LARGE, 128,
        _doubling(64, 2428, 4638, 9445, 18_335, 35_526, 69_701), alone=307,
    ),
    _table(
        "paddle-a100-512-amp", _PADDLE, _A100, _LARGE, 32,
        _doubling(128, 2109, 4051, 7972, 15_760, 31_129, 60_206), half=True, alone=264,
    ),
    _table(
        "paddle-a100-512-tf32", _PADDLE, _A100, _LARGE, 16,
        _doubling(256, 851, 1601, 3240, 6329, 12_273, 24_047), alone=107,
    ),
    _table(
        "tensorflow-a100-128-amp", _TF1, _A100, _LARGE, 64,
        [(8, 128, 2871.89), (32, 32, 11_159), (128, 8, 41_144), (256, 4, 77_479.87)], half=True, alone=356.845,
    ),
    _table(
        "tensorflow-a100-128-tf32", _TF1, _A100, _LARGE, 64,
        [(8, 128, 1889.71), (32, 32, 7532), (128, 8, 28_605.62), (256, 4, 53_585.82)], alone=238.10,
    ),
    _table(
        "tensorflow-a100-512-amp", _TF1, _A100, _LARGE, 16,
        [(8, 256, 572.112), (32, 128, 2197.44), (128, 32, 8723.1), (256, 16, 16_705)], half=True, alone=70.856,
    ),
    _table(
        "tensorflow-a100-512-tf32", _TF1, _A100, _LARGE, 8,
        [(8, 512, 316.51), (32, 128, 1268.43), (128, 32, 4903.39), (256, 16, 9463.8)], alone=39.96,
    ),
    _table(
        "tensorflow2-a100-128-amp", _TF2, _A100, _LARGE, 312,
        [(8, 32, 3803.82), (16, 16, 7551.37), (64, 4, 29_711.11), (256, 1, 110_280.73)], half=True, alone=485.59,
    ),
    _table(
        "tensorflow2-a100-128-tf32", _TF2, _A100, _LARGE, 176,
        [(8, 64, 2062.98), (16, 32, 4084.76), (64, 8, 16_134.02), (256, 2, 59_569.77)], alone=282.98,
    ),
    _table(
        "tensorflow2-a100-512-amp", _TF2, _A100, _LARGE, 40,
        [(8, 96, 749.73), (16, 48, 1491.87), (64, 12, 5870.83), (256, 3, 22_506.23)], half=True, alone=96.52,
    ),
    _table(
        "tensorflow2-a100-512-tf32", _TF2, _A100, _LARGE, 22,
        [(8, 192, 431.89), (16, 96, 739.14), (64, 24, 2926.58), (256, 6, 11_240.5)], alone=54.92,
    ),
    # Passes follow from batch sizes of 65,536 and 32,768, which the page names elsewhere.
    _table(
        "pytorch-dgx2-128-amp", _DGX2, "DGX-2", _LARGE, 64,
        [(16, 64, 3379.2), (64, 16, 12_709.88), (256, 4, 51_937.28), (1024, 1, 188_088.32)], half=True,
    ),
    _table(
        "pytorch-dgx2-512-amp", _DGX2, "DGX-2", _LARGE, 8,
        [(16, 256, 625.66), (64, 64, 2386.38), (256, 16, 9932.8), (1024, 4, 37_478.4)], half=True,
    ),
    # The first rows of TensorFlow's other tables of several DGX-2H are of a DGX-2, whose clock is slower.
    _table(
        "tensorflow-dgx2-512-amp", _TF1, "DGX-2", _LARGE, 8,
        [(16, 256, 577.79), (64, 64, 2284.23), (256, 16, 8853), (512, 8, 17_059)], half=True,
    ),
    _table(
        "tensorflow2-dgx2-128-amp", _TF2, "DGX-2", _LARGE, 60,
        [(16, 64, 3528.51), (64, 16, 13_370.21), (256, 4, 42_697.42), (512, 2, 84_223.16)], half=True,
    ),
    _table(
        "tensorflow2-dgx2-128-fp32", _TF2, "DGX-2", _LARGE, 32,
        [(16, 128, 841.72), (64, 32, 3060.49), (256, 8, 10_383.57), (512, 4, 20_094.14)],
    ),
    # Of the table in half precision the passes do not agree with the batch size.
    _table(
        "tensorflow2-dgx2-512-fp32", _TF2, "DGX-2", _LARGE, 4,
        [(16, 512, 180), (64, 128, 646.76), (256, 32, 2204.72), (512, 16, 4196.15)],
    ),
    _table(
        "tensorflow-dgx1-128-amp", _TF1, "DGX-1", _LARGE, 16,
        [(1, 4096, 134.34), (4, 1024, 449.68), (8, 512, 1001.39)], half=True,
    ),
    _table(
        "tensorflow-dgx1-512-amp", _TF1, "DGX-1", _LARGE, 4,
        [(1, 8192, 28.72), (4, 2048, 109.96), (8, 1024, 190.65)], half=True,
    ),
    _table(
        "tensorflow2-one-dgx2-128-amp", _TF2, "DGX-2", _LARGE, 60,
        [(1, 1024, 206.5), (4, 256, 789.75), (8, 128, 1561.77), (16, 64, 3077.99)], half=True,
    ),
    _table(
        "tensorflow2-one-dgx2-512-amp", _TF2, "DGX-2", _LARGE, 10,
        [(1, 3072, 40.95), (4, 768, 158.5), (8, 384, 312.03), (16, 192, 614.94)], half=True,
    ),
)  # fmt: skip


def _weak(
    name: str, source: str, machine: str, model: str, micro: int, numbers: Sequence[int], *rates: float
) -> PublishedCluster:
    return _table(name, source, machine, model, micro, [(n, 1, rate) for n, rate in zip(numbers, rates, strict=True)])


_XL = f"{_EXAMPLES}, PyTorch/LanguageModeling/Transformer-XL, 128 tokens of a sequence, in tokens"
_BART = f"{_EXAMPLES}, PyTorch/LanguageModeling/BART"
_BIO = f"{_EXAMPLES}, TensorFlow/LanguageModeling/BERT/biobert, passes not told"
_BASE = "BERT-base"
_NODES_1, _NODES_2 = (8, 32, 128, 256), (16, 64, 256, 512, 1024)
_V100 = (1, 4, 8, 16, 32)
_V100_ALL = (1, 2, 4, 8, 16, 32)

# The same share on each device.
_WEAK = (
    _weak(
        "transformer-xl-dgx2-fp32", _XL, "DGX-2", "Transformer-XL", 512, (16, 32, 64, 128),
        69_070, 136_960, 270_120, 514_500,
    ),
    _weak(
        "transformer-xl-dgx2-amp", _XL, "DGX-2", "Transformer-XL", 512, (16, 32, 64, 128),
        154_950, 307_520, 605_530, 1_189_700,
    ),
    _weak("bart-a100-128-tf32", _BART, _A100, "BART-large", 100, (8, 160, 320), 1556.23, 31_067.96, 61_538.46),
    _weak("bart-a100-128-bf16", _BART, _A100, "BART-large", 200, (8, 160, 320), 2572.86, 52_459.02, 97_028.51),
    _weak("bart-a100-512-tf32", _BART, _A100, "BART-large", 16, (8, 160, 320), 317.85, 5953.49, 11_636.36),
    _weak("bart-a100-512-bf16", _BART, _A100, "BART-large", 32, (8, 160, 320), 549.67, 10_520.54, 19_948.05),
    _weak("biobert-dgx1-128-amp", _BIO, "DGX-1", _BASE, 64, _NODES_1, 2762.06, 10_283.08, 39_051.69, 76_077.39),
    _weak("biobert-dgx1-128-fp32", _BIO, "DGX-1", _BASE, 32, _NODES_1, 744.48, 2762.88, 10_715.14, 21_104.87),
    _weak("biobert-dgx1-512-amp", _BIO, "DGX-1", _BASE, 8, _NODES_1, 432.33, 1593.00, 5941.82, 11_483.73),
    _weak("biobert-dgx1-512-fp32", _BIO, "DGX-1", _BASE, 8, _NODES_1, 160.38, 604.36, 2356.44, 4631.29),
    _weak(
        "biobert-dgx2-128-amp", _BIO, "DGX-2", _BASE, 128, _NODES_2,
        7772.18, 29_785.31, 115_581.29, 226_156.53, 444_955.74,
    ),
    _weak(
        "biobert-dgx2-128-fp32", _BIO, "DGX-2", _BASE, 128, _NODES_2,
        2165.04, 8516.90, 33_699.15, 66_996.73, 133_424.95,
    ),
    _weak(
        "biobert-dgx2-512-amp", _BIO, "DGX-2", _BASE, 16, _NODES_2,
        1260.06, 4781.19, 18_405.65, 36_071.06, 69_950.86,
    ),
    _weak(
        "biobert-dgx2-512-fp32", _BIO, "DGX-2", _BASE, 16, _NODES_2,
        416.92, 1626.76, 6418.09, 12_713.67, 25_245.96,
    ),
)  # fmt: skip

# From one device over one node to four, whose network is the narrowest of all here: the two smallest numbers of devices
# lie within a node and tell nothing of it.
_FROM_ONE = tuple(
    _weak(f"dlperf-{name}", f"{_DLPERF}, {path}", "8 V100", model, micro, numbers, *rates)
    for name, path, model, micro, numbers, rates in (
        ("pytorch-bert-fp32-32", "NVIDIADeepLearningExamples/PyTorch/BERT", _BASE, 32, _V100,
         (119.6, 457.72, 921.32, 1499.4, 2885.81)),
        ("pytorch-bert-fp32-48", "NVIDIADeepLearningExamples/PyTorch/BERT", _BASE, 48, _V100,
         (121.94, 464.66, 928.01, 1584.32, 3039.3)),
        ("pytorch-bert-amp-64", "NVIDIADeepLearningExamples/PyTorch/BERT", _BASE, 64, _V100,
         (444.51, 1671.66, 3251.7, 4936.92, 9331.72)),
        ("pytorch-bert-amp-96", "NVIDIADeepLearningExamples/PyTorch/BERT", _BASE, 96, _V100,
         (462.35, 1727.93, 3287.12, 5426.07, 10_349.12)),
        ("pytorch-resnet50-fp32", "NVIDIADeepLearningExamples/PyTorch/resnet50v1.5", "ResNet-50", 128, _V100,
         (367.29, 1449.48, 2887.65, 5716.79, 10_917.09)),
        ("pytorch-resnet50-amp", "NVIDIADeepLearningExamples/PyTorch/resnet50v1.5", "ResNet-50", 256, _V100,
         (802.9, 3137.44, 6154.66, 11_991.94, 22_551.16)),
        ("tensorflow-bert-fp32-32", "NVIDIADeepLearningExamples/TensorFlow/LanguageModeling/BERT", _BASE, 32, _V100,
         (107.33, 397.71, 790.03, 1404.04, 2727.9)),
        ("tensorflow-bert-fp32-48", "NVIDIADeepLearningExamples/TensorFlow/LanguageModeling/BERT", _BASE, 48, _V100,
         (112.76, 430.43, 855.45, 1576.88, 3089.74)),
        ("tensorflow-bert-amp-64", "NVIDIADeepLearningExamples/TensorFlow/LanguageModeling/BERT", _BASE, 64, _V100,
         (422.53, 1552.11, 3112.73, 5050.86, 9409.2)),
        ("tensorflow-bert-amp-96", "NVIDIADeepLearningExamples/TensorFlow/LanguageModeling/BERT", _BASE, 96, _V100,
         (468.1, 1766.06, 3559.8, 5960.14, 11_650.0)),
        ("tensorflow2-bert-fp32-64", "TensorFlow/bert", _BASE, 64, _V100_ALL,
         (112.99, 204.16, 402.02, 805.43, 1239.3, 2244.38)),
        ("mxnet-bert-fp32-32", "MxNet/BERT", _BASE, 32, _V100_ALL,
         (150.11, 270.28, 538.5, 1058.6, 1845.65, 3671.45)),
        ("mxnet-bert-fp32-64", "MxNet/BERT", _BASE, 64, _V100_ALL,
         (156.76, 295.42, 587.71, 1153.08, 2172.62, 4340.89)),
        ("mxnet-bert-amp-64", "MxNet/BERT", _BASE, 64, _V100_ALL,
         (473.76, 811.6, 1623.56, 3107.1, 5723.26, 11_269.14)),
        ("mxnet-bert-amp-128", "MxNet/BERT", _BASE, 128, _V100_ALL,
         (544.31, 1000.15, 1970.59, 3825.21, 7327.5, 14_822.31)),
        ("paddle-bert-fp32-96", "PaddlePaddle/bert", _BASE, 96, _V100_ALL,
         (136.97, 258.73, 490.38, 868.6, 1631.36, 3167.68)),
        ("oneflow-bert-fp32-96", "reports", _BASE, 96, (1, 8, 16, 32), (156.02, 1201.7, 2352.92, 4664.1)),
        ("oneflow-bert-amp-160", "reports", _BASE, 160, (1, 8, 16, 32), (605.11, 4381.66, 8075.16, 15_724.7)),
        ("oneflow-resnet50-fp32", "reports", "ResNet-50", 128, (1, 8, 16, 32),
         (397.64, 3130.34, 6260.3, 12_411.97)),
    )
)  # fmt: skip

PUBLISHED = {each.name: each for each in (GOYAL, LAMB)}
"""Of papers. Not among them: the LAMB paper's 76 minutes, which take fewer and cheaper steps at two batch sizes."""

FAMILIES = {
    "accumulating": _ACCUMULATING,
    "weak": (GOYAL, LAMB, *_WEAK),
    "weak from one device": _FROM_ONE,
}
"""All tables: one batch size for all numbers of devices, and one share for each."""
