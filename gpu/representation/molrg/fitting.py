"""From points to a denoiser: a start, K-subspaces, and training by gradients where it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, POSITIVE, SIZE, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.molrg.alternation import KSubspaces, k_subspaces
from sparsetheory.gpu.representation.molrg.denoiser import MoLRGDenoiser
from sparsetheory.gpu.representation.molrg.loss import molrg_loss
from sparsetheory.gpu.representation.molrg.starts import ssc_omp
from sparsetheory.gpu.representation.molrg.subspaces import eigengap, point_rows

__all__ = ["MoLRGFit", "molrg_fit"]


@dataclass(frozen=True, eq=False)
class MoLRGFit:
    """A fitted mixture of low-rank Gaussians.

    Parameters
    ----------
    denoiser : MoLRGDenoiser
        With soft assignment; weights are the shares of points.
    subspaces : KSubspaces
        What K-subspaces found, with its certificate: the denoiser before any training by gradients.
    losses : Tensor of float64 of shape (n_steps,)
        Loss of each step of that training, before the step.
    """

    denoiser: MoLRGDenoiser
    subspaces: KSubspaces
    losses: Tensor


def molrg_fit(
    X: Tensor,
    n_subspaces: int,
    n_components: int | Sequence[int] | None,
    *,
    init: str = "ssc_omp",
    n_init: int = 1,
    n_steps: int = 0,
    noise_std: float | None = None,
    step_size: float = 0.01,
    generator: torch.Generator | int | None = 0,
) -> MoLRGFit:
    """Fit a mixture of low-rank Gaussians to points: a start, K-subspaces, then training of the denoiser.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Points; they are not centred.
    n_subspaces : int
        Number of subspaces.
    n_components : int, sequence of int or None
        Dimension of all subspaces, or of each. None takes the :func:`eigengap` of each group that :func:`ssc_omp`
        finds.
    init : {"ssc_omp", "svd", "random"}
        The start, as for :func:`k_subspaces`.
    n_init : int
        Number of starts, of which the best is kept. Those after the first are random.
    n_steps : int
        Steps of Adam on the :func:`molrg_loss` of all points with fresh noise. K-subspaces alone solve the problem of
        hard assignment; these steps solve that of soft assignment.
    noise_std : float or None
        Standard deviation of the noise that is added in these steps; needed with them.
    step_size : float
        Of Adam.
    generator : torch.Generator, int or None
        Source of all that is random, drawn on the CPU.

    Returns
    -------
    MoLRGFit

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If an argument is out of range, or dimensions are not given and the start needs them.

    Examples
    --------
    >>> from sparsetheory.gpu.representation import matched_errors, sample_molrg
    >>> sample = sample_molrg(48, 4, 3, 36, generator=0)
    >>> fit = molrg_fit(sample.X, 3, None)
    >>> fit.denoiser.widths, bool(matched_errors(fit.denoiser.bases, sample.bases).max() < 1e-4)
    ((4, 4, 4), True)
    """
    points, source = point_rows(X, n_subspaces), cpu_generator(generator)
    Choice("ssc_omp", "svd", "random").check("init", init)
    SIZE.require(n_steps=n_steps)
    POSITIVE.require(step_size=step_size)
    (MISSING | POSITIVE).require(noise_std=noise_std)
    if n_steps and noise_std is None:
        raise ValueError("noise_std, the noise of the training, is needed with n_steps; got None")
    start: str | Tensor = init
    if n_components is None:
        if init != "ssc_omp":
            raise ValueError(f"n_components must be given with init={init!r}; only 'ssc_omp' goes without")
        start, n_components = _dimensions(points, n_subspaces, source)
    found = k_subspaces(points, n_subspaces, n_components, init=start, n_init=n_init, generator=source)
    shares = torch.bincount(found.labels, minlength=n_subspaces) / len(points)
    denoiser = MoLRGDenoiser(found.bases, shares)
    losses = torch.empty(n_steps, dtype=torch.float64)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=step_size)
    for step in range(n_steps):
        optimizer.zero_grad()
        assert noise_std is not None
        loss = molrg_loss(denoiser, points, noise_std, generator=source)
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    return MoLRGFit(denoiser, found, losses)


def _dimensions(points: Tensor, n_subspaces: int, source: torch.Generator) -> tuple[Tensor, list[int]]:
    """Return groups of points, and the dimension that the spectrum of each suggests."""
    # Codes end when nothing is left of a point; where noise is left, half of a group is as many as can be told apart.
    most = max(min(points.shape[1], len(points) // n_subspaces) // 2, 1)
    labels = ssc_omp(points, n_subspaces, most, generator=source)
    groups = [points[labels == k] for k in range(n_subspaces)]
    return labels, [eigengap(group) if len(group) else 1 for group in groups]
