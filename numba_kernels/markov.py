"""Forward-backward and Viterbi recursions on lines of binary nodes, in log-odds."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["best_lines", "line_messages", "sample_lines", "warmup"]


@kernel
def _pass_on(z: float, t00: float, t01: float, t10: float, t11: float) -> tuple[float, float]:
    """Return the log-odds that a node with log-odds z sends through a table, and the log weight of state 0 there.

    The weights of the node are (1, exp(z)); the larger one is divided out, so that nothing overflows.
    """
    # State 1 on the other side has the weight t01 + t11 exp(z), state 0 the weight t00 + t10 exp(z): the message is the
    # logarithm of their quotient. For positive z both are divided by exp(z), so that no exponential overflows.
    if z > 0.0:
        small = np.exp(-z)
        off, on = t00 * small + t10, t01 * small + t11
        return np.log(on / off), z + np.log(off)
    small = np.exp(z)
    off, on = t00 + t10 * small, t01 + t11 * small
    return np.log(on / off), np.log(off)


@kernel
def line_messages(
    unary: Float64Array,
    start: float,
    table: Float64Array,
    forward: Float64Array,
    backward: Float64Array,
    log_z: Float64Array,
) -> None:
    r"""Run sum-product on independent lines of binary nodes that share one table.

    A line has the weight :math:`e^{start\, s_0} \prod_i e^{unary_i s_i} \prod_i T_{s_i s_{i+1}}`.

    Parameters
    ----------
    unary : ndarray of shape (R, C)
        Log-odds of each node on its own; one line per row.
    start : float
        Log-odds of the factor at the first node of every line.
    table : ndarray of shape (2, 2)
        Positive weights of neighbours, indexed by the left and the right state.
    forward, backward : ndarray of shape (R, C)
        Overwritten by the log-odds that arrive from the left (with `start`) and from the right. Their sum and `unary`
        are the log-odds of the exact marginal.
    log_z : ndarray of shape (R,)
        Overwritten by the logarithm of the sum of all weights.

    Notes
    -----
    O(R C), three transcendental functions per node and direction.
    """
    # Invariant along a line, from the left: `message` is the log-odds that nodes before i, and the factor at the start,
    # send to node i, and `total` the log of the weight that was divided out of these messages on the way. A message
    # that is normalised to weight one in state 0 is a number, its log-odds; the log normaliser of the line is `total`
    # plus that of the last node, log(1 + exp(z)).
    t00, t01, t10, t11 = table[0, 0], table[0, 1], table[1, 0], table[1, 1]
    n_rows, n = unary.shape
    for r in range(n_rows):
        message, total = start, 0.0
        for i in range(n - 1):
            forward[r, i] = message
            message, weight = _pass_on(message + unary[r, i], t00, t01, t10, t11)
            total += weight
        forward[r, n - 1] = message
        z = message + unary[r, n - 1]
        # log(1 + exp(z)) without overflow.
        log_z[r] = total + max(z, 0.0) + np.log1p(np.exp(-abs(z)))
        # From the right, with the transposed table; nothing arrives at the last node.
        message = 0.0
        for i in range(n - 1, 0, -1):
            backward[r, i] = message
            message, _ = _pass_on(message + unary[r, i], t00, t10, t01, t11)
        backward[r, 0] = message


@kernel
def best_lines(
    unary: Float64Array, start: float, log_table: Float64Array, states: BoolArray, margins: Float64Array
) -> None:
    r"""Find the path of the largest weight on independent lines of binary nodes that share one table.

    A path has the log weight :math:`start\, s_0 + \sum_i unary_i s_i + \sum_i L_{s_i s_{i+1}}`.

    Parameters
    ----------
    unary : ndarray of shape (R, C)
        Log-odds of each node on its own; one line per row.
    start : float
        Log-odds of the factor at the first node of every line.
    log_table : ndarray of shape (2, 2)
        Log weights of neighbours, indexed by the left and the right state.
    states : ndarray of bool, shape (R, C)
        Overwritten. Of paths that tie, the one that is off at the last node where they differ.
    margins : ndarray of shape (C,)
        Memory to work with.

    Notes
    -----
    O(R C), no transcendental function.
    """
    # `margin` is by how much the best path up to node i gains if that node is on. Its effect on the next node is
    # piecewise linear: the predecessor of an on node is on beyond one threshold, that of an off node beyond another,
    # and between the two the margin is passed on. So no large numbers are ever subtracted from each other.
    before_on, before_off = log_table[0, 1] - log_table[1, 1], log_table[0, 0] - log_table[1, 0]
    attracts = before_on <= before_off
    n_rows, n = unary.shape
    for r in range(n_rows):
        margin = start + unary[r, 0]
        margins[0] = margin
        for i in range(1, n):
            if attracts:
                message = min(max(margin, before_on), before_off) + (log_table[1, 1] - log_table[0, 0])
            else:
                message = (log_table[0, 1] - log_table[1, 0]) - min(max(margin, before_off), before_on)
            margin = message + unary[r, i]
            margins[i] = margin
        on = margin > 0.0
        states[r, n - 1] = on
        for i in range(n - 2, -1, -1):
            on = margins[i] > (before_on if on else before_off)
            states[r, i] = on


@kernel
def sample_lines(
    uniforms: Float64Array, first: float, activation: float, deactivation: float, states: BoolArray
) -> None:
    """Write one path of a binary Markov chain per row, from one uniform number per node.

    Parameters
    ----------
    uniforms : ndarray of shape (R, C)
        Numbers in [0, 1).
    first, activation, deactivation : float
        Probabilities that the first node is on, that an off node is followed by an on node, and an on by an off one.
    states : ndarray of bool, shape (R, C)
        Overwritten.
    """
    # A node is on if its uniform number is below the probability that its predecessor gives it.
    for r in range(uniforms.shape[0]):
        p = first
        for i in range(uniforms.shape[1]):
            on = uniforms[r, i] < p
            states[r, i] = on
            p = 1.0 - deactivation if on else activation


def warmup() -> None:
    """Compile the kernels of this file for their only signatures."""
    one = np.ones((1, 2))
    line_messages(one, 0.0, np.ones((2, 2)), one.copy(), one.copy(), np.ones(1))
    best_lines(one, 0.0, one.repeat(2, axis=0), np.ones((1, 2), dtype=np.bool_), np.ones(2))
    sample_lines(one, 0.5, 0.5, 0.5, np.ones((1, 2), dtype=np.bool_))
