"""Intrinsic dimension of point clouds from distances to nearest neighbours."""

import math
from typing import Any

import numpy as np

from sparsetheory.constraints import Choice, Integer, Real
from sparsetheory.gpu.dimension.points.neighbours import neighbour_distances

__all__ = ["mle_dimension", "twonn_dimension"]


def mle_dimension(X: Any, n_neighbors: int = 20, average: str = "inverse", *, duplicates: str = "error") -> float:
    r"""Estimate the intrinsic dimension by maximum likelihood, from the distances to the k nearest neighbours.

    With the distance :math:`T_j` of a point to its j-th neighbour, the estimate at one point has the inverse

    .. math:: \frac{1}{\hat d(x)} = \frac{1}{k - 1} \sum_{j=1}^{k-1} \log \frac{T_k(x)}{T_j(x)} .

    Parameters
    ----------
    X : array-like or Tensor of float, of shape (n_samples, n_features)
        Points. A tensor is worked on where it is.
    n_neighbors : int
        The number k, from 3 and below the number of points. A point is no neighbour of its own.
    average : {"inverse", "mean"}
        One over the mean of the inverses, which is the maximum likelihood for all points together (MacKay and
        Ghahramani), or the mean of the estimates (Levina and Bickel), which is larger.
    duplicates : {"error", "drop"}
        What to do with points that coincide, whose logarithm is infinite: refuse them, or keep one of each.

    Returns
    -------
    float
        Infinite where all neighbours are equally far, as the corners of a simplex are.

    Raises
    ------
    ValueError
        If there are too few points, points coincide, or the points are no finite matrix of floating-point numbers.

    Notes
    -----
    The estimate is too small in high dimension, as points near an edge have their neighbours on one side: about 8 for
    1000 to 2000 uniform points of a cube of dimension 10. O(n^2 p) time.

    References
    ----------
    E. Levina and P. Bickel, "Maximum Likelihood Estimation of Intrinsic Dimension", NeurIPS 2004. D. MacKay and
    Z. Ghahramani, comments on it, 2005.

    Examples
    --------
    A sheet of dimension 2 in space:

    >>> import numpy as np
    >>> sheet = np.random.default_rng(0).random((1000, 2)) @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> round(mle_dimension(sheet))
    2
    """
    k = Integer(3).check("n_neighbors", n_neighbors)
    Choice("inverse", "mean").require(average=average)
    log = np.log(neighbour_distances(X, k, duplicates))
    inverse = (log[:, -1:] - log[:, :-1]).mean(1)
    if average == "inverse":
        return _inverse(float(inverse.mean()))
    return float(np.mean([_inverse(float(value)) for value in inverse]))


def twonn_dimension(X: Any, discard: float = 0.1, *, duplicates: str = "error") -> float:
    r"""Estimate the intrinsic dimension from the ratios of the distances to the two nearest neighbours.

    The ratio :math:`\mu = T_2 / T_1` has :math:`-\log(1 - F(\mu)) = d \log \mu`. A line through the origin is fitted to
    that, where the i-th smallest of N ratios has :math:`F = i / N`.

    Parameters
    ----------
    X : array-like or Tensor of float, of shape (n_samples, n_features)
        At least three points. A tensor is worked on where it is.
    discard : float
        Share of the largest ratios that is left out, in [0, 1). The largest one is always left out, as its logarithm is
        infinite.
    duplicates : {"error", "drop"}
        What to do with points that coincide: refuse them, or keep one of each.

    Returns
    -------
    float
        Infinite where both neighbours of all points are equally far.

    Raises
    ------
    ValueError
        If there are too few points, points coincide, or the points are no finite matrix of floating-point numbers.

    References
    ----------
    E. Facco, M. d'Errico, A. Rodriguez and A. Laio, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information", Scientific Reports 2017.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.random.default_rng(0).random((1000, 1)) * np.ones(5)
    >>> round(twonn_dimension(line))
    1
    """
    Real(0.0, 1.0, closed="left").require(discard=discard)
    log = np.log(neighbour_distances(X, 2, duplicates))
    ratios = np.sort(log[:, 1] - log[:, 0])
    # A product such as (1 - 0.1) * 10 may lie below the integer it stands for.
    kept = min(math.floor((1 - discard) * len(ratios) + 1e-9), len(ratios) - 1)
    if kept < 1:
        raise ValueError(f"discard must leave at least one ratio; got {discard!r} with {len(ratios)} points")
    heights = -np.log1p(-np.arange(1, kept + 1) / len(ratios))
    squares = float(ratios[:kept] @ ratios[:kept])
    return float(ratios[:kept] @ heights) / squares if squares else math.inf


def _inverse(value: float) -> float:
    return 1 / value if value else math.inf
