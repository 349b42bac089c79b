"""A joint embedding predictive architecture whose predictor says which group of features needs which latents."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, Instance, Real
from sparsetheory.gpu.core.models.activation import activation_module
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.schedules import Constant
from sparsetheory.gpu.representation.jepa.embeddings import CollapseError
from sparsetheory.gpu.representation.jepa.group_prox import shrunk
from sparsetheory.gpu.representation.jepa.partition import as_partition

__all__ = ["JEPAOutput", "SparseJEPA"]

_SHARE = Real(0.0, 1.0)
# Below this mean variance of its features a target is taken as collapsed; a feature below it is not blown up to 1.
_COLLAPSED = 1e-6


class JEPAOutput(NamedTuple):
    """What a forward pass returns; the first entry is the loss, as training loops expect it.

    Attributes
    ----------
    loss : Tensor of shape ()
        Mean squared error of the prediction, plus `beta` times the divergence of the latent variables. The penalty is
        not in it: the controller applies it.
    prediction, target : Tensor of shape (n, n_features)
        Of the standardised embedding of the target patch.
    latents : Tensor of shape (n, n_latents)
        What the context says about the target.
    """

    loss: Tensor
    prediction: Tensor
    target: Tensor
    latents: Tensor


class SparseJEPA(nn.Module):
    r"""Predict embeddings of hidden patches from those of visible ones, each group of features from few latents.

    An encoder maps every patch to features. Those of the visible patches and the places of what is visible and of what
    is wanted give latent variables z, by a linear map. Group g of the features of the wanted patch is predicted as
    :math:`V^{(g)} \sigma(W^{(g)} z + b) + c`, where the rows of V have norm 1, so that small W cannot be made up for.
    Targets come from a copy of the encoder whose weights are a moving average of those of the encoder, without
    gradients, and are standardised over the batch: without that the pair of encoders collapses.

    :class:`JEPAController` joins an optimiser. After every step of it, columns of each W shrink by
    :func:`group_soft_threshold`, and the moving average moves. A column that is zero says that the group does not use
    the latent variable; see :meth:`incidence`.

    Parameters
    ----------
    encoder : torch.nn.Module
        From patches of shape (n, n_patches, ...) to features of shape (n, n_patches, n_features), in single or double
        precision. It is trained in place.
    predictor_groups : sequence of sequences of int
        A partition of the features.
    alpha : float
        Strength of the penalty ``alpha sum_g sum_j ||W^(g)_j||``, at least 0; 0 is a JEPA without penalty.
    decay : float or callable
        Share of the moving average that a step keeps, from 0 to 1, or a schedule of it by steps done, such as
        ``Linear(0.996, n_steps, 1.0)``.
    n_patches : int
        Patches of a sample.
    n_latents : int
    width : int
        Rows of each W, the inner width of a group's predictor.
    beta : float
        Weight of the Kullback-Leibler divergence of the latents from N(0, 1), at least 0. Above 0 latents are random in
        training mode, with means and variances that the context gives.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}
    standardise : bool
        Whether latents have mean 0 and variance 1 over the batch, and in evaluation mode by running averages. Otherwise
        they grow where W shrinks, and the penalty loses its grip. Not where `beta` is above 0, which holds their scale.
    generator : torch.Generator, int or None
        Source of initial weights, and of a seed for the latents, drawn on the CPU.

    Attributes
    ----------
    target_encoder : torch.nn.Module
        Always in evaluation mode.
    group_weights : Parameter of shape (n_groups, width, n_latents)
        All W. Give it no weight decay, or a small one.
    step : Tensor of int64 of shape ()
        Optimiser steps done.

    Raises
    ------
    TypeError, ValueError
        If groups do not partition the features, a parameter of the encoder is of 16 bits, whose moving average would
        stand still, its parameters differ in precision or device, or a number is out of range.

    Notes
    -----
    Everything that a run needs to go on is in ``state_dict()``, the target encoder and the number of steps included.
    With Adam steps have the size of the learning rate whatever the loss, so that a column of W stays zero if `alpha`
    exceeds the norm of its normalised gradient, which is ``sqrt(width)`` at most for a steady gradient. With SGD a step
    is one of the proximal gradient method for loss plus penalty.

    References
    ----------
    Hartman and Varshney, "SparseJEPA: Sparse Representation Learning of Joint Embedding Predictive Architectures",
    arXiv 2504.16140, of which we know the abstract; the predictor follows Ainsworth, Foti, Lee, Fox, "oi-VAE: Output
    Interpretable VAEs for Nonlinear Group Factor Analysis", ICML 2018. Encoder pair: Assran et al., "Self-Supervised
    Learning from Images with a Joint-Embedding Predictive Architecture", CVPR 2023.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import Linear
    >>> from sparsetheory.gpu.representation import JEPAController, SparseJEPA
    >>> encoder = torch.nn.Linear(4, 6)
    >>> model = SparseJEPA(encoder, [[0, 1, 2], [3, 4, 5]], 8.0, Linear(0.996, 20, 1.0), n_patches=3, n_latents=5)
    >>> optimizer = torch.optim.AdamW(model.trained_parameters(), lr=0.1)
    >>> controller = JEPAController(optimizer, model)
    >>> patches = torch.randn(64, 3, 4, generator=torch.Generator().manual_seed(0))
    >>> context, target = torch.tensor([True, True, False]).expand(64, 3), torch.full((64,), 2)
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     model(patches, context, target).loss.backward()
    ...     optimizer.step()
    >>> model.incidence().any()  # so large a strength leaves no column
    tensor(False)
    """

    step: Tensor
    draws: Tensor
    latent_seed: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        predictor_groups: Sequence[Sequence[int]],
        alpha: float,
        decay: float | Callable[[int], float] = 0.996,
        *,
        n_patches: int,
        n_latents: int,
        width: int = 8,
        beta: float = 0.0,
        activation: str = "gelu",
        standardise: bool = True,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        Instance(nn.Module, "a torch module").check("encoder", encoder)
        self.groups = as_partition("predictor_groups", predictor_groups)
        self.alpha = NONNEGATIVE.check("alpha", alpha)
        self.beta = NONNEGATIVE.check("beta", beta)
        self._decay = decay if callable(decay) else Constant(_SHARE.check("decay", decay))
        COUNT.require(n_patches=n_patches, n_latents=n_latents, width=width)
        dtype, device = _place(encoder)
        self.encoder = encoder
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.n_patches, self.n_features = int(n_patches), sum(map(len, self.groups))
        source = cpu_generator(generator)
        n_groups, n_outputs = len(self.groups), int(n_latents) * (2 if self.beta else 1)
        standardised = FLAG.check("standardise", standardise) and not self.beta
        self.latent_norm = nn.BatchNorm1d(int(n_latents), affine=False) if standardised else None
        self.head_weight = _normal((n_outputs, self.n_patches * (self.n_features + 2)), source)
        # Standardised latents would not see a bias.
        self.head_bias = None if standardised else nn.Parameter(torch.zeros(n_outputs))
        self.group_weights = _normal((n_groups, int(width), int(n_latents)), source)
        self.group_bias = nn.Parameter(torch.zeros(n_groups, int(width)))
        self.output_weight = _normal((self.n_features, int(width)), source)
        self.output_bias = nn.Parameter(torch.zeros(self.n_features))
        self.activation = activation_module(activation)
        group_of = torch.empty(self.n_features, dtype=torch.int64)
        for number, group in enumerate(self.groups):
            group_of[group] = number
        self.register_buffer("group_of", group_of)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # Every batch of random latents has a seed of its own, so that a run that is continued draws what it would have.
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("latent_seed", torch.randint(2**31, (), generator=source))
        self.to(device=device, dtype=dtype)
        self.train(encoder.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules but the target encoder, which stays in evaluation mode."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters to give to an optimiser: all but those of the target encoder."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, patches: Tensor, context: Tensor, target: Tensor) -> JEPAOutput:
        """Predict the standardised embedding of one patch of every sample.

        Parameters
        ----------
        patches : Tensor of shape (n, n_patches, ...)
            At least two samples.
        context : Tensor of bool of shape (n, n_patches)
            Patches that are visible.
        target : Tensor of int64 of shape (n,)
            Number of the patch to predict, which must be hidden.

        Raises
        ------
        CollapseError
            If the embeddings of the targets have a mean variance below 1e-6 over the batch.
        ValueError
            If shapes do not fit, a target is visible, or features of targets are not finite.
        """
        self._check(patches, context, target)
        with torch.no_grad():
            wanted = self._standardised(self._encoded(self.target_encoder, patches, target))
        latents, divergence = self._latents(patches, context, target)
        prediction = self.predict(latents)
        loss = (prediction - wanted).square().mean() + self.beta * divergence
        return JEPAOutput(loss, prediction, wanted, latents)

    def latents(self, patches: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Return the latent variables of shape (n, n_latents) as in evaluation mode: means where they are random."""
        self._check(patches, context, target)
        given = self._means(patches, context, target)[:, : self.group_weights.shape[2]]
        if self.latent_norm is None:
            return given
        # By the running averages in all modes: a look at the latents must not move them.
        mean, variance = self.latent_norm.running_mean, self.latent_norm.running_var
        return functional.batch_norm(given, mean, variance, eps=self.latent_norm.eps)

    def predict(self, latents: Tensor) -> Tensor:
        """Return the predicted features of shape (n, n_features) for latent variables."""
        hidden = torch.einsum("ghm,nm->ngh", self.group_weights, latents) + self.group_bias
        rows = functional.normalize(self.output_weight, dim=1)
        return (self.activation(hidden)[:, self.group_of] * rows).sum(-1) + self.output_bias

    @torch.no_grad()
    def incidence(self) -> Tensor:
        """Return which group uses which latent variable, a Tensor of bool of shape (n_groups, n_latents)."""
        return (self.group_weights != 0).any(1)

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Return ``alpha`` times the sum of the norms of all columns of W."""
        return self.alpha * torch.linalg.vector_norm(self.group_weights, dim=1).sum()

    @torch.no_grad()
    def shrink(self, lr: float | Tensor) -> None:
        """Take the proximal step of the penalty for a step of length `lr`, in place."""
        self.group_weights.copy_(shrunk(self.group_weights, lr * self.alpha, (1,)))

    @torch.no_grad()
    def update_target(self) -> None:
        """Move the weights of the target encoder towards those of the encoder; buffers are copied."""
        share = _SHARE.check("decay", float(self._decay(int(self.step))))
        pairs = list(zip(self.target_encoder.parameters(), self.encoder.parameters(), strict=True))
        if pairs:
            get_ema_multi_avg_fn(share)([mine for mine, _ in pairs], [theirs.detach() for _, theirs in pairs], None)
        for mine, theirs in zip(self.target_encoder.buffers(), self.encoder.buffers(), strict=True):
            mine.copy_(theirs)

    def _check(self, patches: Tensor, context: Tensor, target: Tensor) -> None:
        if patches.ndim < 2 or patches.shape[1] != self.n_patches:
            raise ValueError(f"patches must have shape (n, {self.n_patches}, ...); got {tuple(patches.shape)}")
        n = len(patches)
        if context.dtype != torch.bool or context.shape != (n, self.n_patches):
            raise ValueError(
                f"context must be a tensor of bool of shape {(n, self.n_patches)}; "
                f"got {context.dtype} of shape {tuple(context.shape)}"
            )
        if target.dtype != torch.int64 or target.shape != (n,):
            raise ValueError(
                f"target must be a tensor of int64 of shape {(n,)}; got {target.dtype} of shape {tuple(target.shape)}"
            )
        if not bool(((target >= 0) & (target < self.n_patches)).all()):
            raise ValueError(f"target must hold numbers of patches, from 0 to {self.n_patches - 1}")
        if bool(context.gather(1, target.unsqueeze(1)).any()):
            raise ValueError("target must be hidden; got one that context shows")

    def _encoded(self, encoder: nn.Module, patches: Tensor, target: Tensor) -> Tensor:
        """Return the features of the target patches, having encoded whole samples, as encoders may mix patches."""
        features = encoder(patches)
        if features.shape != (len(patches), self.n_patches, self.n_features):
            raise ValueError(
                f"encoder must return features of shape {(len(patches), self.n_patches, self.n_features)}, "
                f"as predictor_groups says; got {tuple(features.shape)}"
            )
        return features[torch.arange(len(features), device=features.device), target]

    def _standardised(self, embeddings: Tensor) -> Tensor:
        if len(embeddings) < 2:
            raise ValueError(
                f"patches must hold at least two samples, over which targets are standardised; got {len(embeddings)}"
            )
        variance, mean = torch.var_mean(embeddings, 0, correction=0)
        if not bool(torch.isfinite(variance).all()):
            raise ValueError("encoder must return finite features; its moving average gave NaN or infinity")
        if not float(variance.mean()) >= _COLLAPSED:
            raise CollapseError(
                f"the targets have collapsed: their mean variance over the batch is {float(variance.mean()):.1e}, "
                f"at least {_COLLAPSED:g} is needed; try smaller steps, or a decay nearer to 1"
            )
        return (embeddings - mean) / variance.clamp(min=_COLLAPSED).sqrt()

    def _means(self, patches: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Return what the head gives: latents, and the logarithms of their variances where they are random."""
        shown = context.reshape(*context.shape, *(1,) * (patches.ndim - 2))
        # Hidden patches are emptied before an encoder that may mix patches sees them, and their features after it.
        features = self.encoder(torch.where(shown, patches, 0)) * context.unsqueeze(-1)
        places = functional.one_hot(target, self.n_patches).to(features.dtype)
        inputs = torch.cat([features.flatten(1), context.to(features.dtype), places], 1)
        return functional.linear(inputs, self.head_weight, self.head_bias)

    def _latents(self, patches: Tensor, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor | float]:
        given = self._means(patches, context, target)
        if not self.beta:
            return given if self.latent_norm is None else self.latent_norm(given), 0.0
        mean, log_variance = given.chunk(2, 1)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        if not self.training:
            return mean, divergence
        source = torch.Generator().manual_seed(int(self.latent_seed) * 2**31 + int(self.draws))
        self.draws += 1
        noise = torch.randn(mean.shape, generator=source, dtype=mean.dtype).to(mean.device)
        return mean + noise * (log_variance / 2).exp(), divergence


def _place(encoder: nn.Module) -> tuple[torch.dtype, torch.device]:
    parameters = list(encoder.parameters())
    if not parameters:
        return torch.float32, torch.device("cpu")
    for parameter in parameters:
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                "encoder must have parameters in single or double precision, as moving averages in fewer bits stand "
                f"still; got {parameter.dtype}"
            )
        if (parameter.dtype, parameter.device) != (parameters[0].dtype, parameters[0].device):
            raise ValueError(
                f"encoder must have all parameters in one precision, on one device; got {parameters[0].dtype} on "
                f"{parameters[0].device} and {parameter.dtype} on {parameter.device}"
            )
    return parameters[0].dtype, parameters[0].device


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    """Draw weights whose products with standardised inputs have variance one."""
    return nn.Parameter(torch.randn(shape, generator=generator) / shape[-1] ** 0.5)
