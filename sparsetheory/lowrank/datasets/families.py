"""Synthetic families of blocks whose low-rank structure is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, FINITE, NONNEGATIVE, generator
from sparsetheory.lowrank.blocks import BlockList
from sparsetheory.lowrank.datasets.waves import advection_blocks, channel_blocks
from sparsetheory.typing import Int64Array

__all__ = [
    "SubspaceMixture",
    "advection_blocks",
    "channel_blocks",
    "decaying_columns",
    "drift_stream",
    "subspace_mixture",
]


def decaying_columns(n_columns: int, n_rows: int, *, power: float = 1.0, random_state: Any = None) -> BlockList:
    """Draw unit-norm columns whose coordinates in a random basis decay as a power law; each is a block.

    Parameters
    ----------
    n_columns, n_rows : int
        How many, and how long.
    power : float
        Coordinate j has standard deviation ``j ** -power``.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    list of n_columns ndarrays of shape (n_rows, 1)

    Examples
    --------
    >>> len(decaying_columns(5, 8, random_state=0))
    5
    """
    COUNT.require(n_columns=n_columns, n_rows=n_rows)
    FINITE.require(power=power)
    rng = generator(random_state)
    basis = np.linalg.qr(rng.standard_normal((n_rows, n_rows)))[0]
    weights = np.arange(1, n_rows + 1)[:, None] ** -float(power)
    columns = basis @ (weights * rng.standard_normal((n_rows, n_columns)))
    columns /= np.linalg.norm(columns, axis=0)
    return [np.ascontiguousarray(columns[:, k : k + 1]) for k in range(n_columns)]


def drift_stream(n_blocks: int, rank: int, sketch_rank: int, *, weak_energy: float = 0.4) -> BlockList:
    """Build the stream on which a chain of truncations forgets a direction that keeps coming back.

    The first block holds `sketch_rank` orthonormal directions of energies slightly above 1; each of `n_blocks` further
    blocks is the same new direction with energy `weak_energy`. A chain discards every one of them alone.

    Parameters
    ----------
    n_blocks : int
        Copies of the weak direction.
    rank, sketch_rank : int
        Target rank and sketch size; `rank` is at most `sketch_rank`.
    weak_energy : float
        In (0, 0.5]: above that, rounding tilts what the chain keeps, and it recovers.

    Returns
    -------
    list of ndarray
        One of shape (sketch_rank + 1, sketch_rank), then n_blocks of shape (sketch_rank + 1, 1).

    Examples
    --------
    >>> [b.shape for b in drift_stream(2, rank=1, sketch_rank=3)]
    [(4, 3), (4, 1), (4, 1)]
    """
    COUNT.require(n_blocks=n_blocks, rank=rank, sketch_rank=sketch_rank)
    if rank > sketch_rank:
        raise ValueError(f"rank must be at most sketch_rank={sketch_rank}; got {rank}")
    if not (FINITE.accepts(weak_energy) and 0 < weak_energy <= 0.5):
        raise ValueError(f"weak_energy must be in (0, 0.5]; got {weak_energy!r}")
    axes = np.eye(sketch_rank + 1)
    strong = axes[:, :sketch_rank] * np.sqrt(1.01 + 0.001 * np.arange(sketch_rank))
    return [strong] + [np.sqrt(weak_energy) * axes[:, sketch_rank:] for _ in range(n_blocks)]


@dataclass(frozen=True, eq=False)
class SubspaceMixture:
    """Blocks near a few subspaces, and which.

    Parameters
    ----------
    blocks : list of ndarray of shape (n_rows, width)
        The data.
    labels : ndarray of int
        Subspace of each block.
    """

    blocks: BlockList
    labels: Int64Array


def subspace_mixture(
    n_blocks: int,
    n_rows: int,
    width: int,
    *,
    n_subspaces: int = 4,
    rank: int = 5,
    noise: float = 0.0,
    random_state: Any = None,
) -> SubspaceMixture:
    """Draw blocks from random subspaces.

    Parameters
    ----------
    n_blocks, n_rows, width : int
        Number and shape of the blocks.
    n_subspaces, rank : int
        Number and dimension of the subspaces; the dimension is at most `n_rows`.
    noise : float
        Standard deviation of added white noise; coefficients in the subspace have standard deviation 1.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    SubspaceMixture

    Examples
    --------
    >>> subspace_mixture(3, 10, 4, n_subspaces=2, rank=2, random_state=0).labels.shape
    (3,)
    """
    COUNT.require(n_blocks=n_blocks, n_rows=n_rows, width=width, n_subspaces=n_subspaces, rank=rank)
    if rank > n_rows:
        raise ValueError(f"rank must be at most n_rows={n_rows}; got {rank}")
    NONNEGATIVE.require(noise=noise)
    rng = generator(random_state)
    bases = [np.linalg.qr(rng.standard_normal((n_rows, rank)))[0] for _ in range(n_subspaces)]
    labels = rng.integers(0, n_subspaces, n_blocks)
    blocks = [
        bases[label] @ rng.standard_normal((rank, width)) + noise * rng.standard_normal((n_rows, width))
        for label in labels
    ]
    return SubspaceMixture(blocks, labels)
