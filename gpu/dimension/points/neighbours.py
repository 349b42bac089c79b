"""Exact distances of points to their nearest neighbours."""

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import Choice
from sparsetheory.gpu.dimension.points.rows import CentredRows, as_rows, direct_squares
from sparsetheory.typing import Float64Array

__all__ = ["neighbour_distances"]

# Rows of a product with all points, and neighbours beyond the wanted ones whose distances are computed, too.
_ENTRIES, _SPARE = 2**22, 8


def neighbour_distances(X: Tensor, n_neighbors: int, duplicates: str) -> Float64Array:
    """Return the distances of each point to its nearest others, ascending, up to one common power of two.

    Matrix products choose who may be near; distances are those of differences of coordinates in double precision. Where
    the error of the products might hide a nearer point, all differences of that point are taken. O(n^2 p) time.

    Parameters
    ----------
    X : array-like or Tensor of float, of shape (n, p)
        Points.
    n_neighbors : int
        How many; the point itself, by its number, is none of them.
    duplicates : {"error", "drop"}
        What to do with points that coincide: refuse them, or keep one of each.

    Returns
    -------
    ndarray of float64 of shape (n, n_neighbors)

    Raises
    ------
    ValueError
        If there are too few points, or if points coincide and are not to be dropped.
    """
    Choice("error", "drop").require(duplicates=duplicates)
    raw = as_rows("X", X)
    if duplicates == "drop":
        # Zeros of both signs are one number.
        raw = torch.unique(raw + 0.0, dim=0)
    if len(raw) <= n_neighbors:
        what = "different points" if duplicates == "drop" else "points"
        raise ValueError(f"X must hold more than {n_neighbors} {what}, the number of neighbours; got {len(raw)}")
    points = CentredRows.of(raw)
    step = max(1, _ENTRIES // len(raw))
    parts = [_of_rows(points, start, min(start + step, len(raw)), n_neighbors) for start in range(0, len(raw), step)]
    squares = np.concatenate(parts)
    if n_same := int((squares[:, 0] == 0).sum()):
        raise ValueError(
            f'X must hold no point twice, or duplicates must be "drop"; {n_same} points coincide with others'
        )
    return np.sqrt(squares)


def _of_rows(points: CentredRows, start: int, stop: int, n_neighbors: int) -> Float64Array:
    """Return the sorted squared scaled distances of some points."""
    n = len(points.raw)
    bounds = points.lower_bounds(start, stop, 0, n) + points.shrunk[start:stop, None]
    own = torch.arange(stop - start, device=bounds.device)
    bounds[own, own + start] = torch.inf
    lowest, places = bounds.topk(min(n_neighbors + _SPARE, n - 1), dim=1, largest=False)
    rows = (own + start)[:, None].expand_as(places)
    squares = direct_squares(points.raw, rows.reshape(-1), places.reshape(-1), points.scale).view(places.shape)
    found = squares.sort(1).values[:, :n_neighbors].cpu().numpy()
    # All others are at least as far as the last bound, so nothing is hidden where that is beyond the last neighbour.
    if places.shape[1] < n - 1:
        unsure = np.flatnonzero(lowest[:, -1].double().cpu().numpy() < found[:, -1])
        if unsure.size:
            found[unsure] = _by_differences(points, start + unsure, n_neighbors)
    return found


def _by_differences(points: CentredRows, rows: np.ndarray, n_neighbors: int) -> Float64Array:
    from scipy.spatial.distance import cdist

    data = points.raw.double().cpu().numpy() * points.scale
    found = np.empty((len(rows), n_neighbors))
    for place, row in enumerate(rows):
        squares = cdist(data[row : row + 1], data, "sqeuclidean")[0]
        squares[row] = np.inf
        found[place] = np.sort(np.partition(squares, n_neighbors - 1)[:n_neighbors])
    return found
