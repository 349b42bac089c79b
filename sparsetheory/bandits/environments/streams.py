"""Independent random numbers for things that are given the same seed."""

import zlib
from typing import Any

import numpy as np

from sparsetheory.constraints import generator

__all__ = ["own_stream"]


def own_stream(random_state: Any, purpose: str) -> np.random.Generator:
    """Return a generator whose draws are not those of another purpose with the same seed.

    Features, noise and delays all tend to be given the seed 0. From one stream the noise of rewards would be the
    entries of the features over again, and whoever learns from them would learn too much.

    Parameters
    ----------
    random_state : int, Generator or None
    purpose : str
        What the numbers are for.
    """
    key = zlib.crc32(purpose.encode())
    return np.random.default_rng([key, int(generator(random_state).integers(2**63))])
