"""The bytes that a user sends.

A message is a header and a payload, all numbers little-endian:

=======  =========================  ======================================================
bytes    content                    meaning
=======  =========================  ======================================================
0-7      fingerprint                of the schema or the query: BLAKE2b of its text, eight bytes
8-15     unsigned integer           number of the user
16-      one byte 0 or 1            one-bit mechanisms: 1 stands for the sign +1
16-      signed integers, 4 bytes   Gaussian mechanisms: ``n_products`` lattice points each
=======  =========================  ======================================================
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .schema import GAUSSIAN

__all__ = ["HEADER", "Collection", "SchemaMismatchError", "pack", "payload_size", "unpack", "user_number"]

HEADER = 16


class Collection(Protocol):
    """What messages belong to: the schema of a collection of moments, or the query of a round of gradients."""

    @property
    def mechanism(self) -> str:
        """Name of the randomizer."""
        ...

    @property
    def n_products(self) -> int:
        """Length of the vectors that messages are about."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes that stand for everything public."""
        ...


class SchemaMismatchError(ValueError):
    """Messages or states of two different collections."""


def payload_size(schema: Collection) -> int:
    """Return the number of bytes behind the header."""
    return 4 * schema.n_products if schema.mechanism in GAUSSIAN else 1


def user_number(user_id: int) -> int:
    """Return the number of a user.

    Parameters
    ----------
    user_id : int
        In [0, 2^64). Whoever has other identifiers hashes them; two users of one number only share their directions.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is no such integer.
    """
    if isinstance(user_id, bool) or not isinstance(user_id, int | np.integer) or not 0 <= int(user_id) < 2**64:
        raise ValueError(f"user_id must be an integer in [0, 2**64); got {user_id!r}")
    return int(user_id)


def pack(schema: Collection, user: int, content: NDArray[np.signedinteger]) -> bytes:
    """Return the message of one user.

    Parameters
    ----------
    schema : Collection
    user : int
        Number of the user.
    content : ndarray
        The sign, or the lattice points.

    Returns
    -------
    bytes
    """
    if schema.mechanism in GAUSSIAN:
        payload = np.asarray(content, dtype="<i4").tobytes()
    else:
        payload = bytes([int(content[0] > 0)])
    return schema.fingerprint + user.to_bytes(8, "little") + payload


def unpack(schema: Collection, stream: bytes) -> tuple[NDArray[np.uint64], NDArray[np.signedinteger]]:
    """Read messages that follow each other.

    Parameters
    ----------
    schema : Collection
    stream : bytes

    Returns
    -------
    users : ndarray of uint64, of shape (n,)
    contents : ndarray
        Signs of type int8, of shape (n,), or lattice points of type int32, of shape (n, n_products).

    Raises
    ------
    ValueError
        If the length is no multiple of that of a message, or a payload is no bit.
    SchemaMismatchError
        If a message belongs to another collection.
    """
    length = HEADER + payload_size(schema)
    if len(stream) % length:
        raise ValueError(f"stream must consist of messages of {length} bytes; got {len(stream)} bytes")
    table = np.frombuffer(stream, dtype=np.uint8).reshape(-1, length)
    foreign = np.any(table[:, :8] != np.frombuffer(schema.fingerprint, dtype=np.uint8), axis=1)
    if foreign.any():
        raise SchemaMismatchError(f"{np.count_nonzero(foreign)} of {len(table)} messages belong to another collection")
    users = np.ascontiguousarray(table[:, 8:HEADER]).view("<u8")[:, 0].astype(np.uint64)
    payloads = np.ascontiguousarray(table[:, HEADER:])
    if schema.mechanism in GAUSSIAN:
        return users, payloads.view("<i4").astype(np.int32)
    if payloads.size and payloads.max() > 1:
        raise ValueError(f"stream must hold bits; got the byte {payloads.max()}")
    return users, (2 * payloads[:, 0].astype(np.int8) - 1).astype(np.int8)
