from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from critbatch.law.model import failure_probability
from critbatch.law.prior import average_noise, measured_noise, with_measured_noise
from critbatch.recipes import recipe_info
from critbatch.records.core import NoisePoint, NoiseScale, Run
from simulated_training import fit, made


def test_failures_pass_through_the_shares_that_were_measured():
    assert failure_probability(math.log(2)) == pytest.approx(0.30, abs=0.01)
    assert failure_probability(-math.log(2)) == pytest.approx(0.015, abs=0.006)
    assert 0 < failure_probability(-50.0) < failure_probability(50.0) < 1


def noisy(run: Run, *points: tuple[int, float, float]) -> Run:
    """With noise points of (step, |G|^2, tr(Sigma))."""
    return replace(
        run,
        noise=tuple(
            NoisePoint(step=step, epoch=0.0, scale=NoiseScale(gradient_norm2=signal, covariance_trace=noise))
            for step, signal, noise in points
        ),
    )


def test_the_noise_of_a_run_is_averaged_over_progress():
    run = made(50, 0.1, took=300)
    assert average_noise(noisy(run, (100, 2.0, 300.0), (300, 4.0, 600.0))) == pytest.approx(150)
    # 100 steps at B_noise = 50 bring as much progress as 50 without noise, 100 steps at 150 as much as 25.
    assert average_noise(noisy(run, (100, 1.0, 50.0), (200, 1.0, 150.0))) == pytest.approx((50 * 50 + 25 * 150) / 75)
    # Where no signal is found there is no progress, however many steps: the examples were all spent on noise.
    assert average_noise(noisy(run, (100, 1.0, 50.0), (200, -0.1, 150.0))) == pytest.approx((50 * 50 + 100 * 50) / 50)
    assert average_noise(noisy(run, (100, -0.1, 50.0))) is None
    assert average_noise(run) is None


def test_only_runs_at_the_target_tell_its_noise_scale():
    came, missed = noisy(made(50, 0.1, took=100), (100, 1.0, 80.0)), noisy(made(50, 0.1), (100, 1.0, 5.0))
    assert measured_noise([came, missed]) == pytest.approx(80)
    assert measured_noise([missed]) is None
    assert measured_noise([came, noisy(made(50, 0.2, took=90), (90, 1.0, 20.0))]) == pytest.approx(40)


def test_measured_noise_centres_the_prior():
    prior = recipe_info("adam").law_prior
    assert with_measured_noise(prior, 100.0).log_noise == (pytest.approx(math.log(170)), 0.6)
    assert with_measured_noise(prior, 100.0).exponent == prior.exponent
    assert with_measured_noise(prior, None) == prior
    quiet, loud = (fit([noisy(made(64, 0.1, took=500), (500, 1.0, noise))]) for noise in (20.0, 2000.0))
    # The rate that worked at 64 examples has a say too, as no best rate of a very large batch is likely to be near 10.
    assert np.median(loud.log_noise - quiet.log_noise) == pytest.approx(math.log(100), abs=0.5)
