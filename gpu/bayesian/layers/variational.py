"""What linear and convolutional layers with normal weights have in common."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from sparsetheory.constraints import MISSING, POSITIVE, Choice
from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.sparse_products import Support, support_of
from sparsetheory.gpu.bayesian.layers.tracing import is_traced
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["SAMPLING", "VariationalLayer"]

SAMPLING = Choice("local", "weights", "mean")


class VariationalLayer(nn.Module):
    """A layer whose weights are independent normal variables on a mask, and zero off it.

    The base of :class:`BayesLinear` and :class:`BayesConv2d`, which are also the layers of torch. Biases are plain
    parameters.

    A call draws noise in one of three ways. ``"local"`` draws the outputs, each sample and each output for itself, from
    the mean and the variance that the weights give them [1]_: two products with sparse matrices, the second one with
    squares. ``"weights"`` draws one set of weights for all samples of the batch: one product. ``"mean"`` draws nothing.
    Of a linear layer the first two have the same distribution for each sample by itself. Of a convolution only single
    outputs have it: places that share weights are correlated, and local noise is not.

    Training and evaluation mode change nothing, so that dropout and normalisation may be in evaluation mode while
    weights are drawn. A deterministic model is one under :func:`sampling` with ``"mean"``. Code that reads `weight`
    itself instead of calling the layer sees means: ``torch.nn.TransformerEncoderLayer`` does so in evaluation mode
    without gradients, unless ``torch.backends.mha.set_fastpath_enabled(False)``.

    Attributes
    ----------
    weight : Parameter
        Means. They count on the mask only, whatever is stored off it.
    rho : Parameter of the shape of `weight`
        Standard deviations are ``log(1 + exp(rho))``, at least 1e-12.
    mask : Tensor of bool of the shape of `weight`
        Which weights there are; a buffer, and so a part of ``state_dict()``. It is changed in place, by
        :meth:`set_mask` or by a controller that was given it. On other devices than the CPU not through ``mask.data``,
        as torch does not count such changes and the layer would not see them.
    bias : Parameter or None
        Not random.
    sampling : {"local", "weights", "mean"}
        How a call draws noise.
    generator : torch.Generator or None
        Source of the noise on the CPU; None for the global stream of the device of the weights. Its state is not a part
        of ``state_dict()``, and activation checkpointing, which runs calls again, restores the global stream only.
    prior_std : float or None
        Standard deviation of the prior, for :meth:`kl`.
    dense_gradient : bool
        Whether the gradient of `weight` is dense, which scores of weights that may enter the mask ask for. By default
        it is zero off the mask, and so are its norm, moments and updates.

    References
    ----------
    .. [1] D. P. Kingma, T. Salimans, M. Welling. Variational dropout and the local reparameterization trick.
       NeurIPS 2015, arXiv 1506.02557.
    """

    weight: Tensor
    rho: nn.Parameter
    bias: Tensor | None
    mask: Tensor
    generator: torch.Generator | None
    prior_std: float | None
    dense_gradient: bool

    @property
    def sampling(self) -> str:
        """How a call draws noise: "local", "weights" or "mean"."""
        return self._sampling

    @sampling.setter
    def sampling(self, how: str) -> None:
        self._sampling: str = SAMPLING.check("sampling", how)

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, zero off the mask; differentiable."""
        if self._is_watched():
            return torch.where(self.mask, positive(self.rho), 0.0)
        support = self._support_now()
        return support.matrix(positive(self._values(self.rho, support))).reshape(self.rho.shape)

    @property
    def mean(self) -> Tensor:
        """Means, zero off the mask; differentiable, with a gradient as `dense_gradient` says."""
        if self._is_watched():
            mean = torch.where(self.mask, self.weight, 0.0)
        else:
            support = self._support_now()
            mean = support.matrix(self._values(self.weight, support)).reshape(self.weight.shape)
        # The difference has the value 0 exactly, and the gradient of the weight itself.
        return mean.detach() + (self.weight - self.weight.detach()) if self.dense_gradient else mean

    def set_mask(self, mask: Tensor) -> None:
        """Copy a mask into that of the layer, and set means and `rho` to zero off it.

        Parameters
        ----------
        mask : Tensor of bool of the shape of the weight

        Raises
        ------
        ValueError
            If it is none.
        """
        if mask.dtype != torch.bool or mask.shape != self.weight.shape:
            raise ValueError(
                f"mask must be a bool tensor of shape {tuple(self.weight.shape)}; "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        with torch.no_grad():
            self.mask.copy_(mask)
            for values in (self.weight, self.rho):
                values.masked_fill_(~self.mask, 0)

    def kl(self, prior_std: float | None = None) -> Tensor:
        r"""Return the divergence of the weights on the mask from independent N(0, prior_std^2), in nats.

        .. math:: \sum_i \ln(\sigma_p / \sigma_i) + (\sigma_i^2 + \mu_i^2) / (2 \sigma_p^2) - 1/2

        Parameters
        ----------
        prior_std : float, optional
            By default that of the layer.

        Returns
        -------
        Tensor of shape ()
            In float32, or the dtype of the weights if that is wider. Its gradient is zero off the mask.

        Raises
        ------
        ValueError
            If `prior_std` is not positive, or neither argument nor layer has one.
        """
        scale = POSITIVE.check("prior_std", self.prior_std if prior_std is None else prior_std)
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        if self._is_watched():
            # Off the mask a term is that of the prior itself, 0.
            mean = torch.where(self.mask, self.weight, 0.0).to(wide)
            sigma = torch.where(self.mask, positive(self.rho.to(wide)), scale)
        else:
            support = self._support_now()
            mean = self._values(self.weight, support).to(wide)
            sigma = positive(self._values(self.rho, support).to(wide))
        return ((sigma.square() + mean.square()) / (2 * scale**2) - (sigma / scale).log() - 0.5).sum()

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs with the noise that `sampling` says."""
        if self.sampling == "mean":
            return self._product(x, self.mean, self.bias)
        if self.sampling == "weights":
            return self._product(x, self.draw_weight(), self.bias)
        return self._noisy(self._product(x, self.mean, self.bias), self._variance(x))

    def draw_weight(self) -> Tensor:
        """Return one set of weights, zero off the mask; differentiable."""
        return self.mean + self.sigma * self._weight_noise()

    def extra_repr(self) -> str:
        """Return the arguments of the layer, with the share of its weights that the mask keeps."""
        share = float(self.mask.double().mean()) if self.mask.numel() and not self.mask.is_meta else 1.0
        return f"{super().extra_repr()}, density={share:.4g}, sampling={self.sampling!r}"

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return what the plain layer with these weights returns."""
        raise NotImplementedError

    def _variance(self, x: Tensor) -> Tensor:
        """Return the variances of the outputs."""
        kind = x.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        if half != torch.float16:
            return self._product(x.square(), self.sigma.square(), None)
        # Squares of deviations are below what float16 holds, and squares of inputs above.
        with torch.autocast(kind, enabled=False):
            return self._product(x.float().square(), self.sigma.float().square(), None)

    def _noisy(self, mean: Tensor, variance: Tensor) -> Tensor:
        # A constant that is added would be noise where no active weight sees an input. The root has a finite gradient.
        std = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        return mean + (std * self._noise(mean)).to(mean.dtype)

    def _noise(self, like: Tensor) -> Tensor:
        """Return standard normal numbers of the shape of a tensor."""
        if self.generator is None:
            # Not randn_like: it draws in the order of memory, which says how the tensor was computed.
            return torch.randn(like.shape, dtype=like.dtype, device=like.device)
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype, device="cpu").to(like.device)

    def _weight_noise(self) -> Tensor:
        if self.mask.is_meta or is_traced():
            return self._noise(self.weight)
        # As many numbers as there are weights, so that the stream does not depend on how products are computed.
        support = self._support_now()
        return support.matrix(self._noise(support.values(self.weight.detach()))).reshape(self.weight.shape)

    def _is_watched(self) -> bool:
        """Return whether masks must be applied entry by entry, which takes longer: where they are is not known."""
        if self.mask.is_meta or is_traced():
            return True
        # On the CPU masks are compared; another device would have to be waited for, at every call.
        return self.mask.device.type != "cpu" and _has_other_workers()

    def _support_now(self) -> Support:
        """Return the support of the mask, made anew where the mask has changed since the last call."""
        mask = self.mask
        on_cpu = mask.device.type == "cpu"
        if not on_cpu and (mask.is_inference() or _has_other_workers()):  # changes are not counted
            return support_of(mask)
        kept: tuple[Tensor, int, Support] | None = self.__dict__.get("_known")
        if on_cpu:
            # Contents are compared, which takes no time: other workers and processes change masks without a trace.
            same = kept is not None and np.array_equal(kept[0].numpy(), mask.numpy())
        else:
            same = kept is not None and kept[0] is mask and kept[1] == mask._version
        if kept is None or not same:
            # Tensors that were made in inference mode could not be trained with afterwards.
            with torch.inference_mode(False):
                kept = (mask.clone(), 0, support_of(mask)) if on_cpu else (mask, mask._version, support_of(mask))
            self.__dict__["_known"] = kept
        return kept[2]

    def _values(self, parameter: Tensor, support: Support) -> Tensor:
        """Return the entries of a parameter on the support.

        Calls of one step share them, so that their derivatives are added up before one becomes dense.
        """
        values = support.values(parameter)
        # Of a full mask the values are a view, whose graph must not outlive a change of the parameter in place.
        if support.is_full or not values.requires_grad or not parameter.is_leaf or parameter.device.type != "cpu":
            return values
        shared = self.__dict__.setdefault("_shared", {})
        kept: tuple[Tensor, Support, Tensor] | None = shared.get(parameter is self.rho)
        same = kept is not None and kept[0] is parameter and kept[1] is support and kept[2].dtype == values.dtype
        if kept is None or not same or not torch.equal(kept[2], values):
            kept = shared[parameter is self.rho] = (parameter, support, values)
        return kept[2]

    def __getstate__(self) -> dict[str, Any]:
        # A copied mask counts its changes from 0 again, and only leaves of a graph can be copied.
        return {name: value for name, value in self.__dict__.items() if name not in ("_known", "_shared")}

    def _make_variational(
        self,
        sampling: str = "local",
        prior_std: float | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        """Add what a plain layer lacks; all weights are on the mask."""
        self.sampling = sampling
        self.prior_std = (MISSING | POSITIVE).check("prior_std", prior_std)
        self.generator = None if generator is None else cpu_generator(generator)
        self.dense_gradient = False
        rho = torch.full_like(self.weight.detach(), -5.0)
        self.rho = nn.Parameter(rho, requires_grad=self.weight.requires_grad)
        self.register_buffer("mask", torch.ones_like(rho, dtype=torch.bool))


def _has_other_workers() -> bool:
    """Return whether other workers may write to masks, as they broadcast their buffers."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
