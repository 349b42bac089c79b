"""Synthetic families of blocks whose low-rank structure is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SubspaceMixture",
    "advection_blocks",
    "channel_blocks",
    "decaying_columns",
    "drift_stream",
    "subspace_mixture",
]

BlockList = list[NDArray[np.float64]]


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def advection_blocks(
    n_blocks: int,
    *,
    n_time: int = 201,
    n_space: int = 1024,
    width: int = 67,
    n_modes: int = 3,
    max_wave_number: int = 8,
    speed: float = 0.1,
    random_state: Any = None,
) -> BlockList:
    r"""Sample solutions of the one-dimensional advection equation, one block per initial condition.

    :math:`u(x, t) = \sum_j a_j \sin(2\pi k_j (x - \beta t) + \phi_j)` on the periodic unit interval; the
    ``n_time * n_space`` samples are cut into rows of `width`, time after time.

    Parameters
    ----------
    n_blocks : int
        Number of initial conditions.
    n_time, n_space, width : int
        Samples in [0, 2] and in [0, 1), and columns of a block, which must divide their product.
    n_modes, max_wave_number : int
        Sines per solution, and the largest wave number k.
    speed : float
        The advection speed.
    random_state : None, int or Generator
        Seed of wave numbers, amplitudes and phases.

    Returns
    -------
    list of ndarray of shape (n_time * n_space / width, width)

    Examples
    --------
    >>> advection_blocks(2, n_time=8, n_space=32, width=16, random_state=0)[0].shape
    (16, 16)
    """
    _positive(n_blocks=n_blocks, n_time=n_time, n_space=n_space, width=width, n_modes=n_modes)
    _positive(max_wave_number=max_wave_number)
    if (n_time * n_space) % width:
        raise ValueError(f"width must divide n_time * n_space = {n_time * n_space}, got {width}")
    rng = np.random.default_rng(random_state)
    time, space = np.linspace(0, 2, n_time)[:, None], np.arange(n_space) / n_space
    blocks = []
    for _ in range(n_blocks):
        waves = rng.integers(1, max_wave_number + 1, n_modes)
        amplitudes, phases = rng.uniform(0, 1, n_modes), rng.uniform(0, 2 * np.pi, n_modes)
        terms = zip(amplitudes, waves, phases, strict=True)
        u = sum(a * np.sin(2 * np.pi * k * (space - speed * time) + phase) for a, k, phase in terms)
        blocks.append(np.reshape(u, (-1, width)))
    return blocks


def channel_blocks(
    n_blocks: int,
    *,
    n_antennas: int = 64,
    n_subcarriers: int = 48,
    n_paths: int = 4,
    n_sites: int = 6,
    noise: float = 0.01,
    random_state: Any = None,
) -> BlockList:
    """Sample multi-path channels of a linear antenna array, one block per user.

    A path contributes a steering vector over the antennas times a phase ramp over the subcarriers. Users share the
    angles of one of a few sites. Real parts stand above imaginary parts.

    Parameters
    ----------
    n_blocks : int
        Number of users.
    n_antennas, n_subcarriers : int
        Half the row count, and the column count, of a block.
    n_paths, n_sites : int
        Paths per user, and number of sets of angles.
    noise : float
        Relative Frobenius norm of added white noise.
    random_state : None, int or Generator
        Seed.

    Returns
    -------
    list of ndarray of shape (2 * n_antennas, n_subcarriers)

    Examples
    --------
    >>> channel_blocks(1, n_antennas=4, n_subcarriers=5, random_state=0)[0].shape
    (8, 5)
    """
    _positive(n_blocks=n_blocks, n_antennas=n_antennas, n_subcarriers=n_subcarriers, n_paths=n_paths, n_sites=n_sites)
    if noise < 0:
        raise ValueError(f"noise must be at least 0, got {noise!r}")
    rng = np.random.default_rng(random_state)
    antennas, carriers = np.arange(n_antennas)[:, None], np.arange(n_subcarriers)
    sines = rng.uniform(-1, 1, (n_sites, n_paths))
    blocks = []
    for _ in range(n_blocks):
        steering = np.exp(1j * np.pi * antennas * sines[rng.integers(n_sites)])
        ramps = np.exp(-2j * np.pi * rng.uniform(0, 0.25, (n_paths, 1)) * carriers)
        gains = rng.standard_normal((n_paths, 1)) + 1j * rng.standard_normal((n_paths, 1))
        channel = steering @ (gains * ramps)
        block = np.vstack([channel.real, channel.imag])
        white = rng.standard_normal(block.shape)
        blocks.append(block + noise * np.linalg.norm(block) / np.linalg.norm(white) * white)
    return blocks


def decaying_columns(n_columns: int, n_rows: int, *, power: float = 1.0, random_state: Any = None) -> BlockList:
    """Draw unit-norm columns whose coordinates in a random basis decay as a power law; each is a block.

    Parameters
    ----------
    n_columns, n_rows : int
        How many, and how long.
    power : float
        Coordinate j has standard deviation ``j ** -power``.
    random_state : None, int or Generator
        Seed.

    Returns
    -------
    list of n_columns ndarrays of shape (n_rows, 1)

    Examples
    --------
    >>> len(decaying_columns(5, 8, random_state=0))
    5
    """
    _positive(n_columns=n_columns, n_rows=n_rows)
    rng = np.random.default_rng(random_state)
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
    _positive(n_blocks=n_blocks, rank=rank, sketch_rank=sketch_rank)
    if rank > sketch_rank:
        raise ValueError(f"rank must be at most sketch_rank={sketch_rank}, got {rank}")
    if not 0 < weak_energy <= 0.5:
        raise ValueError(f"weak_energy must be in (0, 0.5], got {weak_energy!r}")
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
    labels: NDArray[np.int64]


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
    random_state : None, int or Generator
        Seed.

    Returns
    -------
    SubspaceMixture

    Examples
    --------
    >>> subspace_mixture(3, 10, 4, n_subspaces=2, rank=2, random_state=0).labels.shape
    (3,)
    """
    _positive(n_blocks=n_blocks, n_rows=n_rows, width=width, n_subspaces=n_subspaces, rank=rank)
    if rank > n_rows:
        raise ValueError(f"rank must be at most n_rows={n_rows}, got {rank}")
    if noise < 0:
        raise ValueError(f"noise must be at least 0, got {noise!r}")
    rng = np.random.default_rng(random_state)
    bases = [np.linalg.qr(rng.standard_normal((n_rows, rank)))[0] for _ in range(n_subspaces)]
    labels = rng.integers(0, n_subspaces, n_blocks)
    blocks = [
        bases[label] @ rng.standard_normal((rank, width)) + noise * rng.standard_normal((n_rows, width))
        for label in labels
    ]
    return SubspaceMixture(blocks, labels)
