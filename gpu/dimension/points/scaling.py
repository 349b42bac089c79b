"""Power laws of losses in the number of samples."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["ScalingLaw", "fit_scaling_law"]


@dataclass(frozen=True)
class ScalingLaw:
    """A power law ``loss = exp(intercept) N**slope``.

    Parameters
    ----------
    slope : float
        Exponent; theory has ``-1 / d`` for data of intrinsic dimension d.
    intercept : float
        Logarithm of the loss at one sample.
    standard_error : float
        Of the slope, from the residuals; NaN with two numbers of samples.
    """

    slope: float
    intercept: float
    standard_error: float

    @property
    def dimension(self) -> float:
        """The dimension d with slope ``-1 / d``; infinite where the loss does not fall."""
        return -1 / self.slope if self.slope < 0 else math.inf

    def predict(self, N: Any) -> Float64Array:
        """Return the loss of the law at numbers of samples."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(N, dtype=np.float64)))


def fit_scaling_law(N: Any, loss: Any) -> ScalingLaw:
    r"""Fit a power law to losses by least squares in logarithms.

    Generalisation theory bounds the test loss by :math:`O(N^{-1/d})` for data of intrinsic dimension d. One over minus
    the slope is comparable with :func:`mle_dimension` as an order only: constants, noise and the optimiser matter.

    Parameters
    ----------
    N : array-like of shape (n,)
        Numbers of samples, above 0, at least two different ones.
    loss : array-like of shape (n,)
        Test losses, above 0.

    Returns
    -------
    ScalingLaw

    Raises
    ------
    ValueError
        If a number is not finite and positive, the lengths differ, or there are not two different numbers of samples.

    References
    ----------
    N. Konz and M. A. Mazurowski, ICLR 2024, arXiv:2401.08865.

    Examples
    --------
    >>> law = fit_scaling_law([100, 1000, 10000], [0.1, 0.01, 0.001])
    >>> round(law.slope, 9), round(law.dimension, 9)
    (-1.0, 1.0)
    """
    sizes, losses = (_positive(name, values) for name, values in (("N", N), ("loss", loss)))
    if sizes.shape != losses.shape:
        raise ValueError(f"loss must have one entry for each of {sizes.size} numbers of samples; got {losses.size}")
    x, y = np.log(sizes), np.log(losses)
    spread = float(((x - x.mean()) ** 2).sum())
    if len(np.unique(sizes)) < 2:
        raise ValueError("N must hold at least two different numbers of samples")
    slope = float((x - x.mean()) @ (y - y.mean())) / spread
    intercept = float(y.mean() - slope * x.mean())
    left = float(((y - intercept - slope * x) ** 2).sum())
    error = math.sqrt(left / (len(x) - 2) / spread) if len(x) > 2 else math.nan
    return ScalingLaw(slope, intercept, error)


def _positive(name: str, values: Any) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"{name} must hold finite positive numbers along one axis; got {values!r}")
    return array
