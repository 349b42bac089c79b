"""What is done once after the last batch of dictionary learning: the strength is tuned, and codes are certified."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.dictionary.certificate import DictionaryCertificate
from sparsetheory.coding.dictionary.learner import BatchLearner
from sparsetheory.coding.dictionary.sparsity_control import alpha_for_active
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["certified", "tuned_strength"]


# Counts of nonzeros are tuned to this, or to one nonzero more or less.
_COUNT_TOL = 0.01
# Below this tolerance coders in single precision do not go.
_LEAST_SINGLE_TOL = 1e-6


def tuned_strength(learner: BatchLearner, state: DictionaryState, target: float, X: FloatArray) -> float:
    """Return the strength at which codes of these signals have `target` nonzeros on average, or the closest found.

    Warns
    -----
    ConvergenceWarning
        As from :func:`alpha_for_active`.
    """

    def count(alpha: float) -> float:
        return np.count_nonzero(learner.encode(X, state.atoms, alpha).codes) / X.shape[0]

    return alpha_for_active(count, target, state.alpha, tol=max(_COUNT_TOL, 1.0 / X.shape[0])).alpha


def certified(
    learner: BatchLearner, state: DictionaryState, X: FloatArray, rows: Int64Array, *, warn: bool = True
) -> DictionaryCertificate:
    """Certify codes of some signals for the final atoms, found as in training.

    Parameters
    ----------
    learner : BatchLearner
        Finds the codes.
    state : DictionaryState
        After the last batch.
    X : ndarray of shape (n_samples, n_features)
        All signals.
    rows : ndarray of int
        Those of the last batch.
    warn : bool
        Whether to warn.

    Warns
    -----
    ConvergenceWarning
        If batches were skipped, or codes of the last one did not converge.
    """
    batch, history = learner.encode(np.ascontiguousarray(X[rows]), state.atoms, state.alpha), state.history
    skipped, failed = np.count_nonzero(history.skipped), np.count_nonzero(~batch.converged)
    if warn and (skipped or failed):
        warnings.warn(
            f"{skipped} of {state.n_batches} batches were skipped, and {failed} of {batch.converged.size} codes of "
            "the last batch did not converge; see history_",
            ConvergenceWarning,
            stacklevel=3,
        )
    tol = max(learner.tol, _LEAST_SINGLE_TOL) if X.dtype == np.float32 else learner.tol
    penalty = learner.penalty.with_alpha(state.alpha)
    return DictionaryCertificate.of_rows(X, state.atoms, batch.codes, penalty, rows, tol=tol)
