"""The compiled parts of an iteration, against their definitions in NumPy."""

from functools import reduce

import numpy as np
import pytest

from sparsetheory.numba_kernels.kronecker import product_ratios, warmup, weigh_spectrum


def _starts(sizes):
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@pytest.mark.parametrize("sizes", [(4,), (3, 5), (1, 4, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("parts", [1, 6])
def test_spectrum(rng, sizes, parts):
    values = [rng.uniform(0, 3, n) for n in sizes]
    rotated = rng.standard_normal((int(np.prod(sizes)), parts))
    weights, sums = np.empty(rotated.shape[0]), np.empty(5)
    P = reduce(np.multiply.outer, values).ravel()
    D, energy = 1 / (0.3 + P), (rotated**2).sum(axis=1) / parts
    expected = [np.log(0.3 + P).sum(), energy @ D, energy @ D**2, P @ D, D.sum()]
    divided = rotated * D[:, None]
    weigh_spectrum(np.concatenate(values), _starts(sizes), 0.3, rotated, 1 / parts, weights, sums)
    np.testing.assert_allclose(weights, D)
    np.testing.assert_allclose(rotated, divided)
    np.testing.assert_allclose(sums, expected, rtol=1e-12)


def _ratios(q, power, factors):
    """One mode after the other: the root of a quotient of sums over the others, with the newest ratios."""
    G, tau = reduce(np.multiply.outer, factors), np.ones(q.shape)
    new = []
    for k, gamma in enumerate(factors):
        axes = tuple(j for j in range(q.ndim) if j != k)
        a, b = (G * q * tau).sum(axis=axes), (G * power / tau).sum(axis=axes)
        t = np.sqrt(b / a)
        tau = tau * t.reshape([-1 if j == k else 1 for j in range(q.ndim)])
        new.append(gamma * t)
    return new


@pytest.mark.parametrize("sizes", [(4,), (3, 5), (1, 4, 2), (2, 3, 2, 4)])
def test_ratios(rng, sizes):
    q, power = rng.uniform(0.1, 1, sizes), rng.uniform(0.1, 1, sizes)
    factors = [rng.uniform(0.1, 2, n) for n in sizes]
    updated = np.empty(sum(sizes))
    product_ratios(q.ravel(), power.ravel(), np.concatenate(factors), _starts(sizes), updated)
    np.testing.assert_allclose(updated, np.concatenate(_ratios(q, power, factors)), rtol=1e-12)


def test_nothing_over_nothing_is_nothing():
    """A slice without power dies; a factor of zero stays zero and leaves the others alone."""
    q, power = np.ones((3, 2)), np.ones((3, 2))
    power[0] = 0.0
    updated = np.empty(5)
    product_ratios(q.ravel(), power.ravel(), np.array([1.0, 0.0, 4.0, 1.0, 1.0]), _starts((3, 2)), updated)
    np.testing.assert_array_equal(updated, [0.0, 0.0, 4.0, 1.0, 1.0])


def test_warmup_compiles():
    warmup()
    assert product_ratios.signatures
    assert weigh_spectrum.signatures
