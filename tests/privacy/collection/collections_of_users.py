"""Schemas of all kinds, records, and seeded coins, for tests of collections."""

import numpy as np

from sparsetheory.privacy import LDPSchema
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases

MECHANISMS = ("sphere_joint", "sketch", "onebit", "gauss_tight", "paper")
KINDS = [
    (mechanism, moments, intercept)
    for mechanism in MECHANISMS
    for moments in ("joint", "cross")
    for intercept in (False, True)
    if (mechanism, moments) != ("sketch", "cross")
]


def schema(mechanism="sketch", moments="joint", intercept=False, **changes):
    fields = {
        "eps": 1.9 if moments == "joint" or mechanism != "paper" else 0.9,
        "delta": 1e-6 if mechanism in ("gauss_tight", "paper") else 0.0,
        "n_features": 4,
        "clip_x": 4.0,
        "clip_entries": 3.0,
        "clip_y": 3.0,
        "public_seed": 5 + (9 << 70),
        "response_weight": 0.8,
    }
    return LDPSchema(mechanism=mechanism, moments=moments, fit_intercept=intercept, **{**fields, **changes})


def seeded(seed):
    rng = np.random.default_rng(seed)
    return lambda count: rng.integers(0, 2**64, count, dtype=np.uint64)


def records(n, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.choice([0.5, 1.0, 4.0], (n, 1))
    return X, X @ np.linspace(1, -1, d) + rng.standard_normal(n) + 0.3


def random_messages(there, n, seed=0):
    """Messages that any client may send, without records."""
    rng = np.random.default_rng(seed)
    if there.delta:
        largest = min(release.largest for release in gaussian_releases(there))
        contents = rng.integers(-largest, largest, (n, there.n_products), endpoint=True).astype(np.int32)
    else:
        contents = rng.choice(np.array([-1, 1], dtype=np.int8), n)
    users = rng.integers(0, 2**64, n, dtype=np.uint64)
    return contents, users
