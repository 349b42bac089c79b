"""Blocks of travelling waves: solutions of the advection equation, and multi-path radio channels."""

from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, FINITE, NONNEGATIVE, generator
from sparsetheory.lowrank.blocks import BlockList

__all__ = ["advection_blocks", "channel_blocks"]


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
    random_state : None, int, Generator or RandomState
        Seed of wave numbers, amplitudes and phases.

    Returns
    -------
    list of ndarray of shape (n_time * n_space / width, width)

    Examples
    --------
    >>> advection_blocks(2, n_time=8, n_space=32, width=16, random_state=0)[0].shape
    (16, 16)
    """
    COUNT.require(n_blocks=n_blocks, n_time=n_time, n_space=n_space, width=width)
    COUNT.require(n_modes=n_modes, max_wave_number=max_wave_number)
    FINITE.require(speed=speed)
    if (n_time * n_space) % width:
        raise ValueError(f"width must divide n_time * n_space = {n_time * n_space}; got {width}")
    rng = generator(random_state)
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
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    list of ndarray of shape (2 * n_antennas, n_subcarriers)

    Examples
    --------
    >>> channel_blocks(1, n_antennas=4, n_subcarriers=5, random_state=0)[0].shape
    (8, 5)
    """
    COUNT.require(n_blocks=n_blocks, n_antennas=n_antennas, n_subcarriers=n_subcarriers)
    COUNT.require(n_paths=n_paths, n_sites=n_sites)
    NONNEGATIVE.require(noise=noise)
    rng = generator(random_state)
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
