"""Advice of a monitor: on which it can be trusted, and where something is missing."""

from __future__ import annotations

from dataclasses import replace

from critbatch.monitor_records import MonitorAdvice

from critbatch.predict.other_sizes import advise_from_noise
from critbatch.predict.step_curve import step_curve
from critbatch.records import NoiseScale

NOISE = NoiseScale(gradient_norm2=1.0, covariance_trace=400.0, pairs=100, low=350.0, high=460.0)
WITHOUT_SIGNAL = NoiseScale(
    gradient_norm2=-1.0, covariance_trace=400.0, pairs=20, low=350.0, reason="noise_not_distinguishable"
)
WITHOUT_STEPS = NoiseScale(gradient_norm2=0.0, covariance_trace=0.0, pairs=0, reason="too_few_pairs")


def advice() -> MonitorAdvice:
    """Everything is known: the optimizer, its learning rate, the seconds of steps."""
    return advise_from_noise(
        NOISE,
        batch_size=64,
        others=(128, 32),
        steps=9,
        optimizer="sgd",
        learning_rate=0.1,
        step_seconds=step_curve({64: 0.01, 128: 0.015}),
    )


ADVICE: dict[str, MonitorAdvice] = {
    "monitor advice": advice(),
    "monitor advice with sizes of its own": advise_from_noise(NOISE, batch_size=64, steps=9),
    "monitor advice for another optimizer": replace(advice(), optimizer="Adagrad"),
    "monitor advice before the first step": advise_from_noise(WITHOUT_STEPS, batch_size=None, steps=0),
    "monitor advice after too few steps": advise_from_noise(
        replace(WITHOUT_STEPS, pairs=7, gradient_norm2=0.1, covariance_trace=3.0), batch_size=32, steps=7
    ),
    "monitor advice without a signal": advise_from_noise(WITHOUT_SIGNAL, batch_size=32, steps=20),
    "monitor advice with batch norm": advise_from_noise(
        replace(NOISE, reason="batch_norm_in_train_mode"), batch_size=64, steps=9
    ),
}
