"""All minimisers of a small least-squares problem with a cost per atom, from the weakest kind to the strongest."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array
from sparsetheory.coding.codes.problem import check_signals
from sparsetheory.coding.l0.support_groups import DEPENDENT, factor_supports
from sparsetheory.constraints import POSITIVE
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["L0Minima", "enumerate_l0_minima"]


_MOST_ATOMS = 14
_EPS = float(np.finfo(np.float64).eps)
# A gain errs by some roundings of the objective of a zero code, more where little of an atom is left.
_ROUNDINGS = 64


@dataclass(frozen=True, eq=False)
class L0Minima:
    r"""Strict local minimisers of :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0`, best first.

    Each kind is a subset of the one before: local minimisers, fixed points of iterative hard thresholding at a step
    up to one over the squared spectral norm, critical points of CEL0, points that no addition or removal of an atom
    improves, global minimisers.

    Attributes
    ----------
    local : ndarray of shape (n_local, n_atoms)
        Least squares on every support of independent atoms on which no entry is zero.
    objective : ndarray of shape (n_local,)
        Their objectives, not decreasing.
    alpha : float
        Cost of an atom.
    correlations : ndarray of shape (n_local, n_atoms)
        Inner products of all atoms with the residuals.
    squares : ndarray of shape (n_atoms,)
        Squared norms of the atoms.
    roundings : ndarray of shape (n_local,)
        By as much a gain may be wrong.
    stable : ndarray of bool of shape (n_local,)
        Which of them no addition or removal improves.
    """

    local: Float64Array
    objective: Float64Array
    alpha: float
    correlations: Float64Array = field(repr=False)
    squares: Float64Array = field(repr=False)
    roundings: Float64Array = field(repr=False)
    stable: BoolArray = field(repr=False)

    def iht_fixed(self, step: float) -> Float64Array:
        r"""Return the fixed points of iterative hard thresholding at a step :math:`\tau`, shape (n_fixed, n_atoms).

        They have :math:`|c_i| \ge \sqrt{2\lambda\tau}` on the support and
        :math:`|d_i^T(x - D^T c)| \le \sqrt{2\lambda/\tau}` off it.
        """
        return self.local[self._thresholded(POSITIVE.check("step", step) * self.squares)]

    @cached_property
    def cel0(self) -> Float64Array:
        r"""Those that no change of a single entry improves, shape (n_cel0, n_atoms).

        They are the critical points of CEL0 without an entry strictly between 0 and :math:`\sqrt{2\lambda}/\|d_i\|`,
        and have :math:`|c_i| \ge \sqrt{2\lambda}/\|d_i\|` and :math:`|d_i^T(x - D^T c)| \le \sqrt{2\lambda}\|d_i\|`.
        """
        return self.local[self._thresholded(np.ones(self.squares.size))]

    @cached_property
    def sbr(self) -> Float64Array:
        """Those that no addition or removal of an atom improves, with least squares after it."""
        return self.local[self.stable]

    @cached_property
    def global_(self) -> Float64Array:
        """The global minimisers: several where supports tie."""
        return self.local[self.objective <= self.objective[0] + self.roundings[0] + self.roundings]

    def _thresholded(self, factor: Float64Array) -> BoolArray:
        """Say which are fixed by hard thresholding at steps of `factor` over the squared norms."""
        size = 0.5 * self.squares * self.local**2
        slope = 0.5 * self.correlations**2 / self.squares
        rounding = self.roundings[:, None]
        fixed = np.where(
            self.local != 0, size >= self.alpha * factor - rounding, slope <= self.alpha / factor + rounding
        )
        return np.asarray(fixed.all(axis=1))


def enumerate_l0_minima(x: ArrayLike, D: ArrayLike, *, alpha: float) -> L0Minima:
    r"""Find all strict local minimisers of :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0` by trying every support.

    Parameters
    ----------
    x : array-like of shape (n_features,)
        One signal.
    D : array-like of shape (n_atoms, n_features)
        At most 14 atoms, one per row.
    alpha : float
        Cost of an atom, above 0.

    Returns
    -------
    L0Minima
        In double precision.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, an atom is zero, there are too many atoms, or `alpha` is not
        positive.

    Notes
    -----
    A point is a local minimiser if and only if it is least squares on its support, and a strict one if and only if the
    atoms of the support are independent; global minimisers are strict (Nikolova, 2013, SIAM Journal on Imaging Sciences
    6(2)). Atoms count as dependent here if one is within 2e-12 of its norm from the span of the others. Comparisons
    allow for rounding, as in :func:`sparsetheory.coding.is_sbr_stable`. That the kinds are nested holds for all atoms
    (our short argument: the threshold of a step below :math:`1/\|D\|_2^2 \le 1/\|d_i\|^2` is weaker than that of
    an entry, and a gain is smallest when only one entry may move). O(2^n n^3 + n_features n^2) for
    n atoms.

    Examples
    --------
    >>> import numpy as np
    >>> minima = enumerate_l0_minima([3.0, 0.5], np.eye(2), alpha=0.5)
    >>> minima.local.tolist()
    [[3.0, 0.0], [3.0, 0.5], [0.0, 0.0], [0.0, 0.5]]
    >>> minima.iht_fixed(0.2).tolist(), minima.cel0.tolist()
    ([[3.0, 0.0], [3.0, 0.5]], [[3.0, 0.0]])
    """
    given = real_array("x", x)
    if given.ndim != 1:
        raise ValueError(f"x must be one signal, a vector; got shape {given.shape}")
    X, A = check_signals(given[None], D, name="x")
    alpha = POSITIVE.check("alpha", alpha)
    n = A.shape[1]
    if n > _MOST_ATOMS:
        raise ValueError(f"D must have at most {_MOST_ATOMS} atoms, as all supports are tried; it has {n}")
    # Inner products are all that counts; a triangle of them stands for any number of samples.
    triangle = np.asarray(np.linalg.qr(np.column_stack([A, X[0]]).astype(np.float64), mode="r"))
    atoms, signal = np.ascontiguousarray(triangle[:, :n]), triangle[:, n]
    codes, loss, roundings, proper = _least_squares_table(atoms, signal)
    masks = np.arange(2**n)
    objective = loss + alpha * np.array([mask.bit_count() for mask in range(2**n)])
    stable = np.ones(2**n, np.bool_)
    for atom in range(n):
        other = masks ^ (1 << atom)
        stable &= objective <= objective[other] + roundings + roundings[other]
    listed = np.flatnonzero(proper)
    listed = listed[np.argsort(objective[listed], kind="stable")]
    return L0Minima(
        codes[listed],
        objective[listed],
        alpha,
        (signal - codes[listed] @ atoms.T) @ atoms,
        np.einsum("ij,ij->j", atoms, atoms),
        roundings[listed],
        stable[listed],
    )


def _least_squares_table(
    A: Float64Array, x: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array, BoolArray]:
    """Solve on every support; bit i of a position says whether atom i is in.

    Returns
    -------
    codes : ndarray of shape (2**n, n)
        Least squares on the support.
    loss : ndarray of shape (2**n,)
        Half the squared residual; infinite where atoms depend.
    roundings : ndarray of shape (2**n,)
        By as much a loss may be wrong.
    proper : ndarray of bool of shape (2**n,)
        Whether atoms are independent and the removal of any raises the loss by more than rounding.
    """
    n = A.shape[1]
    codes, loss, roundings = np.zeros((2**n, n)), np.full(2**n, np.inf), np.zeros(2**n)
    proper = np.zeros(2**n, np.bool_)
    squares, noise = np.einsum("ij,ij->j", A, A), _ROUNDINGS * _EPS * 0.5 * float(x @ x)
    for size in range(min(A.shape) + 1):
        supports = np.array(list(combinations(range(n), size)), dtype=np.intp)
        factors = factor_supports(A, supports, DEPENDENT)
        good = factors.independent
        supports, duals = supports[good], factors.dual_squares[good]
        place = (1 << supports).sum(axis=1)
        along = np.einsum("umk,m->uk", factors.directions[good], x)
        values = np.einsum("ukj,uj->uk", factors.inverse[good], along)
        codes[place[:, None], supports] = values
        residual = x - np.einsum("umk,uk->um", factors.directions[good], along)
        loss[place] = 0.5 * np.einsum("um,um->u", residual, residual)
        # Directions err by as many roundings as an atom is longer than what is left of it.
        roundings[place] = noise * np.sqrt((squares[supports] * duals).max(axis=1, initial=1.0))
        proper[place] = (0.5 * values**2 / duals > roundings[place, None]).all(axis=1)
    return codes, loss, roundings, proper
