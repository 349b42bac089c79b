"""Steering vectors of a uniform array, seen through pilots, as a sensing matrix with one direction per column."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.constraints import COUNT, generator
from sparsetheory.typing import AnyArray

__all__ = ["half_wavelength_array", "partial_pilots"]


def half_wavelength_array(
    n_antennas: int, *, pilots: ArrayLike | None = None, n_directions: int | None = None
) -> ParametricMatrix:
    r"""Return the responses of a uniform array at half-wavelength spacing, seen through pilots.

    With :math:`u = \sin\theta` a column is :math:`P\, a(u)`,
    :math:`a(u)_m = e^{j \pi (m - (N_a - 1) / 2) u} / \sqrt{N_a}`: the phase refers to the middle of the array, so that
    a change of direction does not also turn the phase.

    Parameters
    ----------
    n_antennas : int
        Antennas N_a.
    pilots : array-like of shape (M, n_antennas), optional
        Pilots P; the identity by default, for which ``matrix(u) @ gains`` is the channel itself.
    n_directions : int, optional
        Directions N, uniform in the sine over [-1, 1); as many as antennas by default.

    Returns
    -------
    ParametricMatrix

    Raises
    ------
    ValueError
        If a number is not a positive integer, or `pilots` is no finite matrix with one column per antenna.

    Notes
    -----
    O(M N_a Q) for Q columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import half_wavelength_array
    >>> F = half_wavelength_array(8).matrix()
    >>> bool(np.allclose(F.conj().T @ F, np.eye(8)))
    True
    """
    n_antennas = COUNT.check("n_antennas", n_antennas)
    n_directions = n_antennas if n_directions is None else COUNT.check("n_directions", n_directions)
    rows = None if pilots is None else _pilots(pilots, n_antennas)
    phases = np.pi * (np.arange(n_antennas) - (n_antennas - 1) / 2)[:, None]

    def seen(block: AnyArray) -> AnyArray:
        return block if rows is None else np.asarray(rows @ block)

    def response(u: Any) -> AnyArray:
        return np.asarray(np.exp(1j * phases * u) / np.sqrt(n_antennas))

    return ParametricMatrix(
        lambda u, indices: seen(response(u)),
        lambda u, indices: seen(1j * phases * response(u)),
        -1.0 + 2.0 * np.arange(n_directions) / n_directions,
        2.0 / n_directions,
    )


def partial_pilots(n_pilots: int, n_antennas: int, *, random_state: Any = None) -> NDArray[np.complex128]:
    """Return random rows of a Fourier matrix with shuffled columns: orthonormal rows of constant modulus.

    Parameters
    ----------
    n_pilots, n_antennas : int
        Rows and columns, no more rows than columns.
    random_state : int, RandomState, Generator or None
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_pilots, n_antennas)

    Raises
    ------
    ValueError
        If a number is not a positive integer, or there are more rows than columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import partial_pilots
    >>> P = partial_pilots(4, 16, random_state=0)
    >>> bool(np.allclose(P @ P.conj().T, np.eye(4))), bool(np.allclose(abs(P), 0.25))
    (True, True)
    """
    n_pilots, n_antennas = COUNT.check("n_pilots", n_pilots), COUNT.check("n_antennas", n_antennas)
    if n_pilots > n_antennas:
        raise ValueError(f"n_pilots must be at most n_antennas = {n_antennas}; got {n_pilots}")
    rng = generator(random_state)
    rows, columns = rng.permutation(n_antennas)[:n_pilots], rng.permutation(n_antennas)
    # Products of the integers modulo the period keep the phases exact.
    turns = np.outer(rows, columns) % n_antennas / n_antennas
    return np.asarray(np.exp(-2j * np.pi * turns) / np.sqrt(n_antennas))


def _pilots(pilots: ArrayLike, n_antennas: int) -> AnyArray:
    rows = np.asarray(pilots)
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != n_antennas or rows.dtype.kind not in "iufc":
        raise ValueError(f"pilots must be a matrix of numbers with {n_antennas} columns; got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("pilots contains NaN or infinity")
    return rows
