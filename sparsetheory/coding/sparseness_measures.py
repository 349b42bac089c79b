"""How sparse codes are, by four measures."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.constraints import Choice
from sparsetheory.typing import AnyArray

__all__ = ["sparseness"]


def sparseness(
    C: ArrayLike, *, kind: Literal["treves_rolls", "hoyer", "kurtosis", "l0"] = "treves_rolls", axis: int = 1
) -> AnyArray:
    """Return how sparse the rows (or columns) of codes are.

    All but the kurtosis are 0 for entries of equal size and 1 for a single nonzero entry. With n entries x:

    - "treves_rolls": ``(1 - mean|x|^2 / mean(x^2)) / (1 - 1 / n)`` (Rolls and Tovee, 1995; Vinje and Gallant, 2000);
    - "hoyer": ``(sqrt(n) - sum|x| / sqrt(sum x^2)) / (sqrt(n) - 1)`` (Hoyer, 2004);
    - "kurtosis": ``mean((x - mean x)^4) / mean((x - mean x)^2)^2 - 3``, which is 0 for a normal distribution;
    - "l0": the fraction of zeros, ``(n - number of nonzero entries) / (n - 1)``.

    Parameters
    ----------
    C : array_like of shape (n_samples, n_units)
        Codes, with at least 2 entries along `axis`.
    kind : {"treves_rolls", "hoyer", "kurtosis", "l0"}
        Measure.
    axis : {0, 1}
        1 measures each code over the units (population sparseness), 0 each unit over the samples (lifetime
        sparseness).

    Returns
    -------
    ndarray of shape (n_samples,) or (n_units,)
        Does not depend on the scale of the entries. NaN where the measure is undefined: for a code without nonzero
        entries, and for the kurtosis of equal entries. float32 if `C` is, otherwise float64.

    Raises
    ------
    ValueError
        If `kind` is unknown, or `C` is not two-dimensional, too short along `axis` or not finite.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Examples
    --------
    >>> sparseness([[0.0, 0.0, 3.0, 0.0], [1.0, 1.0, -1.0, 1.0], [2.0, 0.0, 0.0, 2.0]]).round(3)
    array([1.   , 0.   , 0.667])
    """
    Choice(*_MEASURES).check("kind", kind)
    codes = _check_codes(C, axis)
    scaled = _scaled(codes)
    return _MEASURES[kind](_scaled(_centred(scaled)) if kind == "kurtosis" else scaled)


def _check_codes(C: ArrayLike, axis: int) -> AnyArray:
    codes = real_array("C", C)
    Choice(0, 1).check("axis", axis)
    if codes.ndim != 2 or codes.shape[axis] < 2:
        raise ValueError(f"C must have two dimensions and at least 2 entries along axis {axis}; got {codes.shape}")
    codes = np.ascontiguousarray(codes if axis else codes.T)
    require_finite_entries("C", codes)
    return codes


def _scaled(codes: AnyArray) -> AnyArray:
    """Divide every row by its largest absolute value; rows of zeros become NaN."""
    largest = np.abs(codes).max(axis=1, initial=0, keepdims=True)
    return np.divide(codes, largest, where=largest > 0, out=np.full_like(codes, np.nan))


def _centred(codes: AnyArray) -> AnyArray:
    """Subtract its mean from every row; the mean of equal entries may be wrong by rounding, their deviations are 0."""
    equal = codes.min(axis=1, keepdims=True, initial=np.inf) == codes.max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(equal, codes.dtype.type(0), codes - codes.mean(axis=1, keepdims=True))


def _treves_rolls(x: AnyArray) -> AnyArray:
    n = x.shape[1]
    return (1 - np.abs(x).mean(axis=1) ** 2 / np.square(x).mean(axis=1)) / (1 - 1 / n)


def _hoyer(x: AnyArray) -> AnyArray:
    root = np.sqrt(x.shape[1])
    return ((root - np.abs(x).sum(axis=1) / np.linalg.norm(x, axis=1)) / (root - 1)).astype(x.dtype)


def _kurtosis(x: AnyArray) -> AnyArray:
    squares = np.square(x)
    return np.square(squares).mean(axis=1) / squares.mean(axis=1) ** 2 - 3


def _zero_fraction(x: AnyArray) -> AnyArray:
    fraction = np.mean(x == 0, axis=1) / (1 - 1 / x.shape[1])
    return np.where(np.isnan(x[:, 0]), np.nan, fraction).astype(x.dtype)


_MEASURES = {"treves_rolls": _treves_rolls, "hoyer": _hoyer, "kurtosis": _kurtosis, "l0": _zero_fraction}
