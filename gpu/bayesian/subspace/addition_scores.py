"""Scores by which inactive weights enter, for tensors: the largest are added."""

from torch import Tensor

from sparsetheory.bayesian.subspace.addition_formulas import addition_gain, check_addition
from sparsetheory.bayesian.subspace.elementwise import common_shape
from sparsetheory.gpu.bayesian.subspace.torch_functions import TORCH
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["addition_score"]


def addition_score(
    grad: Tensor, curvature: Tensor | None = None, *, prior_std: float | None = None, rule: str = "grad"
) -> Tensor:
    """Return how much is won with each new weight, the others as they are: the largest scores are added.

    The twin of :func:`sparsetheory.bayesian.addition_score`, which has the formulas, on any device. Entries that are
    active already are for the caller to leave out, as :func:`sparsetheory.gpu.core.rewire` does.

    Parameters
    ----------
    grad : Tensor
        Gradient by the mean of each weight at zero; its sign does not matter. For "gain" in nats: where the loss is the
        mean over n samples, n over the temperature times its gradient.
    curvature : Tensor, broadcastable against `grad`, optional
        Second derivatives of the loss in the same unit, at least zero, as of :class:`FisherDiagonal` times n over the
        temperature; needed for "gain".
    prior_std : float, optional
        Standard deviation of the prior; needed for "gain".
    rule : {"grad", "gain"}
        Magnitudes of the gradient, or the gain of the evidence bound in nats.

    Returns
    -------
    Tensor of the shape of `grad` and `curvature` together
        In float64 if an argument has it, else in float32; without gradients.

    Raises
    ------
    TypeError
        If `grad` or `curvature` is not a tensor of floating-point numbers.
    ValueError
        If an entry is not finite, a curvature is negative, shapes do not fit, devices differ, the rule is not known, or
        what it needs is missing.

    Examples
    --------
    >>> import torch
    >>> grad, curvature = torch.tensor([3.0, 3.0]), torch.tensor([1.0, 9.0])
    >>> addition_score(grad, curvature, prior_std=1.0, rule="gain")
    tensor([ 1.9034, -0.7013])
    """
    check_addition(rule, curvature, prior_std)
    slopes = finite_tensor("grad", grad)
    if rule == "grad":
        return slopes.abs().to(working_dtype(slopes))
    bends = finite_tensor("curvature", curvature)
    together(grad=slopes, curvature=bends)
    if bool((bends < 0).any()):
        raise ValueError(f"curvature must not be negative; got {float(bends.min()):g}")
    common_shape(grad=slopes.shape, curvature=bends.shape)
    assert prior_std is not None
    dtype = working_dtype(slopes, bends)
    gain: Tensor = addition_gain(TORCH, slopes.to(dtype), bends.to(dtype), float(prior_std))
    return gain
