"""The updates of prior variances from a posterior, one object each, for one loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.returning import slope_at_zero
from sparsetheory.bayesian.sbl.updates.alternating import one_sweep, sweep_until
from sparsetheory.bayesian.sbl.updates.mm import next_factors
from sparsetheory.bayesian.sbl.updates.newton import minimise_factors
from sparsetheory.bayesian.sbl.updates.svd import separable_factors
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = [
    "PLAIN_UPDATES",
    "FactorUpdate",
    "InnerLoop",
    "PlainUpdate",
    "RowUpdate",
    "plain_update",
]

_Step = Callable[[Any, "InnerLoop"], tuple[list[Float64Array], int]]


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

    @property
    def descends(self) -> bool:
        """Whether the update rests at stationary points of the cost only."""
        ...

    def masks(self, gammas: Sequence[Float64Array], pruning: Pruning, places: Sequence[IndexArray]) -> list[BoolArray]:
        """Say which entries of each mode stay."""
        ...

    def restrict(self, masks: Sequence[BoolArray], gammas: Sequence[Float64Array]) -> list[Float64Array]:
        """Forget pruned entries, and return the factors that are left."""
        ...

    def step(self, posterior: Any) -> tuple[list[Float64Array], int]:
        """Return the next factors, and the number of inner iterations."""
        ...

    def slopes(self, posterior: Any) -> list[Float64Array]:
        """Return derivatives of the cost by the logarithms of what the update moves."""
        ...

    def pruned(self, gammas: Sequence[Float64Array], columns: Sequence[IndexArray]) -> bool:
        """Whether anything was pruned."""
        ...

    def gains(self, everywhere: Any) -> list[Float64Array]:
        """Return by how much each pruned entry alone could lower the cost; zero for the others."""
        ...

    def put_back(self, everywhere: Any, least: float) -> list[Float64Array]:
        """Return factors in which the best entries of each mode are positive again, and not pruned any more."""
        ...


class RowUpdate:
    """What updates that move the variances themselves have in common; entries that came back are not pruned."""

    def __init__(self) -> None:
        self._protected: list[BoolArray] | None = None

    def masks(self, gammas: Sequence[Float64Array], pruning: Pruning, places: Sequence[IndexArray]) -> list[BoolArray]:
        """Say which entries of each mode stay."""
        masks = pruning.masks(gammas, places)
        if self._protected is None:
            return masks
        return [mask | safe[at] for mask, safe, at in zip(masks, self._protected, places, strict=True)]

    def restrict(self, masks: Sequence[BoolArray], gammas: Sequence[Float64Array]) -> list[Float64Array]:
        """Return the factors that are left."""
        return [gamma[mask] for gamma, mask in zip(gammas, masks, strict=True)]

    def slopes(self, posterior: Any) -> list[Float64Array]:
        """Return derivatives of the cost by the logarithms of the variances."""
        return [posterior.grad_log(k) for k in range(len(posterior.gammas))]

    def pruned(self, gammas: Sequence[Float64Array], columns: Sequence[IndexArray]) -> bool:
        """Whether anything was pruned."""
        return any(gamma.size < c.size for gamma, c in zip(gammas, columns, strict=True))

    def gains(self, everywhere: Any) -> list[Float64Array]:
        """Return by how much each pruned entry alone could lower the cost; zero for the others."""
        return [
            np.where(gamma == 0, slope_at_zero(everywhere, k).gain, 0.0) for k, gamma in enumerate(everywhere.gammas)
        ]

    def put_back(self, everywhere: Any, least: float) -> list[Float64Array]:
        """Return factors in which the best entries of each mode are positive again, and not pruned any more."""
        if self._protected is None:
            self._protected = [np.zeros(gamma.size, dtype=np.bool_) for gamma in everywhere.gammas]
        factors = [gamma.copy() for gamma in everywhere.gammas]
        for k, gain in enumerate(self.gains(everywhere)):
            best = int(np.argmax(gain))
            if gain[best] > least:
                factors[k][best] = slope_at_zero(everywhere, k).best[best]
                self._protected[k][best] = True
        return factors


class PlainUpdate(RowUpdate):
    """An update that carries nothing but the factors.

    Parameters
    ----------
    function : callable
        ``function(posterior, inner)`` returns new factors and a number of inner iterations.
    inner : InnerLoop
        When sweeps stop.
    noise_rule : {"em", "mm"}
        Which noise variance goes with it.
    descends : bool
        Whether it rests at stationary points of the cost only.
    """

    def __init__(
        self, function: _Step, inner: InnerLoop, noise_rule: Literal["em", "mm"] = "em", *, descends: bool = True
    ) -> None:
        super().__init__()
        self.function, self.inner, self.noise_rule, self.descends = function, inner, noise_rule, descends

    def step(self, posterior: Any) -> tuple[list[Float64Array], int]:
        """Return the next factors, and the number of inner iterations."""
        return self.function(posterior, self.inner)


def _mm(posterior: Any, inner: InnerLoop) -> tuple[list[Float64Array], int]:
    return next_factors(posterior.q, posterior.power, posterior.gammas), 1


def _am(posterior: Any, inner: InnerLoop) -> tuple[list[Float64Array], int]:
    return sweep_until(posterior.second_moment, posterior.gammas, inner.tol, inner.relative, inner.max_sweeps)


def _ksbl(posterior: Any, inner: InnerLoop) -> tuple[list[Float64Array], int]:
    return one_sweep(posterior.second_moment, posterior.gammas), 1


def _newton(posterior: Any, inner: InnerLoop) -> tuple[list[Float64Array], int]:
    # A variance that rounding took to zero has no logarithm.
    moments = np.maximum(posterior.second_moment, np.finfo(np.float64).tiny)
    return minimise_factors(moments, posterior.gammas)


def _svd(posterior: Any, inner: InnerLoop) -> tuple[list[Float64Array], int]:
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
    return PlainUpdate(_STEPS[name], inner, "mm" if name == "mm" else "em", descends=name != "svd")
