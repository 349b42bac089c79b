"""One search after the other on one Gram matrix, in the same work space."""

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.weights.layerwise.search.sweeping import FLOOR, Starter, stiffened
from sparsetheory.numba_kernels.layerwise.pivots import Tableau, new_tableau
from sparsetheory.numba_kernels.layerwise.swap_search import search
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["Searcher"]

# Gain that counts, and error of the tracked objective that is forgiven, relative to the energy of the response.
_GAIN, _ERROR = 1e-12, 1e-8
# Starts from the mask that was reached, before a search is given up whose objective has drifted.
_ATTEMPTS = 4


class Searcher:
    """Searches by swaps on one Gram matrix.

    Parameters
    ----------
    H : Tensor of shape (p, p)
        Contiguous, float64.
    m : int
        Columns of a group.
    n_responses : int
        Most rows that share a mask.
    """

    def __init__(self, H: Tensor, m: int, n_responses: int) -> None:
        p = H.shape[0]
        self.H = H
        self.floors = FLOOR * H.diagonal().numpy()
        self.starter = Starter(p)
        # To bring all rows up to date costs p^2 operations a sweep, to bring one up to date p for each sweep it lacks.
        # So sweeps are kept as long as they are fewer than columns; memory that no sweep needs is never touched.
        self.tableau = new_tableau(p, m, n_responses, max(p, 2))
        self.prices, self.gains = np.empty((n_responses + 3, p)), np.empty(m)

    def run(
        self, b: Float64Array, energies: Float64Array, inside: BoolArray, max_swaps: int, scale: float
    ) -> tuple[Float64Array, int]:
        """Search from a mask.

        Parameters
        ----------
        b : ndarray of shape (R, p)
            Correlations of the columns with the responses.
        energies : ndarray of shape (R,)
            Squared norms of the responses, or any other constants.
        inside : ndarray of shape (R, p)
            Kept columns, the same in all rows; updated in place.
        max_swaps : int
            Limit.
        scale : float
            Energy that gains and errors are compared with.

        Returns
        -------
        weight : ndarray of shape (R, p)
            Least-squares coefficients on the mask.
        n_swaps : int
            Swaps made.
        """
        R, kept, done = b.shape[0], inside[0].copy(), 0
        tableau = self.tableau._replace(border=self.tableau.border[:R], losses=self.tableau.losses[:R])
        prices = self.prices[: R + 3]
        for attempt in range(_ATTEMPTS):
            H = self._start(tableau, b, energies, kept, stiff=attempt > 1)
            done += search(tableau, kept, self.floors, _GAIN * scale, max_swaps - done, prices, self.gains)
            weight = np.where(kept, tableau.border, 0.0)
            inside[:] = kept
            product = (torch.from_numpy(weight) @ H).numpy()
            exact = energies + ((product - 2 * b) * weight).sum(1)
            if np.abs(exact - tableau.losses).sum() <= _ERROR * scale:
                return weight, done
        raise RuntimeError("H is too ill-conditioned for a search; add damping to its diagonal")

    def _start(
        self, tableau: Tableau, b: Float64Array, energies: Float64Array, kept: BoolArray, *, stiff: bool
    ) -> Tensor:
        """Fill the tableau, and return the matrix that it belongs to."""
        if not stiff and self.starter.start(tableau, self.H, b, energies, kept):
            return self.H
        H = stiffened(self.H)
        if self.starter.start(tableau, H, b, energies, kept):
            return H
        raise RuntimeError("H must be positive semidefinite; got a negative eigenvalue")
