"""What every coder returns: codes, how the search for them went, and certificates."""

from dataclasses import dataclass, field
from functools import cached_property

from sparsetheory.coding.codes.certificates import CodeCertificate, criticality, duality_gap
from sparsetheory.coding.codes.objective import objective_rows
from sparsetheory.coding.codes.trajectory import Trajectory
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, Int64Array

__all__ = ["Encoding", "Polished"]


@dataclass(frozen=True, eq=False)
class Polished:
    """What each stage of :func:`sparsetheory.coding.polish` did.

    Attributes
    ----------
    before, after : ndarray of int of shape (n_samples,)
        Kind of the given and of the last codes; see :class:`~sparsetheory.coding.MinimiserKind`.
    objective : ndarray of shape (4, n_samples)
        The l0 objective of the given codes, after least squares on their supports, after coordinate descent, and after
        single best replacement.
    """

    before: Int64Array
    after: Int64Array
    objective: Float64Array

    @property
    def gained(self) -> Float64Array:
        """How much least squares, coordinate descent and replacement lowered the objective, shape (3, n_samples)."""
        return self.objective[:-1] - self.objective[1:]


@dataclass(frozen=True, eq=False)
class Encoding:
    """Sparse codes of signals, and what is known about them.

    Objectives and certificates follow from signals, atoms and codes alone. They are computed when they are first read,
    because they cost about as much as the codes; until then none of the three may be changed.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        One code per signal, in single precision if signals and atoms are, else in double.
    n_iter : ndarray of int of shape (n_samples,)
        What the solver counts, per signal: passes over the atoms, gradient steps, or moves.
    converged : ndarray of bool of shape (n_samples,)
        Whether the solver reached its goal; after polishing, whether no addition or removal of one atom improves the
        code.
    solver : str
        The solver that ran: "fss", "cd", "fb", "sbr", "greedy", "cyclic" or "polish".
    signals : ndarray of shape (n_samples, n_features)
        The signals.
    atoms : ndarray of shape (n_atoms, n_features)
        The dictionary.
    penalty : Penalty
        What the codes minimise, together with half the squared residual.
    tol : float
        Tolerance of the solver, which the certificate promises. Single best replacement has none; there it is 1e-6.
    step : float or None
        Step size of forward-backward splitting; None for other solvers.
    history : Trajectory or None
        What happened in every step of forward-backward splitting, where it was asked for.
    polished : Polished or None
        What polishing gained, stage by stage, where it was asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import encode
    >>> result = encode([[3.0, 0.5]], np.eye(2), "l1", alpha=1.0)
    >>> result.codes, result.objective, result.certificate.valid
    (array([[2., 0.]]), array([2.625]), True)
    """

    codes: FloatArray
    n_iter: Int64Array
    converged: BoolArray
    solver: str
    signals: FloatArray = field(repr=False)
    atoms: FloatArray = field(repr=False)
    penalty: Penalty
    tol: float
    step: float | None = None
    history: Trajectory | None = field(default=None, repr=False)
    polished: Polished | None = field(default=None, repr=False)

    @cached_property
    def certificate(self) -> CodeCertificate:
        """How far every code is from optimal or stationary, beside `tol`; ``certificate.check(X, D)`` finds it again.

        "fss" and "cd" stop by this measure. The others stop by their own, so that codes may have converged which are
        not as close to stationary as `tol`; then the certificate is not valid and says how far they are.
        """
        return CodeCertificate.of(self.signals, self.atoms, self.codes, self.penalty, tol=self.tol)

    @cached_property
    def objective(self) -> Float64Array:
        """Half the squared residual plus the penalty of every code, shape (n_samples,), in double precision."""
        return objective_rows(self.signals, self.atoms.T, self.codes, self.penalty)

    @cached_property
    def gap(self) -> Float64Array | None:
        """Duality gap of each code for convex penalties, else None; see :func:`~sparsetheory.coding.duality_gap`."""
        penalty = self.penalty
        if not penalty.convex:
            return None
        numbers = {"alpha": penalty.alpha, "l1_ratio": penalty.l1_part, "positive": penalty.positive}
        return duality_gap(self.signals, self.atoms, self.codes, **numbers)

    @cached_property
    def residual(self) -> Float64Array:
        """Distance of each code from stationarity; see :func:`sparsetheory.coding.criticality`."""
        return criticality(self.signals, self.atoms, self.codes, self.penalty)

    @property
    def gained(self) -> Float64Array | None:
        """How much polishing lowered the l0 objective of each code; None without it."""
        return None if self.polished is None else self.polished.gained.sum(axis=0)
