"""Scores by which inactive weights enter: the largest are added."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.bayesian.subspace.addition_formulas import addition_gain, check_addition
from sparsetheory.bayesian.subspace.elementwise import NUMPY, common_shape
from sparsetheory.typing import FloatArray

__all__ = ["addition_score"]


def addition_score(
    grad: ArrayLike, curvature: ArrayLike | None = None, *, prior_std: float | None = None, rule: str = "grad"
) -> FloatArray:
    r"""Return how much is won with each new weight, the others as they are: the largest scores are added.

    Only weights that may be added should be compared; entries that are active already are for the caller to leave out,
    as ``sparsetheory.gpu.core.rewire`` does with its mask.

    Parameters
    ----------
    grad : array-like
        Gradient by the mean of each weight at zero; its sign does not matter. For "gain" that of the log likelihood of
        all the data in nats: n over the temperature times the gradient of a mean loss.
    curvature : array-like, broadcastable against `grad`, optional
        Second derivatives of the negative log likelihood in the same unit, at least zero; needed for "gain".
    prior_std : float, optional
        Standard deviation :math:`\sigma_p` of the prior; needed for "gain".
    rule : {"grad", "gain"}
        - "grad": :math:`|g|`, the gain where all curvatures are equal, up to its order.
        - "gain": :math:`\frac{g^2}{2 (h + \sigma_p^{-2})} - \frac12 \ln(1 + \sigma_p^2 h)` nats, by which the evidence
          bound of a linear model rises if the weight gets its best law, of variance :math:`v = 1 / (h +
          \sigma_p^{-2})` and mean v g. Negative where a weight would not pay.

    Returns
    -------
    ndarray of the shape of `grad` and `curvature` together
        In single precision if the arguments have it, else in double precision.

    Raises
    ------
    ValueError
        If an entry is not finite, a curvature is negative, shapes do not fit, the rule is not known, or what it needs
        is missing.

    Notes
    -----
    The gain of a weight that has just been removed is its score "savage_dickey" of :func:`removal_score`. In
    networks the gain is not exact; there, unlike in linear models, gradients alone often choose better. O(size)
    operations.

    Examples
    --------
    Of two columns with the same gradient the one of little curvature has more to gain:

    >>> addition_score([3.0, 3.0], [1.0, 9.0], prior_std=1.0, rule="gain").round(3).tolist()
    [1.903, -0.701]
    """
    check_addition(rule, curvature, prior_std)
    slopes = finite_array("grad", grad)
    if rule == "grad":
        return np.asarray(np.abs(slopes))
    bends = finite_array("curvature", curvature)
    if (bends < 0).any():
        raise ValueError(f"curvature must not be negative; got {bends.min():g}")
    common_shape(grad=slopes.shape, curvature=bends.shape)
    assert prior_std is not None
    with np.errstate(all="ignore"):
        return np.asarray(addition_gain(NUMPY, slopes, bends, float(prior_std)))
