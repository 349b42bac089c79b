"""The randomizers and the client of this package under the audit that users aim at theirs."""

import math
from functools import partial

import numpy as np
import pytest

from sparsetheory.privacy import (
    LDPClient,
    audit_gdp,
    audit_pure,
    client_sampler,
    cube_encode,
    gaussian_mu,
    low_bit_leak,
    onebit_encode,
    sketch_encode,
    sphere_decode,
    sphere_encode,
)


def _words(rng):
    return lambda count: rng.integers(2**64, size=count, dtype=np.uint64)


def _for_one_user(encoder):
    """Return a randomizer of blocks as that of one user, whose public direction stays."""

    def encode(v, n, rng):
        return encoder(np.tile(v, (n, 1)), 1.0, 1.0, user_ids=np.full(n, 3, dtype=np.uint64), coin=_words(rng))

    return encode


def _corner(v, n, rng):
    return cube_encode(np.tile(v, (n, 1)), 1.0, 1.0, coin=_words(rng))


def _whole_message(v, n, rng):
    """Return messages of users with directions of their own, which are part of the message."""
    users = rng.integers(2**63, size=n, dtype=np.uint64)
    signs = sphere_encode(np.tile(v, (n, 1)), 1.0, 1.0, user_ids=users, coin=_words(rng))
    return sphere_decode(signs, len(v), 1.0, 1.0, user_ids=users)


E = np.eye(3)
RANDOMIZERS = {
    "sphere": (_for_one_user(sphere_encode), [E[0], -E[0], 50 * E[0], 0 * E[0]]),
    "one bit": (_for_one_user(onebit_encode), [np.ones(3), -np.ones(3), [0.5, -9.0, 0.1]]),
    "sketch": (_for_one_user(sketch_encode), [*E, [0.6, -0.8, 0.0], [0.6, 0.8, 0.0]]),
    "cube, odd": (_corner, [[1, 1, 1], [-1, -1, -1], [1, 1, -1], [0, 0, 0]]),
    "cube, even": (_corner, [[1, 1], [-1, 1], [-1, -1], [0.0, 0.3]]),
    "sphere, decoded": (_whole_message, [E[0], -E[0]]),
}


@pytest.mark.parametrize("name", RANDOMIZERS)
def test_the_randomizers_spend_what_they_promise(name):
    encode, inputs = RANDOMIZERS[name]
    audit = audit_pure(encode, inputs, eps=1.0, n_samples=20_000, random_state=1)
    assert not audit.violated, str(audit)
    assert audit.eps_lower > 0.8


def test_corners_too_many_to_be_counted_one_by_one_are_projected():
    """With 4096 corners most are seen once or twice; their number among positive products is seen often."""
    audit = audit_pure(_corner, [np.ones(12), -np.ones(12)], eps=1.0, n_samples=10_000, random_state=0)
    assert not audit.violated
    assert audit.eps_lower > 0.7
    assert "projection" in audit.event


RECORDS = [([1.0, 1.0], 1.0), ([-1.0, 1.0], 1.0), ([1.0, -1.0], -1.0), ([90.0, 2.0], -9.0), ([0.0, 0.0], 0.0)]


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit"])
def test_the_client_as_shipped_spends_what_it_promises(mechanism):
    client = LDPClient(mechanism, eps=2.0, n_features=2, clip_x=1.0, clip_y=1.0, public_seed=7)
    options = {"n_samples": 1000, "random_state": 0}
    audit = audit_pure(client_sampler(client, user_id=5, simulation=True), RECORDS, eps=2.0, **options)
    assert not audit.violated, str(audit)
    assert audit.eps_lower > 0.25
    # The same client under a smaller promise: the audit can fail.
    if mechanism != "onebit":
        worst = [RECORDS[i] for i in audit.pair]
        encode = client_sampler(client, user_id=5, simulation=True)
        assert audit_pure(encode, worst, eps=0.5, n_samples=2000, random_state=1).violated


def test_the_secret_coin_of_the_operating_system_is_audited():
    client = LDPClient("sketch", eps=1.0, n_features=2, clip_x=1.0, clip_y=1.0, public_seed=7)
    first, second = (client_sampler(client)(RECORDS[0], 200, np.random.default_rng(0)) for _ in range(2))
    assert not np.array_equal(first, second)
    simulated = client_sampler(client, simulation=True)
    assert np.array_equal(*(simulated(RECORDS[0], 50, np.random.default_rng(0)) for _ in range(2)))


def test_the_gaussian_client_is_as_private_as_it_says_at_its_worst_pair():
    """With weight w of the response the worst cosine is w^2 / 2: here 1/4, with opposite responses."""
    client = LDPClient(
        "gauss_tight", eps=4.0, delta=1e-3, n_features=2, clip_x=1.0, clip_y=1.0, public_seed=7,
        response_weight=math.sqrt(0.5),
    )  # fmt: skip
    encode = client_sampler(client, simulation=True)
    samplers = [partial(encode, ([1.0, 0.0], 1.0)), partial(encode, ([0.25, math.sqrt(15) / 4], -1.0))]
    mu = gaussian_mu(4.0, 1e-3)
    audit = audit_gdp(*samplers, mu, n_samples=4000, random_state=0)
    assert not audit.violated
    # Half of the draws choose the statistic; what is expected of the rest is the statement of power.
    assert audit.mu_lower > 0.85 * audit.expected_mu_lower
    assert audit_gdp(*samplers, 0.6 * mu, n_samples=4000, random_state=1).violated
    assert not low_bit_leak(*samplers, n_samples=1000, delta=1e-3, random_state=0).leak
