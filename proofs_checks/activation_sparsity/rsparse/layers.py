"""Claims about R-Sparse layers: what is lost, what is selected, and that a low rank never harms."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

__all__ = ["ARXIV", "PAPER", "Case", "cases", "linear_layer", "shares"]

_KINDS = ("gaussian", "low rank", "scales", "integers", "copies", "dead inputs")
# At most 9 columns of a weight whose norm is the scale: products of three matrices round a few dozen times.
_ROUNDING = 1e-12

PAPER = "Zhang, Liu, Tian, Khaitan, Wang, Li, R-Sparse (ICLR 2025)"
ARXIV = "2504.19449"


@dataclass(frozen=True, eq=False)
class Case:
    """A small layer, tokens, and how its budget is to be split."""

    weight: Float64Array
    inputs: Float64Array
    sparsity: float
    rho: float

    def __repr__(self) -> str:
        return f"Case({self.weight.tolist()}, {self.inputs.tolist()}, {self.sparsity}, {self.rho})"

    @cached_property
    def layer(self) -> Any:
        """The R-Sparse layer, calibrated on the tokens."""
        return self.converted(self.sparsity, self.rho)

    def converted(self, sparsity: float, rho: float) -> Any:
        """Return the layer for other shares."""
        return activations.RSparseLinear.from_linear(linear_layer(self.weight), sparsity, rho, tensor(self.inputs))

    @cached_property
    def mask(self) -> Float64Array:
        """1 where an input is selected, by the definition."""
        scales = np.ones(self.weight.shape[1]) if self.rho == 1 else np.linalg.norm(self.weight, axis=0)
        return (np.abs(self.inputs) * scales > float(self.layer.selector.threshold)).astype(float)

    @cached_property
    def off(self) -> Float64Array:
        """What is not selected."""
        return self.inputs * (1 - self.mask)

    @property
    def scale(self) -> float:
        """Size of the outputs, of which rounding is a share."""
        return float(np.linalg.norm(self.weight) * np.linalg.norm(self.inputs)) or 1.0

    def low_rank(self, rank: int) -> Float64Array:
        """Return the best matrix of a rank."""
        left, values, right = np.linalg.svd(self.weight, full_matrices=False)
        return np.asarray((left[:, :rank] * values[:rank]) @ right[:rank])


def linear_layer(weight: Float64Array) -> Any:
    """Return a linear layer without bias, in double precision."""
    from torch import nn

    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=tensor(weight).dtype)
    layer.weight.data = tensor(weight)
    return layer


def _draw(kind: str, shape: tuple[int, int], n_tokens: int, sparsity: float, rho: float, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal(shape)
    if kind == "low rank":
        rank = int(rng.integers(1, min(shape) + 1))
        weight = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    elif kind == "scales":
        weight *= 10.0 ** rng.integers(-4, 4, shape[1])
    elif kind == "integers":
        weight = rng.integers(-2, 3, shape).astype(float)
    elif kind == "copies":
        weight[:, rng.integers(shape[1])] = weight[:, 0]
    elif kind == "dead inputs":
        weight[:, rng.integers(shape[1])] = 0.0
    # Sizes of activations differ much; integers make ties.
    inputs = rng.standard_normal((n_tokens, shape[1])) * np.exp(rng.standard_normal(shape[1]))
    return Case(weight, np.round(inputs) if kind == "integers" else inputs, sparsity, rho)


_sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
shares = st.integers(0, 20).map(lambda level: level / 20)


def cases() -> st.SearchStrategy[Case]:
    """Return the instances."""
    sparsities = st.integers(0, 19).map(lambda level: level / 20)
    return st.builds(_draw, st.sampled_from(_KINDS), _sizes, st.integers(1, 6), sparsities, shares, seeds)


def _lost(case: Case) -> Float64Array:
    """Return what the outputs of the layer miss, one token per row."""
    return np.asarray(case.inputs @ case.weight.T - array(case.layer(tensor(case.inputs))))


def _residual(case: Case) -> Measurement:
    """Compare what is lost with ``(W - W_r)(x - m x)``, and its norm with the bound of the layer.

    The dense output is ``W m x + W (1 - m) x``, and the layer has ``W_r`` in place of the second W. The norm of
    ``W - W_r`` is the singular value r + 1. Where singular values r and r + 1 are equal, ``W_r`` is not unique, so the
    factors of the layer are taken.
    """
    layer, lost = case.layer, _lost(case)
    path = np.zeros_like(case.weight)
    if layer.residual is not None:
        path = array(layer.residual.left) @ array(layer.residual.right)
    identity = np.abs(lost - case.off @ (case.weight - path).T).max()
    values = np.append(np.linalg.svd(case.weight, compute_uv=False), 0.0)
    bounds = values[layer.budget.rank] * np.linalg.norm(case.off, axis=1)
    stated = array(layer.error_bound(tensor(case.inputs)))
    norms = np.linalg.norm(lost, axis=1)
    off_by = [identity, *(norms - bounds), *(norms - stated), *(bounds - stated)]
    return Measurement.worst(off_by, 0.0, scale=case.scale)


def _next_value(case: Case) -> Measurement:
    """Take singular value r + 2."""
    values = np.append(np.linalg.svd(case.weight, compute_uv=False), [0.0, 0.0])
    bounds = values[case.layer.budget.rank + 1] * np.linalg.norm(case.off, axis=1)
    return Measurement.worst(np.linalg.norm(_lost(case), axis=1) - bounds, 0.0, scale=case.scale)


residual_bound = Claim(
    name="activation_sparsity.rsparse_residual",
    summary="What an R-Sparse layer loses is the rest of the weight times the small inputs; its norm is bounded.",
    statement=r"W x - y = (W - W_r)(x \odot (1 - m)), \quad "
    r"\lVert W x - y \rVert \le \sigma_{r+1} \lVert x \odot (1 - m) \rVert",
    source=Source.ours("definition of the layer, and the singular value decomposition"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_residual,
    near_miss=_next_value,
)


def _limits(case: Case, *, missing: int = 0) -> Measurement:
    """Compare the dense output with that of full rank, and with that of sparsity 0 at ``rho = 1``: a full mask."""
    from sparsetheory.gpu.activations import SparseLinear, SvdResidual

    x, rank = tensor(case.inputs), min(case.weight.shape) - missing
    path = SvdResidual(tensor(case.weight), rank) if rank else None
    full_rank = SparseLinear(tensor(case.weight), case.layer.selector, path)
    full_mask = case.converted(0.0, 1.0)
    off = [np.abs(array(made(x)) - case.inputs @ case.weight.T).max() for made in (full_rank, full_mask)]
    return Measurement.worst(off, 0.0, scale=case.scale)


def _one_rank_less(case: Case) -> Measurement:
    """Leave the last direction out."""
    return _limits(case, missing=1)


dense_limits = Claim(
    name="activation_sparsity.rsparse_limits",
    summary="With all singular directions, or with all inputs selected, an R-Sparse layer is the dense one.",
    statement=r"r = \min(n_{in}, n_{out}) \ \text{or}\ m = 1 \;\Rightarrow\; y = W x",
    source=Source.ours("definition of the layer"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_limits,
    near_miss=_one_rank_less,
)


def _ranks(case: Case) -> tuple[Float64Array, float, int]:
    """Return all scores, the threshold, and at which place among the sorted scores it should be."""
    scales = np.ones(case.weight.shape[1]) if case.rho == 1 else np.linalg.norm(case.weight, axis=0)
    share = 1 - (1 - Fraction(str(case.sparsity))) * Fraction(str(case.rho))
    return np.abs(case.inputs) * scales, float(case.layer.selector.threshold), int(share * case.inputs.size)


def _quantile(case: Case) -> Measurement:
    """Count scores around the threshold, the k-th smallest of N with ``k = floor(N (1 - (1 - s) rho))``.

    Fewer than k scores are below it and at least k are not above it, so the share off the mask is k / N, and more only
    by ties. For k = 0 nothing that can change an output is off the mask.
    """
    scores, threshold, k = _ranks(case)
    off = float(np.count_nonzero(scores <= threshold))
    realised = abs(case.layer.realised - off / scores.size)
    if k == 0:
        return Measurement(float(np.abs(case.off @ case.weight.T).max()) + realised, 0.0, scale=1.0)
    below = float(np.count_nonzero(scores < threshold))
    return Measurement.worst([below - (k - 1), k - off, realised], 0.0, scale=1.0)


def _ties_are_kept(case: Case) -> Measurement:
    """Keep what equals the threshold."""
    scores, threshold, k = _ranks(case)
    return Measurement(float(k - np.count_nonzero(scores < threshold)) if k else 0.0, 0.0, scale=1.0)


threshold_quantile = Claim(
    name="activation_sparsity.rsparse_threshold",
    summary="On its calibration a layer drops the share of inputs that was asked for, and more only by ties.",
    statement=r"\#\{|x_j| c_j < t\} < k \le \#\{|x_j| c_j \le t\}, \quad k = \lfloor N (1 - (1 - s) \rho) \rfloor",
    source=Source(PAPER, "thresholds by calibration", ARXIV, provenance="authors' code"),
    verdict=Always(1e-9),
    instances=cases,
    evaluate=_quantile,
    near_miss=_ties_are_kept,
)


def _errors(case: Case) -> Iterator[Float64Array]:
    """Yield the errors of all tokens at every rank, for the mask of the layer."""
    for rank in range(min(case.weight.shape) + 1):
        yield np.linalg.norm(case.off @ (case.weight - case.low_rank(rank)).T, axis=1)


def _dominance(case: Case) -> Measurement:
    """Compare errors of one mask at all ranks.

    ``W - W_r = (I - U_r U_r^T) W`` is a projection of W from the left. The error of rank r is the projection of the
    error without a low-rank path, and projections on ever smaller subspaces never lengthen a vector.
    """
    errors = np.stack(list(_errors(case)))
    layer = np.linalg.norm(_lost(case), axis=1)
    rises = np.append(np.diff(errors, axis=0).ravel(), layer - errors[0])
    return Measurement.worst(rises, 0.0, scale=case.scale)


def _same_budget(case: Case) -> Measurement:
    """Pay for the rank with channels: the error of the layer is at most that of the same budget without a rank."""
    plain = case.inputs @ case.weight.T - array(case.converted(case.sparsity, 1.0)(tensor(case.inputs)))
    rises = np.linalg.norm(_lost(case), axis=1) - np.linalg.norm(plain, axis=1)
    return Measurement.worst(rises, 0.0, scale=case.scale)


dominance = Claim(
    name="activation_sparsity.rsparse_dominance",
    summary="For the same selected inputs a low-rank path never makes an output worse, nor does a larger rank.",
    statement=r"\lVert (W - W_{r+1})(x \odot (1 - m)) \rVert \le \lVert (W - W_r)(x \odot (1 - m)) \rVert",
    source=Source.ours("W - W_r is a projection of W"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_dominance,
    near_miss=_same_budget,
)
