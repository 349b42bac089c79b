"""What dictionary learning does with one batch of signals, and with the last one."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.arrays import unit_rows
from sparsetheory.coding.codes.encoding import Encoding
from sparsetheory.coding.dictionary.certificate import DictionaryCertificate
from sparsetheory.coding.dictionary.olshausen_update import gradient_step
from sparsetheory.coding.dictionary.online_update import Surrogate, kept_fraction
from sparsetheory.coding.dictionary.sparsity_control import adjusted_alpha, alpha_for_active
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.coding.encoders.encode import encode
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.numba_kernels.dictionary_update import squared_residuals
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["BatchCodes", "BatchLearner", "random_stream"]


# Most steps of the inner loop as published.
_PUBLISHED_STEPS = 5000
# Unused atoms are looked for each time there are this many nonzeros per atom.
_LOOK = 20
# Mean numbers of nonzeros are tuned to this, or to one nonzero more or less.
_COUNT_TOL = 0.01
# Below this tolerance coders in single precision do not go.
_LEAST_SINGLE_TOL = 1e-6
# Purposes of random numbers.
_STREAMS = {"init": 0, "order": 1, "reseed": 2, "held_out": 3}


def random_stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the generator of one choice; it depends on nothing but the arguments, so a run can be continued.

    Parameters
    ----------
    seed : int
        Of the run.
    purpose : {"init", "order", "reseed", "held_out"}
        What is chosen.
    index : int
        Which time.
    """
    return np.random.default_rng([seed, _STREAMS[purpose], index])


@dataclass(frozen=True, eq=False)
class BatchCodes:
    """Codes of a batch, and how good they are.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        Codes.
    squares : ndarray of shape (n_samples,)
        Squared norms of the residuals.
    penalties : ndarray of shape (n_samples,)
        Penalties of the codes.
    converged : ndarray of bool of shape (n_samples,)
        Whether the solver converged.
    """

    codes: FloatArray
    squares: Float64Array
    penalties: Float64Array
    converged: BoolArray


@dataclass(frozen=True)
class BatchLearner:
    """The settings of dictionary learning, checked, and the step that they define.

    Atoms descend on the surrogate where the state has one; else they take a gradient step.

    Parameters
    ----------
    penalty : Penalty
        Family and shape; the strength comes from the state.
    stop_rule : {"converged", "published"}
        When the search for codes stops; see :class:`LqDictionaryLearning`.
    learning_rate, learning_rate_decay : float
        The rate of the gradient step after k batches is ``learning_rate / (1 + learning_rate_decay * k)``.
    forgetting : float or None
        Exponent of :func:`kept_fraction`.
    target_active : float or None
        Number of nonzeros per code towards which the strength is controlled.
    n_batches : int
        Planned length of the run.
    reseed : bool
        Whether unused atoms are replaced.
    solver, tol, step, n_jobs
        Passed to the coder.
    """

    penalty: Penalty
    stop_rule: str
    learning_rate: float
    learning_rate_decay: float
    forgetting: float | None
    target_active: float | None
    n_batches: int
    reseed: bool
    solver: str
    tol: float
    step: float
    n_jobs: int | None

    def encode(self, signals: FloatArray, atoms: FloatArray, alpha: float) -> BatchCodes:
        """Return codes of signals, shape (n_samples, n_features), for atoms of shape (n_atoms, n_features)."""
        penalty, squares = self.penalty.with_alpha(alpha), np.empty(signals.shape[0])
        with warnings.catch_warnings():
            # Counted in the history, and told once after the run.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            found = self._coded(signals, atoms, penalty)
        squared_residuals(found.codes, signals, atoms, squares)
        penalties = PenaltyRows(penalty, atoms.shape[0], atoms.dtype).values(found.codes)
        return BatchCodes(found.codes, squares, penalties, np.asarray(found.converged))

    def _coded(self, signals: FloatArray, atoms: FloatArray, penalty: Penalty) -> Encoding:
        if self.stop_rule == "published":
            most = _PUBLISHED_STEPS
            return forward_backward(signals, atoms, penalty, step=self.step, stop_rule="published", max_iter=most)
        return encode(signals, atoms, penalty, solver=self.solver, tol=self.tol, n_jobs=self.n_jobs)

    def learn(self, state: DictionaryState, signals: FloatArray) -> DictionaryState:
        """Return the state after one more batch; the old one is not changed.

        Parameters
        ----------
        state : DictionaryState
            Before the batch.
        signals : ndarray of shape (n_samples, n_features)
            C-ordered, of the dtype of the atoms.

        Returns
        -------
        DictionaryState
        """
        batch = self.encode(signals, state.atoms, state.alpha)
        skipped = self.stop_rule == "published" and not batch.converged.all()
        counts = np.count_nonzero(batch.codes, axis=0)
        record: dict[str, Any] = {
            "objective": 0.5 * batch.squares.mean() + batch.penalties.mean(),
            "active": counts.sum() / signals.shape[0],
            "mse": batch.squares.mean() / signals.shape[1],
            "alpha": state.alpha,
            "unconverged": np.count_nonzero(~batch.converged),
            "skipped": skipped,
            "reseeded": 0,
        }
        if not skipped:
            state = self._taught(state, batch, signals, counts)
            state, record["reseeded"] = self._reseeded(state, batch, signals)
        return replace(state, alpha=self._next_alpha(state, record), history=state.history.appended(**record))

    def _taught(
        self, state: DictionaryState, batch: BatchCodes, signals: FloatArray, counts: IndexArray
    ) -> DictionaryState:
        n_signals = state.n_signals + signals.shape[0]
        past = state.surrogate
        if past is None:
            rate = self.learning_rate / (1.0 + self.learning_rate_decay * state.n_batches)
            atoms = gradient_step(state.atoms, batch.codes, signals, rate)
        else:
            keep = kept_fraction(signals.shape[0], n_signals, counts.size, self.forgetting)
            past = past.absorb(batch.codes, signals, keep)
            atoms = past.improve(state.atoms)
        return replace(state, atoms=atoms, surrogate=past, n_signals=n_signals, uses=state.uses + counts)

    def _reseeded(self, state: DictionaryState, batch: BatchCodes, signals: FloatArray) -> tuple[DictionaryState, int]:
        """Replace atoms that were not used for long by signals drawn with probability ~ squared residual."""
        if not self.reseed or state.uses.sum() < _LOOK * state.uses.size:
            return state, 0
        # Fractions of what is tiny beside the rest vanish.
        fraction = batch.squares / (batch.squares.sum() or 1.0)
        unused, usable = np.flatnonzero(state.uses == 0), np.flatnonzero(fraction)
        count = min(unused.size, usable.size)
        state = replace(state, uses=np.zeros_like(state.uses))
        if count == 0:
            return state, 0
        rng = random_stream(state.seed, "reseed", state.n_batches)
        unused = rng.permutation(unused)[:count]
        rows = signals[rng.choice(usable, count, replace=False, p=fraction[usable])]
        atoms = state.atoms.copy()
        atoms[unused] = unit_rows(rows)
        past: Surrogate | None = state.surrogate and state.surrogate.without(unused)
        return replace(state, atoms=atoms, surrogate=past), count

    def _next_alpha(self, state: DictionaryState, record: dict[str, Any]) -> float:
        if self.target_active is None or record["skipped"]:
            return state.alpha
        progress = (state.n_batches + 1) / self.n_batches
        return adjusted_alpha(state.alpha, record["active"], self.target_active, progress)

    def tuned_alpha(self, state: DictionaryState, target: float, X: FloatArray) -> float:
        """Return the strength at which codes of these signals have `target` nonzeros on average, or the closest found.

        Warns
        -----
        ConvergenceWarning
            As from :func:`alpha_for_active`.
        """

        def count(alpha: float) -> float:
            return np.count_nonzero(self.encode(X, state.atoms, alpha).codes) / X.shape[0]

        tol = max(_COUNT_TOL, 1.0 / X.shape[0])
        return alpha_for_active(count, target_active=target, start=state.alpha, tol=tol).alpha

    def certified(
        self, state: DictionaryState, X: FloatArray, rows: Int64Array, *, warn: bool = True
    ) -> DictionaryCertificate:
        """Certify codes of some signals for the final atoms, found as in training.

        Parameters
        ----------
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
        batch, history = self.encode(np.ascontiguousarray(X[rows]), state.atoms, state.alpha), state.history
        skipped, failed = np.count_nonzero(history.skipped), np.count_nonzero(~batch.converged)
        if warn and (skipped or failed):
            warnings.warn(
                f"{skipped} of {state.n_batches} batches were skipped, and {failed} of {batch.converged.size} codes of "
                "the last batch did not converge; see history_",
                ConvergenceWarning,
                stacklevel=3,
            )
        tol = max(self.tol, _LEAST_SINGLE_TOL) if X.dtype == np.float32 else self.tol
        penalty = self.penalty.with_alpha(state.alpha)
        return DictionaryCertificate.of_rows(X, state.atoms, batch.codes, penalty, rows, tol=tol)
