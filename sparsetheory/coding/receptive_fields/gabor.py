"""Gabor functions fitted to atoms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.receptive_fields.atom_images import atom_images, centred_pixels
from sparsetheory.coding.receptive_fields.gabor_model import GABOR_PARAMETERS, gabor_function, gabor_jacobian
from sparsetheory.constraints import JOBS
from sparsetheory.typing import Float64Array

__all__ = ["GaborFits", "fit_gabor"]


# Envelopes narrower than this are single pixels; along a diagonal, pixels resolve sqrt(1/2) cycles.
_NARROWEST = 0.3
_HIGHEST_FREQUENCY = np.sqrt(0.5)
_GRID = 64
_OVERSAMPLING = 4
# Cycles per pixel at which the search for a single bump starts.
_BUMP_FREQUENCY = 0.02
# A search ends when a step gains less than this fraction of the squared error.
_TOLERANCE = 1e-6
_MAX_EVALUATIONS = 200


@dataclass(frozen=True, eq=False)
class GaborFits:
    """The Gabor function closest to each atom; see :func:`fit_gabor`.

    Parameters
    ----------
    amplitude : ndarray of shape (n_atoms,)
        At least 0, in the units of the atoms.
    x, y : ndarray of shape (n_atoms,)
        Centre in pixels, right and down from the middle of the atom.
    width_along, width_across : ndarray of shape (n_atoms,)
        Standard deviations of the envelope along the wave and across it, in pixels.
    direction : ndarray of shape (n_atoms,)
        Direction of the wave, from 0 to pi.
    frequency : ndarray of shape (n_atoms,)
        Cycles per pixel.
    phase : ndarray of shape (n_atoms,)
        Radians, from -pi to pi.
    r2 : ndarray of shape (n_atoms,)
        1 minus the squared error over the sum of squares of the atom about its mean.
    size : int
        Side of the atoms in pixels.
    """

    amplitude: Float64Array
    x: Float64Array
    y: Float64Array
    width_along: Float64Array
    width_across: Float64Array
    direction: Float64Array
    frequency: Float64Array
    phase: Float64Array
    r2: Float64Array
    size: int

    @property
    def cycles_along(self) -> Float64Array:
        """Width of the envelope along the wave, in cycles: n_x of Ringach (2002)."""
        return self.width_along * self.frequency

    @property
    def cycles_across(self) -> Float64Array:
        """Width of the envelope across the wave, in cycles: n_y of Ringach (2002)."""
        return self.width_across * self.frequency

    def atoms(self) -> Float64Array:
        """Return the fitted functions as a dictionary of shape (n_atoms, size * size)."""
        columns = [getattr(self, name) for name in GABOR_PARAMETERS]
        functions = [gabor_function(np.array(parameters), self.size) for parameters in zip(*columns, strict=True)]
        return np.array(functions).reshape(-1, self.size**2)


def fit_gabor(D: ArrayLike, size: int, *, n_jobs: int | None = None) -> GaborFits:
    """Fit a Gabor function to every atom by least squares.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, none constant.
    size : int
        Side of an atom in pixels.
    n_jobs : int, optional
        Processes, as in joblib.

    Returns
    -------
    GaborFits
        In double precision.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or an atom is constant.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Notes
    -----
    Each fit is a bounded trust-region search with the analytic Jacobian from two starts, of which the better end is
    kept. Both take centre and widths from the first two moments of the energy; frequency and direction are those of
    the largest Fourier amplitude (for waves), or a low frequency along the short axis of the energy (for single bumps);
    the best amplitude and phase given these follow from linear least squares. Centres stay within `size` of the middle,
    widths between 0.3 and ``2 * size``, frequencies below ``sqrt(1 / 2)``. A search stops when a step gains less than a
    millionth of the squared error, and after 200 evaluations, each O(size^2).

    Examples
    --------
    >>> planted = gabor_function(np.array([1.0, 0.5, -1.0, 2.0, 2.5, 0.7, 0.15, 0.4]), 12)
    >>> fit = fit_gabor(planted[None], 12)
    >>> fit.direction.round(6), fit.cycles_along.round(6), fit.r2.round(6)
    (array([0.7]), array([0.3]), array([1.]))
    """
    from joblib import Parallel, delayed

    atoms = atom_images(D, size).astype(np.float64)
    rows = Parallel(n_jobs=JOBS.check("n_jobs", n_jobs))(delayed(_fit_atom)(atom) for atom in atoms)
    *columns, r2 = np.array(rows).reshape(-1, len(GABOR_PARAMETERS) + 1).T.copy()
    found = dict(zip(GABOR_PARAMETERS, columns, strict=True))
    _make_canonical(found["amplitude"], found["direction"], found["phase"])
    return GaborFits(**found, r2=r2, size=size)


def _fit_atom(atom: Float64Array) -> Float64Array:
    from scipy.optimize import least_squares

    size = len(atom)
    # Tolerances of the search are absolute in part, so atoms get unit variance; squares of tiny ones would vanish.
    scale = np.abs(atom).max()
    scale *= (atom / scale).std()
    target = (atom / scale).ravel()
    widest = 2.0 * size
    low = np.array([-np.inf, -size, -size, _NARROWEST, _NARROWEST, -np.inf, 0, -np.inf])
    high = np.array([np.inf, size, size, widest, widest, np.inf, _HIGHEST_FREQUENCY, np.inf])
    searches = [
        least_squares(
            lambda p: gabor_function(p, size) - target,
            np.clip(start, low, high),
            lambda p: gabor_jacobian(p, size),
            bounds=(low, high),
            x_scale="jac",
            ftol=_TOLERANCE,
            max_nfev=_MAX_EVALUATIONS,
        )
        for start in _starts(target, size)
    ]
    best = min(searches, key=lambda search: search.cost)
    return np.r_[best.x[0] * scale, best.x[1:], 1 - 2 * best.cost / target.size]


def _starts(target: Float64Array, size: int) -> list[Float64Array]:
    pixels = centred_pixels(size)
    places = np.stack([np.tile(pixels, size), np.repeat(pixels, size)])
    energy = target**2 / np.sum(target**2)
    centre = places @ energy
    spread = (places - centre[:, None]) * energy @ (places - centre[:, None]).T
    frequency, theta = _peak(target, size)
    short = np.linalg.eigh(spread)[1][:, 0]
    directions = [(theta, frequency), (np.arctan2(short[1], short[0]), _BUMP_FREQUENCY)]
    return [_start(target, size, centre, spread, *direction) for direction in directions]


def _start(
    target: Float64Array, size: int, centre: Float64Array, spread: Float64Array, theta: float, frequency: float
) -> Float64Array:
    axes = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    # The energy of a Gaussian has half of its variance.
    widths = np.sqrt(2 * np.einsum("ij,jk,ik->i", axes, spread, axes))
    start = np.array([1.0, *centre, *np.clip(widths, 2 * _NARROWEST, size), theta, frequency, 0.0])
    quarter = start.copy()
    quarter[-1] = np.pi / 2
    waves = np.column_stack([gabor_function(start, size), gabor_function(quarter, size)])
    a, b = np.linalg.lstsq(waves, target, rcond=1e-6)[0]
    start[0], start[-1] = np.hypot(a, b), np.arctan2(b, a)
    return start


def _peak(target: Float64Array, size: int) -> tuple[float, float]:
    from scipy import fft

    grid = max(_GRID, _OVERSAMPLING * size)
    amplitude = np.abs(fft.rfft2(target.reshape(size, size), s=(grid, grid)))
    row, column = np.unravel_index(amplitude.argmax(), amplitude.shape)
    vertical, horizontal = np.fft.fftfreq(grid)[row], np.fft.rfftfreq(grid)[column]
    return float(np.hypot(vertical, horizontal)), float(np.arctan2(vertical, horizontal))


def _make_canonical(amplitude: Float64Array, theta: Float64Array, phase: Float64Array) -> None:
    """Choose, in place, one of the parameters that stand for the same function."""
    phase += np.pi * (amplitude < 0)
    np.abs(amplitude, out=amplitude)
    half_turns = np.floor(theta / np.pi)
    theta -= half_turns * np.pi
    # The wave seen from the other side: its argument changes sign.
    phase *= np.where(half_turns % 2, -1, 1)
    phase -= 2 * np.pi * np.round(phase / (2 * np.pi))
