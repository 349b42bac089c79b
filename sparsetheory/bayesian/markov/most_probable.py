"""The most probable path of a binary Markov chain, given evidence about its nodes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.markov.chain import check_evidence, check_transitions, initial_odds, transition_table
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["MostProbablePath", "best_paths", "most_probable_chain"]


@dataclass(frozen=True, eq=False)
class MostProbablePath:
    """The path of a chain that is the most probable one as a whole."""

    states: BoolArray
    """Which nodes are on, shape (n_nodes,)."""
    log_weight: float
    """Log prior probability of the path plus the evidence of its nodes that are on; less the `log_normaliser` of
    :func:`chain_messages` it is the log posterior probability of the path."""


def most_probable_chain(
    log_odds: ArrayLike, *, activation: float, deactivation: float, initial: float | None = None
) -> MostProbablePath:
    r"""Find the states of a binary Markov chain that are the most probable ones together.

    Nodes whose marginal probabilities of :func:`chain_messages` exceed one half make the fewest errors on average. The
    most probable path has the largest posterior probability as a whole, and so fewer isolated nodes: each change of
    state has its price.

    Parameters
    ----------
    log_odds : array-like of shape (n_nodes,)
        Log-odds of the evidence: log likelihood of "on" minus that of "off", node by node.
    activation, deactivation, initial : float
        As in :func:`chain_messages`.

    Returns
    -------
    MostProbablePath
        Of paths that tie, the one that is off at the last node where they differ.

    Raises
    ------
    ValueError
        If a probability is not in (0, 1), or `log_odds` not finite or not one-dimensional.

    Notes
    -----
    O(n) time and memory. The recursion is that of A. Viterbi, "Error bounds for convolutional codes and an
    asymptotically optimum decoding algorithm", IEEE Trans. Information Theory 13(2), 1967, in differences of log
    weights, which stay as small as the evidence of a single node however long the chain, and lose no digits where the
    evidence is overwhelming.

    Examples
    --------
    A single node with weak evidence is likely to be on by itself, and yet not worth two changes of state:

    >>> from sparsetheory.bayesian import chain_messages, most_probable_chain
    >>> evidence = [-2.0, -0.5, 4.2, -0.5, -2.0]
    >>> chain_messages(evidence, activation=0.05, deactivation=0.2).probability.round(2).tolist()
    [0.11, 0.31, 0.7, 0.31, 0.11]
    >>> most_probable_chain(evidence, activation=0.05, deactivation=0.2).states.astype(int).tolist()
    [0, 0, 0, 0, 0]
    """
    check_transitions(activation, deactivation)
    values = check_evidence(log_odds)
    start = initial_odds(activation, deactivation, initial)
    log_table = np.log(transition_table(activation, deactivation))
    states = best_paths(values[None], start, log_table)[0]
    changes = log_table[states[:-1].astype(int), states[1:].astype(int)]
    first = -np.logaddexp(0.0, -start if states[0] else start)
    return MostProbablePath(states, float(first + changes.sum() + values[states].sum()))


def best_paths(unary: Float64Array, start: float, log_table: Float64Array) -> BoolArray:
    """Return the path of the largest weight on every row of a C-ordered array of log-odds."""
    from sparsetheory.numba_kernels.markov import best_lines

    states = np.empty(unary.shape, dtype=np.bool_)
    best_lines(unary, start, log_table, states, np.empty(unary.shape[1]))
    return states
