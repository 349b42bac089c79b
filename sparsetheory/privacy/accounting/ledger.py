"""Who has spent how much privacy: a book that is kept in one file and refuses before a budget is exceeded."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from sparsetheory.constraints import MISSING, Instance, Real
from sparsetheory.privacy.accounting.composition import EPS, PROBABILITY
from sparsetheory.privacy.accounting.history import History
from sparsetheory.privacy.accounting.user_ids import user_ids
from sparsetheory.privacy.errors import BudgetExceededError, PrivacyParameterError

__all__ = ["PrivacyLedger"]

# Squares of these stay in the range of doubles.
_MU = Real(1e-100, 1e6)
_PATH = Instance((str, os.PathLike), "a path of a file or ':memory:'")
_CAMPAIGN = Instance(str, "a string")
_DISTANCE = Real(0.0, 1.0, closed="left")
# "stPL" in ASCII: tells a ledger from other SQLite files.
_APPLICATION = 0x7374504C
# Seconds to wait for another process that is charging.
_PATIENCE = 120.0
# Sums of budgets such as 0.1 round; this share of the budget is not worth a refusal.
_ROUNDING = 1e-12
_SCHEMA = (
    "CREATE TABLE budget (eps REAL NOT NULL, delta REAL NOT NULL)",
    "CREATE TABLE campaigns (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # The column of the user has no type, so that 1 and "1" are two users. Exactly one of eps and mu is given.
    "CREATE TABLE charges (user NOT NULL, campaign INTEGER NOT NULL, eps REAL, mu REAL, distance REAL NOT NULL,"
    " PRIMARY KEY (user, campaign)) WITHOUT ROWID",
)
_HISTORY = "count(eps) AS n, total(eps) AS s, coalesce(max(eps), 0.0) AS m, total(mu * mu) AS q, total(distance) AS t"


class PrivacyLedger:
    """A book of the privacy that every user has spent, kept in one file.

    A charge is written before the user speaks. It is refused, and nothing is written, where the user has spoken in the
    same campaign or would exceed the budget. Charges are transactions: a crash leaves each of them done or not begun,
    and several processes and threads may charge through ledgers of their own on the same file. Different users hold
    different records, so what they spend does not add up.

    Parameters
    ----------
    path : str or path
        The file, which is made where there is none; ``":memory:"`` keeps the book for as long as the object lives.
    eps, delta : float
        Budget of every user, with eps in (0, 20] and delta in [0, 1). A file keeps the budget it was made with.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if the file is no ledger.
    PrivacyParameterError
        If the file was made with another budget.

    Notes
    -----
    Pure messages add up, or compose by the theorem of Kairouz, Oh and Viswanath if delta is positive and that is less.
    Gaussian messages add their squares of mu, and what rounding adds to delta. A mix is accounted for as the class
    ``History`` in ``sparsetheory.privacy.accounting.history`` proves. Totals are compared with the budget up to one
    part in 1e12, for the rounding of sums.

    Examples
    --------
    >>> from sparsetheory.privacy import PrivacyLedger
    >>> with PrivacyLedger(":memory:", eps=1.0) as ledger:
    ...     ledger.charge("ann", eps=0.6, campaign="spring")
    ...     ledger.charge(["bob", "eve"], eps=1.0, campaign="spring")
    ...     print(ledger.total("ann"), ledger.spent())
    ...     ledger.charge("ann", eps=0.6, campaign="autumn")
    Traceback (most recent call last):
    sparsetheory.privacy.errors.BudgetExceededError: user 'ann' would exceed eps=1.0, delta=0.0; nothing was charged
    """

    def __init__(self, path: str | os.PathLike[str], *, eps: float, delta: float = 0.0) -> None:
        self.path = os.fspath(_PATH.check("path", path))
        self.eps, self.delta = EPS.check("eps", eps), PROBABILITY.check("delta", delta)
        self._connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def charge(
        self,
        user_id: Any,
        *,
        eps: float | None = None,
        mu: float | None = None,
        total_variation: float = 0.0,
        campaign: str = "",
    ) -> None:
        """Write down what one user, or each of many users, is about to spend; or refuse and write nothing.

        Parameters
        ----------
        user_id : int, str, or array-like of them
            One user or many different users, all of whom are charged or none. Integers are those of 64 bits. The
            number 1 and the string "1" are two users. A million users take a few seconds.
        eps : float, optional
            Pure privacy of the message, in (0, 20]. Either this or `mu` is given.
        mu : float, optional
            Sensitivity of a Gaussian message over its standard deviation, in [1e-100, 1e6].
        total_variation : float
            Distance, in [0, 1), between the law of a Gaussian message and one of exactly this mu: what rounded
            probabilities of integer noise cost beyond mu.
        campaign : str
            Name of the collection. Each user speaks once in each.

        Raises
        ------
        BudgetExceededError
            If a user would exceed the budget, has spoken in this campaign, or is named twice.
        ValueError
            If an argument is out of range.
        """
        users = user_ids(user_id)
        if (eps is None) == (mu is None):
            raise ValueError(f"either eps or mu must be given; got eps={eps!r} and mu={mu!r}")
        eps, mu = (MISSING | EPS).check("eps", eps), (MISSING | _MU).check("mu", mu)
        _CAMPAIGN.check("campaign", campaign)
        distance = _DISTANCE.check("total_variation", total_variation)
        if distance and mu is None:
            raise ValueError(f"total_variation must be 0 for a pure message; got {total_variation!r}")
        with self._transaction():
            self._list_block(users)
            identifier = self._campaign(campaign)
            self._refuse_repetition(identifier, campaign)
            self._refuse_excess(eps, mu, distance)
            self._connection.execute(
                "INSERT INTO charges SELECT user, ?, ?, ?, ? FROM temp.block ORDER BY user",
                (identifier, eps, mu, distance),
            )
            self._connection.execute("DROP TABLE temp.block")

    def total(self, user_id: int | str, delta: float | None = None) -> float:
        """Return the smallest proved eps of what one user has spent.

        Parameters
        ----------
        user_id : int or str
            The user.
        delta : float, optional
            Privacy parameter in [0, 1); that of the budget by default.

        Returns
        -------
        float
            0 for a user who never spoke; infinite for Gaussian messages where delta is 0.

        Raises
        ------
        ValueError
            If an argument is out of range.
        """
        users = user_ids(user_id)
        if len(users) != 1:
            raise ValueError(f"user_id must be one user; got {len(users)}")
        query = f"SELECT {_HISTORY} FROM charges WHERE user = ?"
        return self._largest(self._connection.execute(query, (users[0],)), delta)

    def spent(self, delta: float | None = None) -> float:
        """Return the smallest proved eps of what any user has spent: the largest total.

        Parameters
        ----------
        delta : float, optional
            Privacy parameter in [0, 1); that of the budget by default.

        Returns
        -------
        float
            0 where nobody spoke.

        Raises
        ------
        ValueError
            If delta is out of range.
        """
        return self._largest(self._connection.execute(f"SELECT DISTINCT {_HISTORY} FROM charges GROUP BY user"), delta)

    def close(self) -> None:
        """Close the file; further charges are errors."""
        self._connection.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the ledger itself: two books would let a user spend twice. Clones of an estimator share it."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self.path in ("", ":memory:"):
            raise TypeError("a ledger in memory cannot be sent to another process; give it the path of a file")
        return {"path": os.path.abspath(self.path), "eps": self.eps, "delta": self.delta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], eps=state["eps"], delta=state["delta"])  # type: ignore[misc]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PrivacyLedger({self.path!r}, eps={self.eps!r}, delta={self.delta!r})"

    def _largest(self, rows: sqlite3.Cursor, delta: float | None) -> float:
        delta = self.delta if delta is None else PROBABILITY.check("delta", delta)
        return max((History(*row).eps_at(delta) for row in rows), default=0.0)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the lock for writing from the first read on, so that nobody charges between a check and its charge."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends it by itself
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _open(self) -> None:
        try:
            self._connection.execute("PRAGMA temp_store = MEMORY")
            with self._transaction():
                application = self._connection.execute("PRAGMA application_id").fetchone()[0]
                tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if application == 0 and tables == 0:
                    self._create()
                elif application != _APPLICATION:
                    raise ValueError(f"path must be a ledger or a new file; got {self.path!r}")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise ValueError(f"path must be a ledger or a new file; got {self.path!r} ({error})") from error
        kept = self._connection.execute("SELECT eps, delta FROM budget").fetchone()
        if kept != (self.eps, self.delta):
            raise PrivacyParameterError(
                f"eps and delta must be the budget of the file, {kept[0]!r} and {kept[1]!r}; "
                f"got {self.eps!r} and {self.delta!r}"
            )

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._connection.execute(statement)
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._connection.execute("INSERT INTO budget VALUES (?, ?)", (self.eps, self.delta))

    def _list_block(self, users: list[Any]) -> None:
        self._connection.execute("CREATE TEMP TABLE block (user PRIMARY KEY) WITHOUT ROWID")
        try:
            self._connection.executemany("INSERT INTO temp.block VALUES (?)", zip(users))
        except sqlite3.IntegrityError as error:
            raise BudgetExceededError("a user is named twice in one block; nothing was charged") from error

    def _campaign(self, name: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO campaigns (name) VALUES (?)", (name,))
        identifier: int = self._connection.execute("SELECT id FROM campaigns WHERE name = ?", (name,)).fetchone()[0]
        return identifier

    def _refuse_repetition(self, identifier: int, campaign: str) -> None:
        query = "SELECT user FROM temp.block JOIN charges USING (user) WHERE campaign = ? LIMIT 1"
        row = self._connection.execute(query, (identifier,)).fetchone()
        if row is not None:
            raise BudgetExceededError(
                f"user {row[0]!r} has spoken in campaign {campaign!r} already; nothing was charged"
            )

    def _refuse_excess(self, eps: float | None, mu: float | None, distance: float) -> None:
        """Refuse the block if any of its users would exceed the budget; equal histories are judged once."""
        query = f"SELECT {_HISTORY}, user AS u FROM temp.block LEFT JOIN charges USING (user) GROUP BY user"
        distinct = f"SELECT n, s, m, q, t, min(u) FROM ({query}) GROUP BY n, s, m, q, t"
        for *row, user in self._connection.execute(distinct):
            if not self._allows(History(*row).after(eps, mu, distance)):
                raise BudgetExceededError(
                    f"user {user!r} would exceed eps={self.eps!r}, delta={self.delta!r}; nothing was charged"
                )

    def _allows(self, history: History) -> bool:
        return history.delta_at(self.eps * (1 + _ROUNDING)) <= self.delta
