"""Enumeration of binary chains and grids, and small problems for Turbo-VBI."""

import itertools

import numpy as np
from scipy.special import logsumexp

from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior


def all_states(*shape):
    """All binary arrays of a shape."""
    return np.array(list(itertools.product([0, 1], repeat=int(np.prod(shape))))).reshape(-1, *shape)


def chain_log_weights(p01, p10, p_init, n):
    """States and log probabilities of a chain."""
    states = all_states(n)
    table = np.log([[1 - p01, p01], [p10, 1 - p10]])
    first = np.log(np.where(states[:, 0], p_init, 1 - p_init))
    return states, first + table[states[:, :-1], states[:, 1:]].sum(axis=1)


def grid_log_weights(row_table, col_table, shape):
    """States and log weights of a grid without evidence."""
    states = all_states(*shape)
    rows, cols = np.log(row_table), np.log(col_table)
    weights = rows[states[:, :, :-1], states[:, :, 1:]].sum(axis=(1, 2))
    return states, weights + cols[states[:, :-1], states[:, 1:]].sum(axis=(1, 2))


def marginals(states, log_weights, ell):
    """Exact marginals and log normaliser with evidence."""
    total = log_weights + np.tensordot(states, ell, axes=np.ndim(ell))
    log_z = logsumexp(total)
    return np.tensordot(np.exp(total - log_z), states, axes=1), log_z


def draw_problem(rng, m, n, n_snapshots=1, complex_data=False):
    """A random problem without structure."""
    F, Y = rng.standard_normal((m, n)), rng.standard_normal((m, n_snapshots))
    if complex_data:
        F, Y = F + 1j * rng.standard_normal((m, n)), Y + 1j * rng.standard_normal((m, n_snapshots))
    return TurboProblem(np.asfortranarray(F), np.asfortranarray(Y), float(m), np.arange(n), n)


def draw_model(problem, rng, factorisation, noise):
    """Random hyper-parameters over some decades, the off state with the larger precision."""
    a, a_off, b, c, d = np.exp(rng.uniform(-2, 2, 5))
    prior = SparsePrior(
        on_shape=a,
        on_rate=b,
        off_shape=a_off,
        off_rate_ratio=a_off / a * 10 ** rng.uniform(-6, -0.5),
        noise_shape=c,
        noise_rate=d,
    )
    return prior.model(problem, 0.2, noise_variance=noise, factorisation=factorisation)
