"""Claims about tables under a mask: counts that hold at every step, accumulated gradients, products of scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

# At most 40 steps: a sum of products of a power of the decay with a gradient takes fewer roundings than that.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Tables:
    """Two tables, one of them with a padding row, and how they are trained."""

    seed: int
    dim: int
    density: float
    budget: str
    optimizer: tuple[str, dict[str, float]]
    fraction: float
    every: int

    def deviations(self, budget: str) -> int:
        """Train on random pairs, and count at every step what is not as a budget of this kind has it.

        These are entries of the budget that are missing or too many, and weights, moments and entries of the padding
        row that are not zero where they must be.
        """
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        tables = [
            dynamic.SparseEmbedding(7, self.dim, self.density, 2, generator=generator),
            dynamic.SparseEmbedding(5, self.dim, self.density, generator=generator),
        ]
        name, options = self.optimizer
        optimizer = getattr(torch.optim, name)([table.weight for table in tables], **options)
        dynamic.DynamicEmbeddings(tables, optimizer, self.fraction, self.every, budget=self.budget, generator=generator)
        start, wrong = [int(table.mask.sum()) for table in tables], 0
        for _ in range(8):
            pairs = [torch.randint(len(table.mask), (3,), generator=generator) for table in tables]
            optimizer.zero_grad()
            scores = (tables[0](pairs[0]) * tables[1](pairs[1])).sum(1)
            torch.nn.functional.softplus(1.0 - scores).sum().backward()
            optimizer.step()
            now = [int(table.mask.sum()) for table in tables]
            if budget == "table":
                wrong += sum(abs(have - had) for have, had in zip(now, start, strict=True))
            else:
                wrong += abs(sum(now) - sum(start))
            wrong += sum(self._stray(table, optimizer.state[table.weight]) for table in tables)
            wrong += int(tables[0].mask[2].sum())
        return wrong

    def _stray(self, table: Any, state: dict[str, Any]) -> int:
        kept = [table.weight, *(value for value in state.values() if getattr(value, "ndim", 0) == 2)]
        return sum(int((values[~table.mask] != 0).sum()) for values in kept)


_OPTIMIZERS = (
    ("Adam", {"lr": 0.01}),
    ("SGD", {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1}),
)


def _trainings() -> st.SearchStrategy[Tables]:
    return st.builds(
        Tables,
        seeds,
        st.integers(4, 9),
        st.sampled_from([0.25, 0.4, 0.7, 0.9]),
        st.sampled_from(["table", "global"]),
        st.sampled_from(_OPTIMIZERS),
        st.sampled_from([0.0, 0.3, 0.5, 0.8]),
        st.integers(1, 4),
    )


def _budget(training: Tables) -> Measurement:
    """Count deviations from the budget that the tables were given."""
    return Measurement(float(training.deviations(training.budget)), 0.0, scale=1.0)


def _each_table(training: Tables) -> Measurement:
    """Expect each table to keep its number of entries under a common budget, too."""
    return Measurement(float(training.deviations("table")), 0.0, scale=1.0)


embedding_budget = Claim(
    name="dynamic_sparsity.embedding_budget",
    summary="Tables that rewire keep their number of entries at every step, and hold zeros everywhere else.",
    statement=r"|M_t| = |M_0| \text{ for each table, or for all together}, \quad E_t = E_t \odot M_t,"
    r" \quad M_t[\text{padding}] = 0",
    source=Source.ours("dynamic sparse learning of embedding tables, after Wang et al., WSDM 2024"),
    verdict=Always(rtol=0.0),
    instances=_trainings,
    evaluate=_budget,
    near_miss=_each_table,
)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of a table, zero in the rows that a step does not touch, and a decay."""

    steps: Float64Array
    decay: float

    @property
    def dense_sum(self) -> Float64Array:
        """The sum that decays in all rows at every step."""
        total = np.zeros(self.steps.shape[1:])
        for gradient in self.steps:
            total = self.decay * total + gradient
        return total

    @property
    def sizes(self) -> Float64Array:
        """The same sum of the sizes of the gradients, to which rounding errors are relative."""
        return Gradients(np.abs(self.steps), self.decay).dense_sum


@st.composite
def _gradients(draw: st.DrawFn) -> Gradients:
    rng = np.random.default_rng(draw(seeds))
    steps, rows, dim = draw(st.integers(1, 40)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    touched = rng.random((steps, rows, 1)) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    values = rng.standard_normal((steps, rows, dim)) * 10.0 ** rng.integers(-3, 4, (steps, rows, 1))
    return Gradients(values * touched, draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])))


def _lazy(gradients: Gradients) -> Measurement:
    """Compare the sum of rows that decay when they are touched with that of the whole table.

    A row that was last touched s steps ago has missed the factor ``decay ** s``, whatever the order of the steps of
    other rows.
    """
    score = dynamic.GradientAccumulator(gradients.decay)
    for gradient in gradients.steps:
        score.observe(0, tensor(gradient))
    errors = np.abs(array(score.total(0)) - gradients.dense_sum)
    return Measurement.worst(errors, _ROUNDING * gradients.sizes, scale=1.0)


def _never_caught_up(gradients: Gradients) -> Measurement:
    """Let a row decay in the steps that touch it only."""
    total = np.zeros(gradients.steps.shape[1:])
    for gradient in gradients.steps:
        touched = gradient.any(1)
        total[touched] = gradients.decay * total[touched] + gradient[touched]
    return Measurement.worst(np.abs(total - gradients.dense_sum), _ROUNDING * gradients.sizes, scale=1.0)


lazy_accumulation = Claim(
    name="dynamic_sparsity.lazy_accumulation",
    summary="Sums of gradients that decay only when a row is touched are those that decay in all rows at every step.",
    statement=r"s_t = \gamma s_{t-1} + g_t, \quad g_r = 0 \text{ for } r \in [t'+1, t] \implies"
    r" s_t = \gamma^{t - t'} s_{t'}",
    source=Source.ours("lazy decay of accumulated gradients"),
    verdict=Always(rtol=0.0),
    instances=_gradients,
    evaluate=_lazy,
    near_miss=_never_caught_up,
)


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of two tables."""

    left: BoolArray
    right: BoolArray


@st.composite
def _masks(draw: st.DrawFn) -> Masks:
    rng = np.random.default_rng(draw(seeds))
    dim, shares = draw(st.integers(1, 12)), st.sampled_from([0.0, 0.2, 0.6, 1.0])
    left, right = (rng.random((draw(st.integers(1, 5)), dim)) < draw(shares) for _ in range(2))
    return Masks(left, right)


def _by_sets(masks: Masks) -> Float64Array:
    supports = [[set(np.flatnonzero(row).tolist()) for row in mask] for mask in (masks.left, masks.right)]
    return np.array([[len(a & b) for b in supports[1]] for a in supports[0]], dtype=float)


def _products(masks: Masks) -> Measurement:
    """Compare with the sizes of the intersections of supports, pair by pair."""
    counts = array(dynamic.score_macs(tensor(masks.left), tensor(masks.right)))
    return Measurement(float(np.abs(counts - _by_sets(masks)).sum()), 0.0, scale=1.0)


def _smaller_row(masks: Masks) -> Measurement:
    """Take the entries of the smaller row, as if the other one had them all."""
    counts = np.minimum.outer(masks.left.sum(1), masks.right.sum(1))
    return Measurement(float(np.abs(counts - _by_sets(masks)).sum()), 0.0, scale=1.0)


score_products = Claim(
    name="dynamic_sparsity.score_products",
    summary="A score of two sparse rows takes one multiplication for each entry that both of them keep.",
    statement=r"\text{MACs}(u, i) = |\operatorname{supp}(u) \cap \operatorname{supp}(i)|",
    source=Source.ours("inference with sparse embedding tables"),
    verdict=Always(rtol=0.0),
    instances=_masks,
    evaluate=_products,
    near_miss=_smaller_row,
)
