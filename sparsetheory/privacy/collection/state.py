"""The state of a server: integer sums of messages, which merge in any order."""

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.privacy.collection.blocks import chosen_products
from sparsetheory.privacy.collection.moments import ReleasedMoments, decode_moments
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.messages import SchemaMismatchError
from sparsetheory.privacy.device.schema import GAUSSIAN, LDPSchema
from sparsetheory.privacy.randomizers.expansion import public_key, user_numbers
from sparsetheory.privacy.randomizers.sketch import sketch_sum
from sparsetheory.privacy.randomizers.sphere import sphere_sum

__all__ = ["MomentState"]

# Eight bytes in front of a state, by whether it is simulated.
_MAGIC = {False: b"LDPstate", True: b"LDPsimul"}
_VERSION = 1
_HEAD = struct.Struct("<8sHIQ")  # magic, version, length of the schema, number of users
# No sum leaves 64 bits up to here: summands are below 2^31.
_MOST_USERS = 2**32


class MomentState:
    """The sum of the messages of any number of users.

    Its size does not depend on the number of users. Sums are integers, so states are equal to the last bit in whatever
    order messages arrive and partial states are merged. The noise is in the messages, so merging needs no trust.

    Parameters
    ----------
    schema : LDPSchema
        The collection.

    Attributes
    ----------
    count : int
        Number of users so far.
    total : ndarray of int64
        The sum: of shape (n_products,), or square with n_design + 1 rows for the mechanism "sketch".
    simulated : bool
        Whether some messages came from a seeded coin, so that the sum is not private. Estimators set it in simulations;
        it is kept when states are merged or stored, and does not count when they are compared.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import LDPClient, MomentState
    >>> client = LDPClient("onebit", eps=1.0, n_features=2, clip_entries=1.0, clip_y=1.0, public_seed=3)
    >>> first, second = MomentState(client.schema), MomentState(client.schema)
    >>> first.update(np.array([1, -1], dtype=np.int8), [10, 11])
    >>> second.update(np.array([1], dtype=np.int8), [12])
    >>> first.merge(second).count, first.merge(second) == second.merge(first)
    (3, True)
    """

    def __init__(self, schema: LDPSchema) -> None:
        self.schema = schema
        self.count = 0
        self.simulated = False
        self.total = np.zeros(_shape(schema), dtype=np.int64)

    def update(self, messages: NDArray[np.signedinteger], user_ids: ArrayLike) -> None:
        """Add the messages of users.

        Parameters
        ----------
        messages : ndarray
            Signs of type int8, of shape (n,), or lattice points of type int32, of shape (n, n_products).
        user_ids : array-like of int, of shape (n,)
            Numbers of the users. That none of them was here before is not checked: no state of bounded size could.

        Raises
        ------
        ValueError
            If messages are no signs or no integers of 32 bits, or users are not as many. Nothing is added then.
        """
        messages = self._checked(messages)
        users = user_numbers(user_ids, len(messages))
        if self.count + len(users) > _MOST_USERS:
            raise ValueError(f"messages must come from at most {_MOST_USERS} users; got {self.count + len(users)}")
        if self.schema.mechanism in GAUSSIAN:
            self.total += messages.sum(axis=0, dtype=np.int64)
        elif self.schema.mechanism == "onebit":
            sums = np.bincount(chosen_products(self.schema, users), weights=messages, minlength=self.total.size)
            self.total += sums.astype(np.int64)  # sums of signs: exact
        else:
            add = sphere_sum if self.schema.mechanism == "sphere_joint" else sketch_sum
            add(messages, public_key(self.schema.public_seed), users, self.total)
        self.count += len(users)

    def _checked(self, messages: ArrayLike) -> NDArray[np.signedinteger]:
        """Return messages in the type of their mechanism: what else is in the array would spoil the sums."""
        given: NDArray[Any] = np.asarray(messages)
        gaussian = self.schema.mechanism in GAUSSIAN
        wanted = given.shape[:1] + ((self.schema.n_products,) if gaussian else ())
        if given.ndim == 0 or given.shape != wanted:
            raise ValueError(f"messages must be of shape {wanted}; got shape {given.shape}")
        kind: type[np.signedinteger] = np.int32 if gaussian else np.int8
        exact = given.dtype == kind or (given.dtype.kind in "iu" and np.array_equal(given.astype(kind), given))
        if not exact or not (gaussian or np.all(np.abs(given) == 1)):
            raise ValueError(f"messages must be {'integers of 32 bits' if gaussian else 'signs'}; got others")
        if gaussian:
            self._require_possible(given)
        return given.astype(kind, copy=False)

    def _require_possible(self, messages: NDArray[Any]) -> None:
        """Refuse what no client sends, so that a user who lies moves the sums no further than the clips allow."""
        releases = gaussian_releases(self.schema)
        largest = np.repeat([release.largest for release in releases], [release.size for release in releases])
        if len(messages) and np.any((messages.max(axis=0) > largest) | (messages.min(axis=0) < -largest)):
            raise ValueError(
                f"messages must be at most {largest.max()} in magnitude, as those of clients are; got more"
            )

    def merge(self, other: "MomentState") -> "MomentState":
        """Return the state of the users of both.

        Parameters
        ----------
        other : MomentState
            Of the same collection, and of other users.

        Returns
        -------
        MomentState
            A new one.

        Raises
        ------
        SchemaMismatchError
            If the collections differ in anything: mechanism, eps, clips, seed.
        """
        if self.schema != other.schema:
            different = [
                name
                for name, value in vars(self.schema).items()
                if name in type(self.schema).__dataclass_fields__ and value != getattr(other.schema, name)
            ]
            raise SchemaMismatchError(f"states must be of one collection; they differ in {', '.join(different)}")
        if self.count + other.count > _MOST_USERS:
            raise ValueError(f"states must hold at most {_MOST_USERS} users; got {self.count + other.count}")
        merged = MomentState(self.schema)
        merged.count = self.count + other.count
        merged.total = self.total + other.total
        merged.simulated = self.simulated or other.simulated
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MomentState):
            return NotImplemented
        return (
            self.schema == other.schema and self.count == other.count and bool(np.array_equal(self.total, other.total))
        )

    __hash__ = None  # type: ignore[assignment]

    def moments(self) -> ReleasedMoments:
        """Return the moments that the messages stand for.

        Returns
        -------
        ReleasedMoments

        Raises
        ------
        ValueError
            If there are no messages yet.
        """
        if self.count == 0:
            raise ValueError("state must hold messages; got none so far")
        return decode_moments(self.schema, self.total, self.count)

    def to_bytes(self) -> bytes:
        """Return the state as bytes: a header, the schema as text, the sums, and a checksum.

        Returns
        -------
        bytes
        """
        text = self.schema.to_json().encode()
        content = _HEAD.pack(_MAGIC[self.simulated], _VERSION, len(text), self.count) + text
        content += self.total.astype("<i8").tobytes()
        return content + struct.pack("<I", zlib.crc32(content))

    @classmethod
    def from_bytes(cls, content: bytes) -> "MomentState":
        """Read what :meth:`to_bytes` wrote.

        Parameters
        ----------
        content : bytes

        Returns
        -------
        MomentState

        Raises
        ------
        ValueError
            If the bytes are damaged, no state, or of another version.
        """
        if len(content) < _HEAD.size + 4 or bytes(content[:8]) not in _MAGIC.values():
            raise ValueError(f"content must be the bytes of a state; got {len(content)} bytes of something else")
        _, version, length, count = _HEAD.unpack_from(content)
        if version != _VERSION:
            raise ValueError(f"content must be of version {_VERSION}; got version {version}")
        if zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
            raise ValueError("content must be the bytes of a state; got damaged ones")
        text, sums = content[_HEAD.size : _HEAD.size + length], content[_HEAD.size + length : -4]
        try:
            schema = LDPSchema.from_json(text.decode())
        except ValueError as error:
            raise ValueError(f"content must hold a schema; {error}") from error
        # Before room is made for them: a stranger's schema may speak of any number of features.
        size = math.prod(_shape(schema))
        if len(sums) != 8 * size or count > _MOST_USERS:
            raise ValueError(
                f"content must hold {size} sums of at most {_MOST_USERS} users; "
                f"got {len(sums)} bytes of sums of {count} users"
            )
        state = cls(schema)
        state.count = count
        state.simulated = bytes(content[:8]) == _MAGIC[True]
        state.total = np.frombuffer(sums, dtype="<i8").astype(np.int64).reshape(state.total.shape)
        return state


def _shape(schema: LDPSchema) -> tuple[int, ...]:
    """Return the shape of the sums."""
    return (schema.n_design + 1,) * 2 if schema.mechanism == "sketch" else (schema.n_products,)
