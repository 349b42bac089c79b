"""The posterior mean of a mixture of low-rank Gaussians, as a layer whose subspaces can be trained."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import NONNEGATIVE, POSITIVE, Choice
from sparsetheory.gpu.representation.molrg.orthonormal import OrthonormalBlocks
from sparsetheory.gpu.representation.molrg.subspaces import orthonormal_columns
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["MoLRGDenoiser"]


class MoLRGDenoiser(nn.Module):
    r"""The best denoiser of points of a mixture of low-rank Gaussians, with subspaces that can be trained.

    Points :math:`x_0 \sim \sum_k \pi_k N(0, U_k U_k^T)` are seen as :math:`x_t = s x_0 + \gamma \epsilon` with standard
    normal noise. The posterior mean projects on every subspace, by its posterior weight, and shrinks:

    .. math:: E[x_0 \mid x_t] = \frac{s}{s^2 + \gamma^2} \sum_k w_k(x_t) U_k U_k^T x_t, \quad
              w = \operatorname{softmax}_k \Big(\log \pi_k + \frac{s^2 \|U_k^T x_t\|^2}{2 \gamma^2 (s^2 + \gamma^2)}
              - \frac{d_k}{2} \log \frac{s^2 + \gamma^2}{\gamma^2}\Big).

    Parameters
    ----------
    bases : sequence of Tensor of shape (n_features, n_components of the subspace)
        Orthonormal columns; a tensor of three axes is one, too. They are copied.
    weights : Tensor of shape (n_subspaces,), optional
        Probabilities of the subspaces up to a common factor; by default all equal. A buffer, which is not trained.
    assignment : {"soft", "hard"}
        The posterior weights, or all weight on the subspace that holds most of the point: what they become as the
        noise vanishes.

    Attributes
    ----------
    basis : Tensor of shape (n_features, sum of n_components)
        Bases side by side: the trained parameter. A parametrisation of torch keeps each of them orthonormal, so that
        any optimiser may train it and a state dictionary holds it.
    widths : tuple of int
        Dimension of each subspace.

    Raises
    ------
    TypeError
        If an argument is no tensor of floating-point numbers.
    ValueError
        If shapes, devices or types do not fit, columns are not orthonormal, or a weight is negative or all are zero.

    Notes
    -----
    Two products with the bases for each batch: O(n_features sum of n_components) operations per point. Squared norms
    and weights are computed in single precision for half-precision points.

    References
    ----------
    P. Wang, H. Zhang, Z. Zhang, S. Chen, Y. Ma, Q. Qu, "Diffusion models learn low-dimensional distributions via
    subspace clustering", arXiv:2409.02426. The last term of the logits, for subspaces of different dimensions, is ours.

    Examples
    --------
    >>> import torch
    >>> denoiser = MoLRGDenoiser([torch.eye(3)[:, :1], torch.eye(3)[:, 1:2]])
    >>> denoiser(torch.tensor([5.0, 1.0, 1.0]), noise_std=0.5).detach().round(decimals=3)
    tensor([4., 0., 0.])
    """

    basis: Tensor
    log_weights: Tensor
    owners: Tensor

    def __init__(self, bases: Sequence[Tensor], weights: Tensor | None = None, *, assignment: str = "soft") -> None:
        super().__init__()
        if isinstance(bases, Tensor) and bases.ndim != 3:
            raise ValueError(f"bases must be a sequence of matrices, or have 3 axes; got shape {tuple(bases.shape)}")
        found = [orthonormal_columns("bases", basis) for basis in bases]
        if not found or any(basis.ndim != 2 for basis in found):
            raise ValueError(f"bases must be at least one matrix; got {[tuple(basis.shape) for basis in found]}")
        if len({(basis.shape[0], basis.dtype, basis.device) for basis in found}) > 1:
            raise ValueError("bases must have equally many rows, one dtype and one device")
        self.assignment = Choice("soft", "hard").check("assignment", assignment)
        self.n_features = found[0].shape[0]
        self.widths = tuple(basis.shape[1] for basis in found)
        self.basis = nn.Parameter(torch.cat(found, dim=1).clone())
        device = self.basis.device
        owners = torch.repeat_interleave(torch.arange(len(found)), torch.tensor(self.widths))
        self.register_buffer("owners", owners.to(device), persistent=False)
        self.register_buffer("log_weights", _log_weights(weights, found[0], len(found)))
        parametrize.register_parametrization(self, "basis", OrthonormalBlocks(self.widths))

    @property
    def bases(self) -> tuple[Tensor, ...]:
        """The orthonormal basis of each subspace, detached."""
        return self.basis.detach().split(list(self.widths), dim=1)

    def extra_repr(self) -> str:
        """Return the sizes in words."""
        return f"n_features={self.n_features}, n_components={self.widths}, assignment={self.assignment!r}"

    def forward(
        self, x: Tensor, noise_std: float | Tensor, scale: float | Tensor = 1.0, labels: Tensor | None = None
    ) -> Tensor:
        """Return the posterior mean of clean points.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Noisy points.
        noise_std : float or Tensor of shape (...)
            Standard deviation of the noise; above 0, or at least 0 where `labels` are given or the assignment is hard.
        scale : float or Tensor of shape (...)
            What clean points were multiplied by, above 0.
        labels : Tensor of int64 of shape (...), optional
            The subspace of each point where it is known; it gets all weight.

        Returns
        -------
        Tensor of shape (..., n_features)

        Raises
        ------
        ValueError
            If shapes or devices do not fit, a level is out of range, or a label is the number of no subspace.
        """
        basis = self.basis
        noise, factor = self.levels(x, noise_std, scale, zero=labels is not None or self.assignment == "hard")
        inside = x @ basis
        if labels is None:
            weights = self._weights(self._held(inside), noise, factor)
            spread = weights.to(inside.dtype).index_select(-1, self.owners)
        else:
            self._check_labels(labels, x)
            spread = (self.owners == labels.unsqueeze(-1)).to(inside.dtype)
        return (factor / (factor.square() + noise.square())).to(x.dtype) * ((inside * spread) @ basis.mT)

    def posterior_weights(self, x: Tensor, noise_std: float | Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """Return the probability of each subspace, given noisy points.

        Parameters
        ----------
        x, noise_std, scale
            As the layer takes them.

        Returns
        -------
        Tensor of shape (..., n_subspaces)
            At least in single precision; sums to 1.
        """
        noise, factor = self.levels(x, noise_std, scale, zero=self.assignment == "hard")
        return self._weights(self.held(x), noise, factor)

    def held(self, x: Tensor) -> Tensor:
        """Return the squared norm of points within each subspace.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_subspaces)
            At least in single precision.
        """
        return self._held(x @ self.basis)

    def assign(self, x: Tensor) -> Tensor:
        """Return the number of the subspace that holds most of each point, whatever the noise.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of int64 of shape (...)
        """
        return self.held(x).argmax(-1)

    def log_density(self, x: Tensor, noise_std: float | Tensor, scale: float | Tensor = 1.0) -> Tensor:
        r"""Return the logarithm of the density of noisy points.

        The posterior mean is ``(x + noise_std**2 * gradient) / scale`` with its gradient by x (Tweedie's formula).

        Parameters
        ----------
        x, noise_std, scale
            As the layer takes them.

        Returns
        -------
        Tensor of shape (...)
            In nats, at least in single precision.
        """
        noise, factor = self.levels(x, noise_std, scale, zero=False)
        logits = self._logits(self.held(x), noise, factor)
        square = x.to(logits.dtype).square().sum(-1)
        noise = noise.squeeze(-1)
        normal = -square / (2 * noise.square()) - x.shape[-1] * (noise.log() + 0.5 * math.log(2 * math.pi))
        return logits.logsumexp(-1) + normal

    def levels(
        self, x: Tensor, noise_std: float | Tensor, scale: float | Tensor, *, zero: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return noise and scale with an axis for the features, after a check.

        Parameters
        ----------
        x, noise_std, scale
            As the layer takes them.
        zero : bool
            Whether the noise may be 0.

        Returns
        -------
        tuple of two Tensor of shape (..., 1)
            At least in single precision.
        """
        n_features = self.n_features
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 1 or x.shape[-1] != n_features:
            got = f"{x.dtype}, {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must be a tensor of floats of shape (..., {n_features}); got {got}")
        return _level("noise_std", noise_std, x, zero=zero), _level("scale", scale, x, zero=False)

    def _check_labels(self, labels: Tensor, x: Tensor) -> None:
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != x.shape[:-1]:
            got = f"{labels.dtype}, {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"labels must be a tensor of int64 of shape {tuple(x.shape[:-1])}; got {got}")
        if bool(((labels < 0) | (labels >= len(self.widths))).any()):
            raise ValueError(f"labels must be from 0 to {len(self.widths) - 1}")

    def _held(self, inside: Tensor) -> Tensor:
        """Return the squared norm of points in each subspace, from their coefficients."""
        squares = inside.to(working_dtype(inside)).square()
        if len(set(self.widths)) == 1:
            return squares.unflatten(-1, (len(self.widths), self.widths[0])).sum(-1)
        return torch.stack([part.sum(-1) for part in squares.split(list(self.widths), dim=-1)], dim=-1)

    def _weights(self, held: Tensor, noise: Tensor, factor: Tensor) -> Tensor:
        if self.assignment == "hard":
            return nn.functional.one_hot(held.argmax(-1), len(self.widths)).to(held.dtype)
        return self._logits(held, noise, factor, centred=True).softmax(-1)

    def _logits(self, held: Tensor, noise: Tensor, factor: Tensor, *, centred: bool = False) -> Tensor:
        """Return the logarithms of probabilities, up to the density of pure noise or to a number for each point."""
        ratio = (factor / noise).clamp(max=torch.finfo(held.dtype).max ** 0.5)
        rate = ratio.square() / (2 * (factor.square() + noise.square()))
        if centred:
            # As the noise vanishes the logits of all but the best subspace become minus infinity, and none plus.
            held = held - held.detach().amax(-1, keepdim=True)
        widths = held.new_tensor(self.widths)
        return self.log_weights.to(held.dtype) + rate * held - widths / 2 * ratio.square().log1p()


def _level(name: str, given: float | Tensor, x: Tensor, *, zero: bool) -> Tensor:
    dtype = working_dtype(x)
    if not isinstance(given, Tensor):
        number = (NONNEGATIVE if zero else POSITIVE).check(name, given)
        return torch.tensor(number, dtype=dtype, device=x.device).unsqueeze(-1)
    together(x=x.detach(), **{name: given.detach()})
    if not bool(torch.isfinite(given).all() and (given >= 0 if zero else given > 0).all()):
        raise ValueError(f"{name} must be finite and {'at least' if zero else 'above'} 0")
    try:
        fits = torch.broadcast_shapes(given.shape, x.shape[:-1]) == x.shape[:-1]
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must be a number, or of shape {tuple(x.shape[:-1])}; got {tuple(given.shape)}")
    return given.to(dtype).unsqueeze(-1)


def _log_weights(weights: Tensor | None, like: Tensor, count: int) -> Tensor:
    if weights is None:
        return torch.full((count,), -math.log(count), dtype=working_dtype(like), device=like.device)
    given = finite_tensor("weights", weights)
    together(bases=like, weights=given)
    if given.shape != (count,) or bool((given < 0).any()) or not bool(given.sum() > 0):
        raise ValueError(
            f"weights must be {count} numbers of at least 0, not all 0; got {tuple(given.shape)}, {given.tolist()}"
        )
    probabilities = given.to(working_dtype(like))
    return (probabilities / probabilities.sum()).log()
