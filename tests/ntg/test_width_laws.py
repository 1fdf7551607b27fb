"""Laws in the width: the NTG of networks at their start tends to its mean at gamma = 1 alone."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras import empirical_ntg, shallow_network

pytestmark = pytest.mark.slow
X = np.random.default_rng(0).normal(size=(5, 3))


def network(width, gamma, seed):
    return shallow_network(3, width=width, gamma=gamma, alpha=0.5, seed=seed, dtype="float64")


@pytest.mark.drill
def test_error_falls_as_root_width_at_gamma_one():
    """At gamma = 1 the NTG tends to its mean, for ReLU `x . x' / d * (pi - angle) / (2 pi)`."""
    norms = np.linalg.norm(X, axis=1)
    angles = np.arccos(np.clip(X @ X.T / np.outer(norms, norms), -1.0, 1.0))
    limit = X @ X.T / 3 * (np.pi - angles) / (2.0 * np.pi)
    errors = []
    for width in (256, 4096):
        models = [network(width, 1.0, seed) for seed in range(16)]
        ntgs = [empirical_ntg(model, X, method="jacobian") for model in models]
        errors.append(np.mean([np.linalg.norm(ntg - limit) for ntg in ntgs]))
    assert errors[1] < 0.05 * np.linalg.norm(limit)
    assert 2.8 < errors[0] / errors[1] < 5.7  # sqrt(4096 / 256) = 4


def test_spread_stays_at_gamma_zero():
    """Without a symmetric part the NTG stays random, however wide the network."""
    spreads = []
    for width in (256, 4096):
        models = [network(width, 0.0, seed) for seed in range(16)]
        spreads.append(np.std([empirical_ntg(model, X) for model in models], axis=0).mean())
    assert 0.5 < spreads[1] / spreads[0] < 2.0
