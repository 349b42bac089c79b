"""Exact identities of PST: where it starts, its gradients, what it leaves alone, and what it exports."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_SOURCE = Source("Li et al., Parameter-efficient sparsity (2022)", "S4, PST", "2205.11005", "authors' code")
_SPARSITIES = (0.0, 0.1, 0.29, 0.5, 0.75, 0.9, 1.0)
_FACTORS = ("weight_left", "weight_right", "score_left", "score_right", "row_scores", "column_scores")


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer with PST.

    Parameters
    ----------
    weight : ndarray of shape (rows, columns)
    sparsity : float
    beta, a1, a2 : float
    seed : int
        Of factors, inputs and gradients.
    """

    weight: Float64Array
    sparsity: float
    beta: float
    a1: float
    a2: float
    seed: int

    @property
    def kept(self) -> int:
        """How many entries stay."""
        return self.weight.size - int(self.weight.size * self.sparsity)

    def largest(self, score: Float64Array, count: int) -> BoolArray:
        """Return which entries have the largest scores, the first of those that tie."""
        order = np.argsort(-score, axis=None, kind="stable")
        mask = np.zeros(score.size, dtype=bool)
        mask[order[:count]] = True
        return mask.reshape(score.shape)

    @cached_property
    def module(self) -> Any:
        """The layer of the package, at its start."""
        import torch

        from sparsetheory.gpu import weights

        rows, columns = self.weight.shape
        layer = torch.nn.Linear(columns, rows, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(tensor(self.weight))
        options = {"beta": self.beta, "a1": self.a1, "a2": self.a2, "generator": self.seed}
        weights.sparsify(
            layer,
            lambda weight: weights.PST(weight.shape, weight_rank=2, score_rank=1, **options),  # type: ignore[arg-type]
        )
        weights.set_sparsity(layer, self.sparsity)
        return layer

    def shaken(self) -> tuple[Any, dict[str, Float64Array]]:
        """Return the layer with other values in all factors, and these values."""
        import torch

        layer = replace(self).module
        rng = np.random.default_rng(self.seed)
        values = {}
        for name in _FACTORS:
            parameter = layer.parametrizations.weight[0].get_parameter(name)
            values[name] = rng.normal(size=tuple(parameter.shape))
            with torch.no_grad():
                parameter.copy_(tensor(values[name]))
        return layer, values


@st.composite
def _layers(draw: Any) -> Layer:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ties = draw(st.booleans())
    weight = rng.integers(-1, 2, size=(rows, columns)).astype(float) if ties else rng.normal(size=(rows, columns))
    scales = st.sampled_from((0.1, 1.0, 3.0))
    return Layer(weight, draw(st.sampled_from(_SPARSITIES)), draw(scales), draw(scales), draw(scales), seed)


def _start(layer: Layer) -> Measurement:
    """Compare the first weight that the layer computes with, and the largest entries of the given one."""
    expected = np.where(layer.largest(np.abs(layer.weight), layer.kept), layer.weight, 0.0)
    return Measurement(float(np.abs(array(layer.module.weight) - expected).max()), 0.0, scale=1.0)


def _rounded_start(layer: Layer) -> Measurement:
    """Round the count to the nearest one."""
    count = layer.weight.size - round(layer.weight.size * layer.sparsity)
    expected = np.where(layer.largest(np.abs(layer.weight), count), layer.weight, 0.0)
    return Measurement(float(np.abs(array(layer.module.weight) - expected).max()), 0.0, scale=1.0)


pst_start = Claim(
    name="sparse_training.pst_start",
    summary="PST starts at the weight without its smallest entries; their number is rounded down.",
    statement=r"U V = A B = 0,\ R = C = 0 \;\Rightarrow\; M \odot w = W"
    r" \text{ without its } \lfloor s\, o\, i \rfloor \text{ smallest entries}",
    source=_SOURCE,
    verdict=Always(0.0),
    instances=_layers,
    evaluate=_start,
    near_miss=_rounded_start,
)


def _gradients(layer: Layer, *, score: bool) -> Measurement:
    """Compare gradients with those written out, D being that of the masked weight.

    From ``M w`` the weight gets ``M D``, and the mask ``D w``, which the estimator hands to the score. The score holds
    |w|, so the weight gets ``D w sign(w)`` as well. The rest are products of matrices.
    """
    module, at = layer.shaken()
    D = np.random.default_rng(layer.seed + 1).normal(size=layer.weight.shape)
    (module.weight * tensor(D)).sum().backward()
    w = layer.weight + layer.beta * at["weight_left"] @ at["weight_right"]
    added = layer.a1 * at["score_left"] @ at["score_right"] + layer.a2 * (at["row_scores"] + at["column_scores"])
    M = layer.largest(np.abs(w) + added, layer.kept)
    dS = D * w
    dw = M * D + (dS * np.sign(w) if score else 0.0)
    expected = {
        "weight_left": layer.beta * dw @ at["weight_right"].T,
        "weight_right": layer.beta * at["weight_left"].T @ dw,
        "score_left": layer.a1 * dS @ at["score_right"].T,
        "score_right": layer.a1 * at["score_left"].T @ dS,
        "row_scores": layer.a2 * dS.sum(1, keepdims=True),
        "column_scores": layer.a2 * dS.sum(0, keepdims=True),
    }
    pst = module.parametrizations.weight[0]
    found = {name: array(pst.get_parameter(name).grad) for name in _FACTORS}
    apart = max(float(np.abs(found[name] - expected[name]).max()) for name in _FACTORS)
    return Measurement(apart, 0.0, scale=1.0 + max(float(np.abs(values).max()) for values in expected.values()))


def _both_parts(layer: Layer) -> Measurement:
    """Count both ways in which the output depends on the weight."""
    return _gradients(layer, score=True)


def _first_part(layer: Layer) -> Measurement:
    """Forget that the score depends on the weight."""
    return _gradients(layer, score=False)


pst_gradients = Claim(
    name="sparse_training.pst_gradients",
    summary="In PST the weight has two gradients: one where it is kept, and one through its magnitude in the score.",
    statement=r"\mathrm{d}w = M \odot D + (D \odot w) \odot \operatorname{sign}(w), \quad"
    r" \mathrm{d}U = \beta\, \mathrm{d}w\, V^\top, \quad \mathrm{d}A = a_1 (D \odot w) B^\top",
    source=_SOURCE,
    verdict=Always(1e-12),
    instances=_layers,
    evaluate=_both_parts,
    near_miss=_first_part,
)


def _trained(layer: Layer) -> tuple[Any, Float64Array, Float64Array]:
    """Take three steps; return the layer, the bias that it had, and inputs."""
    import torch

    module, _ = layer.shaken()
    bias = array(module.bias).copy()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = tensor(np.random.default_rng(layer.seed).normal(size=(4, layer.weight.shape[1])))
    for _ in range(3):
        optimizer.zero_grad()
        module(x).tanh().sum().backward()
        optimizer.step()
    return module, bias, array(x)


def _exported(layer: Layer) -> Measurement:
    """Compare outputs before and after the merge, the stored weight and the bias with those given, and the count."""
    from sparsetheory.gpu import weights

    module, bias, x = _trained(layer)
    stored = array(module.parametrizations.weight.original).copy()
    before = array(module(tensor(x))).copy()
    kept = int(weights.merge(module)["weight"].sum())
    changes = [
        np.abs(array(module(tensor(x))) - before).max(),
        np.abs(stored - layer.weight).max(),
        np.abs(array(module.bias) - bias).max(),
        abs(kept - layer.kept),
    ]
    return Measurement(float(max(changes)), 0.0, scale=1.0)


def _not_trained(layer: Layer) -> Measurement:
    """Expect the given weight, masked, to be what is exported."""
    from sparsetheory.gpu import weights

    module, _, _ = _trained(layer)
    mask = array(weights.merge(module)["weight"])
    return Measurement(float(np.abs(array(module.weight) - layer.weight * mask).max()), 0.0, scale=1.0)


pst_export = Claim(
    name="sparse_training.pst_export",
    summary="PST never changes the stored weight and the bias, and the merged layer computes what was trained.",
    statement=r"(M \odot (W + \beta U V))\, x + b \text{ before and after the merge, with } W, b \text{ as given and }"
    r" \|M\|_0 = o\, i - \lfloor s\, o\, i \rfloor",
    source=_SOURCE,
    verdict=Always(0.0),
    instances=_layers,
    evaluate=_exported,
    near_miss=_not_trained,
)


@dataclass(frozen=True)
class Plan:
    """A cubic schedule of the sparsity of a weight with 1000 entries."""

    start: float
    end: float
    total: int
    warmup: float
    cooldown: float

    def counts(self) -> list[int]:
        """Return how many entries are pruned after each number of steps, beyond the end."""
        import torch

        from sparsetheory.gpu import core, weights

        layer = torch.nn.Linear(50, 20)
        weights.sparsify(layer, lambda weight: weights.PST(weight.shape, weight_rank=1, score_rank=1, generator=0))
        schedule = core.Cubic(self.start, self.total, self.end, warmup=self.warmup, cooldown=self.cooldown)
        weights.set_sparsity(layer, schedule)
        (pst,) = [module for module in layer.modules() if isinstance(module, weights.PST)]
        found = []
        for _ in range(self.total + 2):
            found.append(int((~weights.live_masks(layer)["weight"]).sum()))
            pst.advance()
        return found


def _plans() -> st.SearchStrategy[Plan]:
    levels = st.floats(0.0, 1.0)
    return st.builds(
        lambda one, other, total, warmup, cooldown: Plan(min(one, other), max(one, other), total, warmup, cooldown),
        levels,
        levels,
        st.integers(1, 12),
        st.floats(0.0, 0.5),
        st.floats(0.0, 0.4),
    )


def _monotone(plan: Plan) -> Measurement:
    """Compare each count with the next one, and both ends with the counts of the two levels."""
    counts = plan.counts()
    ends = [int(1000 * plan.start), int(1000 * plan.end)]
    chain = [ends[0], *counts, ends[1]]
    falls = max(before - after for before, after in pairwise(chain))
    off = max(abs(counts[0] - ends[0]), abs(counts[plan.total] - ends[1]))
    return Measurement(float(max(falls, off)), 0.0, scale=1.0)


def _there_at_once(plan: Plan) -> Measurement:
    """Expect the last level from the first step on."""
    return Measurement(float(abs(plan.counts()[0] - int(1000 * plan.end))), 0.0, scale=1.0)


pst_schedule = Claim(
    name="sparse_training.pst_schedule",
    summary="Along a rising cubic schedule PST prunes exactly the counts of its ends, and never fewer than before.",
    statement=r"\lfloor s_0 N \rfloor = k_0 \le k_1 \le \dots \le k_T = \lfloor s_T N \rfloor",
    source=_SOURCE,
    verdict=Always(0.0),
    instances=_plans,
    evaluate=_monotone,
    near_miss=_there_at_once,
)
