"""Posteriors of supports in plain probabilities, for checks of certificates: no kernel, and no log-odds."""

import numpy as np

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior, RowsPrior
from sparsetheory.typing import Float64Array

__all__ = ["plain_posterior"]


def plain_posterior(prior: SupportPrior, log_odds: Float64Array, previous: Float64Array) -> Float64Array:
    """Return the probabilities of being on, given evidence.

    Parameters
    ----------
    prior : SupportPrior
        Prior of the support.
    log_odds : ndarray of shape (N,)
        Log-odds of the evidence.
    previous : ndarray of shape (N,)
        Probabilities from which rows that see each other in the mean start.

    Returns
    -------
    ndarray of shape (N,)

    Notes
    -----
    Chains are exact. A grid is iterated by the schedule of the prior.
    """
    if isinstance(prior, IndependentPrior):
        odds = np.exp(np.clip(-log_odds, -700.0, 700.0)) * (1.0 - prior.density) / prior.density
        return 1.0 / (1.0 + odds)
    if isinstance(prior, ChainPrior):
        table = np.array([[1.0 - prior.activation, prior.activation], [prior.deactivation, 1.0 - prior.deactivation]])
        first = prior.density if prior.initial is None else prior.initial
        nodes = _nodes(log_odds.reshape(prior.shape))
        nodes[:, 0] *= [1.0 - first, first]
        return _beliefs(nodes, *_messages(nodes, table)).reshape(-1)
    if isinstance(prior, RowsPrior):
        return _rows_in_the_mean(prior, log_odds.reshape(prior.shape), previous.reshape(prior.shape)).reshape(-1)
    if isinstance(prior, GridPrior):
        return _loopy(prior, log_odds.reshape(prior.shape)).reshape(-1)
    raise TypeError(f"no plain posterior for {type(prior).__name__}")


def _nodes(log_odds: Float64Array) -> Float64Array:
    """Return weights of both states of nodes, the larger one of them one."""
    return np.stack([np.exp(np.minimum(-log_odds, 0.0)), np.exp(np.minimum(log_odds, 0.0))], axis=-1)


def _normalised(weights: Float64Array) -> Float64Array:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _messages(nodes: Float64Array, table: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return normalised messages from the left and from the right along rows, shape (R, C, 2)."""
    left, right = np.full_like(nodes, 0.5), np.full_like(nodes, 0.5)
    for i in range(1, nodes.shape[1]):
        left[:, i] = _normalised((left[:, i - 1] * nodes[:, i - 1]) @ table)
    for i in range(nodes.shape[1] - 2, -1, -1):
        right[:, i] = _normalised((right[:, i + 1] * nodes[:, i + 1]) @ table.T)
    return left, right


def _beliefs(nodes: Float64Array, left: Float64Array, right: Float64Array) -> Float64Array:
    """Return marginal probabilities of being on."""
    return _normalised(_normalised(nodes * left) * right)[..., 1]


def _pooled(prior: GridPrior | RowsPrior) -> tuple[Float64Array, Float64Array]:
    """Return the table of neighbours, and the weights that first nodes of rows and columns have."""
    table = np.sqrt(
        np.array([[1.0 - prior.activation, prior.activation], [prior.deactivation, 1.0 - prior.deactivation]])
    )
    first = np.sqrt(np.array([1.0 - prior.density, prior.density]))
    starts = np.ones((*prior.shape, 2))
    starts[:, 0] *= first
    starts[0] *= first
    return table, starts


def _loopy(prior: GridPrior, log_odds: Float64Array) -> Float64Array:
    """Iterate exact rows given what columns say, and exact columns given what rows say."""
    table, starts = _pooled(prior)
    nodes = _nodes(log_odds) * starts
    across = down = np.ones_like(nodes)
    for step in range(prior.max_iter):
        keep = prior.damping if step else 0.0
        left, right = _messages(_normalised(nodes * down), table)
        said = _normalised(left * right)
        change = np.abs(_odds(said) - _odds(across)).max()
        across = _mixed(across, said, keep)
        up, low = (m.swapaxes(0, 1) for m in _messages(_normalised(nodes * across).swapaxes(0, 1), table))
        told = _normalised(up * low)
        change = max(change, np.abs(_odds(told) - _odds(down)).max())
        down = _mixed(down, told, keep)
        if change <= prior.tol:
            break
    return _normalised(_normalised(nodes * said) * told)[..., 1]


def _odds(weights: Float64Array) -> Float64Array:
    return np.asarray(np.log(weights[..., 1] / weights[..., 0]))


def _mixed(old: Float64Array, new: Float64Array, keep: float) -> Float64Array:
    """Return the geometric mean of messages."""
    return _normalised(old**keep * new ** (1.0 - keep))


def _rows_in_the_mean(prior: RowsPrior, log_odds: Float64Array, previous: Float64Array) -> Float64Array:
    """Sweep over the rows, each an exact chain in the mean field of its neighbours."""
    table, starts = _pooled(prior)
    post, logs = previous.copy(), np.log(table)
    for _ in range(prior.max_iter):
        before = post.copy()
        for r in range(post.shape[0]):
            field = np.zeros(post.shape[1])
            for neighbour, weights in ((r - 1, logs), (r + 1, logs.T)):
                if 0 <= neighbour < post.shape[0]:
                    on = np.stack([1.0 - post[neighbour], post[neighbour]], axis=1)
                    field += on @ (weights[:, 1] - weights[:, 0])
            nodes = (_nodes(log_odds[r] + field) * starts[r])[None]
            post[r] = _beliefs(nodes, *_messages(nodes, table))[0]
        if np.abs(post - before).max() <= prior.tol:
            break
    return post
