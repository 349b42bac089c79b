"""The separable penalties of sparse coding and sparse regression.

Conventions: ``prox(x) = argmin_z (z - x)^2 / 2 + step * penalty(z)``, the strength `alpha` is inside the penalty, and
zero wins every tie. Below, v is the absolute value of an entry. With ``positive=True``, a keyword of every class,
entries below zero are not allowed: there the penalty is infinite.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import Choice, Real
from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.definition import Piece
from sparsetheory.penalties.smooth import LogSum, Lq
from sparsetheory.typing import Float64Array

__all__ = [
    "CEL0",
    "L0",
    "L1",
    "MCP",
    "PENALTY_NAMES",
    "SCAD",
    "CappedL1",
    "ElasticNet",
    "LogSum",
    "Lq",
    "as_penalty",
    "make_penalty",
    "prox",
]


@dataclass(frozen=True, repr=False)
class L1(Penalty):
    """``alpha v``: soft thresholding.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> L1(1.0).prox([-3.0, 0.5, 2.0])
    array([-2.,  0.,  1.])
    >>> L1(1.0, positive=True).prox([-3.0, 0.5, 2.0])
    array([0., 0., 1.])
    """

    convex: ClassVar[bool] = True
    _tag: ClassVar[int] = tags.L1

    @property
    def l1_part(self) -> float:
        """One: there is no square."""
        return 1.0

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return a straight line without end."""
        return [(np.full_like(alpha, np.inf), alpha, np.zeros_like(alpha))]


@dataclass(frozen=True, repr=False)
class ElasticNet(Penalty):
    """``alpha (l1_ratio v + (1 - l1_ratio) v^2 / 2)``: the convention of scikit-learn (Zou and Hastie, 2005).

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    l1_ratio : float
        Share of the l1 norm, above 0 and at most 1, where the penalty is :class:`L1`.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> ElasticNet(1.0, l1_ratio=0.5).prox([-3.5, 0.5, 2.0])
    array([-2.,  0.,  1.])
    """

    l1_ratio: float = 0.5
    convex: ClassVar[bool] = True
    _tag: ClassVar[int] = tags.ELASTIC_NET
    _name: ClassVar[str] = "l1_ratio"
    _allowed: ClassVar[Real] = Real(0.0, 1.0, closed="right")

    @property
    def l1_part(self) -> float:
        """The ratio."""
        return self.l1_ratio

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return a parabola without end."""
        return [(np.full_like(alpha, np.inf), alpha * shape, -alpha * (1.0 - shape))]


@dataclass(frozen=True, repr=False)
class L0(Penalty):
    """``alpha`` for every entry that is not zero: hard thresholding at ``sqrt(2 step alpha)``.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> L0(2.0).prox([-3.0, 2.0, 2.5])
    array([-3. ,  0. ,  2.5])
    """

    counts_nonzeros: ClassVar[bool] = True
    _tag: ClassVar[int] = tags.L0

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return none: there is a jump at zero, and nothing beyond."""
        return []

    @classmethod
    def slope_at_zero(cls, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return infinity."""
        return np.full_like(alpha, np.inf)

    @classmethod
    def values(cls, v: Float64Array, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return the cost of every entry that is not zero."""
        return np.where(v > 0, alpha, 0.0)

    @classmethod
    def stationary(
        cls, u: Float64Array, h: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> list[Float64Array]:
        """Return u itself."""
        return [u]


@dataclass(frozen=True, eq=False, repr=False)
class CEL0(Penalty):
    """``alpha - (a^2 / 2)(v - k)^2`` up to ``k = sqrt(2 alpha) / a``, then ``alpha``, with a the norm of the feature.

    Added to a least-squares loss it keeps the global minimisers of l0, and some of its other local minimisers vanish
    (Soubies, Blanc-Féraud and Aubert, 2015). It is MCP with ``sqrt(2 alpha) a`` for alpha and ``1 / a^2`` for gamma.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    norms : float or array_like of shape (n_features,)
        Euclidean norm of every column of the dictionary, above 0.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> CEL0(0.5).prox([0.4, 0.75, 3.0], step=0.5)
    array([0. , 0.5, 3. ])
    >>> CEL0(0.5, norms=[1.0, 2.0]).zero_threshold(step=0.1)
    array([0.1, 0.2])
    """

    norms: Any = 1.0
    counts_nonzeros: ClassVar[bool] = True
    _tag: ClassVar[int] = tags.CEL0
    _name: ClassVar[str] = "norms"
    _per_feature: ClassVar[bool] = True

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return one parabola up to its top."""
        slope = np.sqrt(2.0 * alpha) * shape
        return [(np.sqrt(2.0 * alpha) / shape, slope, shape**2)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CEL0):
            return False
        same = (self.alpha, self.positive) == (other.alpha, other.positive)
        return same and np.array_equal(self.norms, other.norms)

    def __hash__(self) -> int:
        return hash((self.alpha, self.positive, np.asarray(self.norms).tobytes()))


@dataclass(frozen=True, repr=False)
class MCP(Penalty):
    """``alpha v - v^2 / (2 gamma)`` up to ``gamma alpha``, then ``gamma alpha^2 / 2``: firm thresholding (Zhang, 2010).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    gamma : float
        Above 0. At steps of `gamma` or more the operator thresholds hard.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> MCP(1.0, gamma=2.0).prox([0.5, 1.5, 3.0])
    array([0., 1., 3.])
    """

    gamma: float = 3.0
    _tag: ClassVar[int] = tags.MCP
    _name: ClassVar[str] = "gamma"

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return one parabola up to its top."""
        return [(shape * alpha, alpha, 1.0 / shape)]


@dataclass(frozen=True, repr=False)
class SCAD(Penalty):
    """``alpha v`` up to alpha, a parabola up to ``a alpha``, then ``alpha^2 (a + 1) / 2`` (Fan and Li, 2001).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    a : float
        Above 2. The operator is continuous at steps below ``a - 1``.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> SCAD(1.0, a=3.0).prox([0.5, 1.5, 2.5, 4.0])
    array([0. , 0.5, 2. , 4. ])
    """

    a: float = 3.7
    _tag: ClassVar[int] = tags.SCAD
    _name: ClassVar[str] = "a"
    _allowed: ClassVar[Real] = Real(2.0, closed="neither")

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return a line and a parabola up to its top."""
        bend = 1.0 / (shape - 1.0)
        return [(alpha, alpha, np.zeros_like(alpha)), (shape * alpha, shape * alpha * bend, bend)]


@dataclass(frozen=True, repr=False)
class CappedL1(Penalty):
    """``alpha min(v, theta)``: soft thresholding of what is small, nothing of what is large (Zhang, 2010).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    theta : float
        Where the penalty stops growing, above 0.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> CappedL1(1.0, theta=2.0).prox([0.5, 1.5, 2.5, 3.0])
    array([0. , 0.5, 1.5, 3. ])
    """

    theta: float
    _tag: ClassVar[int] = tags.CAPPED_L1
    _name: ClassVar[str] = "theta"

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return a line up to the cap."""
        return [(shape, alpha, np.zeros_like(alpha))]


_BY_NAME: Mapping[str, type[Penalty]] = MappingProxyType(
    {
        "l1": L1,
        "elastic_net": ElasticNet,
        "l0": L0,
        "lq": Lq,
        "cel0": CEL0,
        "mcp": MCP,
        "scad": SCAD,
        "log_sum": LogSum,
        "capped_l1": CappedL1,
    }
)
PENALTY_NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""What :func:`make_penalty` and :func:`as_penalty` know by name."""


def prox(x: ArrayLike, penalty: Penalty, step: float = 1.0) -> Any:
    """Return ``penalty.prox(x, step)``; see :meth:`Penalty.prox`.

    Examples
    --------
    >>> prox([-3.0, 0.5, 2.0], L1(1.0))
    array([-2.,  0.,  1.])
    """
    return penalty.prox(x, step)


def make_penalty(name: str, alpha: float, *, positive: bool = False, **shape: Any) -> Penalty:
    """Build a penalty from its name.

    Parameters
    ----------
    name : {"l1", "elastic_net", "l0", "lq", "cel0", "mcp", "scad", "log_sum", "capped_l1"}
        Family.
    alpha : float
        Strength, at least 0.
    positive : bool
        Whether entries must be at least zero.
    **shape : float
        The other number of the family, by name: `l1_ratio`, `q`, `norms`, `gamma`, `a`, `eps` or `theta`. "lq",
        "log_sum" and "capped_l1" have no default for it.

    Returns
    -------
    Penalty

    Raises
    ------
    ValueError
        If there is no such family, or a number is out of range.
    TypeError
        If a number is missing, or belongs to another family.

    Examples
    --------
    >>> make_penalty("mcp", 0.1, gamma=2.0)
    MCP(alpha=0.1, gamma=2.0)
    """
    family = _BY_NAME[Choice(*PENALTY_NAMES).check("penalty", name)]
    others = {field.name: field.default for field in fields(family) if field.name not in ("alpha", "positive")}
    if not shape.keys() <= others.keys():
        wanted = ", ".join(others) or "nothing"
        raise TypeError(f"penalty {name!r} takes {wanted} beside alpha; got {', '.join(sorted(shape))}")
    for number, default in others.items():
        if default is MISSING and number not in shape:
            raise TypeError(f"penalty {name!r} needs {number}")
    return family(alpha, positive=positive, **shape)


def as_penalty(penalty: str | Penalty, alpha: float | None = None, **shape: Any) -> Penalty:
    """Return the penalty that an object, or a name with its numbers, stands for.

    Parameters
    ----------
    penalty : str or Penalty
        A name as of :func:`make_penalty`, or a penalty.
    alpha : float, optional
        Strength, at least 0. A name needs it; in a penalty it replaces the strength.
    **shape : float
        The other number of a family given by name; None stands for a number that is not given.

    Returns
    -------
    Penalty

    Raises
    ------
    ValueError
        If there is no such family, or a number is out of range.
    TypeError
        If `penalty` is neither, a number is missing or belongs to another family, or a penalty comes with a shape.

    Examples
    --------
    >>> as_penalty("mcp", 0.1, gamma=2.0), as_penalty(L1(1.0)), as_penalty(L1(1.0), 0.5)
    (MCP(alpha=0.1, gamma=2.0), L1(alpha=1.0), L1(alpha=0.5))
    """
    given = {name: number for name, number in shape.items() if number is not None}
    if isinstance(penalty, str):
        if alpha is None:
            raise TypeError(f"penalty {penalty!r} needs alpha, its strength")
        return make_penalty(penalty, alpha, **given)
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a Penalty or the name of one; got {penalty!r}")
    if given:
        raise TypeError(f"{', '.join(given)} must go with the name of a penalty; penalty is {penalty!r}")
    return penalty if alpha is None else penalty.with_alpha(alpha)
