"""Sharpness of labels, and the radius in which the nearest neighbour keeps its class."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import COUNT, MISSING, SEED
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.dimension.points.cross_class import nearest_of_different_classes
from sparsetheory.gpu.dimension.points.rows import as_rows, distance
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["LabelSharpness", "label_sharpness"]

# Rows whose distances to all others are in memory together, and rows that a check attacks.
_ROWS, _ATTACKED = 256, 256
# How close to the certified radius an attack goes, and how close it may come: nearer than this, rounding decides.
_JUST_BELOW, _WITHIN = 1 - 1e-6, 1 - 5e-7
# Powers of two beyond these have no inverse.
_EXPONENTS = 1000


@dataclass(frozen=True, eq=False)
class LabelSharpness(Certificate):
    """How close points of different classes are, and what that certifies about the nearest neighbour.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` is the certified radius, and `measured` half the
        smallest distance of points of different classes; it must not be below the bound.
    value : float
        Largest difference of labels over distance, 1 for different classes: one over the smallest distance of points
        of different classes. Infinite where such points coincide, 0 where there is one class.
    pair : tuple of two int, or None
        The rows that attain it, the smaller one first; None where there is one class.
    certified_radius : float
        A point of the data that moves by less than this keeps the class of its nearest neighbour: ``1 / (2 value)``,
        rounded down.
    n_samples, n_classes : int
        Points and classes that were looked at.
    one_class : bool
        Warns that there is one class only: the sharpness is 0 then, whatever the points.
    points : ndarray of int64, or None
        Rows that were drawn; None where all were taken. The certificate is about these as the neighbours.
    """

    value: float = field(kw_only=True)
    pair: tuple[int, int] | None = field(kw_only=True)
    certified_radius: float = field(kw_only=True)
    n_samples: int = field(kw_only=True)
    n_classes: int = field(kw_only=True)
    points: Int64Array | None = field(kw_only=True, default=None)

    TERMS: ClassVar[tuple[str, ...]] = ("n_samples", "n_classes")

    @property
    def one_class(self) -> bool:
        """Whether there is one class only."""
        return self.n_classes < 2

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"the nearest neighbour gives a point its own class after any move by less than {self.bound:.9g}"

    def check(self, X: Any, y: Any, *, random_state: Any = 0) -> "LabelSharpness":
        """Look at all pairs of different classes by differences of coordinates, and attack the nearest neighbour.

        Nothing is taken from matrix products. Up to 256 points, the pair among them, are moved by almost the certified
        radius: towards the nearest point of another class, and in a random direction. None may change its class.

        Parameters
        ----------
        X, y
            As :func:`label_sharpness` took them.
        random_state : int or numpy.random.Generator
            Draws the points to attack, and the random directions.

        Returns
        -------
        LabelSharpness
            With a fresh `measured`, `status` and `reason`. O(n^2 p) time, more than the fit, whose products are faster.
        """
        rng = np.random.default_rng(SEED.check("random_state", random_state))
        points, classes = _checked(X, y)
        rows = np.arange(len(points)) if self.points is None else self.points
        if len(rows) != self.n_samples or (len(rows) and int(rows.max()) >= len(points)):
            raise ValueError(f"X must hold the {self.n_samples} points of the certificate; got {len(points)}")
        data, labels = points.double().cpu().numpy()[rows], classes.cpu().numpy()[rows]
        # A power of two changes no digit, and squares of numbers up to 1 do not overflow.
        scale = 2.0 ** -min(max(math.frexp(float(np.abs(data).max(initial=0.0)))[1], -_EXPONENTS), _EXPONENTS)
        pair, towards = _nearest_others(scale * data, labels)
        smallest = math.inf if pair is None else distance(*(points[rows[row]] for row in pair))
        fault = self._fault(points, classes, smallest) or _attacked(
            scale * data, labels, towards, scale * self.bound, rng
        )
        checked = replace(self, measured=smallest / 2, status=Status.of(not fault), reason=fault)
        return checked.unless_misstated()

    # What is not a number fulfils no comparison, so each one says what must hold.
    def _fault(self, points: Tensor, classes: Tensor, smallest: float) -> str:
        """Return which statement about distances does not hold, or nothing."""
        if self.n_classes != len(torch.unique(classes if self.points is None else classes[self.points])):
            return "the number of classes is another one"
        if self.certified_radius != self.bound:
            return "the certified radius is not the bound"
        if not self.bound <= smallest / 2:
            return f"points of different classes are {smallest:.6g} apart, less than twice the bound"
        if self.pair is None:
            return "" if self.one_class and self.value == 0 else "a sharpness of more than one class needs a pair"
        i, j = self.pair
        if not 0 <= i < j < len(points) or bool(classes[i] == classes[j]):
            return "the pair must be two rows of different classes"
        found = distance(points[i], points[j])
        same = math.isclose(found, smallest, rel_tol=1e-9) and math.isclose(self.value, _inverse(found), rel_tol=1e-9)
        return "" if same else "the sharpness is not one over the distance of the pair, or the pair is not the nearest"


def label_sharpness(
    X: Any, y: Any, max_points: int | None = None, *, generator: torch.Generator | int | None = 0
) -> LabelSharpness:
    r"""Return the largest difference of labels over the distance of their points, exactly, with its certificate.

    .. math:: K = \max_{j, k} \frac{1(y_j \ne y_k)}{\|x_j - x_k\|_2}
        = \frac{1}{\min_{y_j \ne y_k} \|x_j - x_k\|_2}

    Labels that are 0 and 1 may be read as numbers, too: the numerator is :math:`|y_j - y_k|` then.

    Parameters
    ----------
    X : array-like or Tensor of float, of shape (n_samples, n_features)
        Points, in the unit in which the radius is wanted. Of single precision, products are taken in it.
    y : array-like or Tensor of int, of shape (n_samples,)
        Classes.
    max_points : int, optional
        Draw so many points, as published (1000); by default all are taken. A sample gives a lower bound of the
        sharpness of all, and a certificate for itself as the neighbours.
    generator : torch.Generator, int or None
        Source of the sample, drawn on the CPU.

    Returns
    -------
    LabelSharpness
        O(n^2 p) time in matrix products, O(n p) memory.

    Raises
    ------
    ValueError
        If the points are no finite matrix of floating-point numbers, or the labels are no integers, one for a point.

    Notes
    -----
    The radius is a theorem. A point of another class is at least :math:`1 / K` away, so a point that moves by less than
    :math:`1 / (2 K)` stays nearer to where it was than to any of them. It holds for exact distances: a search for
    neighbours that computes them by products may err. Distances below 1e-150 of the largest coordinate are not told
    apart.

    The function that was published with the paper computes something else: it compares points of the *same* label, and
    only rows that stand side by side in two orders of the data. It also drops infinite ratios, and then no radius is
    certain.

    References
    ----------
    N. Konz and M. A. Mazurowski, "The Effect of Intrinsic Dataset Properties on Generalization: Unraveling Learning
    Differences Between Natural and Medical Images", ICLR 2024, arXiv:2401.08865. The certified radius is ours.

    Examples
    --------
    >>> import numpy as np
    >>> found = label_sharpness(np.array([[0.0, 0.0], [3.0, 4.0], [9.0, 0.0]]), np.array([0, 1, 1]))
    >>> found.value, found.pair, round(found.certified_radius, 6)
    (0.2, (0, 1), 2.5)
    """
    (MISSING | COUNT).check("max_points", max_points)
    points, classes = _checked(X, y)
    rows = None
    if max_points is not None and max_points < len(points):
        rows = torch.randperm(len(points), generator=cpu_generator(generator))[:max_points].sort().values
    taken, labels = (points, classes) if rows is None else (points[rows], classes[rows])
    n_classes = len(torch.unique(labels))
    pair, value, radius = None, 0.0, math.inf
    if n_classes > 1:
        pair = nearest_of_different_classes(taken, labels)
        apart = distance(taken[pair[0]], taken[pair[1]])
        # Differences, squares and their sum err by less than this, and the radius must not be too large.
        rounding = (taken.shape[1] + 8) * np.finfo(np.float64).eps
        value, radius = _inverse(apart), float(0.5 * apart * (1 - rounding))
        if rows is not None:
            pair = int(rows[pair[0]]), int(rows[pair[1]])
    return LabelSharpness(
        "",
        radius,
        None,
        Status.VALID,
        value=value,
        pair=pair,
        certified_radius=radius,
        n_samples=len(taken),
        n_classes=n_classes,
        points=None if rows is None else rows.numpy(),
    ).stated()


def _inverse(apart: float) -> float:
    return 1 / apart if apart > 1 / np.finfo(np.float64).max else math.inf


def _checked(X: Any, y: Any) -> tuple[Tensor, Tensor]:
    points = as_rows("X", X)
    labels = y.detach() if isinstance(y, Tensor) else _from_numpy(y)
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"y must hold integer labels; got {labels.dtype}")
    if isinstance(X, Tensor) and isinstance(y, Tensor) and X.device != y.device:
        raise ValueError(f"y must be on the device of X, {X.device}; got {y.device}")
    if labels.shape != points.shape[:1] or not len(points):
        raise ValueError(f"y must have one label for each of {len(points)} points, at least one; got {labels.shape}")
    return points, labels.to(points.device, torch.int64)


def _from_numpy(y: Any) -> Tensor:
    try:
        values = np.array(y)
    except ValueError:  # rows of different lengths
        values = np.array(None)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"y must hold integer labels; got {values.dtype}")
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))


def _nearest_others(data: Float64Array, labels: Int64Array) -> tuple[tuple[int, int] | None, Int64Array]:
    """Return the nearest two points of different classes, or None, and the nearest such point of each point."""
    from scipy.spatial.distance import cdist

    nearest = np.full(len(data), np.inf)
    towards = np.zeros(len(data), dtype=np.int64)
    for start in range(0, len(data), _ROWS):
        chunk = slice(start, start + _ROWS)
        apart = cdist(data[chunk], data)
        apart[labels[chunk, None] == labels] = np.inf
        towards[chunk] = apart.argmin(1)
        nearest[chunk] = apart.min(1)
    first = int(nearest.argmin())
    return (first, int(towards[first])) if np.isfinite(nearest[first]) else None, towards


def _attacked(
    data: Float64Array, labels: Int64Array, towards: Int64Array, radius: float, rng: np.random.Generator
) -> str:
    """Return what an attack within the radius achieved, or nothing."""
    from scipy.spatial.distance import cdist

    if not 0 < radius < np.inf:
        return ""
    apart = np.linalg.norm(data - data[towards], axis=1)
    # The closest ones are the easiest to move over; the others are drawn.
    some = np.argsort(apart)[: _ATTACKED // 2]
    some = np.union1d(some, rng.permutation(len(data))[: _ATTACKED // 2])
    random = rng.standard_normal((len(some), data.shape[1]))
    for directions in (data[towards[some]] - data[some], random):
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        moved = data[some] + radius * _JUST_BELOW * directions / lengths
        changed = labels[cdist(moved, data).argmin(1)] != labels[some]
        # Far from the origin a move is rounded; nothing is promised of one that became longer.
        changed &= np.linalg.norm(moved - data[some], axis=1) < radius * _WITHIN
        if changed.any():
            return f"point {int(some[np.argmax(changed)])} changed its class within the radius"
    return ""
