"""What is asked and told of more devices: frozen records, as those of `records.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from critbatch.errors import UserError
from critbatch.records.core import Estimate, Provenance, Record, Speed, Target

# --- the cluster -----------------------------------------------------------------------------------------------------


class Algorithm(StrEnum):
    """How gradients are summed between nodes."""

    RING = "ring"
    HALVING_DOUBLING = "halving_doubling"
    BEST = "best"  # whichever of both is sooner


@dataclass(frozen=True, kw_only=True)
class Link(Record):
    """What joins processes: a message of b bytes takes `latency_seconds + b / bytes_per_second`."""

    name: str
    latency_seconds: float  # of one message, however short
    bytes_per_second: float  # in one direction, while the other one is as busy
    latency_source: str
    bandwidth_source: str
    achieved: bool = False  # whether a program got this bandwidth; False: it is that of a specification

    def __post_init__(self) -> None:
        if not (self.latency_seconds >= 0 and self.bytes_per_second > 0):
            raise UserError(
                f"A link with a latency of {self.latency_seconds} s and {self.bytes_per_second} bytes per second is "
                "not possible: give a latency of 0 or more and a bandwidth above 0."
            )


@dataclass(frozen=True, kw_only=True)
class Constants(Record):
    """All that the seconds of a step on many devices depend on, but for those on one.

    `sources` says where each is from: in words, or by a key of reports/messages. Links name their own.
    """

    gradient_bytes: int  # summed over the devices at each step
    buckets: int  # the all-reduces that they go in
    devices_per_node: int
    between: Link  # of a node with the others; its devices share it
    within: Link | None = None  # of a device with the others of its node; None with one device a node
    algorithm: Algorithm = Algorithm.BEST
    overlap: float = 1.0  # gamma: 1 where nothing of the communication is hidden, towards infinity where all is
    joining_seconds: float = 0.0  # that a step takes longer as soon as there are several devices, however many
    delay_seconds: float = 0.0  # by which a device is late in a pass, on average; each step waits for the latest
    pass_slowdown: float = 0.0  # share by which each pass takes longer beside other devices, once more beside nodes
    link_efficiency: float = 1.0  # share of a specified bandwidth that programs get; not applied to achieved ones
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.gradient_bytes, self.buckets, self.devices_per_node) < 1:
            raise UserError(
                f"gradient_bytes={self.gradient_bytes}, buckets={self.buckets} and "
                f"devices_per_node={self.devices_per_node} must be 1 or more."
            )
        if self.devices_per_node > 1 and self.within is None:
            raise UserError(f"With {self.devices_per_node} devices a node their link is needed: give --node-link.")
        if not (self.overlap >= 1 and self.joining_seconds >= 0 and self.delay_seconds >= 0):
            raise UserError(
                f"overlap={self.overlap}, joining_seconds={self.joining_seconds} and delay_seconds="
                f"{self.delay_seconds} are not possible: use 1 or more for the overlap, 0 or more for the others."
            )
        if not (self.pass_slowdown >= 0 and self.link_efficiency > 0):
            raise UserError(
                f"pass_slowdown={self.pass_slowdown} and link_efficiency={self.link_efficiency} are not possible: use "
                "0 or more for the slowdown, above 0 for the efficiency."
            )


# --- measured --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StepMeasurement(Record):
    """Seconds of a step on so many devices, measured here or published."""

    devices: int
    batch_size: int  # over all devices
    step_seconds: Estimate
    source: str
    micro_batch_size: int | None = None  # examples in one pass on one device; None where it was not told


@dataclass(frozen=True, kw_only=True)
class CommunicationPoint(Record):
    """One all-reduce of so many bytes, from its first process's start to its last one's end."""

    payload_bytes: int
    seconds: Estimate  # median over rounds


@dataclass(frozen=True, kw_only=True)
class Communication(Record):
    """All-reduce seconds against bytes in one group of processes, and the link that they say lies between them."""

    backend: str  # "gloo", "nccl"
    processes: int
    one_node: bool  # whether all of them run on one machine
    points: tuple[CommunicationPoint, ...]
    latency_seconds: Estimate  # of one message, as if the sum went round a ring
    bytes_per_second: Estimate
    worst_miss: float  # largest |measured / fitted - 1| over the points
    provenance: Provenance


# --- what it says ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StepsLaw(Record):
    """`S(B) = S_min (1 + B_crit / B)`: steps to the target, the learning rate tuned at every batch size."""

    min_steps: Estimate
    critical_batch_size: Estimate
    sizes: tuple[int, int] | None  # the smallest and the largest batch size with runs behind it; None where not known
    source: str
    holds: bool = True
    reason: str = ""  # why it does not hold: a key of reports/messages


@dataclass(frozen=True, kw_only=True)
class ScalePoint(Record):
    """One number of devices at one batch size."""

    devices: int
    nodes: int
    batch_size: int  # over all devices
    micro_batch_size: int  # examples in one forward pass on one device
    passes: int  # forward and backward passes of a step, their gradients added up
    compute_seconds: float  # of a step on each device, as timed on one
    sync_seconds: float  # of summing the gradients, on its own
    ring_seconds: float  # the same by either algorithm
    halving_doubling_seconds: float
    waiting_seconds: float  # for the latest device
    joining_seconds: float  # as in `Constants`; 0 on one device
    slowdown_seconds: float = 0.0  # that all passes of a step take longer than on one device alone
    step_seconds: float
    step_interval: Estimate | None = None  # of `step_seconds`, as the measured steps allow; None where there were none
    steps: Estimate | None = None  # to the target; None where no law of steps is known
    seconds: Estimate | None = None  # to the target
    device_hours: float | None = None
    cost: float | None = None  # where a price was given
    speed_up: float  # in time to target over one device at its best; without a target, in examples per second
    efficiency: float  # speed-up for each device

    @property
    def communication_seconds(self) -> float:
        """What the other parts leave of a step: of the summing, what is not hidden."""
        others = self.compute_seconds + self.slowdown_seconds + self.waiting_seconds + self.joining_seconds
        return self.step_seconds - others

    @property
    def examples_per_second(self) -> float:
        return self.batch_size / self.step_seconds


@dataclass(frozen=True, kw_only=True)
class Scale(Record):
    """What more devices would bring: the answer of `critbatch scale`."""

    task: str
    unit: str
    examples: int
    constants: Constants
    law: StepsLaw | None  # None: only throughput is told
    target: Target | None
    metric_name: str = "metric"
    best: tuple[ScalePoint, ...]  # each number of devices at the batch size that is soonest for it; empty without a law
    strong: tuple[ScalePoint, ...]  # the same batch size on all
    weak: tuple[ScalePoint, ...]  # the same batch size on each
    worth: float  # what a doubling of the devices must take off the time to be worth it
    worth_until: int | None  # devices up to which every doubling does; None without a law
    price_per_device_hour: float | None
    measurements: tuple[StepMeasurement, ...] = ()  # that the constants were fitted to
    fit_miss: float | None = None  # largest |predicted / measured - 1| over them
    communication: Communication | None = None  # that a link was measured by
    speed: Speed
    cautions: tuple[str, ...] = ()  # keys of reports/messages
    provenance: Provenance
