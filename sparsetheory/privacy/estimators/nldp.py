"""Sparse regression from one private message of every user."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Status
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    MISSING,
    NONNEGATIVE,
    POSITIVE,
    SEED,
    SIZE,
    Array,
    Choice,
    Constraint,
    Instance,
    Integer,
    Real,
    Several,
    check_parameters,
    generator,
)
from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.collection.charge import charge
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.schema import MECHANISMS, LDPSchema
from sparsetheory.privacy.errors import (
    IllPosedReleaseWarning,
    PrivacyParameterError,
    UselessReleaseWarning,
)
from sparsetheory.privacy.estimators.base import UNIT, PrivateRegressor, dense_blocks, different_users
from sparsetheory.privacy.estimators.clipping import ClippedFractions
from sparsetheory.privacy.estimators.guarantee import PrivacyGuarantee, SeededCoin, draw_seeds, realised_eps
from sparsetheory.privacy.estimators.nldp_certificate import NLDPCertificate
from sparsetheory.privacy.estimators.refusals import require_public, require_same_messages
from sparsetheory.privacy.planning.plan import SOLVERS, prediction_of
from sparsetheory.privacy.solvers.problem import moment_problem
from sparsetheory.privacy.solvers.solution import SolverSettings, solve
from sparsetheory.privacy.solvers.weights import balanced_weight
from sparsetheory.typing import Float64Array

__all__ = ["NLDPSparseRegression"]

_SEED128 = Integer(0, 2**128 - 1)


class NLDPSparseRegression(PrivateRegressor):
    r"""Sparse regression under local differential privacy, without interaction.

    Every user sends one private message about the products of features and response. The server adds the messages up
    and fits a sparse model to the noisy moments; that costs no further privacy, whichever solver is tried.

    Parameters
    ----------
    eps : float
        Privacy parameter of every user, in (0, 20].
    delta : float
        Privacy parameter of the Gaussian mechanisms, in (0, 1); 0 for the others.
    mechanism : {"sphere_joint", "sketch", "onebit", "gauss_tight", "paper"}
        The randomizer. "sphere_joint" has the least noise up to an eps of about 4, and "sketch" the cheapest message:
        one bit each, and eps-private. "onebit" is for bounded features. "gauss_tight" and "paper" are
        (eps, delta)-private. The former has less noise for larger eps, of which a bit can make no use; the latter is
        the published recipe, and much worse.
    clip_x : float or None
        Public bound of the norm of the features, in units of `scale_x`. About ``sqrt(n_features) + 2.5`` for
        standardised features.
    clip_y : float or None
        Public bound of the response; must be given.
    clip_entries : float or None
        Public bound of every feature, in units of `scale_x`. This or `clip_x` must be given, for "paper" both.
    scale_x : float or array-like of shape (n_features,)
        Public unit of the features, or of each of them.
    solver : {"moment_iht", "ols_soft", "psd_lasso"}
        What is done with the moments: iterative hard thresholding, which needs no inversion; least squares with a soft
        threshold, as published; or the Lasso on the positive part.
    n_nonzero : int or None
        Number of non-zeros for "moment_iht"; a tenth of the features by default.
    alpha : float or "noise"
        Threshold of "ols_soft", in the unit of coefficients of scaled features; strength of the penalty of "psd_lasso",
        in the unit of the response. By default what the known noise needs.
    norm_bound : float
        Public bound of the norm of the coefficients, for features in units of `scale_x` and in the unit of the
        response.
    public_covariance : ndarray of shape (n_features, n_features) or None
        Second moments of the features, if they are public. The whole budget then goes to the products with the
        response.
    fit_intercept : bool
        Whether to fit a constant. The constant is a feature more, and clips are charged for it.
    response_weight : float or None
        Weight of products with the response in a message; by default the best one for `norm_bound`.
    largest_eigenvalue : float or None
        Public bound of the largest eigenvalue of the second moments, in units of `scale_x`, for the steps of
        "moment_iht".
    eigenvalue_floor : float
        For "ols_soft" and the intervals: eigenvalues below this share of their mean magnitude are raised to it.
    confidence : float
        Joint confidence of thresholds and intervals.
    n_steps : int
        Steps of "moment_iht".
    tol : float
        Tolerance, relative to half the energy of the moments, for the duality gap of "psd_lasso".
    public_seed : int or None
        Seed of the public directions; drawn by default.
    ledger : PrivacyLedger or None
        Where users are charged before they are asked.
    allow_large_delta : bool
        Whether delta may be one over the number of users or more, which lets a mechanism publish someone's record.
    simulation : bool
        Whether the coin comes from `random_state`. Results are then reproducible, and not private.
    random_state : int, Generator, RandomState or None
        Seed of simulations.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    intervals_ : ndarray of shape (n_features, 2)
        The true coefficients lie inside, all at once, with about the stated confidence, where clips cut little. They
        come from least squares, and are infinite where the released moments have an eigenvalue below
        `eigenvalue_floor` of their mean.
    min_eigenvalue_ : float
        Smallest eigenvalue of the second moments, in units of `scale_x`; not positive where noise prevails.
    noise_ : ReleaseNoise
        Noise of one user, in units of `scale_x` and of the response.
    prediction_ : ErrorPrediction
        What was predicted before users were asked; among it the error of answering zero.
    privacy_ : PrivacyGuarantee
    state_ : MomentState
        The sum of all messages.
    n_iter_ : int
        Steps of "moment_iht", else 1.
    certificate_ : NLDPCertificate
        ``certificate_.check(X, y)`` recomputes privacy, sums and coefficients.

    See Also
    --------
    LDPIHT : Asks users in rounds.
    predict_error : Whether a collection is hopeless.

    Notes
    -----
    Follows the model of Zhu, Ding, Aggarwal, Xu and Wang, "Improved Analysis of Sparse Linear Regression in Local
    Differential Privacy Model" (ICLR 2024). Its non-interactive algorithm releases both moments with Gaussian noise;
    the other mechanisms and solvers are ours. Cost: O(d^2) for each user with "sphere_joint", O(d) with "sketch";
    memory O(d^2), whatever the number of users. Clipping biases coefficients where it acts often.

    Every fit asks all its users, and spends their eps. Cross-validation of a real collection would spend it for every
    fold and candidate: try parameters of solvers on one state, with :meth:`fit_state`, and all others in simulations.
    A `ledger` refuses what a budget does not hold, also in clones.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import NLDPSparseRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200_000, 5))
    >>> y = X @ [1.0, 0.0, 0.0, -0.5, 0.0] + 0.3 * rng.standard_normal(len(X))
    >>> model = NLDPSparseRegression(
    ...     4.0, clip_x=4.5, clip_y=3.5, n_nonzero=2, norm_bound=1.2, simulation=True, random_state=0
    ... ).fit(X, y)
    >>> model.support_.tolist(), model.privacy_.private
    ([0, 3], False)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "eps": Real(0.0, 20.0, closed="right"),
        "delta": Real(0.0, 1.0, closed="left"),
        "mechanism": Choice(*MECHANISMS),
        "clip_x": MISSING | POSITIVE,
        "clip_y": MISSING | POSITIVE,
        "clip_entries": MISSING | POSITIVE,
        "scale_x": POSITIVE | Several(POSITIVE, "positive numbers, one for each feature"),
        "solver": Choice(*SOLVERS),
        "n_nonzero": MISSING | SIZE,
        "alpha": Choice("noise") | NONNEGATIVE,
        "norm_bound": POSITIVE,
        "public_covariance": MISSING | Array("a matrix"),
        "fit_intercept": FLAG,
        "response_weight": MISSING | POSITIVE,
        "largest_eigenvalue": MISSING | POSITIVE,
        "eigenvalue_floor": NONNEGATIVE,
        "confidence": FRACTION,
        "n_steps": COUNT,
        "tol": POSITIVE,
        "public_seed": MISSING | _SEED128,
        "ledger": MISSING | Instance(PrivacyLedger),
        "allow_large_delta": FLAG,
        "simulation": FLAG,
        "random_state": SEED,
    }

    def __init__(
        self,
        eps: float = 1.0,
        *,
        delta: float = 0.0,
        mechanism: str = "sphere_joint",
        clip_x: float | None = None,
        clip_y: float | None = None,
        clip_entries: float | None = None,
        scale_x: float | ArrayLike = 1.0,
        solver: str = "moment_iht",
        n_nonzero: int | None = None,
        alpha: float | str = "noise",
        norm_bound: float = 1.0,
        public_covariance: ArrayLike | None = None,
        fit_intercept: bool = False,
        response_weight: float | None = None,
        largest_eigenvalue: float | None = None,
        eigenvalue_floor: float = 0.1,
        confidence: float = 0.95,
        n_steps: int = 60,
        tol: float = 1e-10,
        public_seed: int | None = None,
        ledger: PrivacyLedger | None = None,
        allow_large_delta: bool = False,
        simulation: bool = False,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.eps = eps
        self.delta = delta
        self.mechanism = mechanism
        self.clip_x = clip_x
        self.clip_y = clip_y
        self.clip_entries = clip_entries
        self.scale_x = scale_x
        self.solver = solver
        self.n_nonzero = n_nonzero
        self.alpha = alpha
        self.norm_bound = norm_bound
        self.public_covariance = public_covariance
        self.fit_intercept = fit_intercept
        self.response_weight = response_weight
        self.largest_eigenvalue = largest_eigenvalue
        self.eigenvalue_floor = eigenvalue_floor
        self.confidence = confidence
        self.n_steps = n_steps
        self.tol = tol
        self.public_seed = public_seed
        self.ledger = ledger
        self.allow_large_delta = allow_large_delta
        self.simulation = simulation
        self.random_state = random_state

    def fit(self, X: Any, y: Any, user_ids: ArrayLike | None = None) -> Self:
        """Ask all users, and fit the model to what they say.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            One row for each user. Rows of sparse matrices are made dense block by block.
        y : array-like of shape (n_samples,)
            Responses.
        user_ids : array-like of int, of shape (n_samples,), optional
            Numbers of the users, in [0, 2^64); 0, 1, ... by default. A ledger needs the true
            ones: a place in an array is no identity, and another fit numbers other people from 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is not allowed, a clip is missing, or the data hold NaN or infinity. No coin was tossed then.
        PrivacyParameterError
            If delta is not below one over the number of users.
        BudgetExceededError
            If a user is named twice, or the ledger refuses. Nobody was asked then.
        """
        return self._collect(self._start(X, y), X, y, user_ids, reset=True)

    def partial_fit(self, X: Any, y: Any, user_ids: ArrayLike | None = None) -> Self:
        """Ask further users, and fit the model to what all have said so far.

        Parameters
        ----------
        X, y, user_ids
            As in :meth:`fit`. Users without numbers go on from the last call. That nobody speaks again is checked by a
            ledger alone: a state does not know who is in it.

        Returns
        -------
        self

        Raises
        ------
        SchemaMismatchError
            If a parameter of messages, such as eps, was changed after the first call. Nobody was asked then.
        ValueError, PrivacyParameterError, BudgetExceededError
            As in :meth:`fit`, or if `simulation` was changed.
        """
        first = not hasattr(self, "state_")
        return self._collect(self._start(X, y) if first else self._continued(), X, y, user_ids, reset=first)

    def fit_state(self, state: MomentState) -> Self:
        """Fit the model to a state: what a server has collected, at no further privacy cost.

        Parameters
        ----------
        state : MomentState
            Of any collection. Its schema says how the messages were made, and parameters of messages are not used.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, or the state holds no messages.
        """
        check_parameters(self)
        Instance(MomentState).check("state", state)
        if self.public_covariance is not None:
            require_public(self.public_covariance, "", state.schema.fit_intercept, state.schema.n_features)
        self.n_features_in_ = state.schema.n_features
        self.state_ = state
        self._coin_seed: int | None = None
        self._coin: SeededCoin | None = None
        self._dtype = np.dtype(np.float64)
        self._settings = self._solver_settings(state.schema)
        self.prediction_ = self._prediction(state.schema, max(state.count, 1))
        return self._solve()

    def _start(self, X: Any, y: Any) -> MomentState:
        """Fix everything that is public, before any record is used, and return an empty state."""
        check_parameters(self)
        if self.clip_y is None:
            raise ValueError(
                "clip_y must be given: clipping bounds must be public, they cannot be estimated from the data; got None"
            )
        rows, _ = self._checked(X, y, reset=True)
        self._dtype = rows.dtype
        seeds = draw_seeds(self.public_seed, self.simulation, self.random_state)
        schema = self._schema(rows.shape[1], seeds.public_seed)
        self._settings = self._solver_settings(schema)
        self._coin_seed = seeds.coin_seed
        self._coin = None if seeds.coin_seed is None else SeededCoin(seeds.coin_seed)
        return MomentState(schema)

    def _continued(self) -> MomentState:
        """Return the state so far, if the parameters still make the messages that it holds."""
        check_parameters(self)
        state, schema = self.state_, self.state_.schema
        wanted = self._schema(schema.n_features, schema.public_seed if self.public_seed is None else self.public_seed)
        if self.response_weight is None:  # it follows from norm_bound, which solvers may change
            wanted = replace(wanted, response_weight=schema.response_weight)
        require_same_messages(state, wanted, bool(self.simulation))
        if self.simulation and self._coin is None:
            self._coin = SeededCoin(int(generator(self.random_state).integers(2**63)))
        self._settings = self._solver_settings(schema)
        return state

    def _schema(self, n_features: int, public_seed: int) -> LDPSchema:
        scale = np.asarray(self.scale_x, dtype=float)
        if self.public_covariance is not None:
            require_public(self.public_covariance, self.mechanism, bool(self.fit_intercept), n_features)
        if self.mechanism == "paper" and None in (self.clip_x, self.clip_entries):
            raise ValueError(
                "clip_x and clip_entries must be given for the mechanism 'paper': clipping bounds must be public; "
                f"got {self.clip_x!r} and {self.clip_entries!r}"
            )
        schema = LDPSchema(
            mechanism=self.mechanism,
            eps=self.eps,
            delta=self.delta,
            n_features=n_features,
            clip_x=self.clip_x,
            clip_entries=self.clip_entries,
            clip_y=self.clip_y,  # type: ignore[arg-type]
            scale_x=tuple(scale.tolist()) if scale.ndim else float(scale),
            fit_intercept=self.fit_intercept,
            moments="joint" if self.public_covariance is None else "cross",
            public_seed=public_seed,
        )
        with np.errstate(over="ignore"):
            unit = schema.clip_y / scale
        if not np.all(np.isfinite(unit)):
            raise ValueError(f"scale_x must leave coefficients of X in the range of doubles; got {self.scale_x!r}")
        weight = self.response_weight or balanced_weight(schema, self.norm_bound)
        return replace(schema, response_weight=weight)

    def _solver_settings(self, schema: LDPSchema) -> SolverSettings:
        d = schema.n_features
        k = max(1, d // 10) if self.n_nonzero is None else self.n_nonzero
        if k > d:
            raise ValueError(f"n_nonzero must be at most the number of features {d}; got {k}")
        alpha = None if isinstance(self.alpha, str) else float(self.alpha) / schema.clip_y
        return SolverSettings(
            self.solver,
            k,
            min(2 * k, d),
            self.n_steps,
            alpha,
            self.norm_bound / schema.clip_y,
            self.largest_eigenvalue,
            self.eigenvalue_floor,
            self.confidence,
            self.tol,
        )

    def _prediction(self, schema: LDPSchema, n_samples: int) -> Any:
        return prediction_of(schema, n_samples, self._settings.n_nonzero, self.norm_bound, solver=self.solver)

    def _collect(self, before: MomentState, X: Any, y: Any, user_ids: ArrayLike | None, *, reset: bool) -> Self:
        """Add the messages of users to a state; what was fitted before is kept until all have spoken."""
        rows, responses = self._checked(X, y, reset=reset)
        schema, n = before.schema, rows.shape[0]
        total = before.count + n
        if schema.delta * total >= 1 and not self.allow_large_delta:
            raise PrivacyParameterError(
                f"delta must be below one over the number of users, {1 / total:.1e}; got {schema.delta!r}"
            )
        users = different_users(user_ids, n, self.ledger) + np.uint64(0 if user_ids is not None else before.count)
        prediction = self._prediction(schema, total)
        if not prediction.useful:
            warnings.warn(f"no better than answering zero: {prediction}", UselessReleaseWarning, stacklevel=3)
        if self.ledger is not None:
            charge(self.ledger, schema, users)
        state = MomentState(schema)
        state.simulated = bool(self.simulation)
        clipped = ClippedFractions(schema.clip_x, schema.clip_entries, schema.clip_y, schema.scale_x)
        for records, answers, places in dense_blocks(rows, responses, np.arange(n)):
            state.update(encode_block(schema, records, answers, users[places], self._coin), users[places])
            if self.simulation:
                clipped.count(records, answers)
        clipped.warn()
        self.state_, self.prediction_ = before.merge(state), prediction
        return self._solve()

    def _public_second(self, schema: LDPSchema) -> Float64Array | None:
        if self.public_covariance is None:
            return None
        scale = np.broadcast_to(np.asarray(schema.scale_x), schema.n_features)
        return np.asarray(self.public_covariance, dtype=np.float64) / np.outer(scale, scale)

    def _solve(self) -> Self:
        schema = self.state_.schema
        moments = self.state_.moments()
        public = self._public_second(schema)
        problem = moment_problem(schema, moments, public)
        solution = solve(problem, self._settings)
        exact = solution.least_squares
        if self.solver == "ols_soft" and exact.min_eigenvalue < problem.noise_norm:
            need = 4 * schema.n_design * 4 * problem.noise.off_diagonal_std**2
            need /= (np.trace(problem.second) / len(problem.cross)) ** 2
            warnings.warn(
                f"the released second moments cannot be inverted: smallest eigenvalue {exact.min_eigenvalue:.3g}, "
                f"noise {problem.noise_norm:.3g}; about {need:.2g} users would do for uncorrelated features",
                IllPosedReleaseWarning,
                stacklevel=4,
            )
        unit = schema.clip_y / np.broadcast_to(np.asarray(schema.scale_x), schema.n_features)
        self.coef_ = (solution.coef * unit).astype(self._dtype)
        self.intercept_ = solution.intercept * schema.clip_y
        self.support_ = np.flatnonzero(self.coef_)
        self.min_eigenvalue_ = exact.min_eigenvalue
        self.noise_ = moments.noise
        self.intervals_ = self._intervals(exact, unit)
        self.n_iter_ = self.n_steps if self.solver == "moment_iht" else 1
        self.privacy_ = PrivacyGuarantee(schema.eps, schema.delta, schema.mechanism, UNIT, not self.state_.simulated)
        certificate = NLDPCertificate(
            "",
            schema.eps,
            realised_eps(schema),
            Status.VALID,
            delta=schema.delta,
            coef=self.coef_,
            intercept=self.intercept_,
            state=self.state_,
            settings=self._settings,
            public_second=public,
            coin_seed=self._coin_seed,
        ).stated()
        self.certificate_ = replace(certificate, status=Status.of(certificate.solves()))
        return self

    def _intervals(self, exact: Any, unit: Float64Array) -> Float64Array:
        d = unit.size
        if exact.raised:  # then least squares is biased by an unknown amount
            return np.tile([-np.inf, np.inf], (d, 1))
        centre, half = exact.unthresholded[:d] * unit, exact.half_widths[:d] * unit
        return np.column_stack([centre - half, centre + half])
