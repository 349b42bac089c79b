"""Claims about the sparse layer of a search: how many weights it uses, and which gradients its scores get."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import search
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_PAPER = Source("Mousavi, Loni, Alibeigi, Daneshtalab, DASS (2023)", "sparse operations", "2207.06968")


@dataclass(frozen=True, eq=False)
class Layer:
    """A sparse layer, scores that may tie, inputs, and the gradient of the loss by its outputs.

    Parameters
    ----------
    shape : tuple of int
        Outputs and inputs.
    density : float
    ties : bool
        Whether scores are small integers.
    seed : int
    """

    shape: tuple[int, int]
    density: float
    ties: bool
    seed: int

    @cached_property
    def layer(self) -> Any:
        """The layer in double precision."""
        import torch

        outputs, inputs = self.shape
        layer = search.SparseLinear(inputs, outputs, self.density, generator=self.seed).double()
        rng = np.random.default_rng(self.seed)
        scores = rng.integers(0, 3, self.shape).astype(float) if self.ties else rng.standard_normal(self.shape)
        with torch.no_grad():
            layer.score.copy_(tensor(scores))
        return layer

    @cached_property
    def x(self) -> Float64Array:
        """Three rows of inputs."""
        return np.random.default_rng([self.seed, 1]).standard_normal((3, self.shape[1]))

    @cached_property
    def upstream(self) -> Float64Array:
        """Gradient of the loss by the outputs."""
        return np.random.default_rng([self.seed, 2]).standard_normal((3, self.shape[0]))

    @property
    def stored(self) -> Any:
        """The weight W that masks act on."""
        return self.layer.parametrizations.weight.original

    def gradients(self) -> tuple[Float64Array, Float64Array]:
        """Return the gradients of W and S."""
        self.layer.zero_grad()
        self.layer(tensor(self.x)).backward(tensor(self.upstream))
        return array(self.stored.grad), array(self.layer.score.grad)


def _layers(densities: tuple[float, ...] = (0.1, 0.25, 0.5, 0.9, 1.0), ties: bool | None = None) -> Any:
    return st.builds(
        Layer,
        st.tuples(st.integers(4, 9), st.integers(4, 9)),
        st.sampled_from(densities),
        st.booleans() if ties is None else st.just(ties),
        st.integers(0, 2**31 - 1),
    )


def _apart(found: tuple[Float64Array, Float64Array], expected: tuple[Float64Array, Float64Array]) -> Measurement:
    apart = max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
    return Measurement(apart, 0.0, scale=1.0 + max(float(np.abs(b).max()) for b in expected))


def _surrogate(layer: Layer) -> Measurement:
    """Compare gradients with those that autograd finds for ``W (m + S - stop(S))``, whose value is ``W m``."""
    import torch

    W, S = (torch.tensor(array(one), requires_grad=True) for one in (layer.stored, layer.layer.score))
    effective = W * (layer.layer.mask + (S - S.detach()))
    torch.nn.functional.linear(tensor(layer.x), effective, layer.layer.bias.detach()).backward(tensor(layer.upstream))
    return _apart(layer.gradients(), (array(W.grad), array(S.grad)))


def _masked_scores(layer: Layer) -> Measurement:
    """Give scores off the mask no gradient: a weight that is out could never come back."""
    g = layer.upstream.T @ layer.x
    mask = array(layer.layer.mask)
    return _apart(layer.gradients(), (g * mask, g * array(layer.stored) * mask))


straight_through_scores = Claim(
    name="sparse_search.straight_through_scores",
    summary="Scores get the gradient of the surrogate that has the mask as its value and the score as its slope.",
    statement=r"\partial_W = g \odot m, \quad \partial_S = g \odot W, \quad g = \partial L / \partial (W \odot m)",
    source=_PAPER,
    verdict=Always(1e-12),
    instances=_layers,
    evaluate=_surrogate,
    near_miss=_masked_scores,
)


def _wanted(layer: Layer) -> int:
    """Return how many weights stay: all but ``round((1 - D) n)``."""
    n = layer.shape[0] * layer.shape[1]
    return n - round((1 - layer.density) * n)


def _count(layer: Layer) -> Measurement:
    """Count weights in use in three forward passes, with steps of the scores between them."""
    import torch

    off = 0
    for _ in range(3):
        _, slope = layer.gradients()
        # Weights are random numbers, none of them 0.
        off += abs(int(layer.layer.weight.count_nonzero()) - _wanted(layer))
        with torch.no_grad():
            layer.layer.score.sub_(tensor(np.round(slope)))
    return Measurement(float(off), 0.0, scale=1.0)


def _threshold(layer: Layer) -> Measurement:
    """Keep all scores from the largest one that counts on: of scores that tie there, too many."""
    scores = np.sort(array(layer.layer.score).ravel())
    cut = scores[len(scores) - _wanted(layer)]
    return Measurement(abs(int((scores >= cut).sum()) - _wanted(layer)), 0.0, scale=1.0)


exact_mask_count = Claim(
    name="sparse_search.exact_mask_count",
    summary="A sparse layer uses exactly its number of weights in every forward pass, also where scores tie.",
    statement=r"|m(S)|_0 = n - \operatorname{round}((1 - D)\, n)",
    source=_PAPER,
    verdict=Always(0.0),
    instances=_layers,
    evaluate=_count,
    near_miss=_threshold,
)


def _as_linear(layer: Layer) -> Measurement:
    """Compare outputs and the gradient of the weight with those of a linear layer, bit by bit."""
    import torch

    plain = torch.nn.Linear(layer.shape[1], layer.shape[0], dtype=torch.float64)
    with torch.no_grad():
        plain.weight.copy_(layer.stored)
        plain.bias.copy_(layer.layer.bias)
    x = tensor(layer.x)
    outputs = plain(x)
    outputs.backward(tensor(layer.upstream))
    apart = max(
        float((layer.layer(x) - outputs).detach().abs().max()),
        float(np.abs(layer.gradients()[0] - array(plain.weight.grad)).max()),
    )
    return Measurement(apart, 0.0, scale=1.0)


def _nearly_dense(layer: Layer) -> Measurement:
    """Expect the same of nine tenths of the weights."""
    return _as_linear(Layer(layer.shape, 0.9, layer.ties, layer.seed))


density_one_is_linear = Claim(
    name="sparse_search.density_one_is_linear",
    summary="At density 1 the sparse layer is the linear layer, bit for bit, and so is the gradient of its weight.",
    statement=r"D = 1: \quad m(S) = 1, \quad W \odot m(S) = W",
    source=_PAPER,
    verdict=Always(0.0),
    instances=lambda: _layers(densities=(1.0,)),
    evaluate=_as_linear,
    near_miss=_nearly_dense,
)
