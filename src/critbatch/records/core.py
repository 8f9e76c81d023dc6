"""The basic records: estimates, machines, step times, gradient noise, runs, the law and the advice.

A record is a frozen dataclass of plain numbers and needs no torch. It can be written to JSON and read again without
loss: `record.to_json()`, `Run.from_json(text)`.

The module is long because these records contain each other: an advice has runs, a run has noise and a target.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from critbatch.arguments import check_fields, current_options, is_number, notice_renamed, renamed_arguments, shown
from critbatch.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


T = TypeVar("T")
# The value of a hyper-parameter; a list as a tuple.
OptionValue = str | int | float | bool | None | tuple[float, ...]


# Raised by one where a field is added, renamed or given another meaning.
SCHEMA_VERSION = 1
VERSION_FIELD = "schema_version"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen dataclass of plain numbers that can be written to JSON and read again.

    The JSON contains the version of the format. Fields that this version does not know, because a later version wrote
    them, are kept: they are in the JSON again when the record is written.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"ser_json_inf_nan": "strings", "extra": "allow"}
    # The names that fields had in earlier versions, each with the name of today: they are read as these.
    renamed_fields: ClassVar[Mapping[str, str]] = {}

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the record as JSON. Characters that UTF-8 cannot represent become question marks."""
        from pydantic_core import PydanticSerializationError

        try:
            text = _adapter(type(self)).dump_json(self, indent=indent).decode()
        except PydanticSerializationError:
            text = _adapter(type(self)).dump_json(_without_surrogates(self), indent=indent).decode()
        if _has_unknown_fields(self):
            text = json.dumps(
                _with_unknown_fields(self, json.loads(text)),
                indent=indent,
                separators=(",", ":") if indent is None else None,
                ensure_ascii=False,
            )
        version = f'"{VERSION_FIELD}":{SCHEMA_VERSION}' if indent is None else f'"{VERSION_FIELD}": {SCHEMA_VERSION}'
        gap = "" if indent is None else "\n" + indent * " "
        return f"{{{gap}{version},{text[1:]}"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record that `to_json` wrote, now or in an earlier version.

        A record of a later version is read too, with a warning, as far as this version knows its fields.

        Raises:
            UserError: If the text is not such a record: incomplete, or of another kind.
        """
        from pydantic import ValidationError

        if not isinstance(text, str | bytes):
            raise UserError(f"This is not a {cls.__name__} record but a {type(text).__name__}: write it again.")
        try:
            record = _adapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            raise UserError(
                f"This is not a {cls.__name__} record of this version of critbatch ({where}: {first['msg']}): "
                "write it again with this version."
            ) from None
        version = vars(record).pop(VERSION_FIELD, 0)
        if isinstance(version, int) and version > SCHEMA_VERSION:
            warnings.warn(
                f"This {cls.__name__} record was written by a later version of critbatch (format {version}, known here "
                f"is {SCHEMA_VERSION}): what is not known here is kept but not shown.",
                stacklevel=2,
            )
        return record

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = handler(source)
        if not cls.renamed_fields:
            return schema
        from pydantic_core.core_schema import no_info_before_validator_function

        # Inside the schema of the dataclass: a record that occurs several times is referred to by that schema alone.
        own = handler.resolve_ref_schema(schema)
        if own["schema"]["type"] != "function-before":
            own["schema"] = no_info_before_validator_function(cls._with_names_of_today, own["schema"])
        return schema

    @classmethod
    def _with_names_of_today(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        renamed = {cls.renamed_fields[name]: part for name, part in value.items() if name in cls.renamed_fields}
        return {**renamed, **{name: part for name, part in value.items() if name not in cls.renamed_fields}}

    def _read_old_options(self, name: str) -> None:
        """Give options of recipes that an older release wrote their names of today."""
        if options := getattr(self, name):
            object.__setattr__(self, name, current_options(options))

    if not TYPE_CHECKING:  # a type checker is to refuse names that are not there

        def __getattr__(self, name: str) -> Any:
            """A field by the name that it had in version 0.1, with a warning."""
            if name not in type(self).renamed_fields:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            today = type(self).renamed_fields[name]
            notice_renamed(f"{type(self).__name__}.{name}", f"{type(self).__name__}.{today}")
            return getattr(self, today)

    def plot(self, style: str = "screen", language: str = "en") -> Any:
        """The record's figure. Raises TypeError where a picture would not help.

        Args:
            style: "screen" for the figure of the page, "paper" for one as a paper wants it: 3.4 or 7 inches wide,
                letters of 8 points. Both are plotly figures. `write_image("figure.pdf")` needs
                `pip install "critbatch[figures]"` and Chromium or Chrome.
            language: of its words, "en" or "zh".
        """
        # The reports lie above the records, and are loaded only where a figure is asked for.
        return import_module("critbatch.reports.charts.print_style").render_figure(self, style, language)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, StrEnum):
        return value.encode("utf-8", errors="replace").decode()
    if isinstance(value, Record):
        return replace(value, **{one.name: _without_surrogates(getattr(value, one.name)) for one in fields(value)})
    if isinstance(value, tuple):
        return tuple(map(_without_surrogates, value))
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(part) for key, part in value.items()}
    return value


_names: dict[type, frozenset[str]] = {}


def _field_names(kind: type[Record]) -> frozenset[str]:
    """Looked up once per kind, since that takes longer than the rest of the look at a record."""
    if kind not in _names:
        _names[kind] = frozenset(field.name for field in fields(kind))
    return _names[kind]


def _unknown_fields(record: Record) -> dict[str, Any]:
    """What was in the JSON of this record and belongs to no field of it."""
    known, kind = _field_names(type(record)), type(record)
    return {name: part for name, part in vars(record).items() if name not in known and not hasattr(kind, name)}


def _has_unknown_fields(value: Any) -> bool:
    """Whether this record, or one in it, has a field that this version does not know."""
    if isinstance(value, Record):
        if len(vars(value)) > len(_field_names(type(value))) and _unknown_fields(value):
            return True
        return any(_has_unknown_fields(part) for part in vars(value).values() if type(part) not in _PLAIN)
    if isinstance(value, tuple):
        return any(_has_unknown_fields(part) for part in value if type(part) not in _PLAIN)
    return isinstance(value, dict) and any(map(_has_unknown_fields, value.values()))


_PLAIN = {int, float, str, bool, type(None)}


def _with_unknown_fields(value: Any, plain: Any) -> Any:
    """`plain`, the JSON of `value`, with the fields that its records keep from another version."""
    if isinstance(value, Record):
        known = {name: _with_unknown_fields(getattr(value, name), part) for name, part in plain.items()}
        return {**known, **_unknown_fields(value)}
    if isinstance(value, tuple):
        return [_with_unknown_fields(part, other) for part, other in zip(value, plain, strict=True)]
    if isinstance(value, dict):
        return {name: _with_unknown_fields(part, plain[name]) for name, part in zip(plain, value.values(), strict=True)}
    return plain


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Made once per kind, since that takes longer than reading a record."""
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """A number, how many measurements are behind it, and its interval or the reason why it has none."""

    value: float
    n: int  # number of measurements
    low: float | None = None  # interval
    high: float | None = None
    level: float = 0.95  # of the interval
    reason: str = ""  # why there is no interval, or why not to trust it: a key of reports/messages


# --- where and how ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """The hardware and software on which something was measured."""

    processor: str
    cores: int
    threads: int  # of torch, in one operation
    memory_bytes: int
    device: str  # "cpu", "cuda", ...
    accelerator: str  # name of the GPU; empty on a CPU
    system: str  # operating system
    python: str
    torch: str
    critbatch: str


@dataclass(frozen=True, kw_only=True)
class Provenance(Record):
    """How to repeat the measurement of a record."""

    command: str
    started: str  # ISO 8601, UTC
    wall_seconds: float
    seed: int
    machine: Machine


# --- hardware --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SpeedPoint(Record):
    """One training step at one batch size. If it does not fit into memory, `fits` is False and the rest is None."""

    batch_size: int
    fits: bool = True
    step_seconds: Estimate | None = None  # median of the fastest visits; the interval is that of the visits' median
    quartiles: tuple[float, float] | None = None  # of the seconds of all steps
    data_seconds: float | None = None  # to gather, copy to the device and prepare; median
    compute_seconds: float | None = None  # of forward and backward pass; median
    optimizer_seconds: float | None = None  # of the optimizer step; median
    peak_bytes: int | None = None  # of tensors at the peak of a step, without the data set
    swing: float = 1.0  # factor by which times differ that should agree; 1 if they agree
    waited: float | None = None  # share of a step in which another process ran instead of it; None if not known
    widened: float = 1.0  # factor by which the interval of `step_seconds` was widened, because the times do not agree
    signs: tuple[str, ...] = ()  # signs of other work on the machine, as in `ClockCheck`


@dataclass(frozen=True, kw_only=True)
class SpeedFit(Record):
    """`t(B) = fixed_seconds + example_seconds * B`, and the knee, where both parts are equal.

    Below the knee a larger batch is almost free. Above it, the time of a step is proportional to the batch size.
    """

    fixed_seconds: float  # seconds of a step that do not depend on the batch size
    example_seconds: float  # seconds that each further example adds
    knee: Estimate  # a batch size
    worst_miss: float  # largest |measured / fitted - 1|: if it is large, t(B) is not a straight line


@dataclass(frozen=True, kw_only=True)
class ClockCheck(Record):
    """Whether the step times of different batch sizes can be compared.

    `signs` are keys of reports/messages; empty if nothing speaks against it. "clock_visits": times of one batch size
    differ between moments. "clock_steps": its steps differ within one moment. "clock_sizes": a batch size took longer
    than its neighbours allow. "clock_waited": other processes used the processor. "clock_runs": steps of training took
    another time than the timed ones.
    """

    signs: tuple[str, ...] = ()
    swing: float = 1.0  # largest factor by which times differ that should agree: intervals are widened by it
    waited: float | None = None  # share of a step in which another process ran, at the quarter of sizes with the most
    runs_factor: float = 1.0  # seconds of a step in training, divided by the timed ones, if they disagree

    @property
    def is_busy(self) -> bool:
        """Whether anything speaks against comparing the times."""
        return bool(self.signs)


@dataclass(frozen=True, kw_only=True)
class Speed(Record):
    """Seconds per step against the batch size, on one machine."""

    task: str
    unit: str  # what an example is, such as "image"
    examples: int  # in the training set
    points: tuple[SpeedPoint, ...]
    fit: SpeedFit | None = None
    recipe: str = ""  # whose optimizer was used; empty if it is not that of a recipe
    micro_batch_size: int | None = None  # examples in one forward pass; None for a whole batch
    check: ClockCheck | None = None  # None in records of versions without this check
    provenance: Provenance

    @property
    def fitting(self) -> tuple[SpeedPoint, ...]:
        """The batch sizes that fit into memory."""
        return tuple(point for point in self.points if point.fits)

    @property
    def largest_that_fits(self) -> int:
        """The largest batch size that fits into memory; 0 if not even one example fits."""
        return max((point.batch_size for point in self.fitting), default=0)

    def epoch_seconds(self, point: SpeedPoint) -> float:
        """Return the seconds of one epoch at this batch size. A last, short batch counts in proportion."""
        assert point.step_seconds is not None
        return point.step_seconds.value * self.examples / point.batch_size


# --- optimization ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NoiseScale(Record):
    """Signal and noise of the gradient, averaged over steps of a run."""

    renamed_fields: ClassVar[Mapping[str, str]] = {"examples": "noise_scale"}

    gradient_norm2: float  # |G|^2, squared norm of the gradient over all data
    covariance_trace: float  # tr(Sigma), of the gradient of one example
    pairs: int = 1  # number of steps
    low: float | None = None  # interval of `examples`
    high: float | None = None
    level: float = 0.95
    reason: str = ""  # why there is no interval, or why not to trust it: a key of reports/messages

    @property
    def noise_scale(self) -> float:
        """The batch size at which noise and signal are equal (B_simple); infinite if no signal was found.

        If there is hardly any noise, its estimate may be below 0. It then counts as 0.
        """
        return max(0.0, self.covariance_trace) / self.gradient_norm2 if self.gradient_norm2 > 0 else float("inf")


@dataclass(frozen=True, kw_only=True)
class NoisePoint(Record):
    """The noise scale over the steps of a run since the previous point."""

    step: int  # the last step that counts
    epoch: float
    scale: NoiseScale
    in_metric: NoiseScale | None = None  # in the metric of the optimizer's second moments
    by_curvature: NoiseScale | None = None  # tr(H Sigma) / G^T H G
    layers: tuple[LayerNoise, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LayerNoise(Record):
    """The noise scale of one layer's part of the gradient."""

    name: str
    parameters: int
    scale: NoiseScale


@dataclass(frozen=True, kw_only=True)
class Noise(Record):
    """The gradient noise scale along a training run."""

    task: str
    unit: str  # what an example is
    tokens_per_example: int
    recipe: str
    batch_size: int
    micro_batch_size: int
    learning_rate: float
    method: str = "micro_batches"  # or "processes", "examples": the gradients that were compared with the batch's
    points: tuple[NoisePoint, ...]
    provenance: Provenance


class Quantity(StrEnum):
    """What a target is set on."""

    VALIDATION_LOSS = "validation_loss"
    VALIDATION_METRIC = "validation_metric"


@dataclass(frozen=True, kw_only=True)
class Target(Record):
    """A validation loss to fall to, or a validation metric to reach."""

    quantity: Quantity
    value: float

    def __post_init__(self) -> None:
        if self.quantity not in list(Quantity) or not is_number(self.value):
            name, value = shown(self.quantity), shown(self.value)
            raise UserError(
                f"The target {name}={value} cannot be used: give {' or '.join(Quantity)} and a finite value."
            )
        object.__setattr__(self, "quantity", Quantity(self.quantity))

    def reached_by(self, point: CurvePoint) -> bool:
        """Return whether the target is reached at this evaluation."""
        if self.quantity is Quantity.VALIDATION_LOSS:
            return point.validation_loss <= self.value
        return point.validation_metric >= self.value

    def crossing(self, curve: Sequence[CurvePoint]) -> Crossing | None:
        """Return where the curve first reaches the target, or None.

        The place is interpolated linearly between the evaluations before and after.
        """
        for i, after in enumerate(curve):
            if self.reached_by(after):
                before = curve[max(0, i - 1)]
                low, high = (getattr(point, self.quantity.value) for point in (before, after))
                share = (self.value - low) / (high - low) if high != low else 1.0
                return Crossing(
                    step=before.step + share * (after.step - before.step),
                    epoch=before.epoch + share * (after.epoch - before.epoch),
                    seconds=before.seconds + share * (after.seconds - before.seconds),
                )
        return None


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Record):
    """The state of a run at one evaluation."""

    step: int
    examples: int  # seen so far, repeats counted
    epoch: float
    seconds: float  # of training, without evaluation
    learning_rate: float
    train_loss: float  # over a fixed sample of the training set, at these weights, in eval mode
    train_metric: float
    validation_loss: float
    validation_metric: float
    batch_size: int | None = None  # of the step before; None if it is that of the run


class Outcome(StrEnum):
    """How a run ended."""

    REACHED = "reached"  # it reached its target
    FINISHED = "finished"  # its budget ended; it missed its target, or had none
    DIVERGED = "diverged"  # its loss became infinite, NaN or very large
    OUT_OF_MEMORY = "out_of_memory"
    INTERRUPTED = "interrupted"  # it can be resumed


@dataclass(frozen=True, kw_only=True)
class Crossing(Record):
    """Where a run reached its target, interpolated between two evaluations."""

    step: float
    epoch: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """One training run."""

    renamed_fields: ClassVar[Mapping[str, str]] = {"stopped_early": "pruned", "members": "replicas"}

    task: str
    recipe: str
    batch_size: int
    micro_batch_size: int
    learning_rate: float  # the peak of the schedule
    seed: int
    target: Target | None
    outcome: Outcome
    crossing: Crossing | None  # where it reached the target; None unless `outcome` is REACHED
    steps: int
    examples: int  # seen, repeats counted
    epochs: float
    seconds: float  # of training, without evaluation
    evaluation_seconds: float
    compiled_steps: int = 0  # how many of `steps` were compiled
    compile_seconds: float = 0.0  # not part of `seconds`
    diverged_at: int | None = None  # the step at which the loss was not finite, or far too large
    curve: tuple[CurvePoint, ...]
    noise: tuple[NoisePoint, ...] = ()
    noise_every: int = 0  # every n-th step measured the noise, which takes longer; 0 for none
    metric_name: str = "metric"
    replicas: tuple[ReplicaResult, ...] = ()  # the copies that the last phase with copies averaged
    parallel_seconds: float | None = None  # `seconds` if each copy had its own device; None without copies
    options: dict[str, OptionValue] = field(
        default_factory=dict
    )  # of recipe and plan, if they differ from the defaults
    pruned: bool = False  # a study stopped it because others were better: its steps are a lower bound

    def __post_init__(self) -> None:
        self._read_old_options("options")


@dataclass(frozen=True, kw_only=True)
class ReplicaResult(Record):
    """The state of one copy of the model before all copies were averaged."""

    copy: int
    steps: int
    seconds: float
    train_loss: float
    train_metric: float
    validation_loss: float
    validation_metric: float


# --- predictions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Law(Record):
    """The law of steps to one target, for one optimizer and schedule.

    `S(B, lr) = S_min (1 + B_noise / B) (rho + 1/rho) / 2`, with `rho = lr / best_rate(B)` and `best_rate(B) = rate / (1
    + B_noise / B)^exponent`.
    """

    min_steps: Estimate  # S_min, steps of a very large batch
    noise_examples: Estimate  # B_noise, the batch size that needs twice as many steps
    rate: Estimate  # the best learning rate of a very large batch
    exponent: Estimate  # near 1 for SGD with momentum, near 1/2 for Adam
    misfit: float  # root mean square of log(measured / fitted steps), over the runs that reached the target
    holds: bool  # whether the law fits the runs
    reason: str = ""  # why it does not hold: a key of reports/messages


@dataclass(frozen=True, kw_only=True)
class TimePoint(Record):
    """What one batch size costs at its best learning rate: `seconds = steps * step_seconds`."""

    batch_size: int
    learning_rate: Estimate  # the best one at this size
    steps: Estimate  # to the target
    step_seconds: Estimate
    seconds: Estimate  # to the target
    runs: int  # made at this batch size; 0 if everything is predicted


class Goal(StrEnum):
    """What an advice makes small."""

    TIME = "time"  # seconds to the target
    COST = "cost"  # device-seconds to the target, within a time
    ACCURACY = "accuracy"  # seconds to the target, and the final validation metric must not fall
    EXAMPLES = "examples"  # seconds to the target, within a number of examples

    @classmethod
    def _missing_(cls, value: object) -> Goal | None:
        """Read the names of version 0.1."""
        return {"soonest": cls.TIME, "cheapest": cls.COST}.get(str(value))


@dataclass(frozen=True, kw_only=True)
class Objective(Record):
    """What the advice optimizes, and the limits that it keeps.

    Args:
        goal: What to optimize: time to target, cost, time at full accuracy, or time within a limit of examples.
        max_time: Longest acceptable time to target, in seconds; for objective cost. Default: no limit.
        devices: Numbers of devices to choose from, in ascending order; for objective cost.
        price_per_device_hour: Price of one device for one hour, in any currency; for objective cost. Default: no price.
        examples_limit: Most training examples, repeats counted; for objective examples, which needs it. Default:
            no limit.
        accuracy_margin: Largest acceptable loss of the validation metric; for objective accuracy. Default: 0.005.
    """

    renamed_fields: ClassVar[Mapping[str, str]] = {"within_seconds": "max_time", "margin": "accuracy_margin"}

    goal: Goal = Goal.TIME
    max_time: float | None = None
    devices: tuple[int, ...] = (1,)
    price_per_device_hour: float | None = None
    examples_limit: float | None = None
    accuracy_margin: float | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "goal", Goal(self.goal))
        except ValueError:
            raise UserError(f"The objective {shown(self.goal)} is not known: use {', '.join(Goal)}.") from None
        check_fields(self)


Objective.__init__ = renamed_arguments(**Objective.renamed_fields)(Objective.__init__)  # type: ignore[method-assign]


@dataclass(frozen=True, kw_only=True)
class AccuracyCheck(Record):
    """Whether a batch size ends with a worse validation metric than a small one, in runs of equal training time."""

    batch_size: int
    learning_rate: float
    small_batch_size: int
    small_learning_rate: float
    train_seconds: float  # of each run, by the step times of the advice
    metric: float  # validation metric: mean over the seeds, each over the last quarter of its run
    small_metric: float
    gap: float  # training metric minus validation metric, mean over the seeds
    small_gap: float
    difference: Estimate  # `metric` minus `small_metric`, over pairs of runs with the same seed
    margin: float  # largest acceptable fall
    falls: bool | None  # whether it falls by more than the margin; None if the runs cannot show it


@dataclass(frozen=True, kw_only=True)
class AdviceCost(Record):
    """What the search for the answer cost, over all calls with the same folder."""

    renamed_fields: ClassVar[Mapping[str, str]] = {"kept_bytes": "resume_bytes"}

    runs: int
    steps: int
    train_seconds: float
    evaluation_seconds: float
    resume_bytes: int = 0  # of the final states of runs, from which a harder target continues


@dataclass(frozen=True, kw_only=True)
class RecipeCode(Record):
    """What the code that uses an advice needs of the recipe, so that a report does not have to import it."""

    torch_optimizer: str = ""  # a class of `torch.optim`, where it does all that the recipe says, at a constant rate
    torch_settings: dict[str, OptionValue] = field(
        default_factory=dict
    )  # its other settings, where not torch's defaults
    train_options: tuple[str, ...] = ()  # options of the advice that only `critbatch.train` carries out
    needs_train: bool = False  # whether only `critbatch.train` carries out the recipe


@dataclass(frozen=True, kw_only=True)
class Advice(Record):
    """The recommendation: which batch size, with which learning rate, reaches the target best."""

    renamed_fields: ClassVar[Mapping[str, str]] = {
        "within_ten_percent": "near_optimal_range",
        "cost": "search_cost",
        "asked": "targets",
        "chance": "bound_probability",
        "met": "bound_met",
    }

    task: str
    unit: str  # what an example is
    examples: int  # in the training set
    recipe: str
    target: Target
    answered: bool  # False if there is no recommendation: `cautions` say why
    best: TimePoint | None  # the recommended batch size
    near_optimal_range: tuple[int, int] | None  # batch sizes whose time is within 10 % of the best
    current: TimePoint | None  # at the batch size in use today, if one was given
    largest: TimePoint | None  # at the largest batch size that fits into memory and was timed
    points: tuple[TimePoint, ...]  # all batch sizes
    law: Law | None
    speed: Speed
    runs: tuple[Run, ...]  # all runs for this target
    micro_batch_size: int | None = None  # examples in one forward pass on one device
    accumulation: int = 1  # forward passes per step, whose gradients are added up
    objective: Objective = field(default_factory=Objective)
    bound_met: bool | None = (
        None  # whether the limit of the objective is kept; None if it has none, or if this is not known
    )
    bound_probability: float | None = None  # probability of keeping the limit, if it is a time or a number of examples
    devices: int = 1  # number of devices that `best` is for
    device_hours: float | None = None  # to the target, over all devices
    accuracy: tuple[AccuracyCheck, ...] = ()
    options: dict[str, OptionValue] = field(
        default_factory=dict
    )  # of recipe and plan, if they differ from the defaults
    recipe_code: RecipeCode | None = None  # None in records of version 0.1
    planned_epochs: float | None = None  # length of a run, if the learning rate decays over it
    search_cost: AdviceCost | None = None  # what the search cost
    targets: tuple[Target, ...] = ()  # all targets of the runs in this folder
    needed_seconds: float | None = None  # a budget that may be enough, if this one was too small
    cautions: tuple[str, ...] = ()  # what to keep in mind: keys of reports/messages
    provenance: Provenance

    def __post_init__(self) -> None:
        self._read_old_options("options")
