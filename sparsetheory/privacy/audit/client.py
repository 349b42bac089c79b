"""The client of this package as an audit sees it: a record goes in, the content of a message comes out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT
from sparsetheory.privacy.device.client import LDPClient
from sparsetheory.privacy.device.messages import unpack
from sparsetheory.typing import AnyArray

__all__ = ["client_sampler"]

Record = tuple[ArrayLike, float]
"""Features and response of one user."""


def client_sampler(
    client: LDPClient, *, user_id: int = 0, simulation: bool = False
) -> Callable[[Record, int, np.random.Generator], AnyArray]:
    """Return the randomizer of a client in the form that :func:`audit_pure` takes.

    Each message is encoded by the client itself, packed to bytes and unpacked again. All are those of one user, whose
    public direction or coordinate is the same in all, as an attacker knows it. Privacy must hold for each user by
    itself, so a few users may be audited in turn.

    Parameters
    ----------
    client : LDPClient
        As it is shipped.
    user_id : int
        The user whose public words are meant.
    simulation : bool
        Whether secret words come from the generator of the audit, which makes it reproducible. By default they come
        from the operating system, and the coin itself is audited.

    Returns
    -------
    callable
        ``encode((x, y), n, rng)``: n signs, or n rows of lattice integers of a Gaussian mechanism.

    Notes
    -----
    One message takes about a tenth of a millisecond. For :func:`audit_gdp` and :func:`low_bit_leak`, fix the record:
    ``functools.partial(encode, (x, y))``.

    Examples
    --------
    >>> from sparsetheory.privacy import LDPClient, audit_pure, client_sampler
    >>> client = LDPClient("sketch", eps=1.0, n_features=2, clip_x=1.0, clip_y=1.0, public_seed=7)
    >>> records = [([1.0, 0.0], 1.0), ([0.0, 1.0], -1.0), ([100.0, 0.0], 0.0)]
    >>> audit_pure(client_sampler(client), records, eps=1.0, n_samples=2000, alpha=1e-6).violated
    False
    """

    def encode(record: Record, n: int, rng: np.random.Generator) -> AnyArray:
        COUNT.check("n", n)
        x, y = record
        coin = (lambda count: rng.integers(2**64, size=count, dtype=np.uint64)) if simulation else None
        stream = b"".join(client.encode(x, y, user_id, coin=coin) for _ in range(n))
        return unpack(client.schema, stream)[1]

    return encode
