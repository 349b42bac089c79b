"""Families of blocks and plain references that the tests of the low-rank line share."""

import numpy as np

from sparsetheory.lowrank.datasets.families import subspace_mixture


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


def energy(blocks):
    return float(sum(np.linalg.norm(b) ** 2 for b in blocks))


def defect(basis):
    """How far columns are from orthonormal."""
    return np.linalg.norm(basis.conj().T @ basis - np.eye(basis.shape[1]))


KINDS = ("gaussian", "common base", "rank one and noise", "sparse", "integers", "zeros among")


def random_blocks(seed, complex_valued=False):
    """Draw ragged blocks of one of several kinds, of scales six decades apart, sometimes with a duplicate."""
    rng = np.random.default_rng(seed)
    kind, m = KINDS[seed % len(KINDS)], int(rng.integers(2, 16))
    base = rng.standard_normal((m, 3))
    blocks = []
    for n in rng.integers(1, 8, rng.integers(1, 8)).tolist():
        block = rng.standard_normal((m, n))
        if kind == "common base":
            block = base @ rng.standard_normal((3, n))
        elif kind == "rank one and noise":
            block = np.outer(base[:, 0], rng.standard_normal(n)) + 1e-3 * block
        elif kind == "sparse":
            block = block * (rng.random((m, n)) < 0.2)
        elif kind == "integers":
            block = rng.integers(-2, 3, (m, n)).astype(float)
        if complex_valued:
            block = block * np.exp(2j * np.pi * rng.random((m, n)))
        blocks.append(10.0 ** rng.uniform(-3, 3) * block)
    if kind == "zeros among":
        blocks[int(rng.integers(len(blocks)))] *= 0.0
    if rng.random() < 0.3:
        blocks.append(blocks[0])
    return blocks


def partitions(items):
    """Every partition of a list into non-empty parts."""
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        yield [[first], *partition]
        for i in range(len(partition)):
            yield [*partition[:i], [first, *partition[i]], *partition[i + 1 :]]
