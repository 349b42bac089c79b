"""Evidence that no addition or removal of an atom improves codes with a cost per atom."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Certificate, Status
from sparsetheory.coding.codes.certificates import check_coded, mismatch
from sparsetheory.coding.codes.problem import check_codes, check_signals
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable
from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.typing import BoolArray, FloatArray

__all__ = ["L0CodeCertificate"]


@dataclass(frozen=True, eq=False)
class L0CodeCertificate(Certificate):
    """Neither a refit nor the addition or removal of one atom lowers the l0 objective of a code by more than `tol`.

    That is a fraction of the objective of a zero code; `bound` is the largest such promise. Certifies codes of
    :func:`sparsetheory.coding.sbr` and of any other origin; those of :func:`sparsetheory.coding.cd_l0` promise less:
    for them there is `CodeCertificate` with the penalty `L0`.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        The codes.
    alpha : float
        Cost of an atom.
    tol : float
        Tolerance, relative to the objective of a zero code.
    stable : ndarray of bool of shape (n_samples,)
        Which codes keep the promise.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import sbr
    >>> X, D = np.array([[3.0, 0.5]]), np.eye(2)
    >>> L0CodeCertificate.of(X, D, sbr(X, D, alpha=0.5).codes, alpha=0.5).valid
    True
    >>> L0CodeCertificate.of(X, D, [[3.0, 0.5]], alpha=0.5).valid
    False
    """

    codes: FloatArray = field(kw_only=True, repr=False)
    alpha: float = field(kw_only=True)
    tol: float = field(kw_only=True)
    stable: BoolArray = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, X: ArrayLike, D: ArrayLike, C: ArrayLike, *, alpha: float, tol: float = 1e-6) -> "L0CodeCertificate":
        """Certify codes.

        Parameters
        ----------
        X, D, C, alpha, tol
            As in :func:`sparsetheory.coding.is_sbr_stable`.

        Returns
        -------
        L0CodeCertificate
        """
        X, A = check_signals(X, D)
        C = check_codes(C, X, A)
        alpha, tol = NONNEGATIVE.check("alpha", alpha), NONNEGATIVE.check("tol", tol)
        blank = np.zeros(X.shape[0], np.bool_)
        statement, bound = _statement(alpha, tol), _bound(X, tol)
        return cls(statement, bound, None, Status.INVALID, codes=C, alpha=alpha, tol=tol, stable=blank).check(X, A.T)

    def check(self, X: Any, D: Any = None, *, random_state: Any = 0) -> Self:
        """Try all moves of every code again, on orthogonal factors of the atoms in double precision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals.
        D : array-like of shape (n_atoms, n_features)
            Atoms, one per row.
        random_state : None
            Not used.

        Returns
        -------
        L0CodeCertificate
            With fresh `stable` and `status`; `measured` is the bound where the promise is kept, else infinite.

        Raises
        ------
        ValueError, TypeError
            If signals or atoms are not as the coders want them, or their numbers are not those of the codes.
        """
        X, A = check_coded(X, D, self.codes)
        if not np.isfinite(self.codes).all():
            return replace(self, measured=math.nan, status=Status.INVALID, reason="codes not finite")
        stable = is_sbr_stable(X, A.T, self.codes, alpha=self.alpha, tol=self.tol)
        bound = _bound(X, self.tol)
        reason = mismatch(self, bound, self.tol, _statement(self.alpha, self.tol))
        kept = bool(stable.all())
        status = Status.of(kept and not reason)
        return replace(self, measured=bound if kept else math.inf, stable=stable, status=status, reason=reason)


def _bound(X: FloatArray, tol: float) -> float:
    return float(0.5 * tol * np.einsum("ij,ij->i", X, X, dtype=np.float64).max(initial=0.0))


def _statement(alpha: float, tol: float) -> str:
    return (
        f"l0 at alpha={alpha:g}: no refit, addition or removal gains more than {tol:g} of the objective of a zero code"
    )
