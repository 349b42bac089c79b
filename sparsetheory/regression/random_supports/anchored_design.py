"""A design before and after anchors are projected out, and anchors that a user gives."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.least_squares import LeastSquaresData, check_indices
from sparsetheory.regression.orthonormal import extend_basis
from sparsetheory.regression.random_supports.anchor_span import check_rank
from sparsetheory.regression.random_supports.anchors import Anchors, find_anchors, project_out
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchoredDesign", "draw_anchors"]

# Anchors that are closer to the span of the others than this, relative to their norm, add no direction.
_RTOL = 1e-11


@dataclass(frozen=True)
class AnchoredDesign:
    """A design with anchors.

    Attributes
    ----------
    base : Columns
        Design without the parts that are always in the model (intercept, forced features).
    anchors : ndarray of int
        Anchor features that may be dropped again.
    columns : Columns
        Design with the anchors projected out too.
    squares : ndarray of shape (n_features,)
        Squared norms of its columns; zero where they are rounding.
    n_observations : float
        Number of observations: rows, each as often as its weight says.
    """

    base: Columns
    anchors: IndexArray
    columns: Columns
    squares: Float64Array
    n_observations: float

    @classmethod
    def of(cls, data: LeastSquaresData, anchors: Anchors, recompute_below: float) -> tuple[Anchors, Self]:
        """Project anchors out of a design.

        Parameters
        ----------
        data : LeastSquaresData
            Prepared data; forced features are projected out already.
        anchors : Anchors
            Their basis spans what is always in the model, too.
        recompute_below : float
            As in :meth:`Columns.squares`.

        Returns
        -------
        anchors : Anchors
            With the weights of this design; not certified if they came with those of another one.
        design : AnchoredDesign

        Warns
        -----
        UserWarning
            If certified anchors came with distances to the columns of another design.
        """
        if anchors.indices.size or data.free.size:
            check_rank(anchors.Q.shape[1], data.n_samples)
        columns, squares = project_out(data.columns, anchors, recompute_below=recompute_below)
        squares[data.free] = 0.0
        weights = np.sqrt(squares / data.n_samples)
        certified = anchors.certified
        if certified and anchors.weights.size and not _like(anchors.weights, weights, data):
            warnings.warn(
                "anchors are of another design: their distances to the columns of X differ, so that nothing is "
                "certified. Select anchors for this X",
                UserWarning,
                stacklevel=4,
            )
            certified = False
        free = np.setdiff1d(anchors.indices, data.free)
        design = cls(data.columns, free, columns, squares, data.n_observations)
        return replace(anchors, weights=weights, certified=certified), design

    @property
    def rank(self) -> int:
        """Dimension of the anchors' span, with what is always in the model."""
        return 0 if self.columns.basis is None else self.columns.basis.shape[1]

    @property
    def n_free(self) -> float:
        """Degrees of freedom that this span leaves."""
        return self.n_observations - self.rank


def draw_anchors(
    data: LeastSquaresData,
    anchors: str | Anchors | ArrayLike,
    *,
    n_nonzero: int,
    delta: float,
    max_compatibility: float | None,
    confidence: float,
    max_anchors: int | None,
    support_prior: ArrayLike | None,
    random_state: Any,
) -> Anchors:
    """Choose anchors for a fit, or take over those that a user gives.

    Parameters
    ----------
    data : LeastSquaresData
        Prepared data; what is always in the model is projected out already.
    anchors : {"adaptive", "random", "none"}, Anchors or array-like of int
        How they are chosen, or which ones.
    n_nonzero, delta, max_compatibility, confidence, max_anchors, support_prior, random_state
        As in :func:`select_anchors`.

    Returns
    -------
    Anchors
        Their basis also spans what is always in the model. Given anchors stay certified only if they were chosen for
        a design with the same parts in every model, without row weights, and for such supports.
    """
    if isinstance(anchors, str) and anchors != "none":
        return find_anchors(
            data.columns,
            n_nonzero=n_nonzero,
            method=anchors,
            delta=delta,
            max_compatibility=max_compatibility,
            confidence=confidence,
            max_anchors=max_anchors,
            support_prior=support_prior,
            random_state=random_state,
        )
    if isinstance(anchors, Anchors):
        given = anchors
        check_indices("anchors", given.indices, data.n_features)
    else:
        indices = check_indices("anchors", None if isinstance(anchors, str) else anchors, data.n_features)
        given = Anchors(indices, np.empty(0), np.empty(0), False, delta, 1.0)
    basis = data.columns.basis
    always = np.empty((data.n_samples, 0)) if basis is None else basis
    allowed = 2.0 * n_nonzero if max_compatibility is None else max_compatibility
    serves = data.roots is None and _same(given.fixed_basis, basis) and given.serves(n_nonzero, allowed)
    # Without distances to its columns, nothing says of which design they are.
    serves = serves and given.weights.size > 0
    return replace(
        given,
        Q=extend_basis(always, data.columns.raw(given.indices), _RTOL)[0],
        certified=given.certified and serves,
        fixed_basis=basis,
    )


def _same(a: Any, b: Any) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _like(known: Float64Array, weights: Float64Array, data: LeastSquaresData) -> bool:
    """Whether distances that came with anchors are those in this design, up to rounding."""
    if known.shape != weights.shape:
        return False
    sizes = np.sqrt(data.columns.raw_squares() / data.n_samples)
    return bool(np.all(np.abs(known - weights) <= 1e-4 * weights + 1e-6 * sizes))
