"""Claim about uncorrelated inputs, where the cheapest method is exact."""

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import Layer, seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray

_SHAPES = ((8, 2, 4), (8, 1, 4), (6, 2, 3), (6, 1, 2), (6, 3, 6), (7, 5, 7))


def _uncorrelated(seed: int, shape: tuple[int, int, int]) -> Layer:
    """Draw a layer whose inputs excite one column at a time, with scales over some decades."""
    rng, p = np.random.default_rng(seed), shape[0]
    inputs = np.diag(np.exp(2.0 * rng.standard_normal(p)))
    return Layer(rng.standard_normal((2, p)), inputs, 0.0, *shape[1:], rng_seed=0)


def _layers() -> st.SearchStrategy[Layer]:
    return st.builds(_uncorrelated, seeds, st.sampled_from(_SHAPES))


def _loss(layer: Layer, mask: BoolArray) -> float:
    """Return the objective of unchanged weights on a mask."""
    return sum(layer.objective(row, np.where(mask[row], layer.weight[row], 0.0)) for row in range(len(mask)))


def _least(layer: Layer) -> float:
    return sum(layer.least(row) for row in range(len(layer.weight)))


def _wanda(layer: Layer) -> Measurement:
    """Compare the mask of Wanda, weights unchanged, with the best mask and weights of all.

    With a diagonal G the objective of a row is ``sum_j G_jj (w_j - s_j)^2``: a projection in a weighted norm, whose
    solution keeps the largest ``|w_j| sqrt(G_jj)`` of each group, unchanged. In SparseGPT the factor U is diagonal too
    and ``U_jj^-2`` is a multiple of G_jj, so that its costs are the squares of the same scores, and it changes nothing.
    """
    W, H = layer.tensors
    mask = array(weights.wanda(W, H, layer.pattern).mask)
    other = array(weights.sparsegpt(W, H, layer.pattern, damp=0.0).mask)
    found = Measurement(_loss(layer, mask), _least(layer), layer.scale)
    # Differences of masks are counted in units of the scale.
    return found.and_chain({"masks that differ": layer.scale * float((mask != other).sum()), "none": 0.0})


def _magnitude(layer: Layer) -> Measurement:
    """Keep the largest weights, whatever their inputs."""
    mask = array(weights.magnitude(tensor(layer.weight), layer.pattern).mask)
    return Measurement(_loss(layer, mask), _least(layer), layer.scale)


wanda_diagonal = Claim(
    name="layerwise_pruning.wanda_diagonal",
    summary="If inputs are uncorrelated, Wanda's mask with unchanged weights is the best of all, and SparseGPT's too.",
    statement=r"G \text{ diagonal} \Rightarrow f(w \odot M_{\text{Wanda}}) = \min_{s \text{ on the pattern}} f(s),"
    r"\quad M_{\text{SparseGPT}} = M_{\text{Wanda}}",
    source=Source.ours("where the scores of Wanda (Sun et al., 2306.11695) are exact"),
    verdict=Always(rtol=1e-12),  # least squares on orthogonal columns
    instances=_layers,
    evaluate=_wanda,
    near_miss=_magnitude,
)
