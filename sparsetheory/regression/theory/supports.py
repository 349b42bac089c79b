"""How often random anchors serve a random support: bounds in the two sizes alone."""

import math

from sparsetheory.constraints import COUNT, FRACTION, SIZE

__all__ = ["anchor_failure_bound", "cluster_failure", "required_anchors"]


def anchor_failure_bound(n_nonzero: int, n_anchors: int) -> float:
    r"""Bound the probability that a random support beats random anchors.

    For every X, with S a uniform k-set and T an independent uniform m-set of columns,
    :math:`P(\exists i \in S: D_T(i) > D_{S \setminus i}(i)) \le k / (\lfloor m/(k-1) \rfloor + 1)`. Off that event
    compatibility is at most k, whatever the condition number of X.

    Parameters
    ----------
    n_nonzero : int
        Size k of the support, at least 1.
    n_anchors : int
        Number m of anchors.

    Returns
    -------
    float
        In [0, 1]; 0 for k = 1, where no other column of the support can come closer.

    Notes
    -----
    Provenance: ours. Proof. Fix i in S and condition on :math:`J = T \cap (S \setminus i)`; if T contains i, its
    distance is 0. The rest A of :math:`S \setminus i` and the rest B of T are exchangeable, and B contains
    :math:`\lfloor (m - |J|)/(k - 1 - |J|) \rfloor \ge \lfloor m/(k-1) \rfloor` disjoint sets of the size of A. That
    the span of J and A is strictly nearest to i among all those sets has probability at most 1 over one more than
    their number, and T spans them all. Add up over the k columns.

    Examples
    --------
    >>> anchor_failure_bound(5, 396)
    0.05
    """
    COUNT.require(n_nonzero=n_nonzero)
    SIZE.check("n_anchors", n_anchors)
    if n_nonzero == 1:
        return 0.0
    return min(1.0, n_nonzero / (n_anchors // (n_nonzero - 1) + 1))


def required_anchors(n_nonzero: int, delta: float) -> int:
    r"""Return the number of random anchors at which :func:`anchor_failure_bound` is at most delta.

    :math:`m = (\lceil k/\delta \rceil - 1)(k - 1)`, the least such number.

    Parameters
    ----------
    n_nonzero : int
        Size k of the support, at least 1.
    delta : float
        Accepted probability of failure, in (0, 1).

    Returns
    -------
    int

    Notes
    -----
    Provenance: ours.

    Examples
    --------
    >>> required_anchors(6, 0.05)
    595
    """
    COUNT.require(n_nonzero=n_nonzero)
    FRACTION.check("delta", delta)
    groups = math.ceil(n_nonzero / delta)
    # The quotient is rounded: the definition decides.
    if groups > 1 and n_nonzero / (groups - 1) <= delta:
        groups -= 1
    if n_nonzero / groups > delta:
        groups += 1
    return (groups - 1) * (n_nonzero - 1)


def cluster_failure(n_nonzero: int, n_anchors: int, n_clusters: int) -> float:
    r"""Bound how often random anchors fail on G groups of near-duplicate columns; nearly attained.

    With uniform labels, compatibility explodes as the groups shrink exactly when some group holds two columns of S and
    none of T. That has probability at most :math:`\frac{k(k-1)}{2G} (1 - 1/G)^m`; at G = m this is about
    :math:`k^2/(2em)`, so that :func:`anchor_failure_bound` is tight in m up to a constant.

    Parameters
    ----------
    n_nonzero : int
        Size k of the support, at least 1.
    n_anchors : int
        Number m of anchors.
    n_clusters : int
        Number G of groups, at least 1.

    Returns
    -------
    float
        In [0, 1]. Close to the probability while ``k (k - 1) / (2 G)`` is below about 0.65.

    Notes
    -----
    Provenance: ours. Proof. A pair of columns of S shares a group with probability 1/G, which all m anchors miss with
    probability :math:`(1 - 1/G)^m`; there are k(k-1)/2 pairs.

    Examples
    --------
    >>> round(cluster_failure(5, 20, 20), 4)
    0.1792
    """
    COUNT.require(n_nonzero=n_nonzero, n_clusters=n_clusters)
    SIZE.check("n_anchors", n_anchors)
    return min(1.0, n_nonzero * (n_nonzero - 1) / (2 * n_clusters) * (1 - 1 / n_clusters) ** int(n_anchors))
