"""Evidence that a learned dictionary comes with optimal or stationary codes, for signals that it names."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_array

from sparsetheory.certificates import Status
from sparsetheory.coding.codes.certificates import CodeCertificate, numbers_of
from sparsetheory.coding.codes.problem import check_signals
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["DictionaryCertificate"]


# Squared norms of unit atoms err by this many roundings per entry.
_ROUNDINGS = 8


@dataclass(frozen=True, eq=False)
class DictionaryCertificate(CodeCertificate):
    """A bound on the duality gap (convex penalties) or the distance from stationarity of the codes of some signals.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The dictionary, unit rows, as the model uses it.
    rows : ndarray of int of shape (n_codes,)
        Which signals the codes belong to.
    n_samples : int
        Signals that the model was fitted on.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import LqDictionaryLearning
    >>> X = np.random.default_rng(0).standard_normal((100, 10))
    >>> model = LqDictionaryLearning(12, penalty="l1", batch_size=20, n_batches=3, random_state=0).fit(X)
    >>> model.certificate_.rows.size, model.certificate_.check(X).valid, model.certificate_.check(X + 0.1).valid
    (20, True, False)
    """

    atoms: FloatArray = field(kw_only=True, repr=False)
    rows: Int64Array = field(kw_only=True, repr=False)
    n_samples: int = field(kw_only=True)

    @classmethod
    def of_rows(
        cls, X: FloatArray, atoms: FloatArray, C: FloatArray, penalty: Penalty, rows: Int64Array, *, tol: float
    ) -> "DictionaryCertificate":
        """Certify codes of the signals in some rows of `X`, all arrays of one type.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            All signals.
        atoms : ndarray of shape (n_atoms, n_features)
            Dictionary.
        C : ndarray of shape (n_codes, n_atoms)
            Codes.
        penalty, tol
            As in :meth:`CodeCertificate.of`.
        rows : ndarray of int of shape (n_codes,)
            Their signals.

        Returns
        -------
        DictionaryCertificate
        """
        numbers = numbers_of(X[rows], np.ascontiguousarray(atoms.T), C, penalty, tol, None)
        return cls(**numbers, atoms=atoms, rows=rows, n_samples=X.shape[0]).check(X)

    def check(self, X: Any, D: Any = None, *, random_state: Any = 0) -> Self:
        """Recompute everything from the signals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            All that `fit` took, in the same order.
        D : array-like of shape (n_atoms, n_features), optional
            Atoms, one per row; those of the certificate by default.
        random_state : None
            Not used.

        Returns
        -------
        DictionaryCertificate
            With fresh `measured`, `distances` and `status`; not valid for other signals or atoms, nor if an atom is not
            of unit norm.

        Raises
        ------
        ValueError
            If `X` or `D` is not of the shape above, or `X` is what `fit` refuses.
        """
        X = check_array(X, dtype=[np.float64, np.float32], order="C", input_name="X")
        if X.shape != (self.n_samples, self.atoms.shape[1]):
            raise ValueError(f"X must be of shape {(self.n_samples, self.atoms.shape[1])} as in fit; got {X.shape}")
        given = self.atoms if D is None else np.asarray(D)
        if given.shape != self.atoms.shape:
            raise ValueError(f"D must be of shape {self.atoms.shape}, one row per atom; got {given.shape}")
        if not np.isfinite(given).all() or not np.any(given, axis=1).all():
            return replace(self, measured=np.nan, status=Status.INVALID, reason="atoms are not finite or zero")
        signals, columns = check_signals(X[self.rows], given)
        judged = self._judged(signals, columns)
        off = np.abs(np.einsum("ij,ij->j", columns, columns, dtype=np.float64) - 1.0).max()
        if off > _ROUNDINGS * columns.shape[0] * np.finfo(self.atoms.dtype).eps:
            return replace(judged, status=Status.INVALID, reason="an atom is not of unit norm")
        return judged
