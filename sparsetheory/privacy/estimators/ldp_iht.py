"""Sparse regression in rounds: every user sends one bit about one gradient."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sparsetheory.constraints import (
    COUNT,
    FLAG,
    MISSING,
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
)
from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.collection.charge import charge
from sparsetheory.privacy.collection.gradient_blocks import encode_gradients, rounds_of
from sparsetheory.privacy.collection.gradient_rounds import GradientRounds
from sparsetheory.privacy.device.coin import Coin
from sparsetheory.privacy.device.gradient_schema import GradientSchema
from sparsetheory.privacy.errors import UselessReleaseWarning
from sparsetheory.privacy.estimators.base import UNIT, PrivateRegressor, dense_blocks, different_users
from sparsetheory.privacy.estimators.clipping import ClippedFractions
from sparsetheory.privacy.estimators.guarantee import PrivacyGuarantee, SeededCoin, draw_seeds
from sparsetheory.privacy.estimators.iht_certificate import IHTCertificate
from sparsetheory.privacy.randomizers.scales import sphere_scale
from sparsetheory.privacy.solvers.gradient_step import automatic_rounds
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["LDPIHT"]


class LDPIHT(PrivateRegressor):
    r"""Iterative hard thresholding under local differential privacy: users are asked in rounds, each of them once.

    Users are split into T rounds by a hash of their numbers. A round publishes coefficients :math:`\theta`. Each of its
    users clips the gradient :math:`x(\langle x, \theta\rangle - y)` of the own record and sends one private bit about
    it. The server takes a step along the mean of the messages,
    :math:`\theta \leftarrow \Pi_{\|\cdot\| \le C} H_{k'}(\theta - \eta \bar g)`. No user speaks twice, so the whole is
    eps-private: nothing composes.

    Parameters
    ----------
    eps : float
        Privacy parameter of every user, in (0, 20].
    n_nonzero : int or None
        Number k of non-zeros; a tenth of the features by default. 0 answers zero and asks nobody.
    n_kept : int or None
        Number k' of non-zeros of the iterates; by default 2k, and 8k for the clip "paper".
    n_rounds : int or "auto"
        Number T of rounds. By default what leaves the least of error and noise for `eigenvalue_range`: one round for
        the identity.
    step : float or "auto"
        Length of a step, in one over the square of `scale_x`; by default one over the end of `eigenvalue_range`.
    eigenvalue_range : (float, float)
        Public guess of the smallest and the largest eigenvalue of the second moments of the features, in units of
        `scale_x`. It decides steps and rounds, not privacy.
    gradient_clip : {"residual", "paper"}
        "residual" shortens the features to `clip_x` and cuts the residual at `clip_residual`. "paper" cuts features and
        response entry by entry; its bound of a gradient is larger by about the root of k'.
    screen : int or None
        Number of features to keep after a first round for half of all users; the others then speak about these alone.
    clip_x : float or None
        Public bound of the norm of the features, in units of `scale_x`. About ``sqrt(n_features) + 2.5`` for
        standardised features.
    clip_entries : float or None
        Public bound of every feature, in units of `scale_x`. This or `clip_x` must be given, and this one for "paper".
    clip_y : float or None
        Public bound of the response, for "paper".
    clip_residual : float or None
        Public bound of the residual, for "residual"; `clip_y` by default. About three standard deviations of y.
    scale_x : float or array-like of shape (n_features,)
        Public unit of the features, or of each of them.
    norm_bound : float
        Public bound C of the norm of the coefficients, for features in units of `scale_x`.
    public_seed : int or None
        Seed of rounds and public directions; drawn by default.
    ledger : PrivacyLedger or None
        Where users are charged before they are asked.
    simulation : bool
        Whether the coin comes from `random_state`. Results are then reproducible, and not private.
    random_state : int, Generator, RandomState or None
        Seed of simulations.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
        Always 0. For an intercept append a constant feature to X, and charge `clip_x` for it.
    support_ : ndarray of int
        Features with coefficients that are not zero.
    n_iter_ : int
        Number of rounds, with the one that screens.
    history_ : GradientHistory
        Iterates, released mean gradients, and numbers of users of all rounds.
    predicted_error_ : float
        Norm of the noise in the last iterate, in closed form; known before anyone is asked. Answering zero errs by the
        norm of the true coefficients.
    privacy_ : PrivacyGuarantee
    certificate_ : IHTCertificate
        ``certificate_.check(X, y)`` recomputes rounds, privacy, messages and iterates.

    See Also
    --------
    NLDPSparseRegression : Asks all users at once.
    GradientRounds : The server of this algorithm, for users who are not in one array.

    Notes
    -----
    The interactive algorithm of Zhu, Ding, Aggarwal, Xu and Wang, "Improved Analysis of Sparse Linear Regression in
    Local Differential Privacy Model" (ICLR 2024), is "paper" with :math:`k' = 8k` and about log(n) rounds. The residual
    clip, the rule for rounds and screening are ours. In a mean gradient of m users every entry has noise of standard
    deviation :math:`B / \sqrt{d m}`, where B is ``sphere_scale(d, eps, R)`` and R the bound of a gradient. With T
    rounds the last one has n / T users: more rounds than the conditioning needs make the result worse. What the solver
    does with the released gradients costs no privacy. Takes O(n_features) time a user, and O(n_features) memory beside
    the data.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import LDPIHT
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200_000, 20))
    >>> y = 0.8 * X[:, 3] - 0.6 * X[:, 7] + 0.5 * rng.standard_normal(len(X))
    >>> model = LDPIHT(2.0, n_nonzero=2, clip_x=7.0, clip_residual=3.0, simulation=True, random_state=0).fit(X, y)
    >>> model.support_.tolist(), model.n_iter_, model.privacy_.private
    ([3, 7], 1, False)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "eps": Real(0.0, 20.0, closed="right"),
        "n_nonzero": MISSING | SIZE,
        "n_kept": MISSING | COUNT,
        "n_rounds": Choice("auto") | COUNT,
        "step": Choice("auto") | POSITIVE,
        "eigenvalue_range": Several(POSITIVE, "two positive numbers, the smaller one first"),
        "gradient_clip": Choice("residual", "paper"),
        "screen": MISSING | COUNT,
        "clip_x": MISSING | POSITIVE,
        "clip_entries": MISSING | POSITIVE,
        "clip_y": MISSING | POSITIVE,
        "clip_residual": MISSING | POSITIVE,
        "scale_x": POSITIVE | Array("positive numbers, one for each feature"),
        "norm_bound": POSITIVE,
        "public_seed": MISSING | Integer(0, 2**128 - 1),
        "ledger": MISSING | Instance(PrivacyLedger),
        "simulation": FLAG,
        "random_state": SEED,
    }

    def __init__(
        self,
        eps: float = 1.0,
        *,
        n_nonzero: int | None = None,
        n_kept: int | None = None,
        n_rounds: int | str = "auto",
        step: float | str = "auto",
        eigenvalue_range: tuple[float, float] = (1.0, 1.0),
        gradient_clip: str = "residual",
        screen: int | None = None,
        clip_x: float | None = None,
        clip_entries: float | None = None,
        clip_y: float | None = None,
        clip_residual: float | None = None,
        scale_x: float | ArrayLike = 1.0,
        norm_bound: float = 1.0,
        public_seed: int | None = None,
        ledger: PrivacyLedger | None = None,
        simulation: bool = False,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.eps = eps
        self.n_nonzero = n_nonzero
        self.n_kept = n_kept
        self.n_rounds = n_rounds
        self.step = step
        self.eigenvalue_range = eigenvalue_range
        self.gradient_clip = gradient_clip
        self.screen = screen
        self.clip_x = clip_x
        self.clip_entries = clip_entries
        self.clip_y = clip_y
        self.clip_residual = clip_residual
        self.scale_x = scale_x
        self.norm_bound = norm_bound
        self.public_seed = public_seed
        self.ledger = ledger
        self.simulation = simulation
        self.random_state = random_state

    def fit(self, X: Any, y: Any, user_ids: ArrayLike | None = None) -> Self:
        """Ask all users, round by round.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            One row for each user. Rows of sparse matrices are made dense block by block.
        y : array-like of shape (n_samples,)
            Responses.
        user_ids : array-like of int, of shape (n_samples,), optional
            Numbers of the users, in [0, 2^64), all different; 0, 1, ... by default. A ledger needs the true
            ones: a place in an array is no identity, and another fit numbers other people from 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is not allowed, a clip is missing, there are fewer users than rounds, or the data hold NaN or
            infinity. No coin was tossed then.
        BudgetExceededError
            If a user is named twice, or the ledger refuses. Nobody was asked then.
        """
        check_parameters(self)
        X, y = self._checked(X, y, reset=True)
        users = different_users(user_ids, X.shape[0], self.ledger)
        seeds = draw_seeds(self.public_seed, self.simulation, self.random_state)
        n_nonzero = self._sparsity(X.shape[1])
        schema = self._schema(X.shape[0], X.shape[1], n_nonzero, seeds.public_seed)
        server = GradientRounds(schema, step=self._step())
        if n_nonzero:
            self._announce(schema, users)
            coin = None if seeds.coin_seed is None else SeededCoin(seeds.coin_seed)
            self._ask(server, X, y, users, coin)
        self.predicted_error_ = self._noise(schema, server.step, len(users)) if n_nonzero else 0.0
        return self._conclude(server, n_nonzero, X.dtype, seeds.coin_seed)

    def _sparsity(self, n_features: int) -> int:
        """Return the number of non-zeros."""
        k = max(1, n_features // 10) if self.n_nonzero is None else int(self.n_nonzero)
        if k > n_features:
            raise ValueError(f"n_nonzero must be at most the number of features {n_features}; got {k}")
        if self.n_kept is not None and not k <= self.n_kept <= n_features:
            raise ValueError(f"n_kept must be an integer from n_nonzero, {k}, to {n_features}; got {self.n_kept}")
        if self.screen is not None and not max(k, self.n_kept or 1) <= self.screen <= n_features:
            least = max(k, self.n_kept or 1)
            raise ValueError(f"screen must be None or an integer from {least} to {n_features}; got {self.screen}")
        return k

    def _step(self) -> float:
        values = self.eigenvalue_range
        if len(values) != 2 or not 0 < values[0] <= values[1]:
            raise ValueError(f"eigenvalue_range must be {self._constraints['eigenvalue_range']}; got {values!r}")
        return 1.0 / float(values[1]) if isinstance(self.step, str) else float(self.step)

    def _schema(self, n_samples: int, n_features: int, n_nonzero: int, public_seed: int) -> GradientSchema:
        """Fix everything that is public, before any record is read."""
        step, (smallest, largest) = self._step(), self.eigenvalue_range
        most = n_features if self.screen is None else self.screen
        default = (8 if self.gradient_clip == "paper" else 2) * max(n_nonzero, 1)
        scale = np.asarray(self.scale_x, dtype=float)
        if scale.ndim > 1 or (scale.ndim == 1 and scale.size != n_features):
            raise ValueError(f"scale_x must be a positive number, or {n_features} of them; got shape {scale.shape}")

        def schema(n_rounds: int) -> GradientSchema:
            return GradientSchema(
                eps=self.eps,
                n_features=n_features,
                gradient_clip=self.gradient_clip,
                clip_x=self.clip_x,
                clip_entries=self.clip_entries,
                clip_y=self.clip_y,
                clip_residual=self.clip_residual,
                scale_x=tuple(scale.tolist()) if scale.ndim else float(scale),
                norm_bound=self.norm_bound,
                n_kept=min(default if self.n_kept is None else self.n_kept, most),
                n_rounds=n_rounds,
                screen=self.screen,
                public_seed=public_seed,
            )

        first = schema(1)
        if isinstance(self.n_rounds, str):
            share = self._noise(first, step, n_samples) / self.norm_bound
            return schema(automatic_rounds(step, (smallest, largest), share, n_samples))
        if self.n_rounds > n_samples:
            raise ValueError(
                f"n_rounds must be at most the number of users, {n_samples}, so that m = n / T is at least 1; "
                f"got {self.n_rounds}"
            )
        return schema(int(self.n_rounds))

    @staticmethod
    def _noise(schema: GradientSchema, step: float, n_samples: int) -> float:
        """Return the norm of the noise in the last iterate: of its k' entries, times the step."""
        screened = schema.screen is not None
        n_features = schema.n_features if schema.screen is None else schema.screen
        users = n_samples / (schema.n_rounds * (1 + screened))
        entry = sphere_scale(n_features, schema.eps, schema.relative_radius(n_features)) / math.sqrt(n_features)
        unit = schema.feature_bound(n_features) * schema.response_bound
        return step * math.sqrt(schema.n_kept / users) * entry * unit

    def _announce(self, schema: GradientSchema, users: NDArray[np.uint64]) -> None:
        """Predict the error, warn if it is hopeless, and charge all users."""
        n = len(users)
        predicted = self._noise(schema, self._step(), n)
        if predicted > self.norm_bound:
            needed = n * (predicted / self.norm_bound) ** 2
            warnings.warn(
                f"noise of norm {predicted:.3g} is predicted for coefficients of a norm of at most "
                f"{self.norm_bound:g}: answering zero is no worse; about {needed:.2g} users are needed instead of {n}",
                UselessReleaseWarning,
                stacklevel=3,
            )
        if self.ledger is not None:
            charge(self.ledger, schema, users)

    def _clipped(self, schema: GradientSchema) -> ClippedFractions:
        """Return what counts clipped records; the residual at zero is the response."""
        bound = schema.clip_y if schema.gradient_clip == "paper" or schema.clip_residual is None else None
        entries = schema.clip_entries
        return ClippedFractions(
            None if self.gradient_clip == "paper" else schema.clip_x, entries, bound, schema.scale_x
        )

    def _ask(self, server: GradientRounds, X: Any, y: AnyArray, users: NDArray[np.uint64], coin: Coin | None) -> None:
        own, clipped = rounds_of(server.schema, users), self._clipped(server.schema)
        while not server.finished:
            asked = np.flatnonzero(own == server.query.round)
            for rows, responses, block in dense_blocks(X, y, asked):
                signs = encode_gradients(server.query, rows, responses, users[block], coin)
                server.sum.update(signs, users[block])
                if self.simulation:  # a real server must not know
                    clipped.count(rows, responses)
            server.next_round()
        clipped.warn()

    def _conclude(self, server: GradientRounds, n_nonzero: int, dtype: DTypeLike, coin_seed: int | None) -> Self:
        self.history_ = server.history()
        self.n_iter_ = len(self.history_.counts)
        self.coef_ = _without_scale(server.coef(n_nonzero), server.schema, dtype)
        self.intercept_ = 0.0
        self.support_ = np.flatnonzero(self.coef_)
        spent = server.schema.eps if self.n_iter_ else 0.0
        self.privacy_ = PrivacyGuarantee(spent, 0.0, "sphere_gradient", UNIT, not self.simulation)
        self.certificate_ = IHTCertificate.of(server, n_nonzero, self.coef_, coin_seed)
        return self


def _without_scale(coef: Float64Array, schema: GradientSchema, dtype: DTypeLike) -> AnyArray:
    """Return coefficients of the features as they are given."""
    with np.errstate(over="ignore"):
        given = (coef / np.asarray(schema.scale_x)).astype(dtype)
    if not np.all(np.isfinite(given)):
        raise ValueError(f"X must have columns of such a size that coefficients are in the range of {np.dtype(dtype)}")
    return given
