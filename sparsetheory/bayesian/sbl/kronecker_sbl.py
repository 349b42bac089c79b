"""Sparse Bayesian learning with Kronecker-structured dictionaries and supports."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.data_units import DataUnits
from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import check_factors, per_mode
from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN, known_noise
from sparsetheory.bayesian.sbl.evidence_maximisation import maximise_evidence
from sparsetheory.bayesian.sbl.kronecker_model import KroneckerModel, explains
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.kronecker import KronMeasurements
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.updates.coupled_update import coupled_update, latent_details
from sparsetheory.bayesian.sbl.updates.coupling import Coupling, coupling_matrices, scaled_latents, usable_factors
from sparsetheory.bayesian.sbl.updates.factor_update import PLAIN_UPDATES, FactorUpdate, plain_update
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    MISSING,
    NONNEGATIVE,
    Array,
    Choice,
    Constraint,
    Real,
    Several,
    check_parameters,
)
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["KroneckerSBL"]

_FRACTION = Real(0.0, 1.0, closed="left")


class KroneckerSBL(KroneckerModel):
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
    noise_variance : float or "learn"
        Variance of the noise (of both parts together for complex data), or to learn it.
    relative_threshold : float or sequence of float
        Entries of a factor below this fraction of its largest, in units in which columns have unit norm, are dropped;
        one value, or one per mode. In coupled modes latent entries are (not with "nnls"). Those that the data ask for
        at the end come back, for good: if they raise the log evidence by more than the logarithm of the number of
        entries.
    absolute_threshold : float or sequence of float
        Also those below this value, in the units of the dictionaries and y: zero by default.
    coupling : None, float, or sequence of (None, float or ndarray of shape (N_k, N_k))
        Entries of a coupled mode take part in the variances of their neighbours with this weight, or as a matrix
        without negative entries says. For modes "mm" and "am" of `update`; `coupling_update` then says how factors
        move.
    coupling_update : {"mm", "nnls"}
        For coupled modes: majorise-minimise on latent factors (ours, monotone), or the published nonnegative fit.
    max_iter : int
        Largest number of updates.
    tol : float
        Tolerance, relative to the norm of the variances: stop once an update changes them by at most this, in those
        units, and no derivative of L by the logarithm of a variance exceeds this per measurement (not with "svd" or
        "nnls", which do not descend). Zero runs all `max_iter` updates, unless the noise explains y and "mm" has shrunk
        all variances to nothing, which always ends the loop.
    inner_tol : float
        Tolerance, relative to the norm of the variances if `inner_relative`, of the sweeps of "am" and "nnls".
    inner_relative : bool
        Whether `inner_tol` is relative; otherwise it is absolute.
    max_inner_iter : int
        Largest number of these sweeps within an update.
    init : sequence of array-like of shape (N_i,), optional
        Start of the factors (of the latent factors in coupled modes); by default each column alone could explain the
        mean square of y. Zeros stay zero.
    keep_iterates : bool
        Whether `history_` has the factors too.
    pruning : {"revised", "published"}
        The rule above; or that of the paper: fractions are taken in the units of the dictionaries, what is dropped
        never comes back, and a small change of the variances alone ends the loop. It often drops what the data ask for.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean, the last mode varying fastest.
    coef_variance_ : ndarray of shape (N,)
        Posterior variances.
    variances_ : list of ndarray of shape (N_i,)
        Factors of the prior variances. Only their outer product is identified.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    kept_ : list of ndarray of int
        Columns of each mode that were not pruned.
    noise_variance_ : float
        Noise variance, known or learned.
    history_ : dict
        Before each update and at the end: "cost", L with the data term averaged over snapshots, "noise_variance", and
        "n_kept", one number per mode; of each update "n_inner", its sweeps or Newton steps. With `keep_iterates` also
        "variances", a list of the factors on the kept entries.
    cost_rises_ : ndarray of int
        Iterations after which L was higher than before, by more than rounding. Empty for "mm", "am", "ksbl" and
        "newton" unless entries were pruned there.
    n_iter_ : int
        Updates.
    converged_ : bool
        Whether `tol` was reached.
    log_evidence_ : float
        Log density of all measurements at the learned variances, comparable between groupings of the modes.
    certificate_ : KroneckerSBLCertificate
        ``certificate_.check(dictionaries, y)`` recomputes the derivatives of L, pruned variances included, and the
        mean. Not applicable to "svd", "nnls" and published pruning, which may rest where L is not stationary.

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
    ``max_iter=150, tol=1e-4, pruning="published"``, known noise, `init` of ones, and for real data
    ``relative_threshold=1e-2, inner_tol=1e-5, inner_relative=False`` ("am") or ``relative_threshold=1e-3`` ("svd").

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import KroneckerSBL, make_kron_sparse
    >>> problem = make_kron_sparse((8, 9), (15, 15), (2, 3), snr_db=30, random_state=0)
    >>> model = KroneckerSBL().fit(problem.dictionaries, problem.y)
    >>> error = np.linalg.norm(model.coef_ - problem.x) / np.linalg.norm(problem.x)
    >>> bool(error < 0.05), bool(model.cost_rises_.size == 0)
    (True, True)
    >>> model.certificate_.check(problem.dictionaries, problem.y).valid
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "update": Choice(*PLAIN_UPDATES),
        "noise_variance": LEARNED_OR_KNOWN,
        "relative_threshold": _FRACTION | Several(_FRACTION),
        "absolute_threshold": NONNEGATIVE | Several(NONNEGATIVE),
        "coupling": MISSING | NONNEGATIVE | Several(MISSING | NONNEGATIVE | Array("a matrix")),
        "coupling_update": Choice("mm", "nnls"),
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "inner_tol": NONNEGATIVE,
        "inner_relative": FLAG,
        "max_inner_iter": COUNT,
        "init": MISSING | Several(Array("a vector of variances")),
        "keep_iterates": FLAG,
        "pruning": Choice("revised", "published"),
    }

    def __init__(
        self,
        update: str = "mm",
        *,
        noise_variance: float | str = "learn",
        relative_threshold: float | Sequence[float] = 1e-2,
        absolute_threshold: float | Sequence[float] = 0.0,
        coupling: Any = None,
        coupling_update: str = "mm",
        max_iter: int = 500,
        tol: float = 1e-4,
        inner_tol: float = 1e-4,
        inner_relative: bool = True,
        max_inner_iter: int = 200,
        init: Sequence[ArrayLike] | None = None,
        keep_iterates: bool = False,
        pruning: str = "revised",
    ) -> None:
        self.update = update
        self.noise_variance = noise_variance
        self.relative_threshold = relative_threshold
        self.absolute_threshold = absolute_threshold
        self.coupling = coupling
        self.coupling_update = coupling_update
        self.max_iter = max_iter
        self.tol = tol
        self.inner_tol = inner_tol
        self.inner_relative = inner_relative
        self.max_inner_iter = max_inner_iter
        self.init = init
        self.keep_iterates = keep_iterates
        self.pruning = pruning

    def fit(self, dictionaries: Sequence[ArrayLike], y: ArrayLike) -> Self:
        """Learn the variances and estimate x.

        Parameters
        ----------
        dictionaries : sequence of array-like, of shapes (M_i, N_i)
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

        Warns
        -----
        ConvergenceWarning
            If `max_iter` updates were not enough.
        """
        check_parameters(self)
        modes = check_dictionaries(dictionaries)
        data = as_tensor(y, modes.rows, "y")
        dtype = np.result_type(data.values, modes.matrices[0])
        matrices = [A.astype(dtype, copy=False) for A in modes.matrices]
        Y = data.values.astype(dtype, copy=False)
        init = (
            [np.ones(n) for n in modes.columns]
            if self.init is None
            else check_factors("init", self.init, modes.columns)
        )
        couplings, pruning = self._couplings(modes.columns), self._pruning(len(matrices))
        self._modes = modes
        if not explains(matrices, Y, *usable_factors(matrices, init, couplings)):
            self._keep_zero(modes, data)
            return self._certify(0.0, init, {})
        # In published pruning, and where neighbours share variances, columns of a mode have one unit.
        own = [not pruning.permanent and C is None for C in couplings]
        units = DataUnits.of([f"dictionaries[{k}]" for k in range(len(matrices))], matrices, Y, own)
        latents = init if self.init is None else units.variances_in(init)
        masks, factors = usable_factors(matrices, latents, couplings)
        columns = [np.flatnonzero(mask) for mask in masks]
        update = self._update(latents, couplings, masks)
        with blas_threads(max(gram_work(A.shape, is_complex=np.iscomplexobj(A)) for A in matrices)):
            fit = maximise_evidence(
                KronMeasurements(units.matrices(matrices), Y / units.data, columns),
                update,
                [factor[mask] for factor, mask in zip(factors, masks, strict=True)],
                columns,
                NoiseVariance.of(units.noise_in(known_noise(self.noise_variance)), Y / units.data),
                replace(pruning, scales=units.scales_of(columns)),
                max_iter=self.max_iter,
                tol=self.tol,
                keep_variances=self.keep_iterates,
            )
        if not fit.converged:
            self._warn_that_it_moves(
                f"the variances still changed by more than {self.tol:g} of their norm, or a derivative of the cost was "
                f"{fit.residual:.2g} per measurement"
            )
        self._keep(fit, modes, data, units)
        details = latent_details(update, columns, modes.columns)
        if not update.descends or pruning.permanent:
            details["covered"] = False
        if "latents" in details:
            details["latents"] = scaled_latents(details["latents"], details["couplings"], self.variances_)
        return self._certify(fit.residual, init, details)

    def _couplings(self, sizes: list[int]) -> list[Coupling]:
        couplings = coupling_matrices(self.coupling, sizes)
        if any(C is not None for C in couplings) and self.update not in ("mm", "am"):
            raise ValueError(
                f"update must be 'mm' or 'am' with a coupling, whose update is coupling_update; got {self.update!r}"
            )
        return couplings

    def _update(self, latents: list[Float64Array], couplings: list[Coupling], masks: list[BoolArray]) -> FactorUpdate:
        inner: dict[str, Any] = {
            "tol": self.inner_tol, "relative": self.inner_relative, "max_sweeps": self.max_inner_iter
        }  # fmt: skip
        if all(C is None for C in couplings):
            return plain_update(self.update, **inner)
        return coupled_update(self.coupling_update, couplings, latents, masks, **inner)

    def _pruning(self, n_modes: int) -> Pruning:
        names = ("relative_threshold", "absolute_threshold")
        relative, absolute = (per_mode(name, getattr(self, name), n_modes) for name in names)
        return Pruning(relative, absolute, permanent=self.pruning == "published")
