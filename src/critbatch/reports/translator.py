"""Messages and numbers in one language. Each language has a catalog of messages, `messages/<code>.toml`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critbatch.errors import UserError
from critbatch.records.core import Estimate, NoiseScale, OptionValue, Quantity, Target

if TYPE_CHECKING:
    from critbatch.records.loss_surface import Eigenvalue

MESSAGES = Path(__file__).parent / "messages"

Write = Callable[[float], str]

SECONDS = (("us", 1e-6, 1e-3), ("ms", 1e-3, 1.0), ("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172_800.0))
BYTES = (("B", 1, 1 << 10), ("KiB", 1 << 10, 1 << 20), ("MiB", 1 << 20, 1 << 30), ("GiB", 1 << 30, 1 << 40))

# Reasons of numbers that need no interval.
SURE = ("exact", "not_random")


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The contents of one message file."""

    name: str  # name of the language, in the language itself
    html_lang: str
    joiner: str  # joins two sentences
    messages: Mapping[str, str]
    reasons: frozenset[str]  # keys that records use as a reason or caution; their messages have no placeholders


def languages() -> list[str]:
    """The codes of the available languages: "en", "zh" ..."""
    return sorted(path.stem for path in MESSAGES.glob("*.toml"))


def catalog(language: str) -> Catalog:
    """The messages of a language.

    Raises:
        UserError: if there are none.
    """
    if language not in (available := languages()):
        raise UserError(f"Language {language!r} is not there: use {' or '.join(available)}.")
    return _read(MESSAGES / f"{language}.toml")


@cache
def _read(path: Path) -> Catalog:
    import tomllib  # imported late: `critbatch --help` only needs the codes of the languages

    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    reasons = dict(_messages(tables.pop("reasons")))
    return Catalog(**tables.pop("meta"), messages=dict(_messages(tables)) | reasons, reasons=frozenset(reasons))


def _messages(table: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Keys and messages of a TOML table and its subtables."""
    for key, value in table.items():
        yield from _messages(value) if isinstance(value, dict) else [(key, value)]


@dataclass(frozen=True)
class Translator:
    """Translates messages and formats numbers in one language.

    Raises:
        UserError: if there are no messages in `language`.

    >>> Translator("en").seconds(252)
    '4.2 min'
    >>> Translator("zh")("batch_size")
    '批次大小'
    """

    language: str
    catalog: Catalog = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalog", catalog(self.language))

    def __call__(self, key: str, /, **values: object) -> str:
        """The message `key` with its placeholders filled. If `n` is 1, `key_one` is used if it exists."""
        if values.get("n") == 1 and f"{key}_one" in self:
            key = f"{key}_one"
        return self.catalog.messages[key].format(**values)

    def __contains__(self, key: str) -> bool:
        return key in self.catalog.messages

    def join(self, sentences: Iterable[str]) -> str:
        """Join sentences as the language does."""
        return self.catalog.joiner.join(sentences)

    def reason(self, key: str) -> str:
        """The message of a reason or caution, or a message that this version does not know it."""
        return self(key) if key in self else self("unknown_reason", key=key)

    def metric(self, name: str) -> str:
        """The name of a metric, translated if it is known."""
        return self(f"metric_{name}") if f"metric_{name}" in self else name

    def units(self, unit: str) -> str:
        """The plural name of an example, such as 'images'. An unknown word stays as it is."""
        return self(f"units_{unit}") if f"units_{unit}" in self else unit

    def target(self, target: Target, metric_name: str) -> str:
        """A target: 'a validation accuracy of 0.97'."""
        value = self.score(target.value)
        if target.quantity is Quantity.VALIDATION_LOSS:
            return self("target_loss", value=value)
        return self("target_metric", metric=self.metric(metric_name), value=value)

    # Numbers.

    def count(self, value: float) -> str:
        """A whole number: '1,024'."""
        return f"{round(value):,}" if math.isfinite(value) else significant(value)

    def about(self, value: float) -> str:
        """An estimated number of examples or steps: '1,230', '3.4'."""
        return significant(value, 3 if abs(value) >= 100 else 2)

    def rate(self, value: float) -> str:
        """A learning rate: '0.12', '3e-5'."""
        return significant(value, 3)

    def score(self, value: float) -> str:
        """A loss or a metric: '0.9731'."""
        return significant(value, 4)

    def times(self, value: float) -> str:
        """A ratio: '1.25', '12'."""
        return significant(value, 3 if abs(value) < 10 else 2)

    def percent(self, share: float) -> str:
        return self("percent", value=significant(100 * share, 3 if abs(share) >= 0.995 else 2))

    def points(self, share: float) -> str:
        """A difference of shares in percentage points: '1.3 points'."""
        return self("points", value=significant(100 * share, 2))

    def seconds(self, value: float) -> str:
        """A time with a suitable unit: '1.3 s', '4.2 min'."""
        for unit, scale, below in SECONDS:
            if abs(value) < below:
                return self(f"unit_{unit}", value=significant(value / scale, 3 if abs(value) >= 100 * scale else 2))
        return self("unit_d", value=significant(value / 86_400)) if math.isfinite(value) else significant(value)

    def bytes(self, value: float) -> str:
        """Memory in binary units: '1.5 GiB'."""
        for unit, scale, below in BYTES:
            if value < below:
                return f"{significant(value / scale, 3)} {unit}"
        return f"{significant(value / (1 << 40), 3)} TiB"

    def span(self, low: float, high: float, write: Write) -> str:
        """A range; a unit that both ends share appears once: '1.1 to 1.6 s'."""
        first, last = write(low), write(high)
        if " " in first and first.split(" ")[-1] == last.split(" ")[-1]:
            first = first.rsplit(" ", 1)[0]
        return self("range", low=first, high=last)

    def estimate(self, estimate: Estimate, write: Write) -> str:
        """The number with its interval and n: '1.3 s (80 % interval 1.1 to 1.6 s, n = 3)'."""
        value, interval = write(estimate.value), self.interval(estimate, write)
        if not interval and estimate.reason in SURE:
            return self(f"number_{estimate.reason}", value=value)
        return self(
            "number_with_interval" if interval else "number_alone",
            value=value,
            interval=interval,
            n=self.count(estimate.n),
        )

    def bounded(self, estimate: Estimate, write: Write) -> str:
        """As `estimate`, but only the bound if the value is 0 or infinite, or "" if there is no bound.

        >>> Translator("en").bounded(Estimate(value=math.inf, n=9, low=900.0, reason="all_perfect_scaling"), str)
        'at least 900.0'
        """
        value, low, high = estimate.value, estimate.low, estimate.high
        if math.isfinite(value) and value > 0:
            at = {"value": write(value), "level": self.percent(estimate.level), "n": self.count(estimate.n)}
            if low is not None and high is None:
                return self("number_with_bound", low=write(low), **at)
            if high is not None and low is None:
                return self("number_with_upper_bound", high=write(high), **at)
            return self.estimate(estimate, write)
        return self.bounds(estimate, write)

    def bounds(self, estimate: Estimate, write: Write) -> str:
        """'1.1 to 1.6', 'at least 1.1', 'at most 1.6', or "" without bounds."""
        low, high = estimate.low, estimate.high
        if low is not None and high is not None:
            return self.span(low, high, write)
        if low is not None:
            return self("at_least", low=write(low))
        return self("at_most", high=write(high)) if high is not None else ""

    def options(self, options: Mapping[str, OptionValue]) -> str:
        """Settings by name: 'momentum = 0.9, nesterov = True'."""
        return self("comma").join(f"{name} = {_plain(value)}" for name, value in options.items())

    def choices(self, options: Mapping[str, Sequence[OptionValue]]) -> str:
        """The values that were tried of each setting: 'momentum = 0.8 or 0.9'."""
        value_lists = {name: self("or").join(_plain(value) for value in values) for name, values in options.items()}
        return self.options(value_lists)

    def interval(self, estimate: Estimate, write: Write) -> str:
        """'80 % interval 1.1 to 1.6 s', or "" if there is no interval."""
        if estimate.low is None or estimate.high is None:
            return ""
        return self("interval", level=self.percent(estimate.level), span=self.span(estimate.low, estimate.high, write))

    def eigenvalue(self, eigenvalue: Eigenvalue) -> str:
        """An eigenvalue with its error: '12.3 ± 0.01'."""
        value, residual = self.score(eigenvalue.value), self.residual(eigenvalue)
        return self(f"eigenvalue{_state(eigenvalue)}", value=value, residual=residual)

    def within(self, eigenvalue: Eigenvalue) -> str:
        """The error of an eigenvalue alone: '± 0.01'."""
        return self(f"tile_residual{_state(eigenvalue)}", residual=self.residual(eigenvalue))

    def residual(self, eigenvalue: Eigenvalue) -> str:
        """The error of the value as displayed: it includes the rounding of the value, and is rounded up."""
        value = eigenvalue.value
        error = eigenvalue.residual + abs(float(f"{value:.3e}") - value) if math.isfinite(value) else math.inf
        if not 0 < error < math.inf:
            return significant(error)
        digit = 10.0 ** (math.floor(math.log10(error)) - 1)
        return significant(math.ceil(round(error / digit, 6)) * digit)

    def noise(self, scale: NoiseScale) -> str:
        """A noise scale in examples, with its interval or its lower bound."""
        value, level, n = self.about(scale.noise_scale), self.percent(scale.level), scale.pairs
        if scale.low is not None and scale.high is not None:
            interval = self("interval", level=level, span=self.span(scale.low, scale.high, self.about))
            return self("number_with_interval", value=value, interval=interval, n=n)
        if scale.low is not None:
            return self("number_with_bound", value=value, low=self.about(scale.low), level=level, n=n)
        return self("number_alone", value=value, n=n)


def _plain(value: OptionValue) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_plain(each) for each in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def significant(value: float, digits: int = 2) -> str:
    """The number with so many significant digits, thousands separators, and no trailing zeros.

    >>> [significant(value, 3) for value in (0.1, 1234.5, 0.0000312, float("inf"))]
    ['0.1', '1,230', '3.12e-5', '∞']
    """
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 11:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _state(eigenvalue: Eigenvalue) -> str:
    """The suffix of a message key if the eigenvalue has not converged."""
    return "" if eigenvalue.converged else "_open" if eigenvalue.placed else "_unplaced"
