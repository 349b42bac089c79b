"""The server of an interactive collection: it asks, adds up, takes a step, and asks again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.constraints import Integer, Real
from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.collection.charge import charge
from sparsetheory.privacy.collection.gradient_blocks import rounds_of
from sparsetheory.privacy.device.gradient import DIRECTIONS, GradientQuery
from sparsetheory.privacy.device.gradient_schema import GradientSchema
from sparsetheory.privacy.device.messages import SchemaMismatchError, unpack
from sparsetheory.privacy.randomizers.expansion import public_key, user_numbers
from sparsetheory.privacy.randomizers.scales import sphere_scale
from sparsetheory.privacy.randomizers.sphere import SPHERE_UNIT, sphere_sum
from sparsetheory.privacy.solvers.gradient_step import thresholded_step
from sparsetheory.privacy.solvers.moment_iht import hard_threshold
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["GradientHistory", "GradientRounds", "GradientSum"]

_STEP = Real(0.0, closed="neither")


class GradientSum:
    """The sum of the messages of any number of users of one round.

    Sums are integers, so they are equal to the last bit in whatever order messages arrive and partial sums are merged.

    Parameters
    ----------
    query : GradientQuery
        The round.

    Attributes
    ----------
    count : int
        Number of users so far.
    total : ndarray of int64
        Sum of signed public directions, in units of 2^-30.
    """

    def __init__(self, query: GradientQuery) -> None:
        self.query = query
        self.count = 0
        self.total: Int64Array = np.zeros(len(query.coef), dtype=np.int64)

    def update(self, signs: NDArray[np.int8], user_ids: ArrayLike) -> None:
        """Add the messages of users.

        Parameters
        ----------
        signs : ndarray of int8, of shape (n,)
            +1 and -1.
        user_ids : array-like of int, of shape (n,)
            Their numbers.

        Raises
        ------
        ValueError
            If a user speaks in another round. Nothing is added then.
        """
        users = user_numbers(user_ids, len(signs))
        self._require_own(users)
        sphere_sum(signs, public_key(self.query.schema.public_seed, DIRECTIONS), users, self.total)
        self.count += len(users)

    def ingest(self, stream: bytes | Iterable[bytes], ledger: PrivacyLedger | None = None) -> None:
        """Add messages as devices send them.

        Parameters
        ----------
        stream : bytes, or iterable of bytes
            Whole messages of :func:`~sparsetheory.privacy.encode_gradient`.
        ledger : PrivacyLedger, optional
            Where users are charged before their messages count.

        Raises
        ------
        SchemaMismatchError
            If a message answers another query. Nothing is added then.
        ValueError
            If a user speaks in another round. Nothing is added, and nobody charged, then.
        BudgetExceededError
            If the ledger refuses. Nothing is added then.
        """
        messages = bytes(stream) if isinstance(stream, bytes | bytearray | memoryview) else b"".join(stream)
        users, signs = unpack(self.query, messages)
        self._require_own(users)
        if ledger is not None and users.size:
            charge(ledger, self.query.schema, users)
        self.update(signs.astype(np.int8, copy=False), users)

    def _require_own(self, users: NDArray[np.uint64]) -> None:
        foreign = rounds_of(self.query.schema, users) != self.query.round
        if foreign.any():
            raise ValueError(
                f"user_ids must be those of users of round {self.query.round}; got {np.count_nonzero(foreign)} others"
            )

    def merge(self, other: "GradientSum") -> "GradientSum":
        """Return the sum over the users of both.

        Parameters
        ----------
        other : GradientSum
            Of the same round, and of other users.

        Returns
        -------
        GradientSum
            A new one.

        Raises
        ------
        SchemaMismatchError
            If the sums answer different queries.
        """
        if self.query != other.query:
            raise SchemaMismatchError("sums must be of one round of one collection; their queries differ")
        merged = GradientSum(self.query)
        merged.count = self.count + other.count
        merged.total = self.total + other.total
        return merged

    def mean(self) -> Float64Array:
        """Return the estimate of the mean gradient, in units; zeros if nobody spoke."""
        if self.count == 0:
            return np.zeros(self.total.size)
        scale = sphere_scale(self.total.size, self.query.schema.eps, self.query.radius)
        return np.asarray(self.total * (SPHERE_UNIT * scale / self.count) * self.query.unit, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class GradientHistory:
    """What the rounds of an interactive collection published and received, in units of `scale_x` and of the response.

    Parameters
    ----------
    iterates : ndarray of shape (n_stages + 1, n_features)
        Published coefficients, zeros first; the last ones were not asked about any more.
    gradients : ndarray of shape (n_stages, n_features)
        Released mean gradients; zero for features that a round did not ask about.
    totals : ndarray of int64, of shape (n_stages, n_features)
        Sums of signed directions, from which the gradients follow.
    counts : ndarray of int64, of shape (n_stages,)
        Number of users of every round.
    features : tuple of int or None
        Features kept by the first round; None where it did not screen.
    """

    iterates: Float64Array
    gradients: Float64Array
    totals: Int64Array
    counts: Int64Array
    features: tuple[int, ...] | None


class GradientRounds:
    r"""Iterative hard thresholding with the gradients of users, each of whom speaks once.

    Publish :attr:`query`, collect the messages of the users of that round, call :meth:`next_round`, and begin again,
    until it is :attr:`finished`.

    Parameters
    ----------
    schema : GradientSchema
        The collection.
    step : float
        Length of a step, in one over the squared unit of features; 1 over the largest eigenvalue of their second
        moments is right.
    ledger : PrivacyLedger, optional
        Where every user is charged before the message counts.

    Attributes
    ----------
    query : GradientQuery
        What the users of this round are asked.
    sum : GradientSum
        What they said so far. Partial sums of other processes are merged into it by :meth:`merge`.

    Notes
    -----
    Rounds are disjoint by a hash of the numbers of users, so the whole is eps-private, without composition. A round in
    which nobody spoke takes no step.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import GradientRounds, GradientSchema, encode_gradient, round_of
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((4000, 4))
    >>> y = X[:, 2] + 0.1 * rng.standard_normal(4000)
    >>> schema = GradientSchema(eps=8.0, n_features=4, clip_x=4.0, clip_residual=2.0, n_kept=1, n_rounds=2)
    >>> server = GradientRounds(schema)
    >>> while not server.finished:
    ...     asked = [i for i in range(4000) if round_of(schema, i) == server.query.round]
    ...     server.ingest(encode_gradient(server.query, X[i], y[i], i) for i in asked)
    ...     server.next_round()
    >>> np.flatnonzero(server.coef(1)).tolist()
    [2]
    """

    def __init__(self, schema: GradientSchema, *, step: float = 1.0, ledger: PrivacyLedger | None = None) -> None:
        self.schema = schema
        self.step = _STEP.check("step", step)
        self.ledger = ledger
        self.query = GradientQuery(schema=schema, round=0, coef=(0.0,) * schema.n_features)
        self.sum = GradientSum(self.query)
        self._done = 0
        shape = (schema.n_stages, schema.n_features)
        self._iterates = np.zeros((shape[0] + 1, shape[1]))
        self._gradients, self._totals = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        self._counts = np.zeros(shape[0], dtype=np.int64)
        self._features: tuple[int, ...] | None = None

    @property
    def finished(self) -> bool:
        """Whether all rounds are over."""
        return self._done == self.schema.n_stages

    def ingest(self, stream: bytes | Iterable[bytes]) -> None:
        """Add messages of users of this round; as in :meth:`GradientSum.ingest`, with the ledger of the server.

        Parameters
        ----------
        stream : bytes, or iterable of bytes
            Whole messages.
        """
        self._require_open()
        self.sum.ingest(stream, self.ledger)

    def merge(self, other: GradientSum) -> None:
        """Add a partial sum of this round.

        Parameters
        ----------
        other : GradientSum
            Of users who were charged where it was collected.
        """
        self._require_open()
        self.sum = self.sum.merge(other)

    def next_round(self) -> None:
        """Take a step along what was released, and publish the next query."""
        self._require_open()
        t = self._done
        asked = np.arange(self.schema.n_features) if self._features is None else np.array(self._features)
        self._totals[t, asked], self._gradients[t, asked] = self.sum.total, self.sum.mean()
        self._counts[t] = self.sum.count
        gradient = self._gradients[t]
        if t == 0 and self.schema.screen is not None:
            # Of equal magnitudes the first stay, as in the threshold of the step.
            order = np.lexsort((np.arange(gradient.size), -np.abs(gradient)))
            self._features = tuple(sorted(order[: self.schema.screen].tolist()))
        moved = thresholded_step(self._iterates[t], gradient, self.step, self.schema.n_kept, self.schema.norm_bound)
        self._iterates[t + 1] = moved if self.sum.count else self._iterates[t]
        self._done += 1
        if not self.finished:
            shown = self._iterates[t + 1] if self._features is None else self._iterates[t + 1, list(self._features)]
            self.query = GradientQuery(
                schema=self.schema, round=self._done, coef=tuple(shown.tolist()), features=self._features
            )
            self.sum = GradientSum(self.query)

    def _require_open(self) -> None:
        if self.finished:
            raise ValueError(f"all {self.schema.n_stages} rounds must not be over; they are")

    def coef(self, n_nonzero: int) -> Float64Array:
        """Return the last iterate with its largest entries.

        Parameters
        ----------
        n_nonzero : int
            How many to keep, at most `n_kept` of the schema.

        Returns
        -------
        ndarray of shape (n_features,)
            In the unit of the response over `scale_x`.
        """
        Integer(0, self.schema.n_kept).check("n_nonzero", n_nonzero)
        return hard_threshold(self._iterates[self._done], n_nonzero)

    def history(self) -> GradientHistory:
        """Return what was published and received so far.

        Returns
        -------
        GradientHistory
        """
        t = self._done
        return GradientHistory(
            self._iterates[: t + 1].copy(),
            self._gradients[:t].copy(),
            self._totals[:t].copy(),
            self._counts[:t].copy(),
            self._features,
        )
