"""How hard a support is, given anchors."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import FLAG
from sparsetheory.numba_kernels.support_compatibility import largest_signed_norm
from sparsetheory.regression.columns import Columns, check_columns
from sparsetheory.regression.distances import inverse_factor
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SupportCompatibility", "support_compatibility"]

# Beyond this size the 2^(k - 1) sign vectors take too long.
_MAX_EXACT = 14


@dataclass(frozen=True, eq=False)
class SupportCompatibility:
    r"""How hard one support is.

    Attributes
    ----------
    compatibility : float
        The compatibility, or the sum of ratios, which bounds it.
    ratios : ndarray of shape (n_nonzero,)
        :math:`D_T(i) / D_{S \setminus i}(i)` for each column i of the support S.
    """

    compatibility: float
    ratios: Float64Array


class Weighted(Protocol):
    """Anything that knows the distance of every column to the span of some anchors."""

    @property
    def weights(self) -> Float64Array:
        """Root-mean-square distances, shape (n_features,)."""
        ...


def support_compatibility(
    X: Any, support: ArrayLike, anchors: Weighted, *, exact: bool = False
) -> SupportCompatibility:
    r"""Return the compatibility of a support: the largest :math:`\sum |w_i| D_T(i)` of a signal of size one on S.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design; only the columns of S are read.
    support : array-like of int, shape (n_nonzero,)
        Support S: distinct columns.
    anchors : Anchors
        Only the distances :math:`D_T` count, its `weights`, and `fixed_basis` where it is set.
    exact : bool
        Maximise over all sign vectors (k at most 14), else return the sum of ratios, which is never smaller.

    Returns
    -------
    SupportCompatibility
        Where columns depend on each other, signals are written on an independent subset, and the others have ratio
        zero.

    Raises
    ------
    ValueError
        If `support` does not hold distinct columns, X is not finite on them, `anchors` has no weights for X, or `exact`
        is asked for more than 14 columns.

    Notes
    -----
    Without anchors, and for columns of root mean square one, this is :math:`\sqrt k` over the compatibility constant of
    van de Geer and Bühlmann (2009, Electron. J. Stat. 3), for coefficients on S alone: what the l1 norm of a signal of
    size one can be. Anchors make it small by weighting coefficients with distances.

    With :math:`X_S = QR`, the compatibility is :math:`\max_s \|R^{-\top} (s \circ D)\|` over signs; Gray codes change
    one sign at a time, O(2^k k). No ratio exceeds it, and :math:`\sqrt k \|\mathrm{diag}(D) R^{-1}\|` bounds it too.
    Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("gaussian", 50, 100, random_state=0)
    >>> found = support_compatibility(X, [3, 5, 8], select_anchors(X, n_nonzero=3, random_state=0), exact=True)
    >>> bool(found.ratios.max() <= found.compatibility <= found.ratios.sum())
    True
    """
    if not hasattr(anchors, "weights"):
        raise TypeError(f"anchors must be those of select_anchors, with weights; got {anchors!r}")
    FLAG.require(exact=exact)
    columns = Columns(check_columns(X), getattr(anchors, "fixed_basis", None))
    support = _check_support(support, columns.n_features)
    weights = np.asarray(anchors.weights)
    if weights.shape != (columns.n_features,):
        raise ValueError(f"anchors must have {columns.n_features} weights, one per column of X; got {weights.shape}")
    if exact and support.size > _MAX_EXACT:
        raise ValueError(f"exact=True tries 2^(k - 1) signs and allows k up to {_MAX_EXACT}; got {support.size}")
    own = columns.take(support)
    if not np.all(np.isfinite(own)):
        raise ValueError("X must be finite on support; it contains NaN or infinity there")
    W, kept = inverse_factor(own)
    # In root mean squares, as the weights are.
    rows = weights[support[kept], None] * W * np.sqrt(columns.n_samples)
    ratios = np.zeros(support.size)
    ratios[kept] = np.linalg.norm(rows, axis=1)
    compatibility = largest_signed_norm(np.ascontiguousarray(rows)) if exact else ratios.sum()
    return SupportCompatibility(float(compatibility), ratios)


def _check_support(support: ArrayLike, n_features: int) -> IndexArray:
    indices = np.asarray(support)
    valid = indices.ndim == 1 and indices.size and np.issubdtype(indices.dtype, np.integer)
    if not valid or indices.min() < 0 or indices.max() >= n_features or np.unique(indices).size < indices.size:
        raise ValueError(
            f"support must hold distinct indices of columns between 0 and {n_features - 1}; got {support!r}"
        )
    return indices.astype(np.intp)
