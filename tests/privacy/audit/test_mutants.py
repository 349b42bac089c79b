"""Broken randomizers are caught, each beside the correct one it was made from: a table, and how its rows are audited.

Every row is one mistake that was made in some implementation, or nearly. `promise` is what both claim.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from privacy.audit.reference_randomizers import (
    clip,
    corners,
    cube_table,
    gaussian,
    keep_bits,
    moments,
    one_bit,
    sketch,
    sphere,
)
from scipy.special import expit

from sparsetheory.privacy import BudgetExceededError, PrivacyLedger, audit_channel, audit_gdp, audit_pure

EPS, MU, RADIUS, BOUND = 1.0, 0.27, 2.0, 3.0
E = RADIUS * np.eye(5)
G, H = np.array([[1.0, 0.3], [0.8, -0.4]])


def _laplace(noise_scale, clip_first):
    """Return a number clipped to [-1, 1] plus Laplace noise, or the sum clipped."""

    def encode(x, n, rng):
        noise = rng.laplace(scale=noise_scale, size=n)
        return np.clip(x, -1, 1) + noise if clip_first else np.clip(x + noise, -1, 1)

    return encode


def _twice(eps):
    """Return the messages of a user who answers in two rounds."""
    return lambda bit, n, rng: np.stack([bit * keep_bits(n, rng, eps) for _ in range(2)], axis=1)


def _scaled_bit(scale_of):
    """Return one bit times the bound to which the input was clipped; the bound is part of the message."""

    def encode(x, n, rng):
        scale = scale_of(x)
        share = math.tanh(EPS / 2) * np.clip(x / scale, -1, 1)
        return scale * np.where(rng.random(n) < 0.5 + share / 2, 1.0, -1.0)

    return encode


def _seeded(coin_is_secret):
    """Return what a reader makes of the bits of users whose generators have public seeds.

    A device draws a direction and a coin, and sends the sign of <direction, v>, turned if the coin says so. The reader
    draws both again from the public seed and turns the sign back. That gives v away, unless the coin came from
    elsewhere.
    """

    def encode(v, n, rng):
        read = np.empty((n, 1), dtype=np.int8)
        for user, seed in enumerate(rng.integers(2**63, size=n)):
            device, reader = np.random.default_rng(seed), np.random.default_rng(seed)
            direction = device.standard_normal(len(v))
            coin = (rng if coin_is_secret else device).random()
            sent = (1 if direction @ v >= 0 else -1) * (1 if coin < expit(EPS) else -1)
            first = reader.standard_normal(len(v))[0]
            read[user] = sent * (1 if first >= 0 else -1) * (1 if reader.random() < expit(EPS) else -1)
        return read

    return encode


def _shared_noise(same):
    """Return the message of a user whose number is sought, beside that of one whose number is known to be 0."""

    def at(x):
        def sampler(n, rng):
            noise = rng.standard_normal((n, 2)) * 2 * BOUND / MU
            return np.array([x, 0.0]) + (noise[:, [0, 0]] if same else noise)

        return sampler

    return at


def _upper(x, noise_std):
    return gaussian(moments(x), noise_std)


def _whole(x, noise_std):
    """Return the whole symmetric matrix with independent noise on both triangles."""
    return gaussian(np.outer(x, x).ravel(), noise_std)


# Second moments of vectors of norm RADIUS differ by sqrt(2) RADIUS^2 at most, and orthogonal ones attain it.
MOMENT_STD = math.sqrt(2) * RADIUS**2 / MU
DIAGONAL = np.array([1.0, 0.0, 1.0])  # entries (0,0), (0,1), (1,1) of the upper triangle
X, X_ORTHOGONAL = E[0][:2], E[1][:2]
# These differ in the off-diagonal entry alone.
X_PLUS, X_MINUS = (RADIUS / math.sqrt(2) * np.array([1.0, sign]) for sign in (1, -1))


@dataclass(frozen=True)
class Pure:
    """A row for eps: two encoders and the inputs to tell apart."""

    name: str
    correct: Callable[..., Any]
    broken: Callable[..., Any]
    inputs: Any
    n_samples: int = 20_000

    def audits(self):
        return [
            audit_pure(encode, self.inputs, eps=EPS, n_samples=self.n_samples, random_state=0)
            for encode in (self.correct, self.broken)
        ]


@dataclass(frozen=True)
class Gaussian:
    """A row for mu: for the correct and the broken mechanism a sampler of each of two inputs."""

    name: str
    correct: tuple[Callable[..., Any], Callable[..., Any]]
    broken: tuple[Callable[..., Any], Callable[..., Any]]
    n_samples: int = 100_000

    def audits(self):
        return [
            audit_gdp(*samplers, MU, n_samples=self.n_samples, random_state=0)
            for samplers in (self.correct, self.broken)
        ]


MUTANTS = [
    Pure("probability of keeping for 1.5 eps", sphere(RADIUS, EPS), sphere(RADIUS, 1.5 * EPS), [E[0], -E[0]]),
    Pure("one bit for 1.5 eps", one_bit(1.0, EPS), one_bit(1.0, 1.5 * EPS), [[1, 1], [-1, 1]], 40_000),
    Pure("sketch for 1.5 eps", sketch(G, H, 1, EPS), sketch(G, H, 1, 1.5 * EPS), [[1, 0], [0, 1]]),
    Pure("noise added before the clip", _laplace(2 / EPS, True), _laplace(2 / EPS, False), [-40.0, 0.0, 40.0]),
    Pure("no clip", _laplace(2 / EPS, True), lambda x, n, rng: x + rng.laplace(scale=2 / EPS, size=n), [-2.0, 2.0]),
    Pure("a user in two rounds", _twice(EPS / 2), _twice(EPS), [-1, 1]),
    Pure("clip at the largest value seen", _scaled_bit(lambda x: 3), _scaled_bit(lambda x: max(x, 1)), [0.5, 3]),
    Pure("coin from the generator of the public seed", _seeded(True), _seeded(False), [E[0][:2], -E[0][:2]], 2000),
    Gaussian(
        "noise over sqrt(2)",
        (gaussian(1.0, 1 / MU), gaussian(0.0, 1 / MU)),
        (gaussian(1.0, 1 / MU / math.sqrt(2)), gaussian(0.0, 1 / MU / math.sqrt(2))),
    ),
    Gaussian(
        "sensitivity r^2 of second moments",
        (_upper(X, MOMENT_STD), _upper(X_ORTHOGONAL, MOMENT_STD)),
        (_upper(X, RADIUS**2 / MU), _upper(X_ORTHOGONAL, RADIUS**2 / MU)),
    ),
    Gaussian(
        "no clip before Gaussian noise",
        (gaussian(clip(2 * E[0], RADIUS), 2 * RADIUS / MU), gaussian(clip(-2 * E[0], RADIUS), 2 * RADIUS / MU)),
        (gaussian(2 * E[0], 2 * RADIUS / MU), gaussian(-2 * E[0], 2 * RADIUS / MU)),
    ),
    Gaussian(
        "no noise on the diagonal",
        (_upper(X, MOMENT_STD), _upper(X_ORTHOGONAL, MOMENT_STD)),
        (_upper(X, MOMENT_STD * (1 - DIAGONAL)), _upper(X_ORTHOGONAL, MOMENT_STD * (1 - DIAGONAL))),
    ),
    Gaussian(
        "mirrored triangle with noise of its own",
        (_upper(X_PLUS, MOMENT_STD), _upper(X_MINUS, MOMENT_STD)),
        # Off-diagonal entries without their factor sqrt(2) have noise smaller by it, but once and not twice.
        (_whole(X_PLUS, MOMENT_STD / math.sqrt(2)), _whole(X_MINUS, MOMENT_STD / math.sqrt(2))),
    ),
    Gaussian(
        "one seed for all users",
        (_shared_noise(False)(BOUND), _shared_noise(False)(-BOUND)),
        (_shared_noise(True)(BOUND), _shared_noise(True)(-BOUND)),
        4000,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_is_caught_and_the_correct_one_is_not(mutant):
    correct, broken = mutant.audits()
    assert not correct.violated, str(correct)
    assert broken.violated, str(broken)


def test_an_input_far_beyond_the_radius_costs_the_sphere_mechanism_no_privacy():
    """A missed clip biases it and nothing else: the coin that keeps the sign is the same for every input."""
    audit = audit_pure(sphere(RADIUS, EPS), [50 * E[0], -50 * E[0]], eps=EPS, n_samples=100_000, random_state=0)
    assert not audit.violated
    assert audit.eps_lower > 0.93


def test_two_rounds_spend_what_the_ledger_counts():
    """The second message is refused under the budget of one; under that of two the audit agrees with the total."""
    with PrivacyLedger(":memory:", eps=EPS) as ledger:
        ledger.charge("ann", eps=EPS, campaign="first")
        with pytest.raises(BudgetExceededError):
            ledger.charge("ann", eps=EPS, campaign="second")
    with PrivacyLedger(":memory:", eps=2 * EPS) as ledger:
        for campaign in ("first", "second"):
            ledger.charge("ann", eps=EPS, campaign=campaign)
        total = ledger.total("ann")
    audit = audit_pure(_twice(EPS), [-1, 1], eps=total, n_samples=40_000, random_state=0)
    assert not audit.violated
    assert total - 0.25 < audit.eps_lower


@pytest.mark.parametrize("d", [2, 4, 6])
def test_ties_in_both_halves_of_the_cube_are_seen_by_all_pairs_only(d):
    """Where <z, v> = 0 is possible, the mutant spends ln(1 + e^eps); opposite corners do not show it."""
    ratio = Fraction(5, 2)
    assert audit_channel(cube_table(d, ratio)).ratio == ratio
    table = cube_table(d, ratio, ties_in_both=True)
    assert audit_channel(table).ratio == 1 + ratio
    for number, corner in enumerate(corners(d)):
        opposite = int(np.flatnonzero((corners(d) == -corner).all(axis=1))[0])
        assert audit_channel([table[number], table[opposite]]).ratio == ratio


@pytest.mark.parametrize("d", [1, 3, 5])
def test_without_ties_both_constructions_of_the_cube_agree(d):
    ratio = Fraction(3, 2)
    assert cube_table(d, ratio) == cube_table(d, ratio, ties_in_both=True)
    assert audit_channel(cube_table(d, ratio)).ratio == ratio


def _joint(x, y, noise_std, noise_std_cross):
    """Return samplers of a joint release of second moments and cross moments with Gaussian noise."""
    signal = np.concatenate([moments(x), y * x])
    return gaussian(signal, np.repeat([noise_std, noise_std_cross], [len(moments(x)), len(x)]))


def test_a_joint_release_is_worst_at_an_angle():
    """With a = 2 r^4 / s^2 = 4 r^2 b^2 / t^2, an angle of cosine 1/4 and opposite responses cost mu = 1.25 sqrt(a).

    Parallel or orthogonal records cost sqrt(a) and sqrt(1.5 a). Noise that was set by the larger of the two messages
    promises sqrt(a).
    """
    promised = 0.5
    noise_std, noise_std_cross = math.sqrt(2) * RADIUS**2 / promised, 2 * RADIUS * BOUND / promised
    x, other = RADIUS * np.array([1.0, 0.0]), RADIUS * np.array([0.25, math.sqrt(15) / 4])
    samplers = [_joint(x, BOUND, noise_std, noise_std_cross), _joint(other, -BOUND, noise_std, noise_std_cross)]
    kept = audit_gdp(*samplers, 1.25 * promised, n_samples=100_000, random_state=0)
    assert not kept.violated
    assert kept.mu_lower > 1.25 * promised - 0.07
    assert audit_gdp(*samplers, promised, n_samples=100_000, random_state=0).violated
