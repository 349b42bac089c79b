"""Updates of prior variances that neighbours along a mode share: pattern-coupled Kronecker SBL."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.linalg.blas import dnrm2
from scipy.optimize import nnls

from sparsetheory.bayesian.kronecker.algebra import contract
from sparsetheory.bayesian.sbl.posterior.kronecker import KronPosterior
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.reactivation import SlopeAtZero, slope_at_zero
from sparsetheory.bayesian.sbl.updates.alternating import sweep_until
from sparsetheory.bayesian.sbl.updates.coupling import Coupling, coupled_factors
from sparsetheory.bayesian.sbl.updates.factor_update import RowUpdate
from sparsetheory.bayesian.sbl.updates.mm import square_root_ratios, sweep_ratios
from sparsetheory.bayesian.sbl.updates.scaling import floored
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["CoupledMM", "CoupledNNLS", "coupled_update", "latent_details"]

# What the published step adds to every coupled variance.
_PUBLISHED_OFFSET = 1e-5


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
    descends = True

    def __init__(self, matrices: list[Coupling], latents: list[Float64Array]) -> None:
        self.matrices = matrices
        self.latents = latents
        self._rows = [np.arange(z.size if C is None else C.shape[0]) for C, z in zip(matrices, latents, strict=True)]
        self._protected = [np.zeros(z.size, dtype=np.bool_) for z in latents]

    def factors(self) -> list[Float64Array]:
        """Return the prior variances that the latents make, on the rows in use."""
        return [gamma[rows] for gamma, rows in zip(self._everything(), self._rows, strict=True)]

    def _everything(self) -> list[Float64Array]:
        return coupled_factors(self.matrices, self.latents)

    def masks(
        self, variances: Sequence[Float64Array], pruning: Pruning, places: Sequence[IndexArray]
    ) -> list[BoolArray]:
        """Drop small latents, and say which rows still touch one."""
        # A coupled mode has one unit for all its entries.
        at = [np.arange(z.size) * (C is None) for C, z in zip(self.matrices, self.latents, strict=True)]
        kept = pruning.masks(self.latents, at)
        stay = [(mask | safe) & (z > 0) for mask, safe, z in zip(kept, self._protected, self.latents, strict=True)]
        self.latents = [np.where(mask, z, 0.0) for mask, z in zip(stay, self.latents, strict=True)]
        return [gamma > 0 for gamma in self.factors()]

    def restrict(self, masks: Sequence[BoolArray], variances: Sequence[Float64Array]) -> list[Float64Array]:
        """Keep rows, and return their variances."""
        self._rows = [rows[mask] for rows, mask in zip(self._rows, masks, strict=True)]
        return self.factors()

    def step(self, posterior: KronPosterior) -> tuple[list[Float64Array], int]:
        """Return the next factors, after one sweep."""
        old, moved = posterior.variances, list(self.latents)

        def ratio(k: int, a: Float64Array, b: Float64Array) -> Float64Array:
            C, g, rows = self.matrices[k], old[k], self._rows[k]
            if C is None:
                t = square_root_ratios(k, a, b)
                moved[k] = self.latents[k].copy()
                moved[k][rows] *= t
                return t
            used = C[rows]
            moved[k] = self.latents[k] * square_root_ratios(k, used.T @ (a / g), used.T @ (b / g))
            return (used @ moved[k]) / g

        sweep_ratios(posterior.q, posterior.power, old, ratio)
        # A latent entry of zero stays zero.
        self._balance([np.where(z > 0, floored(m, len(moved)), 0.0) for z, m in zip(self.latents, moved, strict=True)])
        return self.factors(), 1

    def _balance(self, latents: list[Float64Array]) -> None:
        """Give all factors but the last unit norm."""
        scale = 1.0
        for k, C in enumerate(self.matrices[:-1]):
            norm = dnrm2(latents[k] if C is None else C @ latents[k])
            latents[k] = latents[k] / (norm or 1.0)
            scale *= norm
        latents[-1] = latents[-1] * scale
        self.latents = latents

    def slopes(self, posterior: KronPosterior) -> list[Float64Array]:
        """Return derivatives of the cost by the logarithms of the latents."""
        result = []
        for k, (C, z, rows) in enumerate(zip(self.matrices, self.latents, self._rows, strict=True)):
            slope = contract(posterior.q - posterior.power, posterior.variances, k)
            result.append(z[rows] * slope if C is None else z * (C[rows].T @ slope))
        return result

    def pruned(self, variances: Sequence[Float64Array], columns: Sequence[IndexArray]) -> bool:
        """Whether a latent is zero."""
        return not all(z.all() for z in self.latents)

    def _slope(self, everywhere: Any, k: int) -> SlopeAtZero:
        at, C = slope_at_zero(everywhere, k), self.matrices[k]
        return at if C is None else SlopeAtZero(C.T @ at.up, C.T @ at.down, (C**2).T @ at.squares)

    def gains(self, everywhere: Any) -> list[Float64Array]:
        """Return by how much each pruned latent alone could lower the cost; zero for the others."""
        return [np.where(z == 0, self._slope(everywhere, k).gain, 0.0) for k, z in enumerate(self.latents)]

    def put_back(self, everywhere: Any, least: float) -> list[Float64Array]:
        """Return factors in which the best latents of each mode are positive again, and not pruned any more."""
        latents = [z.copy() for z in self.latents]
        for k, gain in enumerate(self.gains(everywhere)):
            best = int(np.argmax(gain))
            if gain[best] > least:
                latents[k][best] = self._slope(everywhere, k).best[best]
                self._protected[k][best] = True
        self.latents = latents
        factors = self._everything()
        self._rows = [np.flatnonzero(gamma > 0) for gamma in factors]
        return factors


class CoupledNNLS(RowUpdate):
    """The published step: alternating minimisation with each coupled factor replaced by a nonnegative fit.

    Not an exact maximisation step: the cost may rise. What it adds to variances is in units in which the mean square of
    the data is one.

    Parameters
    ----------
    matrices : list of (None or ndarray)
        C_k restricted to rows and columns in use.
    tol, relative, max_sweeps
        When sweeps stop, as in :func:`sparsetheory.bayesian.sbl.updates.alternating.sweep_until`.
    """

    noise_rule: Literal["em", "mm"] = "em"
    descends = False

    def __init__(self, matrices: list[Coupling], *, tol: float, relative: bool, max_sweeps: int) -> None:
        super().__init__()
        self.matrices, self._everything = matrices, list(matrices)
        self.tol, self.relative, self.max_sweeps = tol, relative, max_sweeps

    def restrict(self, masks: Sequence[BoolArray], variances: Sequence[Float64Array]) -> list[Float64Array]:
        """Keep rows and columns."""
        self.matrices = [None if C is None else C[m][:, m] for C, m in zip(self.matrices, masks, strict=True)]
        return super().restrict(masks, variances)

    def put_back(self, everywhere: Any, least: float) -> list[Float64Array]:
        """Return factors in which the best entries of each mode are positive again, and not pruned any more."""
        factors = super().put_back(everywhere, least)
        pairs = zip(self._everything, [factor > 0 for factor in factors], strict=True)
        self.matrices = [None if C is None else C[m][:, m] for C, m in pairs]
        return factors

    def step(self, posterior: KronPosterior) -> tuple[list[Float64Array], int]:
        """Return the next factors, and the number of sweeps."""
        return sweep_until(
            posterior.second_moment, posterior.variances, self.tol, self.relative, self.max_sweeps, self._project
        )

    def _project(self, k: int, gamma: Float64Array) -> Float64Array:
        C = self.matrices[k]
        if C is None:
            return floored(gamma, len(self.matrices))
        return _PUBLISHED_OFFSET + C @ nnls(C, gamma)[0]


def coupled_update(
    kind: str,
    couplings: Sequence[Coupling],
    latents: Sequence[Float64Array],
    masks: Sequence[BoolArray],
    *,
    tol: float,
    relative: bool,
    max_sweeps: int,
) -> CoupledMM | CoupledNNLS:
    """Return an update of coupled factors.

    Parameters
    ----------
    kind : {"mm", "nnls"}
        Kind of update.
    couplings : sequence of (None or ndarray of shape (N_k, N_k))
        What makes factors of latent ones.
    latents : sequence of ndarray of shape (N_k,)
        Start of the latent factors, not negative.
    masks : sequence of ndarray of bool, shape (N_k,)
        Rows in use.
    tol, relative, max_sweeps
        When the sweeps of "nnls" stop.

    Returns
    -------
    CoupledMM or CoupledNNLS
    """
    if kind == "nnls":
        restricted = [None if C is None else C[m][:, m] for C, m in zip(couplings, masks, strict=True)]
        return CoupledNNLS(restricted, tol=tol, relative=relative, max_sweeps=max_sweeps)
    # A latent entry of zero stays zero.
    modes = list(zip(latents, couplings, masks, strict=True))
    return CoupledMM(
        [None if C is None else C[mask][:, z > 0] for z, C, mask in modes],
        [z[mask if C is None else z > 0] for z, C, mask in modes],
    )


def latent_details(update: Any, columns: Sequence[IndexArray], sizes: Sequence[int]) -> dict[str, Any]:
    """Return what factors on all columns are made of, where an update has latent ones.

    Parameters
    ----------
    update : FactorUpdate
        Any.
    columns : sequence of ndarray of int
        Columns of each mode that the update started with.
    sizes : sequence of int
        N_k.

    Returns
    -------
    dict
        "couplings" and "latents", or nothing.
    """
    if not isinstance(update, CoupledMM):
        return {}
    couplings: list[Coupling] = []
    latents = []
    for C, z, indices, n in zip(update.matrices, update.latents, columns, sizes, strict=True):
        full = np.zeros(n) if C is None else np.zeros((n, C.shape[1]))
        full[indices] = z if C is None else C
        couplings.append(None if C is None else full)
        latents.append(full if C is None else z)
    return {"couplings": couplings, "latents": latents}
