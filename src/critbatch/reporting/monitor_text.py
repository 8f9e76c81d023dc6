"""The advice of a monitor, in a sentence or two."""

from __future__ import annotations

from critbatch.records.core import Estimate
from critbatch.records.monitor import MonitorAdvice, OtherSize
from critbatch.reporting.voice import Voice

FEWEST_STEPS = 8  # as `gradient_noise.FEWEST_PAIRS`
MOST_SIZES = 2


def monitor_text(advice: MonitorAdvice, language: str = "en") -> str:
    """The noise scale and the critical batch size, then what one or two other sizes would cost, then what to distrust.

    Of many sizes it tells the next larger one, or the next smaller one where none is larger.

    Raises:
        UserError: if there are no sentences in `language`.
    """
    voice = Voice(language)
    joint = " " if language == "en" else ""
    return joint.join(_sentences(advice, voice))


def _sentences(advice: MonitorAdvice, voice: Voice) -> list[str]:
    if advice.batch_size is None:
        return [voice.reason(advice.reason)]
    if advice.reason == "too_few_pairs":
        return [voice("monitor_too_few", n=advice.noise.pairs, needed=FEWEST_STEPS)]
    told = []
    if advice.critical.low is not None:
        told.append(
            voice(
                "monitor_noise",
                batch_size=voice.count(advice.batch_size),
                noise=voice.bounded(_estimate(advice), voice.about),
                critical=voice.bounded(advice.critical, voice.about),
            )
        )
    told += [_size(size, advice, voice) for size in _worth_telling(advice)]
    if advice.reason == "noise_not_distinguishable":
        told.append(voice("monitor_no_signal", n=advice.noise.pairs))
    elif advice.reason:
        told.append(voice.reason(advice.reason))
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


def _size(size: OtherSize, advice: MonitorAdvice, voice: Voice) -> str:
    assert advice.batch_size is not None
    other = voice.count(size.batch_size)
    if size.batch_size == advice.batch_size:
        return voice("monitor_same", other=other)
    larger = size.batch_size > advice.batch_size
    examples, sign = size.examples, 1 if larger else -1
    assert examples.low is not None and examples.high is not None
    ends = sorted((sign * (examples.low - 1), sign * (examples.high - 1)))
    return voice(
        "monitor_larger" if larger else "monitor_smaller",
        other=other,
        examples=voice.percent(sign * (examples.value - 1)),
        between=voice.span(ends[0], ends[1], voice.percent),
        steps=voice.times(size.steps.value),
        steps_between=voice.bounds(size.steps, voice.times),
        rate=_rate(size, advice, voice),
        time=_time(size, voice),
    )


def _rate(size: OtherSize, advice: MonitorAdvice, voice: Voice) -> str:
    rate, now = size.learning_rate, advice.learning_rate
    if rate is None or now is None:
        return ""
    return voice(
        "monitor_rate", rate=voice.rate(rate.value), between=voice.bounds(rate, voice.rate), now=voice.rate(now)
    )


def _time(size: OtherSize, voice: Voice) -> str:
    if size.seconds is None:
        return voice("monitor_even", even=voice.times(size.even))
    return voice("monitor_time", time=voice.times(size.seconds.value), between=voice.bounds(size.seconds, voice.times))
