"""Dictionary learning with any penalty of the package."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sparsetheory.coding.dictionary.certificate import DictionaryCertificate
from sparsetheory.coding.dictionary.checkpointing import run_batches
from sparsetheory.coding.dictionary.outcome import certified, tuned_strength
from sparsetheory.coding.dictionary.sampling import batch_rows, first_state, split_rows
from sparsetheory.coding.dictionary.settings import chosen_penalty, make_checkpoint, make_learner
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.coding.encoders.encode import encode
from sparsetheory.constraints import COUNT
from sparsetheory.penalties.base import Penalty
from sparsetheory.ranges import require_squares
from sparsetheory.typing import FloatArray

__all__ = ["LqDictionaryLearning"]


class LqDictionaryLearning(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Find unit atoms with which signals have sparse codes.

    Minimises the mean over signals x of :math:`\min_c \frac12\|x - D^T c\|^2 + \phi(c)` over the rows of D, batch after
    batch: codes for the present atoms, then a step of the atoms.

    Parameters
    ----------
    n_components : int or None
        Number of atoms; by default twice the number of features, or the rows of `init`.
    penalty : str or Penalty
        "cel0", "l1", "elastic_net", "l0", "lq", "mcp", "scad", "log_sum", "capped_l1", or an object whose strength
        `alpha` replaces.
    alpha : float
        Strength; with `target_active` the one to start from.
    q : float, optional
        Power of "lq".
    penalty_params : mapping, optional
        Other numbers of the penalty by name, as of :func:`make_penalty`. "lq", here or by `q`, "log_sum" and
        "capped_l1" need theirs.
    positive : bool
        Whether codes must be at least zero, as they must where a penalty object says so.
    target_active : float, optional
        Mean number of nonzeros per code. The strength is then controlled in every batch, and in the end set by
        bisection on signals that are held out: a fifth, at most 2000.
    update : {"online", "olshausen"}
        "online" minimises the surrogate of Mairal and others (2010) over one atom after another. "olshausen" takes one
        gradient step on the squared error of the batch, and normalises.
    eta, eta_decay : float
        Rate of the gradient step after k batches: ``eta / (1 + eta_decay * k)``.
    batch_size : int
        Signals per batch.
    n_batches : int
        Batches of `fit`.
    inner : {"converged", "paper"}
        Codes that are minimisers, or those of the published stop rule of :func:`forward_backward`; a batch where it
        does not stop within 5000 steps changes nothing, as published.
    reseed : bool
        Replace atoms that had no nonzero code while others had 20 on average, by signals that are coded badly.
    init : {"patches", "gaussian"} or array-like of shape (n_components, n_features)
        First atoms: signals drawn at random, random directions, or these.
    forgetting : float, optional
        After t batches, the weight of the past is multiplied by ``(1 - 1/t)**forgetting``. By default 1, and one more
        for every ten signals per atom so far, up to 12.
    solver : str
        Coder of ``inner="converged"``, see :func:`encode`.
    transform_solver : str
        Coder of `transform`.
    tol : float
        Tolerance of the coders.
    step : float, optional
        Step of ``inner="paper"``; by default the published one for 500 atoms, 0.1 for "cel0" and 0.01 otherwise.
    checkpoint : str or Path, optional
        File that keeps the state of `fit`, replaced as a whole; ``fit(X, resume=True)`` continues from it.
    checkpoint_every : int
        Batches between two writes.
    verbose : bool
        Show a progress bar.
    random_state : None, int, Generator or RandomState
        Source of first atoms, order of the signals and new atoms.
    n_jobs : int or None
        Threads of the coder, as joblib counts. Results do not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms, unit rows.
    alpha_ : float
        Strength that `transform` uses.
    history_ : DictionaryHistory
        Objective, nonzeros, error and strength of every batch.
    certificate_ : DictionaryCertificate
        Codes of the last batch for the final atoms, found as in training, with the duality gap (l1) or the distance
        from criticality of each; ``certificate_.check(X)`` recomputes them from all that `fit` took. After
        `partial_fit` the last batch is all that it took, and codes are found when the certificate is first read.
    n_iter_ : int
        Batches learned from.
    n_features_in_ : int

    See Also
    --------
    encode : Codes for given atoms.
    published_settings : Arguments with which the authors of the paper ran their method.

    Notes
    -----
    A batch of b signals with k nonzeros costs the codes plus ``4 n^2 m + b (k^2 + k m)`` operations with n atoms of m
    features. Dictionary and codes are only determined up to order and sign, and the problem is not convex.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import LqDictionaryLearning
    >>> rng = np.random.default_rng(0)
    >>> atoms = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    >>> X = (rng.standard_normal((1000, 8)) * (rng.random((1000, 8)) < 0.2)) @ atoms
    >>> model = LqDictionaryLearning(8, penalty="l1", alpha=0.2, n_batches=60, random_state=0).fit(X)
    >>> bool(np.abs(model.components_ @ atoms.T).max(axis=0).min() > 0.99)
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        penalty: str | Penalty = "cel0",
        alpha: float = 0.1,
        q: float | None = None,
        penalty_params: Mapping[str, Any] | None = None,
        positive: bool = False,
        target_active: float | None = None,
        update: str = "online",
        eta: float = 1e-2,
        eta_decay: float = 0.0,
        batch_size: int = 256,
        n_batches: int = 400,
        inner: str = "converged",
        reseed: bool = True,
        init: str | ArrayLike = "patches",
        forgetting: float | None = None,
        solver: str = "auto",
        transform_solver: str = "auto",
        tol: float = 1e-6,
        step: float | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 50,
        verbose: bool = False,
        random_state: Any = None,
        n_jobs: int | None = 1,
    ) -> None:
        self.n_components = n_components
        self.penalty = penalty
        self.alpha = alpha
        self.q = q
        self.penalty_params = penalty_params
        self.positive = positive
        self.target_active = target_active
        self.update = update
        self.eta = eta
        self.eta_decay = eta_decay
        self.batch_size = batch_size
        self.n_batches = n_batches
        self.inner = inner
        self.reseed = reseed
        self.init = init
        self.forgetting = forgetting
        self.solver = solver
        self.transform_solver = transform_solver
        self.tol = tol
        self.step = step
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.verbose = verbose
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: None = None, *, resume: bool = False) -> Self:
        """Learn atoms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals; float32 and float64 are kept.
        y : None
            Ignored.
        resume : bool
            Continue the run that `checkpoint` keeps, if there is one; the result is the same to the last bit as without
            a break. `n_batches` may be larger than before, unless there is a `target_active`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or `X` is not as described, or the file belongs to another run (CheckpointError).

        Warns
        -----
        ConvergenceWarning
            If batches were skipped, codes of the last batch did not converge, or `target_active` was not reached.
        UncentredSignalsWarning
            If the means of the signals hold more than a tenth of their energy.
        RuntimeWarning
            If a KeyboardInterrupt ended the run early; the model is fitted with what it has.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C")
        require_squares("X", X, X.shape[1])
        learner = make_learner(self, X.shape[1])
        checkpoint = make_checkpoint(self, X, resume=resume)
        state = (checkpoint.read() if resume else None) or first_state(self, X)
        rows, held_out = split_rows(X.shape[0], self.target_active is not None, state.seed)
        batches = batch_rows(rows, COUNT.check("batch_size", self.batch_size), state.seed, state.n_batches)
        state, interrupted = run_batches(learner, state, X, batches, checkpoint, verbose=bool(self.verbose))
        self._keep(state)
        if not interrupted and learner.target_active is not None:
            state = replace(state, alpha=tuned_strength(learner, state, learner.target_active, X[held_out]))
        last = next(batch_rows(rows, self.batch_size, state.seed, max(state.n_batches - 1, 0)))
        self._keep(state, certified(learner, state, X, last, warn=not interrupted))
        return self

    def partial_fit(self, X: Any, y: None = None) -> Self:
        """Learn from one batch: all rows of `X`.

        Atoms, strength and kind of update go on from earlier calls and from `fit`; `n_components`, `init`, `alpha`,
        `update` and `random_state` count in the first call alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals. The first call draws the atoms from them, and makes their precision that of the model.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        state = getattr(self, "_state", None)
        dtypes = [np.float64, np.float32] if state is None else [state.atoms.dtype.type]
        X = validate_data(self, X, dtype=dtypes, order="C", reset=state is None)
        require_squares("X", X, X.shape[1])
        learner = make_learner(self, X.shape[1])
        # Kernels are compiled for arrays that can be written to.
        state = learner.learn(state or first_state(self, X), np.require(X, requirements="W"))
        self._keep(state, partial(certified, learner, state, X.copy(), np.arange(X.shape[0]), warn=False))
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return sparse codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Found by `transform_solver`, whatever `inner` is.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=False)
        penalty = chosen_penalty(self).with_alpha(self.alpha_)
        return encode(X, self.components_.T, penalty, self.transform_solver, tol=self.tol, n_jobs=self.n_jobs)[0]

    def inverse_transform(self, X: Any) -> FloatArray:
        """Return the signals that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=[np.float64, np.float32])
        if codes.shape[1] != self.components_.shape[0]:
            raise ValueError(f"X must have {self.components_.shape[0]} columns, one per atom, got shape {codes.shape}")
        return codes @ self.components_

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    _certificate: DictionaryCertificate | partial[DictionaryCertificate]

    @property
    def certificate_(self) -> DictionaryCertificate:
        """Evidence about the codes of the last batch."""
        # scikit-learn asks unfitted models whether they have this.
        if "_certificate" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no certificate before it is fitted")
        if isinstance(self._certificate, partial):
            self._certificate = self._certificate()
        return self._certificate

    def _keep(
        self, state: DictionaryState, certificate: DictionaryCertificate | partial[DictionaryCertificate] | None = None
    ) -> None:
        self._state = state
        # Nothing to certify before codes are found: an older certificate is of other atoms.
        if hasattr(self, "_certificate"):
            del self._certificate
        if certificate is not None:
            self._certificate = certificate
        self.components_, self.alpha_, self.history_ = state.atoms, state.alpha, state.history
        self.n_iter_ = state.n_batches

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
