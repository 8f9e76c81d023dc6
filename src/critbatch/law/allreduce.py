"""What it takes to sum a vector over many processes, by the messages and bytes on the longest path.

A message of b bytes takes ``latency + b / bandwidth``, a process sends and receives at once, and adding up numbers
costs nothing beside sending them. Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication
operations in MPICH", section 4.5, has ring and recursive halving-doubling in these terms; Goyal et al. 2017,
arXiv:1706.02677, section 4, what they mean for gradients.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from critbatch.errors import UserError
from critbatch.records.scaling import Algorithm, Communication, Constants, Link

Array = NDArray[np.float64]


class Traffic(NamedTuple):
    """Messages one after the other, and the bytes in all of them."""

    messages: int
    bytes: float

    def seconds(self, link: Link) -> float:
        return self.messages * link.latency_seconds + self.bytes / link.bytes_per_second


def ring(payload_bytes: float, processes: int) -> Traffic:
    """The traffic of a ring.

    Each process passes a part of 1/n to the next one, n - 1 times to add up and n - 1 times to share the sums.

    >>> ring(1000, 4)
    Traffic(messages=6, bytes=1500.0)
    """
    _check(processes)
    return Traffic(2 * (processes - 1), 2 * (processes - 1) / processes * payload_bytes)


def halving_doubling(payload_bytes: float, processes: int) -> tuple[Traffic, ...]:
    """The traffic of recursive halving and doubling.

    Each process exchanges half of its data with another one, each time a nearer one, and doubles it on the way back.
    The bytes are those of the ring, the messages ``2 log2 n``. This holds for powers of two. Other numbers of processes
    have two ways:

    *Folding*: the processes above P, the largest power of two below n, first send all their data to a partner, and
    receive everything back at the end: two more messages, and twice the bytes of the vector. Thakur et al., as above.

    *Binary blocks*: the processes form blocks of powers of two, 44 = 32 + 8 + 4. Each block adds up its own data and
    then passes its sums to the next larger block: each process in a block of s sends its 1/s in S/s messages to a block
    of S. The results return in the same way. The longest path leads from the smallest block through all others. Goyal
    et al. 2017, section 4; Rabenseifner and Träff 2004, "More efficient reduction algorithms for non-power-of-two
    number of processors in message-passing parallel systems".

    Returns:
        One way for a power of two, else folding and binary blocks: the link decides which is faster.

    >>> halving_doubling(1024, 8)
    (Traffic(messages=6, bytes=1792.0),)
    """
    _check(processes)
    power = 1 << (processes.bit_length() - 1)
    plain = Traffic(2 * (power.bit_length() - 1), 2 * (power - 1) / power * payload_bytes)
    if power == processes:
        return (plain,)
    folded = Traffic(plain.messages + 2, plain.bytes + 2 * payload_bytes)
    return folded, _binary_blocks(payload_bytes, processes)


def _binary_blocks(payload_bytes: float, processes: int) -> Traffic:
    blocks = [1 << place for place in range(processes.bit_length()) if processes >> place & 1]
    smallest = blocks[0]
    messages, share = smallest.bit_length() - 1, (smallest - 1) / smallest
    for smaller, larger in pairwise(blocks):
        messages += larger // smaller
        share += 1 / smaller
    return Traffic(2 * messages, 2 * share * payload_bytes)


def all_reduce_seconds(
    algorithm: Algorithm, payload_bytes: float, processes: int, link: Link, *, times: int = 1
) -> float:
    """Seconds until all processes have the sum.

    Args:
        algorithm: BEST is the sooner of both.
        payload_bytes: in all.
        processes: 1 needs nothing.
        link: between any two of them.
        times: the bytes go in so many all-reduces, one after the other: each has its own messages.

    Raises:
        UserError: if there are less than one process.
    """
    return min(
        Traffic(times * way.messages, way.bytes).seconds(link) for way in _ways(algorithm, payload_bytes, processes)
    )


def _ways(algorithm: Algorithm, payload_bytes: float, processes: int) -> list[Traffic]:
    ways = [] if algorithm is Algorithm.HALVING_DOUBLING else [ring(payload_bytes, processes)]
    return ways if algorithm is Algorithm.RING else [*ways, *halving_doubling(payload_bytes, processes)]


def sync_seconds(constants: Constants, devices: int, algorithm: Algorithm | None = None) -> float:
    """Return the seconds to sum the gradients of a step over the devices, if nothing else is going on.

    With several devices per node there are two levels: a ring within the node, as in NCCL, adds up there and shares the
    sums at the end. In between, the nodes sum over the link that the devices of a node share. These are the three
    phases of Goyal et al. 2017, arXiv:1706.02677, section 4. Nodes are filled one after the other. Of a bandwidth that
    is not `achieved`, a program gets the share `constants.link_efficiency`.

    Args:
        constants: Gradient, nodes and links.
        devices: Number of devices.
        algorithm: The algorithm between nodes; by default that of the constants.
    """
    return float(sync_seconds_at(constants, devices, np.array(constants.link_efficiency), algorithm))


def sync_seconds_at(constants: Constants, devices: int, efficiency: Array, algorithm: Algorithm | None = None) -> Array:
    """`sync_seconds` at many link efficiencies in place of that of the constants. Shape as `efficiency`."""
    _check(devices)
    here = min(devices, constants.devices_per_node)
    within = np.zeros_like(efficiency)
    if constants.within is not None:
        within = _seconds(ring(constants.gradient_bytes, here), constants.within, constants.buckets, efficiency)
    ways = _ways(algorithm or constants.algorithm, constants.gradient_bytes, nodes_of(constants, devices))
    between = [_seconds(way, constants.between, constants.buckets, efficiency) for way in ways]
    return np.asarray(within + np.min(between, axis=0))


def _seconds(traffic: Traffic, link: Link, times: int, efficiency: Array) -> Array:
    share = np.ones_like(efficiency) if link.achieved else efficiency
    return times * traffic.messages * link.latency_seconds + traffic.bytes / (link.bytes_per_second * share)


def nodes_of(constants: Constants, devices: int) -> int:
    return math.ceil(devices / constants.devices_per_node)


def _check(processes: int) -> None:
    if processes < 1:
        raise UserError(f"{processes} devices are not possible: use 1 or more.")


# Links by name: latency and bandwidth as they are published, each with its source.
#
# Bandwidths are those of the specification, in one direction: a program sees less of them. Latencies are of one message
# from program to program. The numbers hold for many processes at once if none shares its port with another. A measured
# link is better than any of these.

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
