"""Linear layers with squared errors, whose evidence bounds are known term by term."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["FittedLayer", "LayerCase", "layer_cases"]


@dataclass(frozen=True)
class LayerCase:
    """Sizes and seed of a layer; see :meth:`fit`."""

    n_in: int
    n_out: int
    n_samples: int
    log_kappa: float
    log_prior: float
    seed: int

    def fit(self, unit: str) -> "FittedLayer":
        """Return the layer with its best factors on a random mask of whole rows or columns, half of them at least."""
        rng = np.random.default_rng(self.seed)
        # Inputs with a mean, as activations have it, share curvature.
        x = rng.normal(size=(self.n_samples, self.n_in)) + rng.normal()
        y = x @ rng.normal(size=(self.n_in, self.n_out)) + rng.normal(size=(self.n_samples, self.n_out))
        mask = np.ones((self.n_out, self.n_in), dtype=bool)
        if unit == "rows":
            mask[rng.permutation(self.n_out)[: self.n_out // 2]] = False
        else:
            mask[:, rng.permutation(self.n_in)[: self.n_in // 2]] = False
        return FittedLayer(x, y, mask, float(np.exp(self.log_kappa)), float(np.exp(self.log_prior)))


def layer_cases() -> SearchStrategy[LayerCase]:
    """Return a strategy of small layers."""
    return st.builds(
        LayerCase,
        st.integers(2, 6),
        st.integers(2, 5),
        st.integers(1, 12),
        st.floats(-2, 2),
        st.floats(-1, 1),
        st.integers(0, 2**32 - 1),
    )


class FittedLayer:
    """The best independent normal factors of a layer on a mask, and the bound of any factors.

    Attributes
    ----------
    mean, std : ndarray of shape (out, in)
    hessian : ndarray of shape (in, in)
        Second derivatives of minus the expected log likelihood by the means of one output, the same for all outputs.
    """

    def __init__(self, x: Float64Array, y: Float64Array, mask: BoolArray, kappa: float, prior: float) -> None:
        self.x, self.y, self.mask, self.kappa, self.prior = x, y, mask, kappa, prior
        self.hessian = kappa * x.T @ x
        self.mean, self.std = np.zeros(mask.shape), self.best_std()
        for row, kept in enumerate(mask):
            a = np.flatnonzero(kept)
            system = self.hessian[np.ix_(a, a)] + np.eye(len(a)) / prior**2
            self.mean[row, a] = np.linalg.solve(system, kappa * x[:, a].T @ y[:, row])

    def best_std(self) -> Float64Array:
        """Return the deviations of the best factors, which do not depend on the means."""
        return np.broadcast_to((np.diag(self.hessian) + self.prior**-2) ** -0.5, self.mask.shape).copy()

    def bound(self, mask: BoolArray, mean: Float64Array) -> float:
        """Return the evidence bound of factors with the best deviations on a mask, without constants."""
        mean, variance = np.where(mask, mean, 0.0), np.where(mask, self.std**2, 0.0)
        misfit = float(((self.y - self.x @ mean.T) ** 2).sum() + (self.x**2 @ variance.T).sum())
        kl = np.log(self.prior / self.std) + (self.std**2 + mean**2) / (2 * self.prior**2) - 0.5
        return -0.5 * self.kappa * misfit - float(kl[mask].sum())

    def gradient(self) -> Float64Array:
        """Return the gradient of minus the expected log likelihood by all means, of active weights or not."""
        return np.asarray(-self.kappa * (self.y - self.x @ np.where(self.mask, self.mean, 0.0).T).T @ self.x)

    def falls(self, unit: str) -> tuple[list[int], Float64Array]:
        """Return the active units, and how much the bound falls without each, by differences of two bounds."""
        axis = 0 if unit == "rows" else 1
        active = np.flatnonzero(self.mask.all(1 - axis)).tolist()
        whole, falls = self.bound(self.mask, self.mean), []
        for index in active:
            without = self.mask.copy()
            without[(index,) if axis == 0 else (slice(None), index)] = False
            falls.append(whole - self.bound(without, self.mean))
        return active, np.array(falls)

    @property
    def scale(self) -> float:
        """What rounding of a difference of bounds is relative to."""
        return self.kappa * float((self.y**2).sum()) + abs(self.bound(self.mask, self.mean)) + self.mask.size
