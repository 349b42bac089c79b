"""Updates of the factors of the prior variances: what the loop asks of them, and those without coupling."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.reactivation import slope_at_zero
from sparsetheory.bayesian.sbl.updates.alternating import one_sweep, sweep_until
from sparsetheory.bayesian.sbl.updates.mm import next_factors
from sparsetheory.bayesian.sbl.updates.newton import minimise_factors
from sparsetheory.bayesian.sbl.updates.svd import separable_factors
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = [
    "PLAIN_UPDATES",
    "FactorUpdate",
    "PlainUpdate",
    "RowUpdate",
    "plain_update",
]

_Step = Callable[[Any], tuple[list[Float64Array], int]]


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

    def masks(
        self, variances: Sequence[Float64Array], pruning: Pruning, places: Sequence[IndexArray]
    ) -> list[BoolArray]:
        """Say which entries of each mode stay."""
        ...

    def restrict(self, masks: Sequence[BoolArray], variances: Sequence[Float64Array]) -> list[Float64Array]:
        """Forget pruned entries, and return the factors that are left."""
        ...

    def step(self, posterior: Any) -> tuple[list[Float64Array], int]:
        """Return the next factors, and the number of inner iterations."""
        ...

    def slopes(self, posterior: Any) -> list[Float64Array]:
        """Return derivatives of the cost by the logarithms of what the update moves."""
        ...

    def pruned(self, variances: Sequence[Float64Array], columns: Sequence[IndexArray]) -> bool:
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

    def masks(
        self, variances: Sequence[Float64Array], pruning: Pruning, places: Sequence[IndexArray]
    ) -> list[BoolArray]:
        """Say which entries of each mode stay."""
        masks = pruning.masks(variances, places)
        if self._protected is None:
            return masks
        return [mask | safe[at] for mask, safe, at in zip(masks, self._protected, places, strict=True)]

    def restrict(self, masks: Sequence[BoolArray], variances: Sequence[Float64Array]) -> list[Float64Array]:
        """Return the factors that are left."""
        return [gamma[mask] for gamma, mask in zip(variances, masks, strict=True)]

    def slopes(self, posterior: Any) -> list[Float64Array]:
        """Return derivatives of the cost by the logarithms of the variances."""
        return [posterior.grad_log(k) for k in range(len(posterior.variances))]

    def pruned(self, variances: Sequence[Float64Array], columns: Sequence[IndexArray]) -> bool:
        """Whether anything was pruned."""
        return any(gamma.size < c.size for gamma, c in zip(variances, columns, strict=True))

    def gains(self, everywhere: Any) -> list[Float64Array]:
        """Return by how much each pruned entry alone could lower the cost; zero for the others."""
        return [
            np.where(gamma == 0, slope_at_zero(everywhere, k).gain, 0.0) for k, gamma in enumerate(everywhere.variances)
        ]

    def put_back(self, everywhere: Any, least: float) -> list[Float64Array]:
        """Return factors in which the best entries of each mode are positive again, and not pruned any more."""
        if self._protected is None:
            self._protected = [np.zeros(gamma.size, dtype=np.bool_) for gamma in everywhere.variances]
        factors = [gamma.copy() for gamma in everywhere.variances]
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
    step : callable
        ``step(posterior)`` returns new factors and a number of inner iterations.
    noise_rule : {"em", "mm"}
        Which noise variance goes with it.
    descends : bool
        Whether it rests at stationary points of the cost only.
    """

    def __init__(self, step: _Step, noise_rule: Literal["em", "mm"] = "em", *, descends: bool = True) -> None:
        super().__init__()
        self.step, self.noise_rule, self.descends = step, noise_rule, descends


def _mm(posterior: Any) -> tuple[list[Float64Array], int]:
    return next_factors(posterior.q, posterior.power, posterior.variances), 1


def _one_sweep(posterior: Any) -> tuple[list[Float64Array], int]:
    return one_sweep(posterior.second_moment, posterior.variances), 1


def _newton(posterior: Any) -> tuple[list[Float64Array], int]:
    # A variance that rounding took to zero has no logarithm.
    moments = np.maximum(posterior.second_moment, np.finfo(np.float64).tiny)
    return minimise_factors(moments, posterior.variances)


def _svd(posterior: Any) -> tuple[list[Float64Array], int]:
    return separable_factors(posterior.second_moment), 1


PLAIN_UPDATES = ("mm", "am", "ksbl", "svd", "newton")


def plain_update(name: str, *, tol: float = 0.0, relative: bool = True, max_sweeps: int = 1) -> PlainUpdate:
    """Return one of :data:`PLAIN_UPDATES` by its name.

    Parameters
    ----------
    name : str
        Name.
    tol, relative, max_sweeps
        When the sweeps of "am" stop, as in :func:`sparsetheory.bayesian.sbl.updates.alternating.sweep_until`.

    Returns
    -------
    PlainUpdate
    """

    def alternating(posterior: Any) -> tuple[list[Float64Array], int]:
        return sweep_until(posterior.second_moment, posterior.variances, tol, relative, max_sweeps)

    steps: dict[str, _Step] = {"mm": _mm, "am": alternating, "ksbl": _one_sweep, "svd": _svd, "newton": _newton}
    return PlainUpdate(steps[name], "mm" if name == "mm" else "em", descends=name != "svd")
