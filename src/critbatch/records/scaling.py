"""Records of training on many devices: the cluster, measured steps and communication, and the prediction."""

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
    BEST = "best"  # whichever of the two is faster


@dataclass(frozen=True, kw_only=True)
class Link(Record):
    """What connects processes: a message of b bytes takes `latency_seconds + b / bytes_per_second`."""

    name: str
    latency_seconds: float  # of one message, however short
    bytes_per_second: float  # in one direction, while the other direction is as busy
    latency_source: str
    bandwidth_source: str
    achieved: bool = False  # True: a program reached this bandwidth; False: it is that of a specification

    def __post_init__(self) -> None:
        if not (self.latency_seconds >= 0 and self.bytes_per_second > 0):
            raise UserError(
                f"A link with a latency of {self.latency_seconds} s and {self.bytes_per_second} bytes per second is "
                "not possible: give a latency of 0 or more and a bandwidth above 0."
            )


@dataclass(frozen=True, kw_only=True)
class Constants(Record):
    """Everything that the time of a step on many devices depends on, apart from the times on one device.

    `sources` says where each constant comes from: in words, or as a key of reports/messages. Links name their own
    sources.
    """

    gradient_bytes: int  # summed over the devices at each step
    buckets: int  # number of all-reduces for them
    devices_per_node: int
    between: Link  # link between nodes, shared by the devices of a node
    within: Link | None = None  # link between the devices of a node; None with one device per node
    algorithm: Algorithm = Algorithm.BEST
    overlap: float = 1.0  # gamma: 1 if no communication is hidden behind computation, towards infinity if all is
    joining_seconds: float = 0.0  # extra seconds per step with several devices, however many
    delay_seconds: float = 0.0  # mean delay of a device in a pass; each step waits for the slowest device
    pass_slowdown: float = 0.0  # share by which a pass takes longer beside other devices; once more beside other nodes
    link_efficiency: float = 1.0  # share of a specified bandwidth that programs reach; not applied to achieved ones
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
    """Seconds of a step on a number of devices, measured here or published."""

    devices: int
    batch_size: int  # over all devices
    step_seconds: Estimate
    source: str
    micro_batch_size: int | None = None  # examples in one pass on one device; None if not known


@dataclass(frozen=True, kw_only=True)
class CommunicationPoint(Record):
    """One all-reduce, from the start of its first process to the end of its last one."""

    payload_bytes: int  # summed over the processes
    seconds: Estimate  # median over rounds


@dataclass(frozen=True, kw_only=True)
class Communication(Record):
    """Seconds of all-reduces against bytes, in one group of processes, and the link that they imply."""

    backend: str  # "gloo" or "nccl"
    processes: int
    one_node: bool  # whether all processes run on one machine
    points: tuple[CommunicationPoint, ...]
    latency_seconds: Estimate  # of one message, if the sum goes round a ring
    bytes_per_second: Estimate
    worst_miss: float  # largest |measured / fitted - 1| over the points
    provenance: Provenance


# --- what it says ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StepsLaw(Record):
    """`S(B) = S_min (1 + B_crit / B)`: steps to the target, with the learning rate tuned at every batch size."""

    min_steps: Estimate  # S_min
    critical_batch_size: Estimate  # B_crit
    sizes: tuple[int, int] | None  # smallest and largest batch size with runs; None if not known
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
    passes: int  # forward and backward passes per step, whose gradients are added up
    compute_seconds: float  # of a step on each device, as timed on one
    sync_seconds: float  # of summing the gradients, on its own
    ring_seconds: float  # the same, by a ring
    halving_doubling_seconds: float  # the same, by recursive halving and doubling
    waiting_seconds: float  # for the slowest device
    joining_seconds: float  # as in `Constants`; 0 on one device
    slowdown_seconds: float = 0.0  # by which all passes of a step take longer than on one device alone
    step_seconds: float
    step_interval: Estimate | None = None  # interval of `step_seconds`; None if no steps were measured
    steps: Estimate | None = None  # to the target; None if no law of steps is known
    seconds: Estimate | None = None  # to the target
    device_hours: float | None = None  # to the target
    cost: float | None = None  # to the target, if a price was given
    speed_up: float  # in time to target, over one device at its best; without a target, in examples per second
    efficiency: float  # speed-up per device

    @property
    def communication_seconds(self) -> float:
        """Seconds of communication that are not hidden behind computation."""
        others = self.compute_seconds + self.slowdown_seconds + self.waiting_seconds + self.joining_seconds
        return self.step_seconds - others

    @property
    def examples_per_second(self) -> float:
        """Throughput over all devices."""
        return self.batch_size / self.step_seconds


@dataclass(frozen=True, kw_only=True)
class Scale(Record):
    """What more devices would bring: the answer of `critbatch scale`."""

    task: str
    unit: str  # what an example is
    examples: int  # in the training set
    constants: Constants
    law: StepsLaw | None  # None if only throughput is predicted
    target: Target | None
    metric_name: str = "metric"
    best: tuple[ScalePoint, ...]  # each number of devices at its fastest batch size; empty without a law
    strong: tuple[ScalePoint, ...]  # the same batch size on all numbers of devices
    weak: tuple[ScalePoint, ...]  # the same batch size per device
    worth: float  # share of the time that a doubling of the devices must save to be worth it
    worth_until: int | None  # number of devices up to which every doubling is worth it; None without a law
    price_per_device_hour: float | None
    measurements: tuple[StepMeasurement, ...] = ()  # measured steps to which the constants were fitted
    fit_miss: float | None = None  # largest |predicted / measured - 1| over them
    communication: Communication | None = None  # the measurement of a link
    speed: Speed
    cautions: tuple[str, ...] = ()  # keys of reports/messages
    provenance: Provenance
