"""Residuals of a linear model as certificates see them: by NumPy alone, and for the coefficients as they are kept."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sparsetheory.regression.certificates.plain_design import PlainDesign
from sparsetheory.typing import AnyArray, BoolArray, Float64Array, IndexArray

__all__ = ["PlainResiduals", "plain_residual", "rounding_of_intercept", "solve_for_signs", "unscaled"]

_EPS = float(np.finfo(np.float64).eps)
# Directions that are weaker than this, relative to the columns, are not looked at.
_WEAK = 1e-12
# Squares of columns of which less than this fraction is left are rounding.
_NOTHING = 1e-22
# A response is explained if no more than this fraction of it is left.
_EXPLAINED = 2e-14


@dataclass(frozen=True)
class PlainResiduals:
    """Residuals of a solution.

    Attributes
    ----------
    design : PlainDesign
        The data.
    squares : ndarray of shape (n_features,)
        Weighted mean squares of the columns, less their means if a constant is fitted.
    target, left : ndarray of shape (n_samples,)
        Response and residual without what intercept and unpenalised features can explain.
    square, saved : float
        Mean square of the residual itself, and the root of what intercept and unpenalised features could save of it.
    rounding, stored : float
        How far rounding moves the residual, root mean square: of sums, and of coefficients and intercept as kept.
    free : ndarray of shape (n_samples, rank)
        Orthonormal directions of the unpenalised features, in rows scaled by the roots of their weights.
    least_fraction, doubt : float
        What is left of the energy of the response if the weakest directions count too, and by how much rounding of
        weak directions may change it, as fractions.
    """

    design: PlainDesign
    squares: Float64Array
    target: Float64Array
    left: Float64Array
    square: float
    saved: float
    rounding: float
    stored: float
    free: Float64Array
    least_fraction: float
    doubt: float

    @classmethod
    def at(
        cls, kept: AnyArray, intercept: float, is_free: BoolArray, design: PlainDesign, y: Float64Array
    ) -> "PlainResiduals":
        """Return the residuals of coefficients as they are kept; `is_free` says which features are not penalised."""
        coef, weights, squares = kept.astype(np.float64), design.weights, design.centred_squares()
        support, lengths = np.flatnonzero(coef), np.sqrt(squares)
        centre = float(weights @ y) if design.centred else 0.0
        target, left = y - centre, plain_residual(coef, intercept, design, y)
        outside, weak, doubt = _directions(design, np.flatnonzero(is_free), squares)
        roots = np.sqrt(weights)
        rest, saved = _split(outside, roots, left)
        response = _split(outside, roots, target)[0]
        energy, hidden = float(weights @ response**2), float(np.sum((weak.T @ (roots * response)) ** 2))
        stored = np.spacing(np.abs(kept[support])).astype(np.float64) * lengths[support]
        return cls(
            design,
            squares,
            response,
            rest,
            float(weights @ left**2),
            saved,
            4 * _EPS * (float(np.sqrt(weights @ target**2)) + float(np.abs(coef) @ lengths)),
            float(np.linalg.norm(stored)) + rounding_of_intercept(intercept, energy, design, y),
            outside[:, int(design.centred) :],
            1 - hidden / energy if energy > 0 else 1.0,
            doubt,
        )

    def scaled_columns(self, indices: IndexArray) -> Float64Array:
        """Return some columns without what is not penalised, rows scaled by the roots of their weights."""
        rest = np.sqrt(self.design.weights)[:, None] * self.design.centred_columns(indices)
        for _ in range(2):
            rest = rest - self.free @ (self.free.T @ rest)
        return np.asarray(rest)

    def without_free(self) -> Float64Array:
        """Return the mean squares of the columns without what unpenalised features explain; zero where rounding."""
        if self.free.shape[1] == 0:
            return self.squares
        left = self.squares.copy()
        for block in self.design.blocks(np.flatnonzero(self.squares > 0)):
            rest = self.scaled_columns(block)
            left[block] = np.einsum("ij,ij->j", rest, rest)
        return np.where(left > _NOTHING * self.squares, left, 0.0)


def plain_residual(coef: Float64Array, intercept: float, design: PlainDesign, y: Float64Array) -> Float64Array:
    """Return the residual of a model. Means are taken off exactly, because they nearly cancel with the intercept."""
    support, centre = np.flatnonzero(coef), float(design.weights @ y) if design.centred else 0.0
    offset = Fraction(centre) - Fraction(float(intercept))
    for j in support:
        offset -= Fraction(float(design.centres[j])) * Fraction(float(coef[j]))
    return np.asarray(y - centre - design.apply(support, coef[support]) + float(offset))


def rounding_of_intercept(intercept: float, energy: float, design: PlainDesign, y: Float64Array) -> float:
    """Return what the last digit of an intercept may leave of a response that the unpenalised part explains.

    Where there is something to explain, an intercept that is too coarse for it is a fault of the model.
    """
    centre = float(design.weights @ y)
    last_digits = (4 * _EPS) ** 2 * float(design.weights @ y**2)
    explained = energy <= last_digits + _EXPLAINED**2 * float(design.weights @ (y - centre) ** 2)
    return float(np.spacing(abs(intercept))) if explained and design.centred else 0.0


def solve_for_signs(columns: Float64Array, residual: Float64Array, wanted: Float64Array) -> Float64Array:
    """Return the residual nearest to a given one whose products with the columns are as wanted."""
    lengths = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    lengths[lengths == 0] = 1.0
    left, values, right = np.linalg.svd(columns / lengths, full_matrices=False)
    kept = values > _WEAK * np.max(values, initial=0.0)
    excess = (columns.T @ residual - wanted) / lengths
    return np.asarray(residual - left[:, kept] @ ((right[kept] @ excess) / values[kept]))


def _directions(
    design: PlainDesign, free: IndexArray, squares: Float64Array
) -> tuple[Float64Array, Float64Array, float]:
    """Return an orthonormal basis of what is not penalised, in scaled rows: the constant first, if it is fitted.

    Beside it, directions so weak that fit and check need not agree whether they count, and how well the weakest
    direction of the basis is determined.
    """
    roots = np.sqrt(design.weights)[:, None]
    constant, none = roots if design.centred else np.empty((design.n_samples, 0)), np.empty((design.n_samples, 0))
    free = free[squares[free] > 0]
    if free.size == 0:
        return constant, none, 0.0
    unit = roots * design.centred_columns(free) / np.sqrt(squares[free])
    left, values, _ = np.linalg.svd(unit, full_matrices=False)
    noise = _EPS * float(np.max(np.sqrt(1 + design.means[free] ** 2 / squares[free])))
    sure, real = values > max(_WEAK, 16 * noise), values > noise
    basis = np.linalg.qr(np.hstack([constant, left[:, sure]]))[0]
    return basis, left[:, real & ~sure], 16 * noise / float(np.min(values[real], initial=1.0))


def _split(basis: Float64Array, roots: Float64Array, vector: Float64Array) -> tuple[Float64Array, float]:
    """Return what a subspace, given in scaled rows, leaves of a vector, and the length of what it takes."""
    scaled = roots * vector
    taken = basis.T @ scaled
    rest = scaled - basis @ taken
    return unscaled(rest - basis @ (basis.T @ rest), roots), float(np.linalg.norm(taken))


def unscaled(scaled: Float64Array, roots: Float64Array) -> Float64Array:
    """Return rows before they were scaled; those of weight zero count nowhere."""
    return np.divide(scaled, roots, out=np.zeros_like(scaled), where=roots > 0)
