"""Evidence for a model that was fitted in rounds."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_X_y

from sparsetheory.certificates import Certificate, Status
from sparsetheory.privacy.collection.gradient_rounds import GradientRounds
from sparsetheory.privacy.device.coin import Coin, private_signs
from sparsetheory.privacy.device.directions import public_normals
from sparsetheory.privacy.device.gradient import DIRECTIONS, GradientQuery, gradient_vectors, round_of
from sparsetheory.privacy.device.gradient_schema import GradientSchema
from sparsetheory.privacy.estimators.base import dense_blocks
from sparsetheory.privacy.estimators.guarantee import SeededCoin, realised_eps
from sparsetheory.privacy.estimators.noise_limits import bernstein
from sparsetheory.privacy.randomizers.expansion import user_numbers
from sparsetheory.typing import AnyArray, Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["IHTCertificate"]

# A step is a few additions and multiplications for each entry.
_ROUNDING = 1e-12
# A right fit is called invalid with at most this probability, all rounds together.
_LEVEL = 1e-6


@dataclass(frozen=True, eq=False)
class IHTCertificate(Certificate):
    r"""Every user spoke in one round, with the promised privacy, and the coefficients follow from what was released.

    `bound` is the promised eps, and `measured` the one that the integers of the secret coin realise, from exact
    arithmetic. A check also recomputes the rounds of all users, the gradients from the sums of messages, and every
    iterate from the gradients. In a simulation the messages of all users are encoded again by the code of devices, and
    their integer sums must be the same. Otherwise nobody knows the coins. Then every entry of a released gradient must
    lie as near to the mean clipped gradient of the given data as Bernstein's inequality allows: an entry of a message
    has a variance of at most :math:`B^2 / d` and is at most 2B away from its mean. Wrong data are noticed only where
    they differ by more than this noise.

    Attributes
    ----------
    schema : GradientSchema
        The collection.
    step : float
        Length of a step.
    n_nonzero : int
        Number of non-zeros that the last iterate keeps.
    coef : ndarray of shape (n_features,)
        Coefficients of the model.
    intercept : float
        Always 0.
    iterates, gradients : ndarray
        What was published and released, as in :class:`GradientHistory`.
    totals, counts : ndarray of int64
        Sums of messages, and numbers of users.
    features : tuple of int or None
        Features kept by the first round.
    coin_seed : int or None
        Seed of the coin of a simulation.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import LDPIHT
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 3))
    >>> model = LDPIHT(8.0, n_nonzero=1, clip_x=3.0, clip_y=2.0, simulation=True, random_state=0).fit(X, X[:, 1])
    >>> certificate = model.certificate_
    >>> certificate.check(X, X[:, 1]).valid, certificate.check(X, X[:, 2]).valid
    (True, False)
    """

    TERMS: ClassVar[tuple[str, ...]] = ("n_nonzero", "step")

    schema: GradientSchema = field(kw_only=True)
    step: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    coef: FloatArray = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True, default=0.0)
    iterates: Float64Array = field(kw_only=True, repr=False)
    gradients: Float64Array = field(kw_only=True, repr=False)
    totals: Int64Array = field(kw_only=True, repr=False)
    counts: Int64Array = field(kw_only=True)
    features: tuple[int, ...] | None = field(kw_only=True)
    coin_seed: int | None = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, server: GradientRounds, n_nonzero: int, coef: FloatArray, coin_seed: int | None) -> "IHTCertificate":
        """Certify what a server has released."""
        history, schema = server.history(), server.schema
        certificate = cls(
            "",
            schema.eps,
            None,
            Status.INVALID,
            schema=schema,
            step=server.step,
            n_nonzero=n_nonzero,
            coef=coef.copy(),
            iterates=history.iterates,
            gradients=history.gradients,
            totals=history.totals,
            counts=history.counts,
            features=history.features,
            coin_seed=coin_seed,
        ).stated()
        return certificate._judged(certificate._broken())

    def promise(self) -> str:
        """Return what is promised."""
        kind = "a simulation of " if self.coin_seed is not None else ""
        return (
            f"{kind}{self.schema.eps:.9g}-differential privacy of every record in the local model: one message for "
            f"each of {int(self.counts.sum())} users, in {len(self.counts)} rounds; coefficients follow from their sums"
        )

    def check(
        self, X: Any, y: ArrayLike, user_ids: ArrayLike | None = None, *, random_state: Any = 0
    ) -> "IHTCertificate":
        """Recompute rounds, privacy, sums and iterates from the data, with NumPy and the code of devices alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Features of the fit.
        y : array-like of shape (n_samples,)
            Responses of the fit.
        user_ids : array-like of int, of shape (n_samples,), optional
            Numbers of the users of the fit.
        random_state : object
            Not used: nothing is drawn.

        Returns
        -------
        IHTCertificate
            With a fresh `measured`, `status` and `reason`. Takes about 40 microseconds a user.

        Raises
        ------
        ValueError
            For data that `fit` refuses, or of another number of features.
        """
        X, y = check_X_y(X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True)
        if X.shape[1] != self.schema.n_features:
            expected = f"{type(self).__name__} is expecting {self.schema.n_features} features as input"
            raise ValueError(f"X has {X.shape[1]} features, but {expected}")
        users = user_numbers(user_ids, X.shape[0])
        reason = self._broken() or self._contradicted(X, np.asarray(y, dtype=np.float64), users)
        return self._judged(reason).unless_misstated()

    def _judged(self, reason: str) -> "IHTCertificate":
        # Nearest to a number of at most eps, in 60 digits, is no double above eps.
        measured = realised_eps(self.schema.records) if len(self.counts) else 0.0
        reason = reason or ("" if measured <= self.schema.eps else "the coin is less private than promised")
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    def _broken(self) -> str:
        """Return what is wrong with the certificate by itself: rounds, gradients, iterates and coefficients."""
        d, stages = self.schema.n_features, len(self.counts)
        if self.bound != self.schema.eps:
            return f"the bound is not the promised {self.schema.eps:.9g}"
        shapes = {"iterates": (stages + 1, d), "gradients": (stages, d), "totals": (stages, d), "coef": (d,)}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or not np.all(np.isfinite(values)):
                return f"{name} must be finite numbers of shape {shape}"
        if stages not in (0, self.schema.n_stages) or (stages == 0 and self.n_nonzero):
            return f"there must be {self.schema.n_stages} rounds"
        if self.intercept != 0 or not 0 < self.step < math.inf:
            return "the intercept must be zero, and the step positive"
        if np.any(self.iterates[0]):
            return "the first iterate must be zero"
        for t in range(stages):
            if reason := self._broken_round(t):
                return reason
        return self._broken_coefficients()

    def _asked(self, t: int) -> IndexArray:
        every = np.arange(self.schema.n_features)
        return every if self.features is None or t == 0 else np.array(self.features, dtype=np.intp)

    def _query(self, t: int) -> GradientQuery:
        screened = self.features is not None and t > 0
        coef = tuple(self.iterates[t, self._asked(t)].tolist())
        return GradientQuery(schema=self.schema, round=t, coef=coef, features=self.features if screened else None)

    def _message_length(self, t: int) -> float:
        """Return B, in units: a message is B times a point on the sphere."""
        p, query = self._asked(t).size, self._query(t)
        shape = math.exp(math.lgamma((p + 1) / 2) - math.lgamma(p / 2)) * math.sqrt(math.pi)
        return query.radius * query.unit * shape / math.tanh(self.schema.eps / 2)

    def _broken_round(self, t: int) -> str:
        asked, count = self._asked(t), int(self.counts[t])
        expected = np.zeros(self.schema.n_features)
        if count:
            expected[asked] = self.totals[t, asked] / 2.0**30 / count * self._message_length(t)
        if not _close(self.gradients[t], expected, _size(expected)):
            return f"the gradient of round {t} is not that of the sum of its messages"
        if t == 0 and self.schema.screen is not None and not self._screened_well():
            return "the features that were kept are not the largest ones"
        before, after = self.iterates[t], self.iterates[t + 1]
        moved = before - self.step * self.gradients[t] if count else before
        allowed = max(_size(before), self.step * _size(self.gradients[t]))
        if not _follows(after, moved, self.schema.n_kept, self.schema.norm_bound, allowed):
            return f"the iterate after round {t} does not follow from its gradient"
        return ""

    def _screened_well(self) -> bool:
        kept = self.features
        if kept is None or len(set(kept)) != self.schema.screen or list(kept) != sorted(kept):
            return False
        sizes = np.abs(self.gradients[0])
        return bool(np.min(sizes[list(kept)]) >= np.sort(sizes)[::-1][len(kept) - 1])

    def _broken_coefficients(self) -> str:
        scaled = self.coef.astype(np.float64) * np.asarray(self.schema.scale_x)
        last = self.iterates[-1]
        tolerance = 4 * float(np.finfo(self.coef.dtype).eps)
        kept = np.flatnonzero(scaled)
        if kept.size > self.n_nonzero or np.any(np.abs(scaled - last)[kept] > tolerance * np.abs(last[kept])):
            return "the coefficients are not entries of the last iterate"
        sizes = np.sort(np.abs(last))[::-1]
        wanted = min(self.n_nonzero, np.count_nonzero(last))
        if kept.size != wanted or (wanted and np.min(np.abs(last[kept])) < sizes[wanted - 1]):
            return "the coefficients are not the largest entries of the last iterate"
        return ""

    def _contradicted(self, X: Any, y: Float64Array, users: NDArray[np.uint64]) -> str:
        """Return what the data contradict."""
        if len(self.counts) == 0:
            return ""
        if np.unique(users).size < users.size:
            return "a user is named twice"
        own = np.array([round_of(self.schema, user) for user in users.tolist()])
        if not np.array_equal(np.bincount(own, minlength=len(self.counts)), self.counts):
            return "the rounds are not those of these users"
        coin = None if self.coin_seed is None else SeededCoin(self.coin_seed)
        for t in range(len(self.counts)):
            members = np.flatnonzero(own == t)
            means, totals = self._replayed(t, X, y, users, members, coin)
            if coin is not None and not np.array_equal(totals, self.totals[t, self._asked(t)]):
                return f"the sum of the messages of round {t} is not that of these data"
            if coin is None and members.size and not self._within_noise(t, means):
                return f"the gradient of round {t} is too far from that of these data"
        return ""

    def _replayed(
        self, t: int, X: Any, y: Float64Array, users: NDArray[np.uint64], members: IndexArray, coin: Coin | None
    ) -> tuple[Float64Array, Int64Array]:
        """Return the mean of the clipped gradients of a round, without units, and the sum of the messages."""
        query, p = self._query(t), self._asked(t).size
        sums, totals = np.zeros(p), np.zeros(p, dtype=np.int64)
        for rows, responses, block in dense_blocks(X, y, members):
            vectors = gradient_vectors(query, rows, responses)
            sums += vectors.sum(axis=0)
            if coin is not None:
                totals += _messages(query, vectors, users[block], coin)
        return sums / max(members.size, 1), totals

    def _within_noise(self, t: int, means: Float64Array) -> bool:
        """Whether a released gradient is near the mean of clipped ones, by Bernstein's inequality."""
        asked, m = self._asked(t), int(self.counts[t])
        d, length = asked.size, self._message_length(t)
        limit = bernstein(2 * math.sqrt(d), m, _LEVEL / (d * len(self.counts))) / math.sqrt(d)
        relative = (self.gradients[t, asked] - means * self._query(t).unit) / length
        return bool(np.max(np.abs(relative)) <= limit)


def _messages(query: GradientQuery, vectors: Float64Array, users: NDArray[np.uint64], coin: Coin) -> Int64Array:
    """Return the sum of what devices send."""
    seed, p = query.schema.public_seed, vectors.shape[1]
    normals = np.array([public_normals(seed, user, p, DIRECTIONS) for user in users.tolist()], dtype=np.float64)
    true = np.where(np.einsum("ij,ij->i", normals, vectors) < 0, -1, 1).astype(np.int8)
    agreement = 0.5 + np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) / (2 * query.radius)
    signs = private_signs(true, agreement, query.schema.eps, coin).astype(np.int64)
    scales = 2.0**30 / np.sqrt(np.sum(normals**2, axis=1))
    return np.asarray(signs @ np.rint(normals * scales[:, None]).astype(np.int64))


def _size(values: AnyArray) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _close(found: Float64Array, expected: Float64Array, size: float) -> bool:
    return bool(np.all(np.abs(found - expected) <= _ROUNDING * size))


def _follows(after: Float64Array, moved: Float64Array, n_kept: int, norm_bound: float, size: float) -> bool:
    """Whether an iterate is the threshold of a vector, shortened to the ball; sizes are compared after full sorting."""
    kept = np.flatnonzero(after)
    sizes = np.sort(np.abs(moved))[::-1]
    rounding = _ROUNDING * size
    wanted = min(n_kept, int(np.count_nonzero(moved)))
    least = sizes[wanted - 1] if wanted else 0.0
    if kept.size > n_kept or np.any(np.abs(moved[kept]) < least - rounding):
        return False
    missed = np.setdiff1d(np.flatnonzero(np.abs(moved) > least + rounding), kept)
    if missed.size or (kept.size < wanted and least > rounding):
        return False
    largest = float(sizes[0]) if sizes.size else 0.0
    norm = float(np.sqrt(np.sum((moved[kept] / largest) ** 2))) if largest else 0.0
    factor = norm_bound / largest / norm if largest and norm > norm_bound / largest else 1.0
    return _close(after[kept], moved[kept] * factor, size)
