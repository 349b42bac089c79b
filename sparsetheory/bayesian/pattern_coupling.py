"""Prior variances that neighbours along a mode share: pattern-coupled Kronecker sparse Bayesian learning."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dnrm2
from scipy.optimize import nnls

from sparsetheory.arguments import check_number
from sparsetheory.bayesian.am_update import sweep_until
from sparsetheory.bayesian.factor_updates import InnerLoop
from sparsetheory.bayesian.kron_gauge import floored
from sparsetheory.bayesian.mm_update import square_root_ratios, sweep_ratios
from sparsetheory.bayesian.structured_posterior import KronPosterior

__all__ = ["CoupledMM", "CoupledNNLS", "coupling_matrices", "neighbour_coupling"]

_Real = NDArray[np.float64]
_Coupling = _Real | None
# What the published step adds to every coupled variance.
_PUBLISHED_OFFSET = 1e-5


def neighbour_coupling(n: int, beta: float) -> _Real:
    """Return the matrix that adds `beta` times both neighbours of an entry, without wrapping around.

    Parameters
    ----------
    n : int
        Length of the mode.
    beta : float
        Weight of a neighbour.

    Returns
    -------
    ndarray of shape (n, n)
    """
    return np.eye(n) + beta * (np.eye(n, k=1) + np.eye(n, k=-1))


def coupling_matrices(coupling: Any, sizes: Sequence[int]) -> list[_Coupling] | None:
    """Validate the coupling of every mode.

    Parameters
    ----------
    coupling : None, float, or sequence of (None, float or ndarray of shape (N_k, N_k))
        Weight of neighbours, for all modes or for each; or a matrix without negative entries.
    sizes : sequence of int
        N_k.

    Returns
    -------
    list of (None or ndarray) or None
        None where no mode is coupled.

    Raises
    ------
    ValueError
        If a weight or entry is negative, a shape does not fit, or a row of a matrix is zero.
    """
    if coupling is None:
        return None
    if not isinstance(coupling, Sequence | np.ndarray):
        return [neighbour_coupling(n, check_number("coupling", coupling)) for n in sizes]
    given = list(coupling)
    if len(given) != len(sizes):
        raise ValueError(f"coupling must be one value or one per mode ({len(sizes)}); got {len(given)}")
    matrices = [_one_coupling(f"coupling[{k}]", c, n) for k, (c, n) in enumerate(zip(given, sizes, strict=True))]
    return None if all(matrix is None for matrix in matrices) else matrices


def _one_coupling(name: str, value: Any, n: int) -> _Coupling:
    if value is None:
        return None
    if np.ndim(value) == 0:
        return neighbour_coupling(n, check_number(name, value))
    matrix = np.array(value, dtype=np.float64)
    if matrix.shape != (n, n) or not np.isfinite(matrix).all() or np.any(matrix < 0):
        raise ValueError(f"{name} must be a finite matrix of shape ({n}, {n}) without negative entries")
    if not matrix.any(axis=1).all():
        raise ValueError(f"{name} must not have a row of zeros: its entry could never be different from zero")
    return matrix


class CoupledMM:
    r"""Majorise and minimise over latent factors z with :math:`\gamma_k = C_k z_k`.

    With :math:`a_k, b_k` the sums that an uncoupled step would use and g the old factor, Jensen's inequality for
    :math:`1 / (Cz)_i` gives :math:`z \leftarrow z \sqrt{C^\top(b_k / g) / C^\top(a_k / g)}`: the cost never rises,
    whatever the matrices without negative entries (ours).

    Parameters
    ----------
    matrices : list of (None or ndarray)
        C_k restricted to the rows in use.
    latents : list of ndarray
        Start z.
    """

    noise_rule: Literal["em", "mm"] = "mm"

    def __init__(self, matrices: list[_Coupling], latents: list[_Real]) -> None:
        self.matrices = matrices
        self.latents = latents

    def factors(self) -> list[_Real]:
        """Return the prior variances that the latents make."""
        return [z if C is None else C @ z for C, z in zip(self.matrices, self.latents, strict=True)]

    def restrict(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Keep rows, and the latents that still touch one."""
        for k, mask in enumerate(masks):
            C = self.matrices[k]
            used = mask if C is None else C[mask].any(axis=0)
            self.latents[k] = self.latents[k][used]
            self.matrices[k] = None if C is None else C[mask][:, used]

    def step(self, posterior: KronPosterior) -> tuple[list[_Real], int]:
        """Return the next factors, after one sweep."""
        old, moved = posterior.gammas, list(self.latents)

        def ratio(k: int, a: _Real, b: _Real) -> _Real:
            C, g = self.matrices[k], old[k]
            if C is None:
                t = square_root_ratios(k, a, b)
                moved[k] = self.latents[k] * t
                return t
            moved[k] = self.latents[k] * square_root_ratios(k, C.T @ (a / g), C.T @ (b / g))
            return (C @ moved[k]) / g

        sweep_ratios(posterior.q, posterior.power, old, ratio)
        self._balance([floored(z, len(moved)) for z in moved])
        return self.factors(), 1

    def _balance(self, latents: list[_Real]) -> None:
        """Give all factors but the last unit norm."""
        scale = 1.0
        for k, C in enumerate(self.matrices[:-1]):
            norm = dnrm2(latents[k] if C is None else C @ latents[k])
            latents[k] = latents[k] / (norm or 1.0)
            scale *= norm
        latents[-1] = latents[-1] * scale
        self.latents = latents


class CoupledNNLS:
    """The published step: alternating minimisation with each coupled factor replaced by a nonnegative fit.

    Not an exact maximisation step; it does not commute with a change of units, and the cost may rise.

    Parameters
    ----------
    matrices : list of (None or ndarray)
        C_k restricted to rows and columns in use.
    inner : InnerLoop
        When sweeps stop.
    """

    noise_rule: Literal["em", "mm"] = "em"

    def __init__(self, matrices: list[_Coupling], inner: InnerLoop) -> None:
        self.matrices = matrices
        self.inner = inner

    def restrict(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Keep rows and columns."""
        for k, mask in enumerate(masks):
            C = self.matrices[k]
            self.matrices[k] = None if C is None else C[mask][:, mask]

    def step(self, posterior: KronPosterior) -> tuple[list[_Real], int]:
        """Return the next factors, and the number of sweeps."""
        inner = self.inner
        return sweep_until(
            posterior.second_moment, posterior.gammas, inner.tol, inner.relative, inner.max_sweeps, self._project
        )

    def _project(self, k: int, gamma: _Real) -> _Real:
        C = self.matrices[k]
        if C is None:
            return floored(gamma, len(self.matrices))
        return _PUBLISHED_OFFSET + C @ nnls(C, gamma)[0]


def latent_details(update: Any, kept: Sequence[NDArray[np.intp]], sizes: Sequence[int]) -> dict[str, Any]:
    """Return what factors on all columns are made of, where an update has latent ones.

    Parameters
    ----------
    update : FactorUpdate
        Any.
    kept : sequence of ndarray of int
        Kept columns of each mode.
    sizes : sequence of int
        N_k.

    Returns
    -------
    dict
        "couplings" and "latents", or nothing.
    """
    if not isinstance(update, CoupledMM):
        return {}
    couplings: list[_Coupling] = []
    for C, indices, n in zip(update.matrices, kept, sizes, strict=True):
        full = None if C is None else np.zeros((n, C.shape[1]))
        if full is not None:
            full[indices] = C
        couplings.append(full)
    return {"couplings": couplings, "latents": update.latents}
