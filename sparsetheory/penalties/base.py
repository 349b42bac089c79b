"""What all separable penalties have in common."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array
from sparsetheory.constraints import FLAG, NONNEGATIVE, POSITIVE, Real
from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.penalties.definition import PenaltyFamily
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["Penalty"]


def _numbers(name: str, given: Any) -> Float64Array:
    array = np.asarray(given)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a real number; got {given!r}")
    return array.astype(np.float64)


def _checked(name: str, given: Any, allowed: Real, *, per_feature: bool = False) -> Any:
    """Return a float, or a read-only vector, whose entries are allowed."""
    numbers = _numbers(name, given)
    if numbers.ndim > per_feature or numbers.size == 0:
        raise ValueError(f"{name} must be a number{' or a vector' * per_feature}; got shape {numbers.shape}")
    # Not-a-number is both the least and the largest entry where there is one.
    for extreme in (numbers.min(), numbers.max()):
        allowed.check(name, float(extreme))
    numbers.flags.writeable = False
    return numbers if numbers.ndim else float(numbers)


@dataclass(frozen=True, repr=False)
class Penalty(PenaltyFamily):
    """A sum over entries of one function of their absolute values, zero at zero and nondecreasing.

    The classes of :mod:`sparsetheory.penalties.separable` derive from it. They are immutable. Entries that are not a
    number stay so.

    Attributes
    ----------
    alpha : float
        Strength, at least 0.
    positive : bool
        Whether entries must be at least zero: the penalty is infinite below.
    convex : bool
        Whether the penalty is convex.
    """

    alpha: float
    positive: bool = field(default=False, kw_only=True)
    # Tag by which compiled functions know the family.
    _tag: ClassVar[int]
    # The number beside alpha: its name, what it may be, and whether features may differ in it.
    _name: ClassVar[str] = ""
    _allowed: ClassVar[Real] = POSITIVE
    _per_feature: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _checked("alpha", self.alpha, NONNEGATIVE))
        object.__setattr__(self, "positive", FLAG.check("positive", self.positive))
        if self._name:
            number = _checked(self._name, getattr(self, self._name), self._allowed, per_feature=self._per_feature)
            object.__setattr__(self, self._name, number)

    def __repr__(self) -> str:
        given = [f.name for f in fields(self) if f.name != "positive"] + ["positive"] * self.positive
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in given)})"

    @property
    def kind(self) -> int:
        """Tag of the family, plus that of the sign: what compiled functions are given."""
        return self._tag + tags.POSITIVE * self.positive

    @property
    def l1_part(self) -> float:
        """The rho of a convex penalty, ``alpha (rho v + (1 - rho) v^2 / 2)``."""
        raise TypeError(f"only convex penalties are a mixture of l1 and a square; got {self!r}")

    def pull(self, correlations: Any) -> Any:
        """Return how hard correlations pull entries away from zero: by their sizes, upwards alone where `positive`."""
        return correlations if self.positive else np.abs(correlations)

    @property
    def shape(self) -> Any:
        """The number beside `alpha`, 0.0 where there is none; a vector if features differ."""
        return getattr(self, self._name) if self._name else 0.0

    def with_alpha(self, alpha: float) -> Self:
        """Return the same penalty with another strength."""
        return replace(self, alpha=alpha)

    def numbers(self, n_features: int, dtype: Any) -> tuple[FloatArray, FloatArray]:
        """Return `alpha` and the number beside it, one entry per feature.

        Raises
        ------
        ValueError
            If one is out of its interval once it is rounded to `dtype`.
        """
        alpha, shape = np.empty((2, n_features), dtype)
        with np.errstate(over="ignore"):
            alpha[:], shape[:] = self.alpha, self.shape
        if not np.isfinite(alpha).all():
            raise ValueError(f"alpha must be finite in {alpha.dtype}; got {self.alpha!r}")
        if (
            self._name
            and shape.size
            and not all(self._allowed.accepts(float(number)) for number in (shape.min(), shape.max()))
        ):
            raise ValueError(f"{self._name} must be {self._allowed} in {shape.dtype}; got {self.shape!r}")
        return alpha, shape

    def value(self, x: ArrayLike) -> float:
        """Return the penalty of `x`, summed over its entries.

        Parameters
        ----------
        x : array_like of shape (..., n_features) or a number

        Returns
        -------
        float
        """
        from sparsetheory.numba_kernels.penalties.thresholding import value_sum

        rows = self._rows("x", real_array("x", x))
        return float(value_sum(self.kind, rows, *self.numbers(rows.shape[1], rows.dtype)))

    def prox(self, x: ArrayLike, step: float = 1.0) -> Any:
        """Return the minimiser over z of ``||z - x||^2 / 2 + step * value(z)``, and zero where zero ties with it.

        Parameters
        ----------
        x : array_like of shape (..., n_features) or a number
            float32 and float64 are kept, integers become float64.
        step : float
            Above 0.

        Returns
        -------
        ndarray of the shape of `x`, or a NumPy scalar

        Raises
        ------
        TypeError
            If `x` is neither real nor integer.
        ValueError
            If `step` is not positive and finite, or the last axis of `x` does not fit a penalty with one number per
            feature.
        """
        from sparsetheory.numba_kernels.penalties.thresholding import prox_array

        step = _checked("step", step, POSITIVE)
        array = real_array("x", x)
        rows = self._rows("x", array)
        prox_array(self.kind, rows, step, *self.numbers(rows.shape[1], rows.dtype), rows)
        return rows.reshape(array.shape)[()]

    def subgrad_dist(self, x: ArrayLike, g: ArrayLike) -> Any:
        """Return, entry by entry, how far ``-g`` is from the limiting subdifferential of the penalty at `x`.

        Where `g` is the gradient of a smooth function, zero everywhere means that `x` is a critical point of the sum.

        Parameters
        ----------
        x, g : array_like
            They broadcast against each other; the last axis counts features.

        Returns
        -------
        ndarray, or a NumPy scalar
        """
        from sparsetheory.numba_kernels.penalties.thresholding import subgradient_distances

        point, gradient = np.broadcast_arrays(real_array("x", x), real_array("g", g))
        dtype = np.result_type(point, gradient)
        rows = self._rows("x", point.astype(dtype, copy=False))
        out = self._rows("g", gradient.astype(dtype, copy=False))
        subgradient_distances(self.kind, rows, out, *self.numbers(rows.shape[1], rows.dtype), out)
        return out.reshape(point.shape)[()]

    def zero_threshold(self, step: float = 1.0) -> Any:
        """Return the largest number that :meth:`prox` maps to zero, one per feature if features differ."""
        from sparsetheory.numba_kernels.penalties.proximal import zero_threshold

        return self._for_each_shape(zero_threshold, _checked("step", step, POSITIVE))

    def jump(self, step: float = 1.0) -> Any:
        """Return the size of the smallest nonzero value of :meth:`prox`, its limit at the threshold."""
        from sparsetheory.numba_kernels.penalties.proximal import jump

        return self._for_each_shape(jump, _checked("step", step, POSITIVE))

    def weak_convexity(self) -> float:
        """Return the least rho for which ``value(x) + rho ||x||^2 / 2`` is convex; infinite where there is none."""
        from sparsetheory.numba_kernels.penalties.proximal import weak_convexity

        return float(np.max(self._for_each_shape(weak_convexity)))

    def _for_each_shape(self, function: Any, *numbers: float) -> Any:
        if np.ndim(self.shape):
            return np.array([function(self.kind, *numbers, self.alpha, number) for number in self.shape])
        return float(function(self.kind, *numbers, self.alpha, self.shape))

    def _rows(self, name: str, array: FloatArray) -> FloatArray:
        """Return a C-ordered copy of shape (n, n_features)."""
        features = array.shape[-1] if array.ndim else 1
        if np.ndim(self.shape) and features != self.shape.size:
            raise ValueError(
                f"{name} must have {self.shape.size} entries in its last axis, one per entry of "
                f"{self._name}; got shape {array.shape}"
            )
        return np.array(array, order="C").reshape(array.size // max(features, 1), features)
