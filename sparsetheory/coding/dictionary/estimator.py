"""Dictionary learning with any penalty of the package."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sparsetheory.coding.dictionary.certificate import DictionaryCertificate
from sparsetheory.coding.dictionary.checkpointing import Checkpoint, run_batches
from sparsetheory.coding.dictionary.learner import BatchLearner
from sparsetheory.coding.dictionary.olshausen_update import published_step
from sparsetheory.coding.dictionary.sampling import batch_rows, count_atoms, first_state, split_rows
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.coding.encoders.dispatch import SOLVERS, choose_solver
from sparsetheory.coding.encoders.encode import encode
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    JOBS,
    MISSING,
    NONNEGATIVE,
    POSITIVE,
    SEED,
    Array,
    Choice,
    Constraint,
    Instance,
    Real,
    check_parameters,
)
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import PENALTY_NAMES, as_penalty
from sparsetheory.ranges import require_squares
from sparsetheory.typing import FloatArray

__all__ = ["LqDictionaryLearning"]

# Strength of a penalty that is given by name alone.
_ALPHA = 0.1
# Parameters that may differ between a run and the one that continues it.
_FREE = ("n_jobs", "verbose", "checkpoint", "checkpoint_every", "transform_solver")


class LqDictionaryLearning(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Find unit atoms with which signals have sparse codes.

    Minimises the mean over signals x of :math:`\min_c \frac12\|x - D^T c\|^2 + \phi(c)` over the rows of D, batch after
    batch: codes for the present atoms, then a step of the atoms.

    Parameters
    ----------
    n_components : int or None
        Number of atoms; by default twice the number of features, or the rows of `init`.
    penalty : str or Penalty
        "cel0", "l1", "elastic_net", "l0", "lq", "mcp", "scad", "log_sum", "capped_l1", or a penalty.
    alpha : float, optional
        Strength of the penalty; with `target_active` the one to start from. By default that of the penalty, 0.1 where a
        name is given.
    q, l1_ratio, gamma, a, eps, theta : float, optional
        The other number of a penalty given by name: `q` of "lq", `l1_ratio` of "elastic_net", `gamma` of "mcp", `a` of
        "scad", `eps` of "log_sum", `theta` of "capped_l1".
    positive : bool
        Whether codes must be at least zero, as they must where a penalty object says so.
    target_active : float, optional
        Mean number of nonzeros per code. The strength is then controlled in every batch, and in the end set by
        bisection on signals that are held out: a fifth, at most 2000.
    update : {"online", "olshausen"}
        "online" minimises the surrogate of Mairal and others (2010) over one atom after another. "olshausen" takes one
        gradient step on the squared error of the batch, and normalises.
    learning_rate, learning_rate_decay : float
        Of "olshausen": the rate after k batches is ``learning_rate / (1 + learning_rate_decay * k)``.
    batch_size : int
        Signals per batch.
    n_batches : int
        Batches of `fit`.
    stop_rule : {"converged", "published"}
        When the search for codes stops while atoms are learned: when every code has converged, or by the published rule
        of :func:`forward_backward`. A batch where that rule does not stop within 5000 steps changes nothing, as
        published.
    reseed : bool
        Replace atoms that had no nonzero code while others had 20 on average, by signals that are coded badly.
    init : {"patches", "gaussian"} or array-like of shape (n_components, n_features)
        First atoms: signals drawn at random, random directions, or these.
    forgetting : float, optional
        After t batches, the weight of the past is multiplied by ``(1 - 1/t)**forgetting``. By default 1, and one more
        for every ten signals per atom so far, up to 12.
    solver : str
        Coder of ``stop_rule="converged"``, see :func:`encode`.
    transform_solver : str
        Coder of `transform`.
    tol : float
        Tolerance, relative to what it is for the coder; see :func:`encode`.
    step : float, optional
        Step of ``stop_rule="published"``; by default the published one for 500 atoms, 0.1 for "cel0" and 0.01
        otherwise.
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
    A batch of b signals with k nonzeros costs the codes plus ``4 n_atoms^2 n_features + b (k^2 + k n_features)``
    operations. Dictionary and codes are only determined up to order and sign, and the problem is not convex.

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

    _constraints: ClassVar[Mapping[str, Constraint]] = MappingProxyType(
        {
            "n_components": MISSING | COUNT,
            "penalty": Choice(*PENALTY_NAMES) | Instance(Penalty),
            "alpha": MISSING | NONNEGATIVE,
            "q": MISSING | FRACTION,
            "l1_ratio": MISSING | Real(0.0, 1.0, closed="right"),
            "gamma": MISSING | POSITIVE,
            "a": MISSING | Real(2.0, closed="neither"),
            "eps": MISSING | POSITIVE,
            "theta": MISSING | POSITIVE,
            "positive": FLAG,
            "target_active": MISSING | POSITIVE,
            "update": Choice("online", "olshausen"),
            "learning_rate": POSITIVE,
            "learning_rate_decay": NONNEGATIVE,
            "batch_size": COUNT,
            "n_batches": COUNT,
            "stop_rule": Choice("converged", "published"),
            "reseed": FLAG,
            "init": Choice("patches", "gaussian") | Array("an array of atoms, one per row"),
            "forgetting": MISSING | NONNEGATIVE,
            "solver": Choice("auto", *SOLVERS),
            "transform_solver": Choice("auto", *SOLVERS),
            "tol": POSITIVE,
            "step": MISSING | POSITIVE,
            "checkpoint": MISSING | Instance((str, Path), "the name of a file"),
            "checkpoint_every": COUNT,
            "verbose": FLAG,
            "random_state": SEED,
            "n_jobs": JOBS,
        }
    )

    def __init__(
        self,
        n_components: int | None = None,
        *,
        penalty: str | Penalty = "cel0",
        alpha: float | None = None,
        q: float | None = None,
        l1_ratio: float | None = None,
        gamma: float | None = None,
        a: float | None = None,
        eps: float | None = None,
        theta: float | None = None,
        positive: bool = False,
        target_active: float | None = None,
        update: str = "online",
        learning_rate: float = 1e-2,
        learning_rate_decay: float = 0.0,
        batch_size: int = 256,
        n_batches: int = 400,
        stop_rule: str = "converged",
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
        self.l1_ratio = l1_ratio
        self.gamma = gamma
        self.a = a
        self.eps = eps
        self.theta = theta
        self.positive = positive
        self.target_active = target_active
        self.update = update
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.batch_size = batch_size
        self.n_batches = n_batches
        self.stop_rule = stop_rule
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
        check_parameters(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C")
        require_squares("X", X, X.shape[1])
        learner = self._learner(X.shape[1])
        checkpoint = self._checkpoint(X, resume=resume)
        state = (checkpoint.read() if resume else None) or self._first_state(X)
        rows, held_out = split_rows(X.shape[0], self.target_active is not None, state.seed)
        batches = batch_rows(rows, self.batch_size, state.seed, state.n_batches)
        state, interrupted = run_batches(learner, state, X, batches, checkpoint, verbose=self.verbose)
        self._keep(state)
        if not interrupted and learner.target_active is not None:
            state = replace(state, alpha=learner.tuned_alpha(state, learner.target_active, X[held_out]))
        last = next(batch_rows(rows, self.batch_size, state.seed, max(state.n_batches - 1, 0)))
        self._keep(state, learner.certified(state, X, last, warn=not interrupted))
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
        check_parameters(self)
        state = getattr(self, "_state", None)
        dtypes = [np.float64, np.float32] if state is None else [state.atoms.dtype.type]
        X = validate_data(self, X, dtype=dtypes, order="C", reset=state is None)
        require_squares("X", X, X.shape[1])
        learner = self._learner(X.shape[1])
        # Kernels are compiled for arrays that can be written to.
        state = learner.learn(state or self._first_state(X), np.require(X, requirements="W"))
        self._keep(state, partial(learner.certified, state, X.copy(), np.arange(X.shape[0]), warn=False))
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
            Found by `transform_solver`, whatever `stop_rule` is.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=False)
        penalty = self._penalty().with_alpha(self.alpha_)
        solver, tol = self.transform_solver, self.tol
        return encode(X, self.components_, penalty, solver=solver, tol=tol, n_jobs=self.n_jobs).codes

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
            raise ValueError(f"X must have {self.components_.shape[0]} columns, one per atom; got shape {codes.shape}")
        return codes @ self.components_

    def _penalty(self) -> Penalty:
        """Return the penalty at its first strength."""
        alpha = _ALPHA if self.alpha is None and isinstance(self.penalty, str) else self.alpha
        shape = {name: getattr(self, name) for name in ("q", "l1_ratio", "gamma", "a", "eps", "theta")}
        penalty = as_penalty(self.penalty, alpha, **shape)
        return replace(penalty, positive=True) if self.positive else penalty

    def _learner(self, n_features: int) -> BatchLearner:
        """Return what to do with a batch of signals of `n_features` entries."""
        penalty, target = self._penalty(), self.target_active
        for name in ("solver", "transform_solver"):
            choose_solver(getattr(self, name), penalty, name)
        if target is not None:
            POSITIVE.check("alpha", penalty.alpha)
            n_atoms = count_atoms(self.n_components, self.init, n_features)
            if target >= n_atoms:
                raise ValueError(f"target_active must be below the number of atoms, {n_atoms}; got {target!r}")
        return BatchLearner(
            penalty=penalty,
            stop_rule=self.stop_rule,
            learning_rate=self.learning_rate,
            learning_rate_decay=self.learning_rate_decay,
            forgetting=self.forgetting,
            target_active=target,
            n_batches=self.n_batches,
            reseed=self.reseed,
            solver=self.solver,
            tol=self.tol,
            step=published_step(penalty) if self.step is None else self.step,
            n_jobs=self.n_jobs,
        )

    def _first_state(self, X: FloatArray) -> DictionaryState:
        return first_state(
            X,
            count_atoms(self.n_components, self.init, X.shape[1]),
            self.init,
            online=self.update == "online",
            alpha=self._penalty().alpha,
            random_state=self.random_state,
        )

    def _checkpoint(self, X: FloatArray, *, resume: bool) -> Checkpoint:
        """Return where the run is kept, with the parameters that a run which continues it must share."""
        if resume and self.checkpoint is None:
            raise ValueError("resume=True needs the parameter checkpoint, the file to continue from")
        # The schedule of the strength depends on the planned length; nothing else does.
        free = _FREE if self.target_active is not None else (*_FREE, "n_batches")
        parameters = {name: value for name, value in self.get_params().items() if name not in free}
        return Checkpoint.of(self.checkpoint, self.checkpoint_every, parameters, X)

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
