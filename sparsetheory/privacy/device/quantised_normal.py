"""Normal numbers on a lattice, the same bits on every machine.

The half-line is cut into cells of width h = 2^-fine. A random word of b bits picks a cell with the probability that the
half-normal law gives to it, rounded to a multiple of 2^-b, and one more bit picks the sign. The result is the odd
integer ``2 cell + 1``, in units of h / 2.

Two users of this table:

* *Public directions* (cells of 2^-11, 31 bits). No logarithm and no cosine is evaluated, so that a device and a server
  agree bit for bit; and sums of products are integers, so that no order of summation changes them.
* *Secret Gaussian noise* (cells of 2^-13, 63 bits). For an integer j the sum of j and a cell of a normal number is a
  function of the sum of j and the normal number itself. It is therefore as private as exact Gaussian noise, except for
  the rounding of probabilities, whose total variation is charged to delta. No float is ever added to a secret.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIRECTION_BITS", "NOISE_BITS", "NormalTable", "normal_table"]

DIRECTION_BITS = (11, 31)
"""Public directions: cells of 2^-11 of a standard deviation, words of 31 bits and a sign."""

NOISE_BITS = (13, 63)
"""Secret noise: cells of 2^-13 of a standard deviation, words of 63 bits and a sign."""

# Fractional bits of the integer arithmetic, and the end of the half-line in standard deviations: the mass beyond it is
# below 2^-107.
_PRECISION = 160
_END = 12


@dataclass(frozen=True)
class NormalTable:
    """Cells of the half-normal law.

    Parameters
    ----------
    thresholds : ndarray of uint64
        ``thresholds[m]`` of all 2^bits words lie in the cells 0 to m; the last is 2^bits.
    fine : int
        Cells have the width 2^-fine, in standard deviations.
    bits : int
        Bits of a word, without the sign.
    """

    thresholds: NDArray[np.uint64]
    fine: int
    bits: int

    @property
    def units(self) -> int:
        """Standard deviation, in the unit of :meth:`draw`."""
        return 2 ** (self.fine + 1)

    @property
    def total_variation(self) -> float:
        """Bound of the distance between the law of one number and that of a cell of a true normal number."""
        # Every threshold is rounded down by less than one word; what a cell loses, the next one gains.
        return len(self.thresholds) * 2.0**-self.bits

    def draw(self, words: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
        """Return odd integers for random words: the lowest bit is the sign, the others choose the cell.

        Parameters
        ----------
        words : ndarray of unsigned integers
            Words of ``bits + 1`` random bits.

        Returns
        -------
        ndarray of int64, of the same shape
        """
        wide = words.astype(np.uint64)
        cells = np.searchsorted(self.thresholds, wide >> np.uint64(1), side="right")
        return (2 * cells + 1) * (1 - 2 * (wide & np.uint64(1)).astype(np.int64))


@cache
def normal_table(fine: int, bits: int) -> NormalTable:
    """Return the table for cells of width 2^-fine and words of some bits.

    Parameters
    ----------
    fine, bits : int
        As in :class:`NormalTable`.

    Returns
    -------
    NormalTable

    Notes
    -----
    Integers only, so every machine makes the same table; 0.02 to 0.2 seconds, once per process. With the density f, the
    middle m of a cell and its half width c, a cell holds

        2 f(m) (c + (m^2 - 1) c^3 / 3! + He_4(m) c^5 / 5! + He_6(m) c^7 / 7! + ...),

    where He are the Hermite polynomials of the derivatives of f. Densities of neighbours differ by a factor, and
    these factors by the constant exp(-h^2). The sum of all cells is the normaliser.
    """
    one = 1 << _PRECISION
    # r = exp(-h^2 (j + 1)) leads from the density of cell j to the next; it shrinks by q = exp(-h^2) itself.
    q = _exp_minus(one >> (2 * fine), one)
    density, r = one, q
    cells = []
    for j in range(_END << fine):
        cells.append(density * _cell_factor(2 * j + 1, fine, one) >> _PRECISION)
        density = density * r >> _PRECISION
        r = r * q >> _PRECISION
    total = sum(cells)
    thresholds, mass = [], 0
    for weight in cells:
        mass += weight
        thresholds.append((mass << bits) // total)
        if total - mass <= total >> (bits + 1):
            break
    thresholds[-1] = 1 << bits
    return NormalTable(np.array(thresholds, dtype=np.uint64), fine, bits)


def _exp_minus(x: int, one: int) -> int:
    """Return exp(-x) in fixed point, by its series; x is far below one."""
    total, term, n = one, one, 0
    while term:
        n += 1
        term = term * x // (one * n)
        total += -term if n % 2 else term
    return total


def _cell_factor(odd: int, fine: int, one: int) -> int:
    """Return the sum of He_2k(m) c^2k / (2k + 1)! in fixed point, with m = odd * c and c = 2^-(fine + 1).

    With w = c^2 and s = (m c)^2 the terms are polynomials in both: He_2 c^2 = s - w, He_4 c^4 = s^2 - 6 s w + 3 w^2,
    and He_6 c^6 = s^3 - 15 s^2 w + 45 s w^2 - 15 w^3. The next one is below 2^-90 wherever the density is above 2^-64.
    """
    scale = 4 * (fine + 1)
    s, w = odd * odd, 1 << (2 * (fine + 1))
    # All in units of 2^-scale: s stands for odd^2 c^4, and w for c^2.
    second = (s - w) * one >> scale
    fourth = (s * s - 6 * s * w + 3 * w * w) * one >> (2 * scale)
    sixth = (s**3 - 15 * s * s * w + 45 * s * w * w - 15 * w**3) * one >> (3 * scale)
    return one + second // 6 + fourth // 120 + sixth // 5040
