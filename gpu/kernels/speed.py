"""What sparsity gains: a model of the time of sparse and dense products."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.constraints import Real

__all__ = ["SpeedModel", "speed_model"]

_RATE = Real(0.0, closed="neither")
_SPARSITY = Real(0.0, 1.0)


@dataclass(frozen=True)
class SpeedModel:
    """Gain of a sparse product over a dense one.

    Parameters
    ----------
    speedup : float
        Time of the dense product over that of the sparse one; infinite without any weight.
    break_even_sparsity : float
        Share of zeros at which both take the same time. Negative where the sparse product is always faster.
    """

    speedup: float
    break_even_sparsity: float


def speed_model(rate_sparse: float, rate_dense: float, sparsity: float) -> SpeedModel:
    """Predict the gain of sparsity from two rates.

    A product with a matrix of m x k weights at P positions takes ``2 m k P / rate_dense`` seconds dense, and
    ``2 (1 - sparsity) m k P / rate_sparse`` seconds if zeros are skipped. Costs that do not grow with the weights are
    left out, so it is the limit for large layers. The ratio of both times is

    ``speedup = rate_sparse / (rate_dense (1 - sparsity))``,

    which is 1 at ``sparsity = 1 - rate_sparse / rate_dense``, more beyond it and less before it.

    Parameters
    ----------
    rate_sparse, rate_dense : float
        Operations per second, those with zeros not counted; :func:`measure_rates` measures them.
    sparsity : float in [0, 1]
        Share of zeros.

    Returns
    -------
    SpeedModel

    Raises
    ------
    ValueError
        If a rate is not positive, or the sparsity no share.

    Examples
    --------
    >>> speed_model(25e9, 100e9, 0.9)
    SpeedModel(speedup=2.5000000000000004, break_even_sparsity=0.75)
    """
    _RATE.require(rate_sparse=rate_sparse, rate_dense=rate_dense)
    _SPARSITY.check("sparsity", sparsity)
    ratio = rate_sparse / rate_dense
    return SpeedModel(ratio / (1 - sparsity) if sparsity < 1 else np.inf, 1 - ratio)
