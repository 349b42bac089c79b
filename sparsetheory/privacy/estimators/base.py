"""What the private estimators have in common: records in, predictions out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.errors import BudgetExceededError
from sparsetheory.privacy.randomizers.expansion import user_numbers
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["UNIT", "PrivateRegressor", "dense_blocks", "different_users"]

UNIT = "one record, against everyone but its user (local model, replace-one neighbours)"

# Rows that are made dense, and numbers that are made of them, at once.
_ROWS, _NUMBERS = 2**16, 2**22


class PrivateRegressor(RegressorMixin, BaseEstimator):
    """A linear model of private messages: `coef_`, `intercept_` and `predict`."""

    simulation: bool
    coef_: AnyArray
    intercept_: float

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, AnyArray]:
        """Return records as arrays; NaN and infinity are refused before any coin is tossed."""
        return validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True, reset=reset
        )

    def predict(self, X: Any) -> AnyArray:
        """Predict the response.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        predicted = np.asarray(X @ self.coef_ + self.intercept_)
        return predicted.astype(np.result_type(X.dtype, self.coef_.dtype), copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.regressor_tags.poor_score = True
        tags.non_deterministic = not self.simulation
        return tags


def different_users(user_ids: ArrayLike | None, n_samples: int, ledger: PrivacyLedger | None) -> NDArray[np.uint64]:
    """Return the numbers of users: those given, or 0, 1, 2, ... where no ledger holds them against people.

    Raises
    ------
    ValueError
        If there is a ledger and no numbers: it would charge places in an array.
    BudgetExceededError
        If a user is named twice.
    """
    if ledger is not None and user_ids is None:
        raise ValueError("user_ids must be given with a ledger, which charges people and not rows; got None")
    users = user_numbers(user_ids, n_samples)
    if user_ids is not None and np.unique(users).size < users.size:
        raise BudgetExceededError("user_ids must be different: a user speaks once; nobody was asked")
    return users


def dense_blocks(X: Any, y: AnyArray, rows: IndexArray) -> Iterator[tuple[Float64Array, Float64Array, IndexArray]]:
    """Yield records in double precision, in blocks that fit the cache, and their places.

    Parameters
    ----------
    X : ndarray or sparse array in rows, of shape (n, n_features)
    y : ndarray of shape (n,)
    rows : ndarray of int
        Places of the records that are wanted.

    Yields
    ------
    X, y : ndarray
    places : ndarray of int
    """
    step = max(1, min(_ROWS, _NUMBERS // X.shape[1]))
    for start in range(0, rows.size, step):
        places = rows[start : start + step]
        block = X[places].toarray() if sparse.issparse(X) else X[places]
        yield block.astype(np.float64, copy=False), y[places].astype(np.float64, copy=False), places
