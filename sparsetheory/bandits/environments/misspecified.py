"""Random sparse bandits with errors of several kinds: harmless ones, and ones made to mislead."""

from itertools import pairwise
from typing import Any

import numpy as np

from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.environments.instance import BanditInstance
from sparsetheory.constraints import COUNT, NONNEGATIVE, Choice, Integer, generator
from sparsetheory.typing import Float64Array

__all__ = ["adversarial_error", "confusing_error", "make_sparse_misspecified", "sparse_unit_vector"]

# Correlation of neighbouring features of the correlated family.
_CORRELATION = 0.9


def sparse_unit_vector(n_features: int, n_nonzero: int, rng: np.random.Generator) -> Float64Array:
    """Return a vector of length one with random places and signs, its entries within a factor of two of each other."""
    vector = np.zeros(n_features)
    places = rng.choice(n_features, n_nonzero, replace=False)
    vector[places] = rng.uniform(0.5, 1.0, n_nonzero) * rng.choice([-1.0, 1.0], n_nonzero)
    return vector / np.linalg.norm(vector)


def _features(feature: str, n: int, d: int, s: int, rng: np.random.Generator) -> Float64Array:
    if feature == "sign":
        return rng.choice([-1.0, 1.0], size=(n, d))
    if feature == "block":
        edges = np.linspace(0, d, s + 1).astype(int)
        rows = np.zeros((n, d))
        for start, stop in pairwise(edges):
            rows[np.arange(n), rng.integers(start, stop, size=n)] = s**-0.5
        return rows
    rows = rng.standard_normal((n, d))
    if feature == "corr":  # an autoregression over the features, which starts in its steady state
        rows[:, 1:] *= (1 - _CORRELATION**2) ** 0.5
        for j in range(1, d):
            rows[:, j] += _CORRELATION * rows[:, j - 1]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def adversarial_error(features: Float64Array, eps: float) -> Float64Array:
    r"""Return the error that least squares on a G-optimal design amplifies most.

    Weighted least squares predicts row a with the error :math:`\sum_c p_c \nu_c\, a^T V^{-1} c`. It is largest for
    :math:`\nu_c = eps\, sign(a^T V^{-1} c)`, at the row a for which the sum of magnitudes is largest.
    """
    design = g_optimal_design(features)
    white = features @ design.whitening
    worst = np.argmax(np.abs(white @ white[design.support].T) @ design.weights)
    return eps * np.sign(white @ white[worst])


def confusing_error(features: Float64Array, n_nonzero: int, eps: float, rng: np.random.Generator) -> Float64Array:
    r"""Return an error that looks like another sparse linear function, with twice the non-zeros.

    That function is scaled until nine tenths of its values are within `eps`, and clipped there.
    """
    rival = features @ sparse_unit_vector(features.shape[1], min(2 * n_nonzero, features.shape[1]), rng)
    scale = float(np.quantile(np.abs(rival), 0.9)) or float(np.abs(rival).max()) or 1.0
    return eps * np.clip(rival / scale, -1.0, 1.0)


def make_sparse_misspecified(
    n_actions: int,
    n_features: int,
    n_nonzero: int,
    eps: float,
    feature: str = "gauss",
    nu: str = "uniform",
    *,
    random_state: Any = None,
) -> BanditInstance:
    r"""Return a random bandit whose rewards are sparse linear up to an error of at most `eps`.

    Parameters
    ----------
    n_actions, n_features : int
        Shape of the features.
    n_nonzero : int
        Non-zeros of the coefficients, from 1 to `n_features`; their length is one.
    eps : float
        Bound of the error, at least 0.
    feature : {"gauss", "corr", "block", "sign"}
        Rows: uniform on the unit sphere; unit rows with neighbouring features correlated by 0.9; one entry
        :math:`s^{-1/2}` in each of s blocks, where s is `n_nonzero`; or entries of +1 and -1, of length
        :math:`d^{1/2}`.
    nu : {"uniform", "sign", "adversarial", "confusing"}
        Errors: uniform between -eps and eps; one of both; what least squares on a G-optimal design amplifies most; or
        what looks like another sparse function, of twice the non-zeros.
    random_state : int, Generator or None
        Seed of everything.

    Returns
    -------
    BanditInstance

    Notes
    -----
    With errors of exactly `eps` in size a regression constrained by `eps` often finds the coefficients exactly; the
    uniform and the confusing error do not help it so. Takes O(K d) time, and that of a design for the adversarial one.

    Examples
    --------
    >>> from sparsetheory.bandits import make_sparse_misspecified
    >>> instance = make_sparse_misspecified(100, 10, 2, 0.1, "corr", "adversarial", random_state=0)
    >>> instance.features().shape, int((instance.theta != 0).sum())
    ((100, 10), 2)
    """
    n, d = COUNT.check("n_actions", n_actions), COUNT.check("n_features", n_features)
    s = Integer(1, d).check("n_nonzero", n_nonzero)
    eps = NONNEGATIVE.check("eps", eps)
    Choice("gauss", "corr", "block", "sign").check("feature", feature)
    Choice("uniform", "sign", "adversarial", "confusing").check("nu", nu)
    rng = generator(random_state)
    features = _features(feature, n, d, s, rng)
    theta = sparse_unit_vector(d, s, rng)
    if nu == "adversarial":
        error = adversarial_error(features, eps)
    elif nu == "confusing":
        error = confusing_error(features, s, eps, rng)
    else:
        error = rng.uniform(-eps, eps, n) if nu == "uniform" else eps * rng.choice([-1.0, 1.0], n)
    return BanditInstance(rewards=features @ theta + error, theta=theta, eps=eps, n_nonzero=s, table=features)
