"""The separable penalties of sparse coding and sparse regression.

Conventions: ``prox(u) = argmin_x (x - u)^2 / 2 + step * penalty(x)``, the strength `alpha` is inside the penalty, and
zero wins every tie. Below, v is the absolute value of an entry.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.penalties.base import Penalty

__all__ = [
    "CEL0",
    "L0",
    "L1",
    "MCP",
    "PENALTY_NAMES",
    "SCAD",
    "CappedL1",
    "LogSum",
    "Lq",
    "as_penalty",
    "make_penalty",
    "prox",
]


@dataclass(frozen=True)
class L1(Penalty):
    """``alpha v``: soft thresholding, the only convex one here.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.

    Examples
    --------
    >>> L1(1.0).prox([-3.0, 0.5, 2.0])
    array([-2.,  0.,  1.])
    """

    alpha: float
    kind: ClassVar[int] = tags.L1


@dataclass(frozen=True)
class L0(Penalty):
    """``alpha`` for every entry that is not zero: hard thresholding at ``sqrt(2 step alpha)``.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.

    Examples
    --------
    >>> L0(2.0).prox([-3.0, 2.0, 2.5])
    array([-3. ,  0. ,  2.5])
    """

    alpha: float
    kind: ClassVar[int] = tags.L0


@dataclass(frozen=True)
class Lq(Penalty):
    """``alpha v^q``: between hard and soft thresholding.

    A nonzero value of the operator is at least ``(2 step alpha (1 - q))^(1 / (2 - q))``. Roots are found by Newton's
    method, for q = 1/2 and q = 2/3 on a polynomial. Xu and others (2012), who gave closed forms for q = 1/2, leave out
    the factor 1/2 of the quadratic: their alpha is twice ours.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    q : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> half = Lq(1.0, q=0.5)
    >>> half.zero_threshold(), half.jump()
    (1.5, 1.0)
    """

    alpha: float
    q: float
    kind: ClassVar[int] = tags.LQ
    _name: ClassVar[str] = "q"
    _interval: ClassVar[tuple[float, float]] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
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

    Examples
    --------
    >>> CEL0(0.5).prox([0.4, 0.75, 3.0], step=0.5)
    array([0. , 0.5, 3. ])
    >>> CEL0(0.5, norms=[1.0, 2.0]).zero_threshold(step=0.1)
    array([0.1, 0.2])
    """

    alpha: float
    norms: Any = 1.0
    kind: ClassVar[int] = tags.CEL0
    _name: ClassVar[str] = "norms"
    _per_feature: ClassVar[bool] = True

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, CEL0) and self.alpha == other.alpha
        return same and np.array_equal(self.norms, other.norms)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((self.alpha, np.asarray(self.norms).tobytes()))


@dataclass(frozen=True)
class MCP(Penalty):
    """``alpha v - v^2 / (2 gamma)`` up to ``gamma alpha``, then ``gamma alpha^2 / 2``: firm thresholding (Zhang, 2010).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    gamma : float
        Above 0. At steps of `gamma` or more the operator thresholds hard.

    Examples
    --------
    >>> MCP(1.0, gamma=2.0).prox([0.5, 1.5, 3.0])
    array([0., 1., 3.])
    """

    alpha: float
    gamma: float = 3.0
    kind: ClassVar[int] = tags.MCP
    _name: ClassVar[str] = "gamma"


@dataclass(frozen=True)
class SCAD(Penalty):
    """``alpha v`` up to alpha, a parabola up to ``a alpha``, then ``alpha^2 (a + 1) / 2`` (Fan and Li, 2001).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    a : float
        Above 2. The operator is continuous at steps below ``a - 1``.

    Examples
    --------
    >>> SCAD(1.0, a=3.0).prox([0.5, 1.5, 2.5, 4.0])
    array([0. , 0.5, 2. , 4. ])
    """

    alpha: float
    a: float = 3.7
    kind: ClassVar[int] = tags.SCAD
    _name: ClassVar[str] = "a"
    _interval: ClassVar[tuple[float, float]] = (2.0, np.inf)


@dataclass(frozen=True)
class LogSum(Penalty):
    """``alpha log(1 + v / eps)``, whose reweighted form is reweighted l1 (Candès, Wakin and Boyd, 2008).

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    eps : float
        Above 0. The operator is continuous while ``step alpha <= eps^2``.

    Examples
    --------
    >>> LogSum(1.0, eps=1.0).prox([1.0, 1.5, 10.0]).round(3)
    array([0.   , 1.   , 9.908])
    """

    alpha: float
    eps: float
    kind: ClassVar[int] = tags.LOG_SUM
    _name: ClassVar[str] = "eps"


@dataclass(frozen=True)
class CappedL1(Penalty):
    """``alpha min(v, theta)``: soft thresholding of what is small, nothing of what is large (Zhang, 2010).

    Parameters
    ----------
    alpha : float
        Strength and slope at zero, at least 0.
    theta : float
        Where the penalty stops growing, above 0.

    Examples
    --------
    >>> CappedL1(1.0, theta=2.0).prox([0.5, 1.5, 2.5, 3.0])
    array([0. , 0.5, 1.5, 3. ])
    """

    alpha: float
    theta: float
    kind: ClassVar[int] = tags.CAPPED_L1
    _name: ClassVar[str] = "theta"


_BY_NAME: Mapping[str, type[Penalty]] = MappingProxyType(
    {
        "l1": L1,
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


def prox(u: ArrayLike, penalty: Penalty, step: float = 1.0) -> Any:
    """Return ``penalty.prox(u, step)``; see :meth:`Penalty.prox`.

    Examples
    --------
    >>> prox([-3.0, 0.5, 2.0], L1(1.0))
    array([-2.,  0.,  1.])
    """
    return penalty.prox(u, step)


def make_penalty(name: str, alpha: float, **shape: Any) -> Penalty:
    """Build a penalty from its name.

    Parameters
    ----------
    name : {"l1", "l0", "lq", "cel0", "mcp", "scad", "log_sum", "capped_l1"}
        Family.
    alpha : float
        Strength, at least 0.
    **shape : float
        The other number of the family, by name: `q`, `norms`, `gamma`, `a`, `eps` or `theta`.

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
    family = next((family for known, family in _BY_NAME.items() if known == name), None)
    if family is None:
        raise ValueError(f"penalty must be one of {', '.join(map(repr, _BY_NAME))}, got {name!r}")
    others = fields(family)[1:]  # type: ignore[arg-type]
    if not shape.keys() <= {field.name for field in others}:
        wanted = ", ".join(field.name for field in others) or "nothing"
        raise TypeError(f"penalty {name!r} takes {wanted} beside alpha, got {', '.join(sorted(shape))}")
    for field in others:
        if field.default is MISSING and field.name not in shape:
            raise TypeError(f"penalty {name!r} needs {field.name}")
    return family(alpha, **shape)  # type: ignore[call-arg]


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
