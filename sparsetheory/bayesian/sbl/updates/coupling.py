"""Matrices that make prior variances, which neighbours along a mode share, of latent ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.typing import BoolArray, Float64Array, InexactArray

__all__ = [
    "Coupling",
    "coupled_factors",
    "coupling_matrices",
    "neighbour_coupling",
    "scaled_latents",
    "usable_factors",
]

Coupling = Float64Array | None
"""What makes the factor of a mode of its latent one; None where they are the same."""


def neighbour_coupling(n_entries: int, weight: float) -> Float64Array:
    """Return the matrix that adds `weight` times both neighbours of an entry, without wrapping around.

    Parameters
    ----------
    n_entries : int
        Length of the mode.
    weight : float
        Weight of a neighbour.

    Returns
    -------
    ndarray of shape (n_entries, n_entries)
    """
    return np.eye(n_entries) + weight * (np.eye(n_entries, k=1) + np.eye(n_entries, k=-1))


def coupling_matrices(coupling: Any, sizes: Sequence[int]) -> list[Coupling]:
    """Validate the coupling of every mode.

    Parameters
    ----------
    coupling : None, float, or sequence of (None, float or ndarray of shape (N_k, N_k))
        Weight of neighbours, for all modes or for each; or a matrix without negative entries.
    sizes : sequence of int
        N_k.

    Returns
    -------
    list of (None or ndarray of shape (N_k, N_k))
        None for modes without coupling.

    Raises
    ------
    ValueError
        If a weight or entry is negative, a shape does not fit, or a row of a matrix is zero.
    """
    if coupling is None:
        return [None] * len(sizes)
    if not isinstance(coupling, Sequence | np.ndarray):
        return [neighbour_coupling(n, NONNEGATIVE.check("coupling", coupling)) for n in sizes]
    given = list(coupling)
    if len(given) != len(sizes):
        raise ValueError(f"coupling must be one value or one per mode ({len(sizes)}); got {len(given)}")
    return [_one_coupling(f"coupling[{k}]", c, n) for k, (c, n) in enumerate(zip(given, sizes, strict=True))]


def _one_coupling(name: str, value: Any, n: int) -> Coupling:
    if value is None:
        return None
    if np.ndim(value) == 0:
        return neighbour_coupling(n, NONNEGATIVE.check(name, value))
    matrix = np.array(value, dtype=np.float64)
    if matrix.shape != (n, n) or not np.isfinite(matrix).all() or np.any(matrix < 0):
        raise ValueError(f"{name} must be a finite matrix of shape ({n}, {n}) without negative entries")
    if not matrix.any(axis=1).all():
        raise ValueError(f"{name} must not have a row of zeros: its entry could never be different from zero")
    return matrix


def coupled_factors(couplings: Sequence[Coupling], latents: Sequence[Float64Array]) -> list[Float64Array]:
    """Return the factors that latent ones make: themselves in modes without coupling.

    Parameters
    ----------
    couplings : sequence of (None or ndarray of shape (N_k, n_latents))
        One per mode.
    latents : sequence of ndarray of shape (n_latents,)
        One per mode.

    Returns
    -------
    list of ndarray of shape (N_k,)
    """
    return [z if C is None else C @ z for C, z in zip(couplings, latents, strict=True)]


def usable_factors(
    matrices: Sequence[InexactArray], latents: Sequence[Float64Array], couplings: Sequence[Coupling]
) -> tuple[list[BoolArray], list[Float64Array]]:
    """Return the factors that latent ones make, and which of their entries are positive, at columns other than zero."""
    factors = coupled_factors(couplings, latents)
    masks = [(factor > 0) & np.any(A != 0, axis=0) for factor, A in zip(factors, matrices, strict=True)]
    return masks, factors


def scaled_latents(
    latents: Sequence[Float64Array], couplings: Sequence[Coupling], variances: Sequence[Float64Array]
) -> list[Float64Array]:
    """Scale latents so that they make given factors."""
    result = []
    for z, C, factor in zip(latents, couplings, variances, strict=True):
        made = z if C is None else C @ z
        at = int(np.argmax(made))
        result.append(factor if C is None else z * (factor[at] / made[at]))
    return result
