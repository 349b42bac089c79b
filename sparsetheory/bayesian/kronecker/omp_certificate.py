"""Evidence that Kronecker orthogonal matching pursuit fitted its support, and had a reason to stop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["KroneckerOMPCertificate"]


@dataclass(frozen=True)
class KroneckerOMPCertificate(Certificate):
    """Least squares on a product of supports, up to rounding.

    The largest correlation of the residual with a column on the support, relative to the norms of the column and of y.
    The bound is what rounding in the precision of the coefficients can leave: the sum of the norms of all terms.

    Attributes
    ----------
    coef : ndarray of shape (N,)
        What the model predicts with.
    supports : tuple of tuple of int
        Supports of the modes.
    n_nonzero : tuple of int
        Largest numbers of indices in the supports.
    tol, noise_variance, normalize
        As in :class:`KroneckerOMP`.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("n_nonzero", "tol", "noise_variance", "normalize")

    coef: InexactArray = field(kw_only=True, repr=False)
    supports: tuple[tuple[int, ...], ...] = field(kw_only=True)
    n_nonzero: tuple[int, ...] = field(kw_only=True)
    tol: float = field(kw_only=True)
    noise_variance: float | None = field(kw_only=True)
    normalize: bool = field(kw_only=True)

    def certified(self, matrices: Sequence[InexactArray], Y: InexactArray) -> Self:
        """Return the certificate of a fit, whose bound is the one of its coefficients."""
        return self.stated()._judged(matrices, Y, self._bound(matrices, Y))

    def promise(self) -> str:
        """Return what is promised."""
        sizes = " x ".join(str(len(support)) for support in self.supports)
        return (
            f"the residual is orthogonal to the columns on the product of {sizes} indices, relative to their norms and "
            "that of y, and small enough, or nothing could be added"
        )

    def check(self, dictionaries: Sequence[ArrayLike], y: ArrayLike, *, random_state: Any = 0) -> Self:
        """Recompute the residual and its correlations with single columns.

        Parameters
        ----------
        dictionaries, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        KroneckerOMPCertificate
            With a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.
        """
        modes = check_dictionaries(dictionaries)
        data = as_tensor(y, modes.rows, "y")
        if data.n_columns is not None:
            raise ValueError(f"y must be a single vector; got shape {data.shape}")
        if math.prod(modes.columns) != self.coef.size or len(modes.columns) != len(self.supports):
            raise ValueError(f"dictionaries must have the {self.coef.size} columns of the fit; got {modes.columns}")
        return self._judged(modes.matrices, data.values, self.bound).unless_misstated()

    def _judged(self, matrices: Sequence[InexactArray], Y: InexactArray, bound: float) -> Self:
        if not np.isfinite(self.coef).all():
            return replace(self, bound=bound, measured=math.inf, status=Status.INVALID, reason="coef is not finite")
        sizes = [A.shape[1] for A in matrices]
        inside = np.zeros(sizes, dtype=np.bool_)
        if all(self.supports):
            inside[np.ix_(*self.supports)] = True
        residual = Y - _rotated(self.coef.reshape(sizes), matrices)
        norms = reduce(np.multiply.outer, [np.linalg.norm(A, axis=0) for A in matrices])
        correlations = np.abs(_rotated(residual, [A.conj().T for A in matrices]))
        size = float(np.linalg.norm(Y))
        relative = np.divide(correlations, norms * size, out=np.zeros_like(norms), where=norms * size > 0)
        measured = float(np.where(inside, relative, 0.0).max())
        faults = []
        if not math.isclose(bound, self._bound(matrices, Y), rel_tol=1e-6):
            faults.append("the bound is not what rounding leaves")
        if np.any(self.coef.reshape(sizes)[~inside]):
            faults.append("a coefficient outside of the supports is not zero")
        if not measured <= bound:
            faults.append("the residual is not orthogonal to the columns on the supports")
        compared = np.where(norms > 0, relative, 0.0) if self.normalize else correlations
        if not self._may_stop(residual, size, compared):
            faults.append("the residual is large, and an index could be added")
        return replace(self, bound=bound, measured=measured, status=Status.of(not faults), reason="; ".join(faults))

    def _bound(self, matrices: Sequence[InexactArray], Y: InexactArray) -> float:
        norms = reduce(np.multiply.outer, [np.linalg.norm(A, axis=0) for A in matrices])
        size = float(np.linalg.norm(Y))
        terms = 1.0 + float(np.sum(norms * np.abs(self.coef.reshape(norms.shape)))) / (size or 1.0)
        # Rounding of the coefficients, and of sums as long as the rows of each dictionary.
        exact = float(np.finfo(np.float64).eps) * sum(sum(A.shape) for A in matrices)
        return (float(np.finfo(self.coef.real.dtype).eps) + exact) * terms

    def _may_stop(self, residual: InexactArray, size: float, correlations: Float64Array) -> bool:
        """Whether the residual is small enough, or the best index is there already or has no room."""
        left = float(np.linalg.norm(residual))
        limit = self.tol * size if self.noise_variance is None else math.sqrt(residual.size * self.noise_variance)
        if left <= limit * (1.0 + 1e-6) + float(np.finfo(self.coef.real.dtype).eps) * size:
            return True
        best = np.unravel_index(np.argmax(correlations), correlations.shape)
        pairs = zip(best, self.supports, self.n_nonzero, strict=True)
        return all(int(index) in support or len(support) >= n for index, support, n in pairs)


def _rotated(T: InexactArray, matrices: Sequence[InexactArray]) -> InexactArray:
    """Multiply the modes of a tensor by a matrix each."""
    for k, A in enumerate(matrices):
        T = np.moveaxis(np.tensordot(A, T, axes=(1, k)), 0, k)
    return T
