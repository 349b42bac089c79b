"""The server: a stream of messages in, moments and models out."""

from collections.abc import Iterable
from typing import Any

from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.collection.charge import charge
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.messages import HEADER, payload_size, unpack
from sparsetheory.privacy.device.schema import LDPSchema

__all__ = ["LDPServer"]

# Messages that are unpacked at once.
_BATCH = 2**16


class LDPServer:
    """Collects the messages of users into one state.

    Parameters
    ----------
    schema : LDPSchema
        The collection, as every client has it.
    ledger : PrivacyLedger, optional
        Where every user is charged before the message counts. A user who sends twice, or whose budget is spent, raises
        BudgetExceededError, and nothing of that batch counts.

    Attributes
    ----------
    state : MomentState
        What was collected so far; to be stored, sent and merged.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import LDPClient, LDPServer
    >>> rng = np.random.default_rng(0)
    >>> client = LDPClient("sketch", eps=2.0, n_features=3, clip_x=3.0, clip_y=3.0, public_seed=1)
    >>> server = LDPServer(client.schema)
    >>> server.ingest(client.encode(rng.standard_normal(3), 0.5, user_id=i) for i in range(100))
    >>> server.state.count
    100
    """

    def __init__(self, schema: LDPSchema, *, ledger: PrivacyLedger | None = None) -> None:
        self.schema = schema
        self.ledger = ledger
        self.state = MomentState(schema)

    def ingest(self, stream: bytes | Iterable[bytes]) -> None:
        """Add messages.

        Parameters
        ----------
        stream : bytes, or iterable of bytes
            Whole messages, one or several in each part. An iterable is read in batches, so it may be endless.

        Raises
        ------
        SchemaMismatchError
            If a message belongs to another collection. Batches before it count; its own does not.
        ValueError
            If a part does not consist of whole messages. Batches before it count; its own does not.
        BudgetExceededError
            If the ledger refuses a user. Batches before it count; of its own, up to 65 536 messages, nobody is charged.
        """
        if isinstance(stream, bytes | bytearray | memoryview):
            self._add(bytes(stream))
            return
        length = HEADER + payload_size(self.schema)
        waiting: list[memoryview] = []
        size = 0
        for part in stream:
            content = memoryview(part).cast("B")
            if len(content) % length:
                raise ValueError(f"stream must have parts of whole messages of {length} bytes; got {len(content)}")
            waiting.append(content)
            size += len(content)
            if size >= _BATCH * length:
                self._add(b"".join(waiting))
                waiting, size = [], 0
        self._add(b"".join(waiting))

    def _add(self, messages: bytes) -> None:
        users, contents = unpack(self.schema, messages)
        if self.ledger is not None and users.size:
            charge(self.ledger, self.schema, users)
        self.state.update(contents, users)

    def solve(self, estimator: Any) -> Any:
        """Fit an estimator to the moments collected so far; this costs no further privacy.

        Parameters
        ----------
        estimator : NLDPSparseRegression
            Any estimator with a method `fit_state`; its solver and its parameters may be tried as often as one likes.

        Returns
        -------
        estimator
            The same, fitted.
        """
        return estimator.fit_state(self.state)
