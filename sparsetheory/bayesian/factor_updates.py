"""The updates of prior variances from a posterior, one object each, for one loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsetheory.bayesian.am_update import one_sweep, sweep_until
from sparsetheory.bayesian.mm_update import next_factors
from sparsetheory.bayesian.newton_update import minimise_factors
from sparsetheory.bayesian.svd_update import separable_factors

__all__ = ["PLAIN_UPDATES", "FactorUpdate", "InnerLoop", "PlainUpdate", "plain_update"]

_Real = NDArray[np.float64]
_Step = Callable[[Any, "InnerLoop"], tuple[list[_Real], int]]


@dataclass(frozen=True)
class InnerLoop:
    """When sweeps within one maximisation step stop.

    Attributes
    ----------
    tol : float
        Largest change of the outer product in one sweep.
    relative : bool
        Whether the change is relative.
    max_sweeps : int
        Largest number of sweeps.
    """

    tol: float
    relative: bool
    max_sweeps: int


class FactorUpdate(Protocol):
    """What the loop needs of an update."""

    @property
    def noise_rule(self) -> Literal["em", "mm"]:
        """Which noise variance of the posterior goes with the update."""
        ...

    def restrict(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Forget pruned entries; the masks say what is kept of each mode."""
        ...

    def step(self, posterior: Any) -> tuple[list[_Real], int]:
        """Return the next factors, and the number of inner iterations."""
        ...


@dataclass(frozen=True)
class PlainUpdate:
    """An update that carries nothing but the factors."""

    function: _Step
    inner: InnerLoop
    noise_rule: Literal["em", "mm"] = "em"

    def restrict(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Nothing is carried."""

    def step(self, posterior: Any) -> tuple[list[_Real], int]:
        """Return the next factors, and the number of inner iterations."""
        return self.function(posterior, self.inner)


def _mm(posterior: Any, inner: InnerLoop) -> tuple[list[_Real], int]:
    return next_factors(posterior.q, posterior.power, posterior.gammas), 1


def _am(posterior: Any, inner: InnerLoop) -> tuple[list[_Real], int]:
    return sweep_until(posterior.second_moment, posterior.gammas, inner.tol, inner.relative, inner.max_sweeps)


def _ksbl(posterior: Any, inner: InnerLoop) -> tuple[list[_Real], int]:
    return one_sweep(posterior.second_moment, posterior.gammas), 1


def _newton(posterior: Any, inner: InnerLoop) -> tuple[list[_Real], int]:
    # A variance that rounding took to zero has no logarithm.
    moments = np.maximum(posterior.second_moment, np.finfo(np.float64).tiny)
    return minimise_factors(moments, posterior.gammas)


def _svd(posterior: Any, inner: InnerLoop) -> tuple[list[_Real], int]:
    return separable_factors(posterior.second_moment), 1


_STEPS: dict[str, _Step] = {"mm": _mm, "am": _am, "ksbl": _ksbl, "svd": _svd, "newton": _newton}
PLAIN_UPDATES = tuple(_STEPS)


def plain_update(name: str, inner: InnerLoop) -> PlainUpdate:
    """Return one of :data:`PLAIN_UPDATES` by its name.

    Parameters
    ----------
    name : str
        Name.
    inner : InnerLoop
        For "am".

    Returns
    -------
    PlainUpdate
    """
    return PlainUpdate(_STEPS[name], inner, "mm" if name == "mm" else "em")
