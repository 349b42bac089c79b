"""A claim about one basis for several layers: it helps their outputs together, not each one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.activation_sparsity.rsparse.layers import linear_layer
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Stack:
    """Weights of layers with the same input, and what of the input is off the mask."""

    weights: tuple[Float64Array, ...]
    off: Float64Array
    rank: int

    def __repr__(self) -> str:
        return f"Stack({[weight.tolist() for weight in self.weights]}, {self.off.tolist()}, {self.rank})"

    def shared(self) -> Any:
        """Return the basis of the package."""
        return activations.shared_basis([linear_layer(weight) for weight in self.weights], self.rank)

    def errors(self) -> tuple[Float64Array, Float64Array]:
        """Return for each layer and token the squared error without a low-rank path, and with that of the basis."""
        shared = self.shared()
        without = [np.square(self.off @ weight.T).sum(1) for weight in self.weights]
        paths = [array(left) @ array(shared.right) for left in shared.left]
        lost = [
            np.square(self.off @ (weight - path).T).sum(1) for weight, path in zip(self.weights, paths, strict=True)
        ]
        return np.stack(without), np.stack(lost)

    @property
    def scale(self) -> float:
        """Size of squared outputs, of which rounding is a share."""
        return float(sum((weight**2).sum() for weight in self.weights) * (self.off**2).sum()) or 1.0


def _draw(sizes: list[int], n_in: int, rank: int, seed: int) -> Stack:
    rng = np.random.default_rng(seed)
    weights = tuple(rng.standard_normal((size, n_in)) * 10.0 ** rng.integers(-1, 2) for size in sizes)
    off = rng.standard_normal((3, n_in)) * rng.integers(0, 2, (3, n_in))
    return Stack(weights, off, min(rank, n_in, sum(sizes)))


def _stacks() -> st.SearchStrategy[Stack]:
    return st.builds(
        _draw, st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 9), st.integers(1, 5), seeds
    )


def _together(stack: Stack) -> Measurement:
    """Compare squared errors of all outputs together, and the error of the weights with the best one.

    With the stack ``W = U S V^T`` the layers have ``W_l V_r V_r^T``, which together are ``W V_r V_r^T = U_r U_r^T W``.
    So the stacked error is a projection of the stacked output, which is no longer. For one layer it is
    ``W_l (I - V_r V_r^T) x``, and to project x may lengthen its image.
    """
    without, lost = stack.errors()
    rises = (lost.sum(0) - without.sum(0)) / stack.scale
    whole = np.concatenate(stack.weights)
    values = np.linalg.svd(whole, compute_uv=False)
    best = float(np.linalg.norm(values[stack.rank :]) / np.linalg.norm(values))
    certificate = stack.shared().certificate
    around = [certificate.lower_bound - best, best - certificate.bound, certificate.measured - certificate.bound]
    return Measurement.worst([*rises, *around], 0.0, scale=1.0)


def _one_by_one(stack: Stack) -> Measurement:
    """Compare errors layer by layer."""
    without, lost = stack.errors()
    return Measurement.worst(lost - without, 0.0, scale=stack.scale)


shared_basis = Claim(
    name="activation_sparsity.rsparse_shared_basis",
    summary="One basis for several layers never harms their outputs together, but it may harm one of them.",
    statement=r"\sum_l \lVert W_l (I - V_r V_r^T) z \rVert^2 \le \sum_l \lVert W_l z \rVert^2, \quad "
    r"V_r \ \text{of the stacked}\ W_l",
    source=Source.ours("singular value decomposition of weights that stand on each other"),
    verdict=Always(1e-12),
    instances=_stacks,
    evaluate=_together,
    near_miss=_one_by_one,
)
