"""The advice of a monitor, in a sentence or two."""

from __future__ import annotations

from critbatch.records.core import Estimate
from critbatch.records.monitor import MonitorAdvice, OtherSize
from critbatch.reports.translator import Translator

FEWEST_STEPS = 8  # as `gradient_noise.FEWEST_PAIRS`
MOST_SIZES = 2


def monitor_text(advice: MonitorAdvice, language: str = "en") -> str:
    """The noise scale and the critical batch size, then what one or two other sizes would cost, then what to distrust.

    Of many sizes it tells the next larger one, or the next smaller one where none is larger.

    Raises:
        UserError: if there are no messages in `language`.
    """
    t = Translator(language)
    return t.join(_sentences(advice, t))


def _sentences(advice: MonitorAdvice, t: Translator) -> list[str]:
    if advice.batch_size is None:
        return [t.reason(advice.reason)]
    if advice.reason == "too_few_pairs":
        return [t("monitor_too_few", n=advice.noise.pairs, needed=FEWEST_STEPS)]
    told = []
    if advice.critical.low is not None:
        told.append(
            t(
                "monitor_noise",
                batch_size=t.count(advice.batch_size),
                noise=t.bounded(_estimate(advice), t.about),
                critical=t.bounded(advice.critical, t.about),
            )
        )
    told += [_size(size, advice, t) for size in _worth_telling(advice)]
    if advice.reason == "noise_not_distinguishable":
        told.append(t("monitor_no_signal", n=advice.noise.pairs))
    elif advice.reason:
        told.append(t.reason(advice.reason))
    return told


def _estimate(advice: MonitorAdvice) -> Estimate:
    noise = advice.noise
    return Estimate(value=noise.examples, n=noise.pairs, low=noise.low, high=noise.high, level=noise.level)


def _worth_telling(advice: MonitorAdvice) -> tuple[OtherSize, ...]:
    if len(advice.sizes) <= MOST_SIZES:
        return advice.sizes
    assert advice.batch_size is not None
    ordered = sorted(advice.sizes, key=lambda size: size.batch_size)
    larger = [size for size in ordered if size.batch_size > advice.batch_size]
    return tuple(larger[:1] or ordered[-1:])


def _size(size: OtherSize, advice: MonitorAdvice, t: Translator) -> str:
    assert advice.batch_size is not None
    other = t.count(size.batch_size)
    if size.batch_size == advice.batch_size:
        return t("monitor_same", other=other)
    larger = size.batch_size > advice.batch_size
    examples, sign = size.examples, 1 if larger else -1
    assert examples.low is not None and examples.high is not None
    ends = sorted((sign * (examples.low - 1), sign * (examples.high - 1)))
    return t(
        "monitor_larger" if larger else "monitor_smaller",
        other=other,
        examples=t.percent(sign * (examples.value - 1)),
        between=t.span(ends[0], ends[1], t.percent),
        steps=t.times(size.steps.value),
        steps_between=t.bounds(size.steps, t.times),
        rate=_rate(size, advice, t),
        time=_time(size, t),
    )


def _rate(size: OtherSize, advice: MonitorAdvice, t: Translator) -> str:
    rate, now = size.learning_rate, advice.learning_rate
    if rate is None or now is None:
        return ""
    return t("monitor_rate", rate=t.rate(rate.value), between=t.bounds(rate, t.rate), now=t.rate(now))


def _time(size: OtherSize, t: Translator) -> str:
    if size.seconds is None:
        return t("monitor_even", even=t.times(size.even))
    return t("monitor_time", time=t.times(size.seconds.value), between=t.bounds(size.seconds, t.times))
