"""Whether a Gram matrix, correlations and an energy can belong to any data."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dpotrf
from sklearn.utils import check_array

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.ranges import require_squares
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["check_statistics", "require_gram"]

# Eigenvalues of a correlation matrix may be negative by this many roundings, times the number of features.
_ROUNDINGS = 64
# Matrices of more rows would take longer to factorise than most paths.
_LARGEST = 5000


def check_statistics(gram: ArrayLike, correlations: ArrayLike, energy: Any) -> tuple[Float64Array, Float64Array, float]:
    """Return sufficient statistics of a regression in double precision.

    Parameters
    ----------
    gram : array-like of shape (n_features, n_features)
        ``X'X / n``.
    correlations : array-like of shape (n_features,)
        ``X'y / n``.
    energy : float
        ``y'y / n``.

    Raises
    ------
    ValueError
        Naming the one that cannot be: `gram` must be symmetric and positive semidefinite; with `correlations` and
        `energy` added as one more row and column it must still be.

    Notes
    -----
    A Cholesky factorisation, O(d^3), up to 5,000 features; of more, only single correlations are looked at here, and
    the solver stops where it meets a direction of negative curvature. Rounding of the statistics is allowed for, in the
    precision in which they come.

    Examples
    --------
    >>> import numpy as np
    >>> check_statistics(np.eye(2), [0.6, 0.8], 1.0)[2]
    1.0
    >>> check_statistics(np.eye(2), [0.6, 0.8], 0.9)
    Traceback (most recent call last):
    ...
    ValueError: energy must be at least what gram and correlations explain; got 0.9
    """
    slack = _slack(gram, correlations)
    G = check_array(gram, dtype=np.float64, input_name="gram")
    b = check_array(correlations, dtype=np.float64, ensure_2d=False, input_name="correlations")
    if b.ndim != 1 or G.shape != (b.size, b.size):
        raise ValueError(f"gram must be square with as many rows as correlations; got {G.shape} and {b.shape}")
    NONNEGATIVE.require(energy=energy)
    require_squares("energy", np.sqrt(np.array([float(energy)])), 1)
    require_squares("correlations", np.sqrt(np.abs(b)), 1)
    slack *= max(b.size, 100)
    unit, scale = _unit_gram(G, slack)
    _check_response(unit, b * scale, b[scale == 0], float(energy), slack)
    return 0.5 * (G + G.T), b, float(energy)


def require_gram(gram: FloatArray, precision: Any) -> None:
    """Raise ValueError for a square matrix that is no Gram matrix, up to rounding in a precision.

    Of more than 5,000 features only the signs of the diagonal and symmetry are looked at.
    """
    slack = _ROUNDINGS * float(np.finfo(precision).eps) * max(len(gram), 100)
    unit, _ = _unit_gram(np.asarray(gram, dtype=np.float64), slack)
    if len(gram) <= _LARGEST and not _is_semidefinite(unit, slack):
        raise ValueError(_indefinite(unit))


def _indefinite(unit: Float64Array) -> str:
    least = np.linalg.eigvalsh(unit)[0]
    return f"gram must be positive semidefinite; the least eigenvalue of its correlation matrix is {least:.3g}"


def _unit_gram(G: Float64Array, slack: float) -> tuple[Float64Array, Float64Array]:
    """Return the matrix with a unit diagonal, and by what its rows were multiplied."""
    require_squares("gram", np.sqrt(np.abs(np.diag(G)))[None], 1, each_column=True)
    scale = _inverse_roots("gram", np.diag(G))
    unit = G * np.outer(scale, scale)
    if np.any(G[scale == 0] != 0) or np.any(G[:, scale == 0] != 0):
        raise ValueError("gram must be positive semidefinite: rows whose diagonal entry is zero must be zero")
    if np.max(np.abs(unit - unit.T), initial=0.0) > slack:
        raise ValueError(f"gram must be symmetric; entries differ by up to {np.max(np.abs(G - G.T)):.3g}")
    return unit, scale


def _slack(*arrays: Any) -> float:
    return _ROUNDINGS * float(np.finfo(_precision(*arrays)).eps)


def _precision(*arrays: Any) -> Any:
    single = any(getattr(array, "dtype", None) == np.float32 for array in arrays)
    return np.float32 if single else np.float64


def _inverse_roots(name: str, diagonal: Float64Array) -> Float64Array:
    if np.any(diagonal < 0):
        raise ValueError(f"{name} must be positive semidefinite; its diagonal has the entry {diagonal.min():.3g}")
    return np.where(diagonal > 0, 1.0, 0.0) / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))


def _check_response(unit: Float64Array, b: Float64Array, dead: Float64Array, energy: float, slack: float) -> None:
    """Raise ValueError if no response has these correlations with columns of length one, and this energy."""
    if np.any(dead != 0):
        raise ValueError("correlations must be zero for features whose diagonal entry of gram is zero")
    root = float(np.sqrt(energy))
    largest = float(np.max(np.abs(b), initial=0.0))
    if largest > (1 + slack) * root:
        raise ValueError(
            f"energy must be at least the largest square of a correlation over the diagonal of gram, {largest**2:.3g}; "
            f"got {energy:.3g}"
        )
    # All in one factorisation; only if that fails it is asked which of them is to blame.
    border = b / root if root > 0 else np.zeros(b.size)
    if b.size > _LARGEST:
        return
    if _is_semidefinite(np.block([[np.ones((1, 1)), border[None]], [border[:, None], unit]]), slack):
        return
    if not _is_semidefinite(unit, slack):
        raise ValueError(_indefinite(unit))
    raise ValueError(f"energy must be at least what gram and correlations explain; got {energy:.3g}")


def _is_semidefinite(unit: Float64Array, slack: float) -> bool:
    """Say whether a symmetric matrix of unit or zero diagonal has no eigenvalue below ``-slack``."""
    shifted = np.array(unit, order="F")
    shifted[np.diag_indices_from(shifted)] += np.where(np.diagonal(shifted) > 0, slack, 1.0)
    return bool(dpotrf(shifted, lower=1, overwrite_a=1)[1] == 0)
