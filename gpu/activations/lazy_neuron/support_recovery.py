"""When the largest rectified correlations are the support of a sparse code: a layer as a step of a sparse solver."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Integer, Real
from sparsetheory.gpu.activations.selectors import Largest
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["coherence", "recovery_is_certain", "support_recovery_rate"]


def coherence(K: Tensor) -> float:
    """Return the largest absolute cosine between two columns of a matrix.

    Parameters
    ----------
    K : Tensor of shape (features, atoms)
        Columns are not zero; their lengths do not matter.

    Examples
    --------
    >>> import torch
    >>> round(coherence(torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]])), 6)
    0.8
    """
    unit = _unit(K)
    cosines = (unit.T @ unit).abs().fill_diagonal_(0)
    return float(cosines.max())


def recovery_is_certain(K: Tensor, n_nonzero: int, dynamic_range: float = 1.0) -> bool:
    """Return whether the largest correlations are sure to be the support of every sparse code without negative entries.

    Parameters
    ----------
    K : Tensor of shape (features, atoms)
    n_nonzero : int
        Entries k of the code.
    dynamic_range : float
        Largest entry over the smallest one, at least 1.

    Returns
    -------
    bool
        Whether ``(2 k - 1) mu < 1 / dynamic_range``, where mu is the :func:`coherence` in double precision, rounded up.

    Notes
    -----
    Let the entries of the code be between m and M. On the support a correlation is the entry itself and at most
    ``k - 1`` disturbances of at most ``mu M``, so at least ``m - (k - 1) mu M``. Off it there are k of them: at most
    ``k mu M``. The former is larger if ``(2 k - 1) mu < m / M``.

    Examples
    --------
    >>> import torch
    >>> recovery_is_certain(torch.eye(5), 3), recovery_is_certain(torch.ones(5, 2), 1)
    (True, False)
    """
    Integer(1, K.shape[-1]).require(n_nonzero=n_nonzero)
    Real(1.0).require(dynamic_range=dynamic_range)
    rounding = (K.shape[0] + 8) * torch.finfo(torch.float64).eps
    return (2 * n_nonzero - 1) * (coherence(K) + rounding) < 1 / dynamic_range


def support_recovery_rate(
    K: Tensor,
    n_nonzero: int,
    *,
    dynamic_range: float = 1.0,
    n_trials: int = 200,
    generator: torch.Generator | int | None = 0,
) -> float:
    """Return how often the largest entries of ``relu(K' x)`` are the support of the code that made ``x = K a``.

    Parameters
    ----------
    K : Tensor of shape (features, atoms)
        Its columns are scaled to length 1.
    n_nonzero : int
        Entries of a code. Their places are drawn evenly, and their sizes evenly between 1 and `dynamic_range`.
    dynamic_range : float
        Largest entry over the smallest one, at least 1.
    n_trials : int
        Codes that are drawn.
    generator : torch.Generator, int or None
        Source of the codes, drawn on the CPU.

    Returns
    -------
    float
        Share of codes whose support is found exactly.

    Notes
    -----
    With K as a dictionary, this layer is the first step of iterative hard thresholding from zero. Where
    :func:`recovery_is_certain` the rate is 1; it falls only well beyond, since a worst case needs all disturbances to
    add up.

    Examples
    --------
    >>> import torch
    >>> support_recovery_rate(torch.eye(20), 5)
    1.0
    """
    unit = _unit(K)
    n_atoms = unit.shape[1]
    Integer(1, n_atoms).require(n_nonzero=n_nonzero)
    Real(1.0).require(dynamic_range=dynamic_range)
    COUNT.require(n_trials=n_trials)
    source = cpu_generator(generator)
    places = torch.rand(n_trials, n_atoms, dtype=torch.float64, generator=source)
    support = Largest(n_nonzero)(places).to(unit.device)
    sizes = 1 + (dynamic_range - 1) * torch.rand(n_trials, n_atoms, dtype=torch.float64, generator=source)
    x = (sizes.to(unit) * support) @ unit.T
    found = Largest(n_nonzero)(torch.relu(x @ unit))
    return float((found == support).all(1).double().mean())


def _unit(K: Tensor) -> Tensor:
    if not isinstance(K, Tensor) or K.ndim != 2 or not K.is_floating_point() or not K.isfinite().all():
        raise ValueError("K must be a matrix of finite floating-point numbers, one column for each atom")
    exact = K.detach().double()
    norms = exact.norm(dim=0)
    if not bool((norms > 0).all()):
        raise ValueError(f"K must have no column of zeros; got {int((norms == 0).sum())}")
    return exact / norms
