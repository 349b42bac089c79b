"""Channels of few paths whose directions lie between the points of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.bayesian.datasets.antenna_array import half_wavelength_array, partial_pilots
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.constraints import FINITE, Real, generator
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["OffGridChannel", "make_off_grid_channel"]

_WEAKEST, _STRONGEST = 0.5, 1.5


@dataclass(frozen=True, eq=False)
class OffGridChannel:
    """Pilot observations of a channel, with the truth."""

    F: ParametricMatrix
    """Sensing matrix: array responses seen through the pilots, one direction per column."""
    y: NDArray[np.complex128]
    """Observations, shape (M,)."""
    channel: NDArray[np.complex128]
    """The channel, one entry per antenna."""
    array: ParametricMatrix
    """Array responses themselves: ``array.matrix(parameters) @ coef`` is the channel that coefficients stand for."""
    cells: IndexArray
    """Grid points next to the paths."""
    offsets: Float64Array
    """Where the paths are, in widths of a cell from those points."""
    gains: NDArray[np.complex128]
    """Complex gains of the paths."""
    noise_variance: float
    """Variance of the noise per observation, both parts together."""

    @property
    def directions(self) -> Float64Array:
        """Sines of the angles of the paths."""
        return np.asarray(self.F.grid[self.cells] + self.offsets * self.F.spacing[self.cells])

    def nmse(self, coef: ArrayLike, parameters: ArrayLike | None = None) -> float:
        """Return the squared error of the channel over its squared norm.

        Parameters
        ----------
        coef : array-like of shape (N,)
            Coefficients of the directions.
        parameters : array-like of shape (N,), optional
            Directions; the grid by default.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If a length does not fit.
        """
        x = np.asarray(coef)
        if x.shape != (self.F.n_columns,):
            raise ValueError(f"coef must have one entry per column, {self.F.n_columns}; got shape {x.shape}")
        error = self.array.matrix(parameters) @ x - self.channel
        return float(np.sum(np.abs(error) ** 2) / np.sum(np.abs(self.channel) ** 2))


def make_off_grid_channel(
    *,
    n_antennas: int = 128,
    n_pilots: int = 64,
    n_directions: int | None = None,
    cells: Sequence[int] = (30, 80),
    max_offset: float = 0.4,
    snr_db: float = 10.0,
    random_state: Any = None,
) -> OffGridChannel:
    r"""Draw a channel of a few paths between grid points, and noisy observations of it through partial pilots.

    Parameters
    ----------
    n_antennas : int
        Antennas of a uniform array with a spacing of half a wavelength.
    n_pilots : int
        Observations M, at most one per antenna.
    n_directions : int, optional
        Directions of the grid, uniform in the sine; as many as antennas by default.
    cells : sequence of int
        Grid points next to the paths.
    max_offset : float
        Paths are off these points by up to this fraction of a cell, uniformly; at most one half.
    snr_db : float
        Mean power of the observations over that of the noise, in decibels.
    random_state : int, RandomState, Generator or None
        Source of randomness.

    Returns
    -------
    OffGridChannel
        Gains are standard complex normal, given that their modulus is between 0.5 and 1.5.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    O(M N_a). The default sizes are those of the experiment that the authors of Turbo-VBI publish with their code
    for "Successive linear approximation VBI", arXiv:2307.09149; pilots and distribution of the offsets are ours.

    Examples
    --------
    >>> from sparsetheory.bayesian import make_off_grid_channel
    >>> problem = make_off_grid_channel(random_state=0)
    >>> problem.y.shape, problem.F.matrix().shape, bool((abs(problem.offsets) <= 0.4).all())
    ((64,), (64, 128), True)
    """
    rng = generator(random_state)
    pilots = partial_pilots(n_pilots, n_antennas, random_state=rng)
    F = half_wavelength_array(n_antennas, pilots=pilots, n_directions=n_directions)
    where = _cells(cells, F.n_columns)
    largest = Real(0.0, 0.5).check("max_offset", max_offset)
    FINITE.check("snr_db", snr_db)
    offsets = largest * rng.uniform(-1.0, 1.0, where.size)
    gains = np.array([_gain(rng) for _ in where])
    array = half_wavelength_array(n_antennas, n_directions=n_directions)
    channel = array.block(F.grid[where] + offsets * F.spacing[where], where) @ gains
    signal = pilots @ channel
    variance = float(np.mean(np.abs(signal) ** 2)) / 10 ** (snr_db / 10)
    noise = rng.standard_normal((2, n_pilots))
    y = signal + np.sqrt(variance / 2) * (noise[0] + 1j * noise[1])
    return OffGridChannel(F, y, channel, array, where, offsets, gains, variance)


def _cells(cells: Sequence[int], n: int) -> IndexArray:
    where = np.asarray(cells)
    if where.ndim != 1 or where.size == 0 or where.dtype.kind not in "iu" or np.unique(where).size < where.size:
        raise ValueError(f"cells must be different integers, at least one; got {cells!r}")
    if where.min() < 0 or where.max() >= n:
        raise ValueError(f"cells must be points of the grid, 0 to {n - 1}; got {cells!r}")
    return where.astype(np.intp)


def _gain(rng: np.random.Generator) -> complex:
    while True:
        gain = complex(*rng.standard_normal(2)) / np.sqrt(2)
        if _WEAKEST <= abs(gain) <= _STRONGEST:
            return gain
