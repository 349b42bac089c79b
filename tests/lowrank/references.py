"""Families of blocks and plain references that the tests of the low-rank line share."""

import numpy as np

from sparsetheory.lowrank.families import subspace_mixture


def tail_energy(blocks, rank):
    """Squared best rank-r error by a plain SVD, the reference of these tests."""
    values = np.linalg.svd(np.hstack([np.asarray(b, complex) for b in blocks]), compute_uv=False)
    return float(np.sum(values[rank:] ** 2))


def make_family(name):
    rng = np.random.default_rng(7)
    if name == "mixture":
        return subspace_mixture(18, 24, 4, n_subspaces=3, rank=3, noise=0.05, random_state=1).blocks
    if name == "ragged":
        return [rng.standard_normal((12, n)) * 10.0 ** rng.uniform(-2, 2) for n in (1, 5, 2, 8, 3, 1, 4, 6, 2)]
    if name == "complex":
        return [rng.standard_normal((10, 3)) + 1j * rng.standard_normal((10, 3)) for _ in range(8)]
    base = rng.standard_normal((20, 4))
    return [base @ rng.standard_normal((4, 3)) + 0.02 * rng.standard_normal((20, 3)) for _ in range(12)]


FAMILIES = ("mixture", "ragged", "complex", "common base")
