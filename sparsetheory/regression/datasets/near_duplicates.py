"""Designs whose columns come in groups of near-duplicates."""

from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE, generator
from sparsetheory.regression.datasets.gaussian import gaussian_columns, unit_columns
from sparsetheory.typing import Float64Array

__all__ = ["clusters", "pairs", "tree"]

# Powers of ten of the random scales of a tree: the range at its deepest level, and the part of a leaf's own.
_TREE_SCALES = (-5.0, -0.5)
_TREE_OWN_SCALE = 10**-5.5


def clusters(
    n_samples: int,
    n_features: int,
    *,
    n_clusters: int = 15,
    min_scale: float = 1e-5,
    max_scale: float = 1e-1,
    random_state: Any = None,
) -> Float64Array:
    r"""Draw columns that are random heads plus own parts of very different sizes.

    :math:`X_i = u_{g(i)} + \tau_i h_i` with Gaussian heads u, uniform labels g, Gaussian h and log-uniform
    :math:`\tau_i`. Two columns of one group on the support cancel; few groups make that likely. A common
    :math:`\tau` would be easier: greedy selection run for more steps than there are groups then recovers.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
    n_clusters : int
        Number of groups.
    min_scale, max_scale : float
        Range of the sizes :math:`\tau_i` of the own parts, ``0 < min_scale <= max_scale``.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> X = clusters(30, 200, n_clusters=5, min_scale=1e-6, max_scale=1e-6, random_state=0)
    >>> int(np.linalg.matrix_rank(X, tol=1e-2))
    5
    """
    COUNT.require(n_samples=n_samples, n_features=n_features, n_clusters=n_clusters)
    POSITIVE.require(min_scale=min_scale, max_scale=max_scale)
    if min_scale > max_scale:
        raise ValueError(f"min_scale must be at most max_scale={max_scale!r}; got {min_scale!r}")
    rng = generator(random_state)
    heads = gaussian_columns(rng, n_samples, n_clusters)
    labels = rng.integers(0, n_clusters, n_features)
    sizes = np.exp(rng.uniform(np.log(min_scale), np.log(max_scale), n_features))
    return unit_columns(heads[:, labels] + sizes * gaussian_columns(rng, n_samples, n_features))


def tree(
    n_samples: int, n_features: int, *, n_children: int = 3, depth: int = 3, random_state: Any = None
) -> Float64Array:
    r"""Draw columns as leaves of a tree whose branches differ by less and less.

    Every node has a Gaussian vector and a scale: 1 at the root, :math:`10^u` with u uniform in
    ``[-5 l / depth, -0.5 l / depth]`` at level l. A column is the sum along the path to a random node of the last
    level, plus an own Gaussian part of size ``10 ** -5.5``. The geometric spread of scales makes it the hardest of
    these families.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
    n_children : int
        Children of a node.
    depth : int
        Levels below the root.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linalg.svd(tree(20, 50, n_children=2, depth=1, random_state=0), compute_uv=False)
    >>> bool(values[2] < 1e-4 * values[0])  # two leaves, and what the columns have of their own
    True
    """
    COUNT.require(n_samples=n_samples, n_features=n_features, n_children=n_children, depth=depth)
    rng = generator(random_state)
    nodes = gaussian_columns(rng, n_samples, 1)
    for level in range(1, depth + 1):
        low, high = (float(power * level / depth) for power in _TREE_SCALES)
        scales = 10 ** rng.uniform(low, high, n_children**level)
        nodes = np.repeat(nodes, n_children, axis=1) + scales * gaussian_columns(rng, n_samples, n_children**level)
    labels = rng.integers(0, n_children**depth, n_features)
    return unit_columns(nodes[:, labels] + _TREE_OWN_SCALE * gaussian_columns(rng, n_samples, n_features))


def pairs(n_samples: int, n_features: int, *, perturbation: float = 1e-3, random_state: Any = None) -> Float64Array:
    """Draw pairs of near-duplicates: columns 2j and 2j + 1 belong together.

    A random support rarely contains a pair. One that does is beyond any guarantee for random supports, and anchors
    drawn at random rarely help: see :func:`~sparsetheory.regression.datasets.worst_cases.worst_pairs`.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns; `n_features` is even.
    perturbation : float
        Size of the Gaussian difference within a pair.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> X = pairs(10, 4, perturbation=0.0, random_state=0)
    >>> bool(np.array_equal(X[:, 0], X[:, 1])), bool(np.array_equal(X[:, 1], X[:, 2]))
    (True, False)
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    NONNEGATIVE.require(perturbation=perturbation)
    if n_features % 2:
        raise ValueError(f"n_features must be even for pairs; got {n_features}")
    rng = generator(random_state)
    X = np.repeat(gaussian_columns(rng, n_samples, n_features // 2), 2, axis=1)
    X[:, 1::2] += perturbation * gaussian_columns(rng, n_samples, n_features // 2)
    return unit_columns(X)
