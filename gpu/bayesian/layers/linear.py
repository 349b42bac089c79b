"""A linear layer with normal weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import Choice, Instance
from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.sparse_products import Support, moments
from sparsetheory.gpu.bayesian.layers.tracing import is_traced
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["BayesLinear"]

_BACKEND = Choice("auto", "dense", "sparse")
_TENSOR = Instance(Tensor, "a tensor")
# Up to here the products on the support take less time than dense ones, on one thread.
_DENSITY = 0.1


class BayesLinear(VariationalLayer, nn.Linear):  # type: ignore[misc]  # torch calls a bias that may be None a tensor
    """A linear layer whose weights are independent normal variables.

    What a call draws says :class:`VariationalLayer`.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As :class:`torch.nn.Linear` takes them.
    sampling : {"local", "weights", "mean"}
        How a call draws noise.
    prior_std : float, optional
        Standard deviation of the prior, for :meth:`kl`.
    backend : {"auto", "dense", "sparse"}
        How products are computed. ``"sparse"``, on the CPU in float32 and float64, goes through the weights on the mask
        alone, forward and backward, on one thread: both products read the inputs once, and of the derivative by the
        weights only entries on the mask are computed, unless :attr:`dense_gradient` asks for all. ``"auto"`` takes it
        where at most 10 % of the weights are on the mask, outside of ``torch.compile``, autocast and function
        transforms; whatever counts or traces operations sees the dense one.
    generator : torch.Generator or int, optional
        Source of the noise, on the CPU; by default the global stream.

    Notes
    -----
    Both backends draw the same noise and differ by rounding. Infinite inputs are the exception: in dense products they
    meet the zeros off the mask and make NaN.

    Examples
    --------
    >>> import torch
    >>> layer = BayesLinear(2, 2, bias=False, sampling="mean", prior_std=1.0)
    >>> layer.set_mask(torch.tensor([[True, False], [False, False]]))
    >>> x = torch.tensor([[3.0, 5.0]])
    >>> bool(layer(x)[0, 0] == 3 * layer.weight[0, 0]), layer(x)[0, 1].item()
    (True, 0.0)
    >>> layer.kl().backward()
    >>> bool((layer.rho.grad[~layer.mask] == 0).all())
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        sampling: str = "local",
        prior_std: float | None = None,
        backend: str = "auto",
        generator: torch.Generator | int | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._make_variational(sampling, prior_std, generator)
        self.backend = backend

    @property
    def backend(self) -> str:
        """How products are computed: "auto", "dense" or "sparse"."""
        return self.__dict__.get("_backend", "auto")

    @backend.setter
    def backend(self, backend: str) -> None:
        self._backend = _BACKEND.check("backend", backend)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs with the noise that `sampling` says."""
        _TENSOR.check("x", x)
        support = self._support(x)
        return super().forward(x) if support is None else self._sparse(x, support)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    def _sparse(self, x: Tensor, support: Support) -> Tensor:
        means = support.values(self.weight.detach()) if self.dense_gradient else self._values(self.weight, support)
        variances = None
        if self.sampling != "mean":
            sigma = positive(self._values(self.rho, support))
            if self.sampling == "weights":
                means = means + sigma * self._noise(sigma)
            else:
                variances = sigma.square()
        mean, variance = moments(x, means, variances, support)
        if self.dense_gradient and self.weight.requires_grad:
            mean = _WithDenseGradient.apply(mean, x, self.weight)
        if self.bias is not None:
            mean = mean + self.bias
        return mean if variance is None else self._noisy(mean, variance)

    def _support(self, x: Tensor) -> Support | None:
        """Return the support of the mask if products are to be computed on it."""
        if self.backend == "dense":
            return None
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype in (torch.float32, torch.float64)
        if self.backend == "sparse":
            if not plain:
                raise ValueError(
                    "backend must be 'auto' or 'dense' unless inputs are on the CPU and have the dtype of the weights, "
                    f"float32 or float64; got 'sparse' for {x.dtype} on {x.device}, weights {self.weight.dtype}"
                )
            return self._support_now()
        if not plain or type(x) not in (Tensor, nn.Parameter) or torch.is_autocast_enabled("cpu") or is_traced():
            return None
        support = self._support_now()
        return support if support.density <= _DENSITY else None


class _WithDenseGradient(torch.autograd.Function):
    """Products as they are, whose derivative by the weight is the dense one.

    The derivative by the inputs is that of the products. They are an argument only so that a second derivative, of the
    derivative by the weight, finds them.
    """

    @staticmethod
    def forward(ctx: Any, product: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return product.view_as(product)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0], None, _rows(grads[0]).mT @ _rows(x)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
