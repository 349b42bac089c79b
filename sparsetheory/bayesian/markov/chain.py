"""Binary Markov chains as priors of supports: exact messages, pair marginals, samples."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from sparsetheory.constraints import COUNT, FRACTION, generator
from sparsetheory.typing import AnyArray, BoolArray, Float64Array

__all__ = [
    "ChainMessages",
    "chain_messages",
    "chain_pair_marginals",
    "check_evidence",
    "check_transitions",
    "line_pass",
    "sample_chain",
    "transition_table",
]


@dataclass(frozen=True, eq=False)
class ChainMessages:
    """What a chain says about its nodes."""

    extrinsic: AnyArray
    """Extrinsic log-odds of each node: the prior and the evidence of all others, shape (n_nodes,)."""
    probability: AnyArray
    """Posterior probabilities of being on, shape (n_nodes,)."""
    log_normaliser: float
    """Logarithm of the expected likelihood ratio under the chain."""


class LinePass(NamedTuple):
    """Messages along lines: log-odds that arrive from either side, and log normalisers."""

    forward: Float64Array
    backward: Float64Array
    log_z: Float64Array


def check_transitions(activation: Any, deactivation: Any) -> None:
    """Raise ValueError unless both probabilities are strictly between 0 and 1."""
    FRACTION.check("activation", activation)
    FRACTION.check("deactivation", deactivation)


def check_evidence(log_odds: ArrayLike, ndim: int = 1) -> Float64Array:
    """Return log-odds as a C-ordered array of doubles.

    Raises
    ------
    ValueError
        If they are not real and finite, empty, or of another dimension.
    """
    if np.iscomplexobj(log_odds):
        raise ValueError("log_odds must be real log-odds; got complex numbers")
    out = np.ascontiguousarray(log_odds, dtype=np.float64)
    if out.ndim != ndim or out.size == 0 or not np.all(np.isfinite(out)):
        raise ValueError(
            f"log_odds must hold finite log-odds in {ndim} dimension(s), at least one; got shape {out.shape}"
        )
    return out


def transition_table(activation: float, deactivation: float) -> Float64Array:
    """Return the transition probabilities, indexed by the state before and the state after, off first."""
    return np.array([[1.0 - activation, activation], [deactivation, 1.0 - deactivation]])


def initial_odds(activation: float, deactivation: float, initial: float | None) -> float:
    """Return the log-odds of the first node, which is stationary unless its probability is given."""
    if initial is None:
        return float(np.log(activation / deactivation))
    FRACTION.check("initial", initial)
    return float(logit(initial))


def line_pass(unary: Float64Array, start: float, table: Float64Array) -> LinePass:
    """Run the exact recursions on every row of a C-ordered array of log-odds."""
    from sparsetheory.numba_kernels.markov import line_messages

    out = LinePass(np.empty_like(unary), np.empty_like(unary), np.empty(unary.shape[0]))
    line_messages(unary, start, table, *out)
    return out


def chain_messages(
    log_odds: ArrayLike, *, activation: float, deactivation: float, initial: float | None = None
) -> ChainMessages:
    r"""Combine evidence about the nodes of a binary Markov chain, exactly.

    Parameters
    ----------
    log_odds : array-like of shape (n_nodes,)
        Log-odds of the evidence: log likelihood of "on" minus that of "off", node by node.
    activation, deactivation : float
        Probabilities of switching on and off, in (0, 1).
    initial : float, optional
        Probability that the first node is on; that of the stationary chain, ``activation / (activation +
        deactivation)``, by default.

    Returns
    -------
    ChainMessages
        Arrays in the precision of `log_odds`. The posterior log-odds are ``extrinsic + log_odds``. What may be sent
        back to whoever supplied `log_odds` is `extrinsic`, never the posterior, which contains `log_odds` already.

    Raises
    ------
    ValueError
        If a probability is not in (0, 1), or `log_odds` not finite or not one-dimensional.

    Notes
    -----
    O(n) time and memory, in log-odds, which neither overflow nor need clipping however strong the evidence. For
    ``activation + deactivation <= 1`` the extrinsic log-odds cannot leave
    :math:`[\mathrm{logit}\, p_{01} + \ln \tfrac{p_{10}}{1 - p_{01}},\ \mathrm{logit}(1 - p_{10}) + \ln
    \tfrac{1 - p_{10}}{p_{01}}]` (ours). Forward-backward is due to Baum, Petrie, Soules and Weiss (1970).

    Examples
    --------
    Two certain neighbours make a node without evidence likely:

    >>> from sparsetheory.bayesian import chain_messages
    >>> chain_messages([20.0, 0.0, 20.0], activation=0.02, deactivation=0.1).probability.round(3).tolist()
    [1.0, 0.998, 1.0]
    """
    check_transitions(activation, deactivation)
    values = check_evidence(log_odds)
    start = initial_odds(activation, deactivation, initial)
    lines = line_pass(values[None], start, transition_table(activation, deactivation))
    ext = (lines.forward + lines.backward)[0]
    # The factor of the first node is (1, exp(start)); its normaliser makes it a probability.
    log_z = float(lines.log_z[0] - np.logaddexp(0.0, start))
    dtype = np.float32 if getattr(log_odds, "dtype", None) == np.float32 else np.float64
    return ChainMessages(ext.astype(dtype), expit(ext + values).astype(dtype), log_z)


def chain_pair_marginals(
    log_odds: ArrayLike, *, activation: float, deactivation: float, initial: float | None = None
) -> Float64Array:
    """Return the posterior probabilities of the states of neighbours.

    Parameters
    ----------
    log_odds, activation, deactivation, initial
        As in :func:`chain_messages`.

    Returns
    -------
    ndarray of shape (n_nodes - 1, 2, 2)
        Entry ``[i, u, v]`` is the probability of state u at node i and v at node i + 1.

    Raises
    ------
    ValueError
        As in :func:`chain_messages`.

    Examples
    --------
    >>> from sparsetheory.bayesian import chain_pair_marginals
    >>> chain_pair_marginals([0.0, 0.0], activation=0.25, deactivation=0.25).round(3).tolist()
    [[[0.375, 0.125], [0.125, 0.375]]]
    """
    check_transitions(activation, deactivation)
    values = check_evidence(log_odds)
    table = transition_table(activation, deactivation)
    return pair_marginals(
        values[None], line_pass(values[None], initial_odds(activation, deactivation, initial), table), table
    )[0]


def pair_marginals(unary: Float64Array, lines: LinePass, table: Float64Array) -> Float64Array:
    """Return pair probabilities of all lines, shape (R, C - 1, 2, 2), from the messages of :func:`line_pass`."""
    left = (lines.forward + unary)[:, :-1, None, None] * np.array([[0.0], [1.0]])
    right = (lines.backward + unary)[:, 1:, None, None] * np.array([[0.0, 1.0]])
    logs = left + right + np.log(table)
    weights = np.exp(logs - logs.max(axis=(-2, -1), keepdims=True))
    return np.asarray(weights / weights.sum(axis=(-2, -1), keepdims=True))


def sample_chain(
    n_nodes: int,
    *,
    activation: float,
    deactivation: float,
    initial: float | None = None,
    n_paths: int | None = None,
    random_state: Any = None,
) -> BoolArray:
    """Draw paths of a binary Markov chain.

    Parameters
    ----------
    n_nodes : int
        Length of a path.
    activation, deactivation, initial : float
        As in :func:`chain_messages`.
    n_paths : int, optional
        Number of independent paths; one path without an axis for it by default.
    random_state : int, RandomState, Generator or None
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape (n_nodes,) or (n_paths, n_nodes)

    Raises
    ------
    ValueError
        If a probability is not in (0, 1), or a count not a positive integer.

    Notes
    -----
    Runs of "on" have mean length ``1 / deactivation``, gaps ``1 / activation``, and the correlation at distance k is
    ``(1 - activation - deactivation)^k``.

    Examples
    --------
    >>> from sparsetheory.bayesian import sample_chain
    >>> paths = sample_chain(1000, activation=0.02, deactivation=0.1, n_paths=50, random_state=0)
    >>> paths.shape, bool(abs(paths.mean() - 1 / 6) < 0.02)
    ((50, 1000), True)
    """
    from sparsetheory.numba_kernels.markov import sample_lines

    COUNT.check("n_nodes", n_nodes)
    check_transitions(activation, deactivation)
    first = float(expit(initial_odds(activation, deactivation, initial)))
    rows = 1 if n_paths is None else COUNT.check("n_paths", n_paths)
    states = np.empty((rows, n_nodes), dtype=np.bool_)
    sample_lines(generator(random_state).random((rows, n_nodes)), first, float(activation), float(deactivation), states)
    return states[0] if n_paths is None else states
