"""What is known about codes beside the codes."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from sparsetheory.coding.codes.certificates import CodeCertificate, criticality, duality_gap
from sparsetheory.coding.codes.objective import objective_rows
from sparsetheory.coding.l0.local_minima import Polished
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, Int64Array

__all__ = ["EncodeInfo", "Encoding"]


@dataclass(frozen=True, eq=False)
class EncodeInfo:
    """How coding went, and certificates of the codes.

    Objectives and certificates follow from signals, atoms and codes alone. They are computed when they are first read,
    because they cost about as much as the codes; until then none of the three may be changed.

    Attributes
    ----------
    solver : str
        The solver that ran.
    n_iter : ndarray of int of shape (n_samples,)
        Passes over the atoms, steps or moves, whatever the solver counts; -1 where "sbr" or "greedy" was cut off.
    converged : ndarray of bool of shape (n_samples,)
        Whether the solver reached its goal; after polishing, whether no addition or removal of one atom improves the
        code.
    polished : Polished or None
        What polishing gained, rung by rung, where it was asked for.
    signals, atoms, codes : ndarray
        The problem and its solution.
    penalty : Penalty
        The penalty.
    tol : float
        Tolerance of the solver.
    """

    solver: str
    n_iter: Int64Array
    converged: BoolArray
    polished: Polished | None = field(repr=False)
    signals: FloatArray = field(repr=False)
    atoms: FloatArray = field(repr=False)
    codes: FloatArray = field(repr=False)
    penalty: Penalty = field(repr=False)
    tol: float = field(repr=False)

    @cached_property
    def certificate(self) -> CodeCertificate:
        """What `tol` promises of every code, checked; ``certificate.check(X, D)`` does so again."""
        return CodeCertificate.of(self.signals, self.atoms, self.codes, self.penalty, tol=self.tol)

    @cached_property
    def objective(self) -> Float64Array:
        """``||x - D c||^2 / 2 + penalty(c)`` of every code, shape (n_samples,)."""
        return objective_rows(self.signals, self.atoms, self.codes, self.penalty)

    @cached_property
    def gap(self) -> Float64Array | None:
        """For convex penalties, by how much each objective may exceed its minimum; None for others."""
        if not self.penalty.convex:
            return None
        return duality_gap(
            self.signals,
            self.atoms,
            self.codes,
            self.penalty.alpha,
            l1_ratio=self.penalty.l1_part,
            positive=self.penalty.positive,
        )

    @cached_property
    def residual(self) -> Float64Array:
        """How far each code is from one that no change of a single entry improves; see
        :func:`sparsetheory.coding.criticality`.
        """  # noqa: D205
        return criticality(self.signals, self.atoms, self.codes, self.penalty)

    @property
    def gained(self) -> Float64Array | None:
        """How much polishing lowered the l0 objective of each code; None without it."""
        return None if self.polished is None else self.polished.gained.sum(axis=0)


class Encoding(NamedTuple):
    """Codes of shape (n_samples, n_atoms), and what is known about them."""

    codes: FloatArray
    info: EncodeInfo
