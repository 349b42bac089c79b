"""Sparse Bayesian learning with Kronecker-structured dictionaries and supports."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.data_units import DataUnits
from sparsetheory.bayesian.kronecker.algebra import kron_matvec, outer_product, squared_modulus
from sparsetheory.bayesian.kronecker.checks import Dictionaries, Layout, as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import check_factors, check_noise, check_record, per_mode
from sparsetheory.bayesian.sbl.certificates.kronecker import StationarityCertificate
from sparsetheory.bayesian.sbl.evidence_maximisation import EvidenceFit, maximise_evidence
from sparsetheory.bayesian.sbl.initialisation import FactorStart, coupled_start, plain_start
from sparsetheory.bayesian.sbl.kron_estimate import KronEstimate
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.kronecker import KronMeasurements
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.updates.loop import PLAIN_UPDATES, InnerLoop
from sparsetheory.bayesian.sbl.updates.pattern_coupling import coupling_matrices, latent_details
from sparsetheory.bayesian.sbl.updates.scaling import balanced
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["KroneckerSBL"]


class KroneckerSBL(KronEstimate):
    r"""Sparse Bayesian learning for :math:`y = (A_1 \otimes \cdots \otimes A_d)x + n` with a separable support.

    Entries of x are independent Gaussians (circular complex ones for complex data) whose variances are the outer
    product of one factor per mode. The factors, and the noise variance, minimise
    :math:`L = \log\det C + y^H C^{-1} y` with :math:`C = \sigma^2 I + A\,\mathrm{diag}(G)A^H`, and x is estimated by
    its posterior mean. The Kronecker matrix is never formed.

    Parameters
    ----------
    update : {"mm", "am", "ksbl", "svd", "newton"}
        How factors move: majorise-minimise (default, ours); expectation-maximisation with alternating minimisation,
        with one sweep of it, or with Newton's method (ours) as maximisation step; or the nearest separable tensor,
        which is no descent method.
    noise : float or "learn"
        Variance of the noise (of both parts together for complex data), or to learn it.
    prune_rel : float or sequence of float
        Entries of a factor below this share of its largest, in units in which columns have unit norm, are dropped; one
        value, or one per mode. In coupled modes latent entries are (not with "nnls"). Those that the data ask for at
        the end come back, for good: if they raise the log evidence by more than the logarithm of the number of entries.
    prune_abs : float or sequence of float
        Also those below this value, in the units of As and y: zero by default.
    coupling : None, float, or sequence of (None, float or ndarray of shape (N_k, N_k))
        Entries of a coupled mode take part in the variances of their neighbours with this weight, or as a matrix
        without negative entries says. For modes "mm" and "am" of `update`; `pc_step` then says how factors move.
    pc_step : {"mm", "nnls"}
        For coupled modes: majorise-minimise on latent factors (ours, monotone), or the published nonnegative fit.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop once the variances change by at most this share of their norm, in those units, and no derivative of L by
        the logarithm of a variance exceeds this per measurement (not with "svd" or "nnls", which do not descend). Zero
        runs all `max_iter` updates, unless the noise explains y and "mm" has shrunk all variances to nothing, which
        always ends the loop.
    inner_tol, inner_relative, inner_max
        Sweeps of "am" and "nnls": stop at this change of the variances, relative or absolute, or at this number.
    init : sequence of array-like of shape (N_i,), optional
        Start of the factors (of the latent factors in coupled modes); by default each column alone could explain the
        mean square of y. Zeros stay zero.
    record : sequence of {"cost", "noise", "kept", "gammas"}
        What to keep of every iteration.
    pruning : {"revised", "published"}
        The rule above; or that of the paper: shares are taken in the units of As, what is dropped never comes back,
        and a small change of the variances alone ends the loop. It often drops what the data ask for.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean, the last mode varying fastest.
    coef_var_ : ndarray of shape (N,)
        Posterior variances.
    gammas_ : list of ndarray of shape (N_i,)
        Factors of the prior variances. Only their outer product is identified.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    kept_ : list of ndarray of int
        Columns of each mode that were not pruned.
    noise_variance_ : float
    cost_path_ : ndarray of shape (n_iter_ + 1,)
        L before each update and at the end, the data term averaged over snapshots.
    cost_rises_ : ndarray of int
        Iterations after which L was higher than before, by more than rounding. Empty for "mm", "am", "ksbl" and
        "newton" unless entries were pruned there.
    noise_path_, kept_path_, gammas_path_
        Noise variances, numbers of kept entries, factors on kept entries: if in `record`.
    n_iter_ : int
        Updates.
    n_inner_ : ndarray of int, shape (n_iter_,)
        Sweeps or Newton steps within each.
    converged_ : bool
    log_evidence_ : float
        Log density of all measurements at the learned variances, comparable between groupings of the modes.
    certificate_ : StationarityCertificate
        ``certificate_.check(As, y)`` recomputes the derivatives of L, pruned variances included, and the mean. Not
        applicable to "svd", "nnls" and published pruning, which may rest where L is not stationary.

    See Also
    --------
    kron_posterior : One expectation step.
    SBL : Without the Kronecker structure of the support.

    Notes
    -----
    Results follow the unit of y and of every column; in coupled modes, where neighbours share variances, and with
    published pruning, that of a whole dictionary. Time of a step as in :func:`kron_posterior`; memory O(N + M). Y. He
    and G. Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to IRS-MIMO
    Channel Estimation", arXiv:2307.14719: the model, "am", "svd", the coupling and "nnls". Their settings:
    ``max_iter=150, tol=1e-4, pruning="published"``, known noise, `init` of ones, and for real data ``prune_rel=1e-2,
    inner_tol=1e-5, inner_relative=False`` ("am") or ``prune_rel=1e-3`` ("svd").

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import KroneckerSBL, make_kron_sparse
    >>> problem = make_kron_sparse((8, 9), (15, 15), (2, 3), snr_db=30, rng=0)
    >>> model = KroneckerSBL().fit(problem.As, problem.y)
    >>> error = np.linalg.norm(model.coef_ - problem.x) / np.linalg.norm(problem.x)
    >>> bool(error < 0.05), bool(model.cost_rises_.size == 0), model.certificate_.check(problem.As, problem.y).valid
    (True, True, True)
    """

    def __init__(
        self,
        update: str = "mm",
        noise: float | str = "learn",
        prune_rel: float | Sequence[float] = 1e-2,
        prune_abs: float | Sequence[float] = 0.0,
        coupling: Any = None,
        pc_step: str = "mm",
        max_iter: int = 500,
        tol: float = 1e-4,
        inner_tol: float = 1e-4,
        inner_relative: bool = True,
        inner_max: int = 200,
        init: Sequence[ArrayLike] | None = None,
        record: Sequence[str] = ("cost",),
        pruning: str = "revised",
    ) -> None:
        self.update = update
        self.noise = noise
        self.prune_rel = prune_rel
        self.prune_abs = prune_abs
        self.coupling = coupling
        self.pc_step = pc_step
        self.max_iter = max_iter
        self.tol = tol
        self.inner_tol = inner_tol
        self.inner_relative = inner_relative
        self.inner_max = inner_max
        self.init = init
        self.record = record
        self.pruning = pruning

    def fit(self, As: Sequence[ArrayLike], y: ArrayLike) -> Self:
        """Learn the variances and estimate x.

        Parameters
        ----------
        As : sequence of array-like, of shapes (M_i, N_i)
            Mode dictionaries, real or complex.
        y : array-like of shape (M,), (M, n_snapshots) or (M_1, ..., M_d)
            Measurements; the last mode varies fastest. Snapshots share variances.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a shape does not fit, a value is not finite, or a parameter is out of range.
        """
        dictionaries = check_dictionaries(As)
        data = as_tensor(y, dictionaries.rows, "y")
        pruning, noise = self._check_parameters(len(dictionaries.matrices))
        dtype = np.result_type(data.values, dictionaries.matrices[0])
        matrices = [A.astype(dtype, copy=False) for A in dictionaries.matrices]
        Y = data.values.astype(dtype, copy=False)
        init, couplings = self._check_start(dictionaries.columns)
        self._dictionaries = dictionaries
        if not self._explains(matrices, Y, init, couplings):
            return self._keep_nothing(dictionaries, data, init, noise)
        # In published pruning, and where neighbours share variances, columns of a mode have one unit.
        own = [not pruning.final and C is None for C in couplings or [None] * len(matrices)]
        units = DataUnits.of([f"As[{k}]" for k in range(len(matrices))], matrices, Y, own)
        first = [np.ones(n) for n in dictionaries.columns] if self.init is None else units.variances_in(init)
        start = self._start(matrices, first, couplings)
        Y = Y / units.data
        scales = units.scales_of(start.columns)
        with blas_threads(max(gram_work(A.shape, is_complex=np.iscomplexobj(A)) for A in matrices)):
            fit = maximise_evidence(
                KronMeasurements(units.matrices(matrices), Y, start.columns),
                start,
                NoiseVariance.of(units.noise_in(noise), Y),
                replace(pruning, scales=scales),
                max_iter=self.max_iter,
                tol=self.tol,
                keep_gammas="gammas" in self.record,
            )
        if not fit.converged and self.tol > 0:
            warnings.warn(
                f"the variances still changed by more than {self.tol:g} of their norm, or a derivative of the cost was "
                f"{fit.residual:.2g} per measurement, after {self.max_iter} updates; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self._keep(fit, dictionaries, data, start, units, init)

    def _check_parameters(self, n_modes: int) -> tuple[Pruning, float | None]:
        if self.update not in PLAIN_UPDATES:
            raise ValueError(f"update must be one of {', '.join(PLAIN_UPDATES)}; got {self.update!r}")
        if self.pc_step not in ("mm", "nnls"):
            raise ValueError(f"pc_step must be 'mm' or 'nnls'; got {self.pc_step!r}")
        if self.pruning not in ("revised", "published"):
            raise ValueError(f"pruning must be 'revised' or 'published'; got {self.pruning!r}")
        check_record(self.record)
        for name in ("max_iter", "inner_max"):
            COUNT.check(name, getattr(self, name))
        for name in ("tol", "inner_tol"):
            NONNEGATIVE.check(name, getattr(self, name))
        relative, absolute = (per_mode(name, getattr(self, name), n_modes) for name in ("prune_rel", "prune_abs"))
        if max(relative) >= 1:
            raise ValueError(f"prune_rel must be below 1, the share of the largest entry; got {self.prune_rel!r}")
        learn = isinstance(self.noise, str) and self.noise == "learn"
        rule = Pruning(relative, absolute, final=self.pruning == "published")
        return rule, None if learn else check_noise(self.noise)

    def _check_start(self, sizes: list[int]) -> tuple[list[Float64Array], list[Float64Array | None] | None]:
        """Return what `init` gives, ones by default, and the couplings."""
        init = [np.ones(n) for n in sizes] if self.init is None else check_factors("init", self.init, sizes)
        couplings = coupling_matrices(self.coupling, sizes)
        if couplings is not None and self.update not in ("mm", "am"):
            raise ValueError(f"coupling needs update='mm' or 'am', and pc_step says how; got update={self.update!r}")
        return init, couplings

    def _start(
        self, matrices: list[InexactArray], first: list[Float64Array], couplings: list[Float64Array | None] | None
    ) -> FactorStart:
        """Return the update with the factors it starts from."""
        inner = InnerLoop(self.inner_tol, self.inner_relative, self.inner_max)
        usable = [np.any(A != 0, axis=0) for A in matrices]
        if couplings is None:
            return plain_start(self.update, inner, first, usable)
        return coupled_start(self.pc_step, inner, first, usable, couplings)

    def _explains(
        self,
        matrices: list[InexactArray],
        Y: InexactArray,
        init: list[Float64Array],
        couplings: list[Float64Array | None] | None,
    ) -> bool:
        """Whether a column that is not held at zero has anything to do with the measurements."""
        largest = float(np.abs(Y).max(initial=0.0))
        if largest == 0.0 or self._start(matrices, init, couplings).empty:
            return False
        seen = kron_matvec(matrices, Y / largest, adjoint=True)
        free = [g if C is None else C @ g for g, C in zip(init, couplings or [None] * len(init), strict=True)]
        weights = outer_product([(g > 0).astype(np.float64) for g in free])
        return bool(np.any(seen.reshape(weights.size, -1)[weights.reshape(-1) > 0]))

    def _keep_nothing(
        self, dictionaries: Dictionaries, data: Layout, init: list[Float64Array], noise: float | None
    ) -> Self:
        """Store x = 0, which is all there is where y is orthogonal to all columns, or zero."""
        square = float(squared_modulus(data.values).mean())
        self.noise_variance_ = square if noise is None else noise
        self.gammas_ = [np.zeros(n) for n in dictionaries.columns]
        self.kept_ = [np.empty(0, dtype=np.intp) for _ in dictionaries.columns]
        self.n_iter_, self.n_inner_, self.converged_ = 0, np.empty(0, dtype=np.intp), True
        n_rows = math.prod(dictionaries.rows)
        if self.noise_variance_ > 0:
            cost = n_rows * (math.log(self.noise_variance_) + square / self.noise_variance_)
        else:
            cost = -math.inf
        noises, sizes = np.array([self.noise_variance_]), np.zeros((1, len(self.kept_)), int)
        self._set_paths(np.array([cost]), 0.0, noises, sizes, [[]])
        self._posterior, self._units = None, None
        shape = (math.prod(dictionaries.columns),) + (() if data.n_columns is None else (data.n_columns,))
        self._set_estimate(dictionaries, data, np.zeros(shape), np.zeros(shape[0]))
        self._certify(True, 0.0, init, {})
        return self

    def _keep(
        self,
        fit: EvidenceFit,
        dictionaries: Dictionaries,
        data: Layout,
        start: FactorStart,
        units: DataUnits,
        init: list[Float64Array],
    ) -> Self:
        """Store what the loop found, on all columns, in the units of the user."""
        posterior, grid, unit = fit.posterior, np.ix_(*fit.kept), units.data**2
        self.noise_variance_, self.kept_ = posterior.noise_variance * unit, fit.kept
        self.gammas_ = [np.zeros(n) for n in dictionaries.columns]
        for full, indices, gamma in zip(
            self.gammas_, fit.kept, balanced(units.variances_out(posterior.gammas, fit.kept)), strict=True
        ):
            full[indices] = gamma
        self.n_iter_, self.n_inner_, self.converged_ = fit.n_inner.size, fit.n_inner, fit.converged
        paths = zip(fit.gammas_path, fit.places_path, strict=True)
        gammas_path = [balanced(units.variances_out(gammas, kept)) for gammas, kept in paths]
        volume = units.log_volume(math.prod(dictionaries.rows))
        self._set_paths(fit.cost_path, volume, fit.noise_path * unit, fit.kept_path, gammas_path)
        self._posterior, self._units = posterior, units
        mean = np.zeros((*dictionaries.columns, *data.values.shape[data.n_modes :]), dtype=posterior.S.dtype)
        var, sizes = np.zeros(dictionaries.columns), units.coefficients()[grid]
        mean[grid] = posterior.mean * (sizes if mean.ndim == var.ndim else sizes[..., None])
        var[grid] = posterior.exact_var() * sizes**2
        coef = mean.reshape(math.prod(dictionaries.columns), *mean.shape[data.n_modes :])
        self._set_estimate(dictionaries, data, coef, var.reshape(-1))
        details = latent_details(start.update, start.columns, dictionaries.columns)
        if not start.update.descends or self.pruning == "published":
            details["theorem"] = False
        if "latents" in details:
            details["latents"] = self._in_units(details["latents"], details["couplings"])
        self._certify(fit.converged, fit.residual, init, details)
        return self

    def _in_units(self, latents: list[Float64Array], couplings: list[Float64Array | None]) -> list[Float64Array]:
        """Scale latents so that they make the factors that are stored."""
        result = []
        for z, C, gamma in zip(latents, couplings, self.gammas_, strict=True):
            made = z if C is None else C @ z
            at = int(np.argmax(made))
            result.append(gamma if C is None else z * (gamma[at] / made[at]))
        return result

    def _certify(self, converged: bool, residual: float, init: list[Float64Array], details: dict[str, Any]) -> None:
        self.certificate_ = StationarityCertificate.of(
            converged,
            residual,
            self.tol,
            gammas=self.gammas_,
            noise_variance=self.noise_variance_,
            noise_learned=not isinstance(self.noise, Real),
            coef=self.coef_,
            held=np.concatenate(init) == 0,
            **details,
        )
