"""Plain NumPy randomizers, written apart from the package: correct ones, from which tests make broken ones.

Each `encode(v, n, rng)` returns n messages for one input.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
from scipy.special import expit, gammaln


def keep_bits(n, rng, eps):
    """Return 1 with probability e^eps / (1 + e^eps), and -1 otherwise."""
    return np.where(rng.random(n) < expit(eps), 1, -1)


def sphere(radius, eps):
    """Return the sphere mechanism for the ball of a radius: a direction with a random sign."""

    def encode(v, n, rng):
        v = np.asarray(v, float)
        length = len(v)
        scale = radius / math.tanh(eps / 2) * math.sqrt(math.pi)
        scale *= math.exp(gammaln((length + 1) / 2) - gammaln(length / 2))
        directions = rng.standard_normal((n, length))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        turns = np.where(rng.random(n) < 0.5 + np.linalg.norm(v) / (2 * radius), 1, -1)
        signs = turns * np.where(directions @ v >= 0, 1, -1) * keep_bits(n, rng, eps)
        return scale * signs[:, None] * directions

    return encode


def one_bit(radius, eps):
    """Return coordinate sampling on the cube: a coordinate at random, which is public, and one bit."""

    def encode(v, n, rng):
        v = np.asarray(v, float)
        chosen = rng.integers(len(v), size=n)
        signs = np.where(rng.random(n) < 0.5 + math.tanh(eps / 2) * v[chosen] / (2 * radius), 1, -1)
        return np.stack([chosen, signs], axis=1).astype(np.int8)

    return encode


def sketch(g, h, radius, eps):
    """Return the bit of the rank-one moment sketch for one public pair of directions."""

    def encode(z, n, rng):
        z = np.asarray(z, float)
        sign = 1 if (g @ z) * (h @ z) >= 0 else -1
        share = math.tanh(eps / 2) * (z @ z) / radius**2
        return np.where(rng.random(n) < 0.5 + share / 2, sign, -sign).astype(np.int8)

    return encode


def corners(d):
    return np.array(list(itertools.product((1, -1), repeat=d)))


def cube_table(d, ratio, ties_in_both=False):
    """Return exact probabilities of the hypercube mechanism, corners x corners, for a rational e^eps.

    A corner z gets weight e^eps if <z, v> > 0 and 1 otherwise. The mutant draws from {<z, v> >= 0} with probability
    e^eps / (1 + e^eps) and from {<z, v> <= 0} otherwise, so that ties belong to both sets.
    """
    products = corners(d) @ corners(d).T
    if not ties_in_both:
        weights = [[ratio if product > 0 else Fraction(1) for product in row] for row in products]
        return [[weight / sum(row) for weight in row] for row in weights]
    high, low = ratio / (1 + ratio), 1 / (1 + ratio)
    n_high, n_low = int((products[0] >= 0).sum()), int((products[0] <= 0).sum())
    return [[high / n_high * int(p >= 0) + low / n_low * int(p <= 0) for p in row] for row in products]


def cube(d, eps):
    """Return the hypercube mechanism at corners; a message is the number of a corner."""
    products = corners(d) @ corners(d).T
    weights = np.where(products > 0, math.exp(eps), 1.0)
    steps = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)

    def encode(number, n, rng):
        return np.minimum(np.searchsorted(steps[number], rng.random(n)), 2**d - 1)

    return encode


def clip(x, radius):
    return x * min(1.0, radius / np.linalg.norm(x))


def moments(x):
    """Return the upper triangle of x x^T, off-diagonal entries times sqrt(2): its norm is that of Frobenius."""
    rows, columns = np.triu_indices(len(x))
    return np.outer(x, x)[rows, columns] * np.where(rows == columns, 1.0, math.sqrt(2))


def gaussian(signal, noise_std):
    """Return a sampler of a vector plus normal noise; one standard deviation, or one per entry."""
    signal = np.atleast_1d(np.asarray(signal, float))
    return lambda n, rng: signal + noise_std * rng.standard_normal((n, len(signal)))
