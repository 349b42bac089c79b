"""Greedy recovery of a support that is a product of supports."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sparsetheory.bayesian.kronecker.algebra import kron_matvec, mode_products
from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import per_mode
from sparsetheory.bayesian.kronecker.omp_certificate import KroneckerOMPCertificate
from sparsetheory.bayesian.kronecker.oracle import fit_on_supports
from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.certificates import Status
from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, Constraint, Several, check_parameters
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray, InexactArray

__all__ = ["KroneckerOMP"]


class KroneckerOMP(BaseEstimator):
    """Orthogonal matching pursuit for supports that are a product (N-way OMP).

    Each step takes the coefficient with the largest correlation, adds its index to the support of every mode, and fits
    all coefficients on the product of the supports.

    Parameters
    ----------
    n_nonzero : int or sequence of int
        Largest number of indices in the support of each mode.
    tol : float
        Tolerance, relative to the norm of y: stop once the norm of the residual is at most this.
    noise_variance : float, optional
        If given, stop once the norm of the residual is at most ``sqrt(M * noise_variance)``, in place of `tol`.
    normalize : bool
        Whether columns are compared after scaling them to unit norm; only then does the selection not depend on their
        units. It follows that of y, and of whole dictionaries, in any case.

    Attributes
    ----------
    coef_ : ndarray of shape (N,)
        Coefficients, the last mode varying fastest.
    supports_ : list of ndarray of int
        Supports of the modes, sorted.
    support_ : ndarray of int
        Their product, as indices of `coef_`.
    history_ : dict of ndarray of shape (n_iter_,)
        "residual_norm": after each step, relative to the norm of y.
    n_iter_ : int
        Steps.
    certificate_ : KroneckerOMPCertificate
        ``certificate_.check(dictionaries, y)`` recomputes what least squares leave, and why selection stopped.

    See Also
    --------
    kron_omp_batch : One coefficient at a time.

    Notes
    -----
    d mode products and one small pseudoinverse per mode and step. With generous `n_nonzero` and a tolerance below the
    noise it fits noise: prefer `noise_variance`. C. Caiafa and A. Cichocki, Neural Computation 25(1), 186-220 (2013);
    the defaults but `normalize` are those of Y. He and G. Joseph, arXiv:2307.14719.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import KroneckerOMP, make_kron_sparse
    >>> problem = make_kron_sparse((10, 12), (15, 15), (2, 2), snr_db=40, random_state=0)
    >>> model = KroneckerOMP(noise_variance=problem.noise_variance).fit(problem.dictionaries, problem.y)
    >>> all(np.isin(true, found).all() for true, found in zip(problem.supports, model.supports_))
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT | Several(COUNT),
        "tol": NONNEGATIVE,
        "noise_variance": MISSING | VARIANCE,
        "normalize": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int | Sequence[int] = 10,
        *,
        tol: float = 1e-2,
        noise_variance: float | None = None,
        normalize: bool = True,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.tol = tol
        self.noise_variance = noise_variance
        self.normalize = normalize

    def fit(self, dictionaries: Sequence[ArrayLike], y: ArrayLike) -> Self:
        """Select supports and fit coefficients.

        Parameters
        ----------
        dictionaries : sequence of array-like, of shapes (M_i, N_i)
            Mode dictionaries, real or complex.
        y : array-like of shape (M,) or (M_1, ..., M_d)
            Measurements.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a shape does not fit, a value is not finite, or a parameter is out of range.
        """
        check_parameters(self)
        modes = check_dictionaries(dictionaries)
        data = as_tensor(y, modes.rows, "y")
        if data.n_columns is not None:
            raise ValueError(f"y must be a single vector; got shape {data.shape}")
        most = [int(n) for n in per_mode("n_nonzero", self.n_nonzero, len(modes.matrices))]
        require_squares("y", data.values.reshape(-1))
        for k, A in enumerate(modes.matrices):
            require_squares(f"the dictionary of mode {k}", A, each_column=self.normalize)
        norm = float(np.linalg.norm(data.values))
        limit = self._limit(norm, data.values.size)
        adjoints = [_unit_columns(A).conj().T if self.normalize else A.conj().T for A in modes.matrices]
        supports: list[list[int]] = [[] for _ in adjoints]
        residual, residuals = data.values, []
        values = np.zeros([0] * len(adjoints), dtype=data.values.dtype)
        while norm > limit:
            correlations = np.abs(mode_products(residual, adjoints))
            where = np.unravel_index(np.argmax(correlations), correlations.shape)
            if not _add(supports, [int(i) for i in where], most):
                break
            chosen = [np.array(s, dtype=np.intp) for s in supports]
            values = fit_on_supports(modes.matrices, data.values, chosen)
            columns = [A[:, s] for A, s in zip(modes.matrices, chosen, strict=True)]
            residual = data.values - mode_products(values, columns)
            residuals.append(float(np.linalg.norm(residual)) / norm)
            full = all(len(s) >= n for s, n in zip(supports, most, strict=True))
            if full or residuals[-1] * norm <= limit:
                break
        coef = np.zeros(modes.columns, dtype=np.result_type(data.values, modes.matrices[0]))
        if residuals:
            # A second solve for what is left takes the condition number out of the residual.
            coef[np.ix_(*supports)] = values + fit_on_supports(modes.matrices, residual, chosen)
        self._modes = modes
        self.supports_ = [np.sort(np.array(s, dtype=np.intp)) for s in supports]
        grid = np.meshgrid(*self.supports_, indexing="ij")
        self.support_ = np.ravel_multi_index(grid, coef.shape).reshape(-1).astype(np.intp)
        self.coef_ = modes.with_precision(coef.reshape(-1), data.single)
        self.history_, self.n_iter_ = {"residual_norm": np.array(residuals)}, len(residuals)
        self.certificate_ = KroneckerOMPCertificate(
            "", 0.0, None, Status.INVALID,
            coef=self.coef_, supports=tuple(tuple(s.tolist()) for s in self.supports_), n_nonzero=tuple(most),
            tol=float(self.tol), noise_variance=self.noise_variance, normalize=bool(self.normalize),
        ).certified(modes.matrices, data.values)  # fmt: skip
        return self

    def predict(self, dictionaries: Sequence[ArrayLike] | None = None) -> AnyArray:
        """Predict measurements.

        Parameters
        ----------
        dictionaries : sequence of array-like, of shapes (m_i, N_i), optional
            Dictionaries with the columns of the fit; those of the fit by default.

        Returns
        -------
        ndarray of shape (m,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the columns are not as many as in the fit.
        """
        check_is_fitted(self)
        return kron_matvec(self._modes.matrices if dictionaries is None else dictionaries, self.coef_)

    def _limit(self, norm: float, n_rows: int) -> float:
        """Return the residual norm at which to stop."""
        if self.noise_variance is None:
            return self.tol * norm
        return math.sqrt(n_rows * float(self.noise_variance))


def _unit_columns(A: InexactArray) -> InexactArray:
    norms = np.linalg.norm(A, axis=0)
    return A / np.where(norms > 0, norms, 1.0)


def _add(supports: list[list[int]], where: list[int], most: list[int]) -> bool:
    """Add an index to every mode that lacks it and has room, and say whether any did."""
    added = False
    for support, index, n in zip(supports, where, most, strict=True):
        if index not in support and len(support) < n:
            support.append(index)
            added = True
    return added
