"""Models whose linear and convolutional layers have normal weights."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG, NONNEGATIVE, POSITIVE, Choice, Real, Several
from sparsetheory.gpu.bayesian.layers.conv import BayesConv2d
from sparsetheory.gpu.bayesian.layers.linear import BayesLinear
from sparsetheory.gpu.bayesian.layers.softplus import SMALLEST, inverse_softplus
from sparsetheory.gpu.bayesian.layers.variational import SAMPLING, VariationalLayer
from sparsetheory.gpu.core.layers import check_own_weights, find_layers
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["bayesianise"]

_SHARE = Real(0.0, 1.0, closed="right")
_MEANS = NONNEGATIVE | Choice("fan_in", "pretrained")
_TWO = Several(NONNEGATIVE, "two finite non-negative numbers, mean and standard deviation")
_CLASSES: dict[type[nn.Module], type[VariationalLayer]] = {nn.Linear: BayesLinear, nn.Conv2d: BayesConv2d}


def bayesianise(
    model: nn.Module,
    density: float,
    *,
    prior_std: float = 0.005,
    mu_std: float | str = 0.01,
    sigma_init: tuple[float, float] = (6e-4, 5e-4),
    dense_first: bool = True,
    layers: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    sampling: str = "local",
    generator: torch.Generator | int | None = None,
) -> nn.Module:
    """Give linear and convolutional layers of a model normal weights on random masks, in place.

    Biases, normalisations, embeddings and all other parts stay as they are. Each layer keeps its identity, its hooks
    and its parameters: `weight` now holds means, and there is a new parameter `rho`, so make the optimiser afterwards.

    Parameters
    ----------
    model : torch.nn.Module
    density : float
        Share of the weights of each layer that are on its mask, in (0, 1]: ``round(density * size)`` of them.
    prior_std : float
        Standard deviation of the prior, kept in the layers for :meth:`VariationalLayer.kl`.
    mu_std : float or {"fan_in", "pretrained"}
        Standard deviation of the initial means around 0; ``"fan_in"`` stands for ``1 / sqrt(fan_in * density)``, which
        keeps the size of activations. With ``"pretrained"`` the weights become the means, and masks are not random:
        they keep the weights of the largest magnitude.
    sigma_init : tuple of float
        Initial standard deviations are sizes of normal numbers with this mean and this standard deviation.
    dense_first : bool
        Whether the first of these layers keeps all its weights.
    layers, exclude : str or sequence of str
        Names or shell patterns, as :func:`find_layers` takes them.
    sampling : {"local", "weights", "mean"}
        How calls draw noise; see :class:`VariationalLayer`.
    generator : torch.Generator or int, optional
        Source of masks and initial values, on the CPU. It is not that of the noise.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Raises
    ------
    ValueError
        If an argument is out of range; a mask would have no weight; the weight of a layer is computed from others or
        belongs to other layers too; or a layer is of another class than ``nn.Linear`` and ``nn.Conv2d``, as one that
        has normal weights already. The model is then unchanged.

    Notes
    -----
    Defaults are those of [1]_. Grouped convolutions are no matrices and stay as they are;
    :class:`BayesConv2d` itself takes groups.

    References
    ----------
    .. [1] J. Li, Z. Miao, Q. Qiu, R. Zhang. Training Bayesian neural networks with sparse subspace variational
       inference. ICLR 2024, arXiv 2402.11025.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> bayesianise(model, 0.05, generator=0)
    Sequential(
      (0): BayesLinear(in_features=64, out_features=32, bias=True, density=1, sampling='local')
      (1): ReLU()
      (2): BayesLinear(in_features=32, out_features=10, bias=True, density=0.05, sampling='local')
    )
    """
    _SHARE.require(density=density)
    POSITIVE.require(prior_std=prior_std)
    _MEANS.require(mu_std=mu_std)
    FLAG.require(dense_first=dense_first)
    SAMPLING.require(sampling=sampling)
    source = cpu_generator(generator)
    if not _TWO.accepts(sigma_init) or len(sigma_init) != 2 or not any(sigma_init):
        raise ValueError(f"sigma_init must be {_TWO}, not both 0; got {sigma_init!r}")
    chosen = find_layers(model, layers, exclude)
    shares = {name: 1.0 if dense_first and index == 0 else float(density) for index, name in enumerate(chosen)}
    _check(model, chosen, shares)
    for name, layer in chosen.items():
        layer.__class__ = _CLASSES[type(layer)]
        assert isinstance(layer, VariationalLayer)
        layer._make_variational(sampling, prior_std)
        _start(layer, shares[name], mu_std, sigma_init, source)
    return model


def _check(model: nn.Module, chosen: dict[str, nn.Module], shares: dict[str, float]) -> None:
    check_own_weights(model, chosen)
    for name, layer in chosen.items():
        if type(layer) not in _CLASSES:
            raise ValueError(
                f"layers must be of the classes nn.Linear or nn.Conv2d; {name or 'the model'} is "
                f"{type(layer).__name__}: leave it out"
            )
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if round(shares[name] * weight.numel()) < 1:
            raise ValueError(
                f"density must keep at least one of the {weight.numel()} weights of {name or 'the model'}; "
                f"got {shares[name]:g}"
            )


def _start(
    layer: VariationalLayer,
    density: float,
    mu_std: float | str,
    sigma_init: tuple[float, float],
    source: torch.Generator,
) -> None:
    shape = tuple(layer.weight.shape)

    def normal(mean: float, std: float) -> Any:
        return mean + std * torch.randn(shape, generator=source)

    with torch.no_grad():
        if mu_std == "pretrained":
            order = layer.weight.detach().abs().flatten().argsort(descending=True, stable=True)
            mask = torch.zeros(layer.weight.numel(), dtype=torch.bool, device=order.device)
            mask[order[: round(density * mask.numel())]] = True
            mask = mask.reshape(shape)
        else:
            mask = random_masks({"layer": shape}, {"layer": density}, source)["layer"]
            std = 1 / math.sqrt(math.prod(shape[1:]) * density) if mu_std == "fan_in" else float(mu_std)
            layer.weight.copy_(normal(0.0, std))
        sigma = normal(*sigma_init).abs().double().clamp_min(SMALLEST)
        layer.rho.copy_(inverse_softplus(sigma))
        layer.set_mask(mask)
