"""Why training begins by shrinking activations: their expected gradient under random output weights."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import POSITIVE, Choice, Integer
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["GradientCheck", "expected_activation_gradient"]

# Numbers drawn at a time.
_CHUNK = 2**21


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """Expected gradient of a loss by activations, by a formula and by simulation, from the same draws.

    Parameters
    ----------
    closed_form : Tensor of float64 of shape (features,)
        By the formula. For cross-entropy its one factor, a mean over logits, is itself estimated.
    monte_carlo : Tensor of float64 of shape (features,)
        Mean of gradients.
    standard_error : Tensor of float64 of shape (features,)
        Of the difference of the two.
    """

    closed_form: Tensor
    monte_carlo: Tensor
    standard_error: Tensor


def expected_activation_gradient(
    a: Tensor,
    weight_std: float,
    n_classes: int,
    loss: str,
    generator: torch.Generator | int | None = 0,
    *,
    n_draws: int = 10_000,
) -> GradientCheck:
    r"""Return the mean gradient of a loss of logits ``V a`` by the activations a, over random weights V and labels.

    Parameters
    ----------
    a : Tensor of shape (features,)
        Activations.
    weight_std : float
        Standard deviation s of the entries of V, which are normal and independent of a.
    n_classes : int
        Rows C of V, at least 2.
    loss : {"cross_entropy", "squared"}
        Cross-entropy in nats; or half the squared distance of the logits to the label, a unit vector.
    generator : torch.Generator, int or None
        Source of weights and labels, drawn on the CPU.
    n_draws : int
        Weights that are drawn, at least 2.

    Returns
    -------
    GradientCheck

    Notes
    -----
    Let p be the softmax of the logits and y the label, a unit vector that does not depend on V.

    1. Cross-entropy: the gradient is :math:`\sum_c V_{ci} (p_c - y_c)`, and the part of y has mean 0.
    2. Stein's identity for a normal number, :math:`E[V f(V)] = s^2 E[f'(V)]`, and
       :math:`\partial p_c / \partial V_{ci} = a_i p_c (1 - p_c)` give :math:`s^2 a_i E[1 - \sum_c p_c^2]`.
    3. Squared loss: the gradient is :math:`\sum_c V_{ci} ((V a)_c - y_c)`, with mean :math:`C s^2 a_i`.

    Both are a positive number times :math:`a_i`: whatever the labels are, gradient descent shrinks what is active.
    The paper's own theorem was not at hand; this derivation is ours.

    Examples
    --------
    >>> import torch
    >>> found = expected_activation_gradient(torch.tensor([2.0, 0.0]), 0.5, 4, "squared")
    >>> found.closed_form  # 4 * 0.25 * a
    tensor([2., 0.], dtype=torch.float64)
    >>> bool(((found.monte_carlo - found.closed_form).abs() < 5 * found.standard_error).all())
    True
    """
    POSITIVE.require(weight_std=weight_std)
    Integer(2).require(n_classes=n_classes, n_draws=n_draws)
    Choice("cross_entropy", "squared").require(loss=loss)
    if a.ndim != 1 or not a.numel() or not a.isfinite().all():
        raise ValueError(f"a must be a vector of finite numbers; got shape {tuple(a.shape)}")
    source, values = cpu_generator(generator), a.detach().double().cpu()
    shape, chunk = (n_classes, a.numel()), max(1, _CHUNK // (n_classes * a.numel()))
    formula, simulated, squares = (torch.zeros_like(values) for _ in range(3))
    for start in range(0, n_draws, chunk):
        n = min(chunk, n_draws - start)
        V = weight_std * torch.randn((n, *shape), dtype=torch.float64, generator=source)
        labels = functional.one_hot(torch.randint(n_classes, (n,), generator=source), n_classes).double()
        outputs = V @ values
        if loss == "squared":
            factor, slope = torch.full((n,), float(n_classes), dtype=torch.float64), outputs - labels
        else:
            p = outputs.softmax(1)
            factor, slope = 1 - p.square().sum(1), p - labels
        means, gradients = weight_std**2 * factor[:, None] * values, torch.einsum("nc,ncf->nf", slope, V)
        formula += means.sum(0) / n_draws
        simulated += gradients.sum(0) / n_draws
        squares += (gradients - means).square().sum(0) / n_draws
    # The variance of a mean of n draws, from n - 1 degrees of freedom.
    variance = (squares - (simulated - formula).square()).clamp(min=0) / (n_draws - 1)
    return GradientCheck(*(part.to(a.device) for part in (formula, simulated, variance.sqrt())))
