"""Links by name: latency and bandwidth as they are published, each with its source.

Bandwidths are those of the specification, in one direction: a program sees less of them. Latencies are of one message
from program to program. The numbers hold for many processes at once if none shares its port with another. A measured
link is better than any of these.
"""

from __future__ import annotations

from critbatch.errors import UserError
from critbatch.records.scaling import Communication, Link

NCCL = "NVIDIA NCCL, src/graph/tuning.cc, hwLat: a ring's step by protocol Simple"
LARSEN = "Larsen et al. 2009, Int. J. Parallel Programming 37(6): 10 us at best from program to program by Linux TCP"
TPU = "Google Cloud, TPU v3: all-reduce bandwidth of a pod of 1,024 chips 340 TB/s"


def _nvlink(generation: int, device: str, links: int, each: float) -> Link:
    return Link(
        name=f"nvlink-{generation}",
        latency_seconds=3.4e-6,
        bytes_per_second=links * each * 1e9,
        latency_source=f"{NCCL}, NVLINK 3.4 us",
        bandwidth_source=f"NVIDIA {device}: {links} links of {each:g} GB/s in each direction",
    )


def _pcie(generation: int, gigabytes: float) -> Link:
    return Link(
        name=f"pcie-{generation}",
        latency_seconds=5.7e-6,
        bytes_per_second=gigabytes * 1e9,
        latency_source=f"{NCCL}, PCI 5.7 us",
        bandwidth_source=f"PCI Express {generation}.0 with 16 lanes, 128b/130b coding",
    )


def _ethernet(gigabits: int, standard: str) -> Link:
    return Link(
        name=f"ethernet-{gigabits}",
        latency_seconds=10e-6,
        bytes_per_second=gigabits * 1e9 / 8,
        latency_source=LARSEN,
        bandwidth_source=f"{standard}: {gigabits} Gbit/s",
    )


def _infiniband(name: str, gigabits: int) -> Link:
    return Link(
        name=f"infiniband-{name}",
        latency_seconds=14e-6,
        bytes_per_second=gigabits * 1e9 / 8,
        latency_source=f"{NCCL}, NET 14.0 us",
        bandwidth_source=f"InfiniBand 4x {name.upper()}: {gigabits} Gbit/s",
    )


_ALL = (
    _nvlink(1, "P100", 4, 20),
    _nvlink(2, "V100", 6, 25),
    _nvlink(3, "A100", 12, 25),
    _nvlink(4, "H100", 18, 25),
    _pcie(3, 15.75),
    _pcie(4, 31.5),
    _pcie(5, 63.0),
    _ethernet(10, "IEEE 802.3ae"),
    _ethernet(25, "IEEE 802.3by"),
    _ethernet(50, "IEEE 802.3cd"),
    _ethernet(100, "IEEE 802.3ba"),
    _ethernet(400, "IEEE 802.3bs"),
    _infiniband("fdr", 56),
    _infiniband("edr", 100),
    _infiniband("hdr", 200),
    _infiniband("ndr", 400),
    Link(
        name="tpu-v3",
        latency_seconds=0.0,
        bytes_per_second=340e12 / 1024,
        latency_source="not published: taken as none",
        bandwidth_source=TPU,
    ),
)
LINKS = {link.name: link for link in _ALL}
OTHER_NAMES = {"nvlink": "nvlink-4", "pcie": "pcie-4", "infiniband": "infiniband-ndr", "ethernet": "ethernet-25"}


def find_link(text: str) -> Link:
    """A link by its name, or of one's own as SECONDS,BYTES_PER_SECOND.

    >>> find_link("ethernet-25").bytes_per_second
    3125000000.0
    >>> find_link("2e-5,1e9").latency_seconds
    2e-05

    Raises:
        UserError: if it is neither.
    """
    name = OTHER_NAMES.get(text, text)
    if name in LINKS:
        return LINKS[name]
    try:
        latency, bandwidth = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"The link {text!r} is not known: use {', '.join(LINKS)}, or SECONDS,BYTES_PER_SECOND such as 2e-5,1e9."
        ) from None
    return Link(
        name=f"own: {text}",
        latency_seconds=latency,
        bytes_per_second=bandwidth,
        latency_source="given",
        bandwidth_source="given",
        achieved=True,
    )


def measured_link(communication: Communication) -> Link:
    """The link that was found between processes."""
    where = "on one machine" if communication.one_node else "on several machines"
    source = f"measured: {communication.processes} processes {where}, {communication.backend}"
    return Link(
        name=f"measured-{communication.backend}",
        latency_seconds=communication.latency_seconds.value,
        bytes_per_second=communication.bytes_per_second.value,
        latency_source=f"{source}, n = {communication.latency_seconds.n}",
        bandwidth_source=f"{source}, n = {communication.bytes_per_second.n}",
        achieved=True,
    )
