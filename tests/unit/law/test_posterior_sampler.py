from __future__ import annotations

import numpy as np
import pytest

from critbatch.law.posterior import sample_posterior


def test_the_sampler_gives_a_normal_posterior_its_closed_form():
    # Prior N(0, 1), one observation of each coordinate with its own error: mean and variance are known.
    seen, error = np.array([3.0, -1.0, 0.5]), np.array([0.1, 1.0, 3.0])
    z = sample_posterior(
        lambda z: -np.square((z - seen) / error).sum(1) / 2,
        dimensions=3,
        draws=8000,
        generator=np.random.default_rng(1),
    )
    variance = 1 / (1 + 1 / error**2)
    # Four standard errors of independent draws.
    assert np.abs((z.mean(0) - variance * seen / error**2) / np.sqrt(variance / 8000)).max() < 4
    assert z.var(0) == pytest.approx(variance, rel=0.06)


def test_the_sampler_finds_both_of_two_hills():
    z = sample_posterior(
        lambda z: np.logaddexp(-np.square((z - 1.5) / 0.1).sum(1) / 2, -np.square((z + 1.5) / 0.1).sum(1) / 2),
        dimensions=2,
        draws=4000,
        generator=np.random.default_rng(0),
    )
    assert 0.35 < (z.sum(1) > 0).mean() < 0.65
    # Four standard errors of independent draws.
    assert np.abs(np.abs(z) - 1.5).max() < 0.6
