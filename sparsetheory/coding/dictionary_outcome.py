"""What is done once after the last batch of dictionary learning: the strength is tuned, and codes are certified."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.batch_learning import BatchLearner
from sparsetheory.coding.code_certificates import CodeCertificate
from sparsetheory.coding.dictionary_state import DictionaryState
from sparsetheory.coding.target_sparsity import lam_for_active

__all__ = ["certified", "tuned_strength"]

_Floats = NDArray[np.floating]

# Counts of nonzeros are tuned to this, or to one nonzero more or less.
_COUNT_TOL = 0.01
# Certificates ask for no more than this many roundings.
_ROUNDINGS = 100


def tuned_strength(learner: BatchLearner, state: DictionaryState, target: float, X: _Floats) -> float:
    """Return the strength at which codes of these signals have `target` nonzeros on average, or the closest found.

    Warns
    -----
    ConvergenceWarning
        As from :func:`lam_for_active`.
    """

    def count(lam: float) -> float:
        return np.count_nonzero(learner.encode(X, state.atoms, lam).codes) / X.shape[0]

    return lam_for_active(count, target, state.lam, tol=max(_COUNT_TOL, 1.0 / X.shape[0])).lam


def certified(learner: BatchLearner, state: DictionaryState, last: _Floats) -> CodeCertificate | None:
    """Certify codes of the last batch for the final atoms; None where they are not finite.

    Warns
    -----
    ConvergenceWarning
        If batches were skipped, or codes of the last one did not converge.
    """
    batch, history = learner.encode(last, state.atoms, state.lam), state.history
    skipped, failed = np.count_nonzero(history.skipped), np.count_nonzero(~batch.converged)
    if skipped or failed:
        warnings.warn(
            f"{skipped} of {state.n_batches} batches were skipped, and {failed} of {batch.converged.size} codes of "
            "the last batch did not converge; see history_",
            ConvergenceWarning,
            stacklevel=3,
        )
    # Steps of the published loop that are too long end in codes that are not finite.
    if not np.isfinite(batch.codes).all():
        return None
    tol = max(learner.tol, _ROUNDINGS * float(np.finfo(last.dtype).eps))
    penalty = learner.penalty.with_lam(state.lam)
    return CodeCertificate.of(last, state.atoms.T, batch.codes, penalty, tol=tol)
