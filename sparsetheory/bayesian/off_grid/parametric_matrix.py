"""Sensing matrices each of whose columns depends on a parameter of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["ParametricMatrix"]

_Block = Callable[[Any, Any], Any]
# Central differences over this fraction of a cell are right to a few millionths, in single precision to a few
# thousandths; a wrong derivative differs in its leading digits.
_PROBE, _SLACK = 1e-3, 0.05


@dataclass(frozen=True, eq=False)
class ParametricMatrix:
    r"""A matrix with columns :math:`f_q(\theta_q)`, and their derivatives.

    Parameters
    ----------
    columns : callable
        ``columns(parameters, indices)`` returns the columns `indices` at the parameters `parameters`, both of shape
        (Q,), as an array of shape (M, Q), real or complex. A family of columns that are all alike may ignore `indices`.
    slopes : callable
        ``slopes(parameters, indices)`` returns their derivatives in the same way.
    grid : array-like of shape (N,)
        Parameters to start from, the middles of the cells.
    spacing : float or array-like of shape (N,), optional
        Widths of the cells; by default the distance of each point to the nearest other one.

    Raises
    ------
    TypeError
        If `columns` or `slopes` cannot be called.
    ValueError
        If the grid is not a vector of finite numbers, or a width is not positive.

    See Also
    --------
    half_wavelength_array : A ready-made one.
    OffGridTurboVBI : Learns the parameters.

    Examples
    --------
    Gaussian bumps of unknown place:

    >>> import numpy as np
    >>> from sparsetheory.bayesian import ParametricMatrix
    >>> t = np.linspace(0, 1, 50)[:, None]
    >>> def bump(centre, indices):
    ...     return np.exp(-50 * (t - centre) ** 2)
    >>> def slope(centre, indices):
    ...     return 100 * (t - centre) * bump(centre, indices)
    >>> F = ParametricMatrix(bump, slope, np.linspace(0, 1, 11))
    >>> F.matrix().shape, [float(end[3].round(2)) for end in F.bounds]
    ((50, 11), [0.25, 0.35])
    """

    columns: _Block
    slopes: _Block
    grid: Float64Array
    spacing: Any = None

    def __post_init__(self) -> None:
        for name in ("columns", "slopes"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be a callable of (parameters, indices); got {getattr(self, name)!r}")
        grid = _vector("grid", self.grid)
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "spacing", _widths(self.spacing, grid))

    @property
    def n_columns(self) -> int:
        """Number of columns N."""
        return self.grid.size

    @property
    def bounds(self) -> tuple[Float64Array, Float64Array]:
        """Ends of the cells: half a width below and above the grid."""
        return self.grid - self.spacing / 2, self.grid + self.spacing / 2

    def matrix(self, parameters: ArrayLike | None = None) -> AnyArray:
        """Return the matrix.

        Parameters
        ----------
        parameters : array-like of shape (N,), optional
            Parameters; the grid by default.

        Returns
        -------
        ndarray of shape (M, N)

        Raises
        ------
        ValueError
            If there is not one finite parameter per column, or `columns` returns what is no finite matrix of N columns.
        """
        values = self.grid if parameters is None else _vector("parameters", parameters)
        if values.size != self.n_columns:
            raise ValueError(f"parameters must have one parameter per column, {self.n_columns}; got {values.size}")
        return self.block(values, np.arange(self.n_columns))

    def block(self, parameters: Float64Array, indices: IndexArray) -> AnyArray:
        """Return some columns, shape (M, Q), checked."""
        return _checked("columns", self.columns, parameters, indices)

    def slope_block(self, parameters: Float64Array, indices: IndexArray) -> AnyArray:
        """Return the derivatives of some columns, shape (M, Q), checked."""
        return _checked("slopes", self.slopes, parameters, indices)

    def check_slopes(self) -> None:
        """Compare the derivatives on the grid with differences.

        Raises
        ------
        ValueError
            If a derivative is far off, or of another shape than its column.
        """
        everything = np.arange(self.n_columns)
        given = self.slope_block(self.grid, everything)
        step = _PROBE * self.spacing
        up, down = (self.block(self.grid + sign * step, everything) for sign in (1, -1))
        if given.shape != up.shape:
            raise ValueError(f"slopes must have the shape of columns, {up.shape}; got {given.shape}")
        found = (up - down) / (2 * step)
        wrong = np.linalg.norm(given - found, axis=0)
        # A column may be flat: what counts is its change over a cell beside its length.
        allowed = _SLACK * (np.linalg.norm(found, axis=0) + _SLACK * np.linalg.norm(up, axis=0) / self.spacing)
        if np.any(wrong > allowed):
            worst = int(np.argmax(wrong - allowed))
            raise ValueError(
                f"slopes must be the derivative of columns: for column {worst} at {self.grid[worst]:g} they differ "
                f"from differences by {wrong[worst]:.2g}, against a norm of {np.linalg.norm(found[:, worst]):.2g}"
            )


def _vector(name: str, value: ArrayLike) -> Float64Array:
    try:
        out = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a vector of real numbers; got {value!r}") from None
    if out.ndim != 1 or out.size == 0 or not np.isfinite(out).all():
        raise ValueError(f"{name} must be a vector of at least one finite number; got shape {out.shape}")
    return out


def _widths(spacing: Any, grid: Float64Array) -> Float64Array:
    if spacing is None:
        if np.unique(grid).size < max(grid.size, 2):
            raise ValueError("spacing must be given for a grid of one point, or with repeated points")
        gaps = np.diff(np.sort(grid))
        nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
        return np.asarray(nearest[np.argsort(np.argsort(grid))])
    try:
        out = np.array(np.broadcast_to(np.asarray(spacing, dtype=np.float64), grid.shape))
    except (TypeError, ValueError):
        raise ValueError(f"spacing must be a positive number or {grid.size} of them; got {spacing!r}") from None
    if not np.all(np.isfinite(out) & (out > 0)):
        raise ValueError(f"spacing must be positive and finite; got {spacing!r}")
    return out


def _checked(name: str, function: _Block, parameters: Float64Array, indices: IndexArray) -> AnyArray:
    block = np.asarray(function(parameters, indices))
    if block.ndim != 2 or block.shape[0] == 0 or block.shape[1] != parameters.size or block.dtype.kind not in "iufc":
        raise ValueError(
            f"{name}(parameters, indices) must be a matrix of numbers with {parameters.size} columns, one per index; "
            f"got {block.dtype} of shape {block.shape}"
        )
    if not np.isfinite(block).all():
        raise ValueError(f"{name}(parameters, indices) contains NaN or infinity")
    return block
