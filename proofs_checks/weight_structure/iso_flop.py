"""Claims about sparse layers of the cost of dense ones: counts of multiplications, and factors that merge."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_SPARSE_IFT = "Thangarasa et al., Sparse-IFT: Sparse Iso-FLOP Transformations (2024)"
_FAMILIES = ("wide", "parallel", "factorized", "doped")


@dataclass(frozen=True)
class Dense:
    """A dense layer, and how sparse its replacement is: a share 1 - density of its entries is dropped."""

    n_in: int
    n_out: int
    kernel: int
    density: float
    family: str
    seed: int = 0

    @property
    def cost(self) -> int:
        """Multiplications for each place of the output."""
        return self.n_in * self.n_out * self.kernel**2

    @property
    def slack(self) -> float:
        """By how much the cost of the replacement may differ."""
        return 0.5 if self.family in ("wide", "parallel") else self.n_in * self.kernel**2 + self.n_out + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the weights of the replacement."""
        return self.sizes().shapes

    def sizes(self) -> Any:
        """Return the sizes that the package gives."""
        return weights.iso_flop_width(self.n_in, self.n_out, 1 - self.density, self.family, kernel_size=self.kernel)


@st.composite
def _layers(draw: st.DrawFn, largest: int = 16) -> Dense:
    family, kernel = draw(st.sampled_from(_FAMILIES)), draw(st.sampled_from((1, 3)))
    # The branches of a parallel layer come out even.
    density = 1 / draw(st.integers(1, 16)) if family == "parallel" else draw(st.floats(0.04, 1.0))
    return Dense(draw(st.integers(1, largest)), draw(st.integers(1, largest)), kernel, density, family, draw(seeds))


def _cost(dense: Dense) -> Measurement:
    """Count the entries of random masks for the replacement, and compare with the dense layer.

    A wide or parallel layer keeps D entries by construction. The inner width of a factorised layer is the least whole
    number with ``q r (a + b) >= D``, for a inputs with their taps and b outputs, so it costs at most ``q (a + b)`` more
    than D; rounding two counts adds 1. The rank of a doped layer is the largest with ``r (a + b) <= s D``, so that it
    costs less by below ``a + b``, and the count of its sparse weight rounds by a half.
    """
    sizes = dense.sizes()
    masks = core.random_masks(sizes.shapes, sizes.densities, dense.seed)
    return Measurement(float(abs(masks.n_nonzero - dense.cost)), dense.slack, scale=1.0)


def _at_the_nominal_density(dense: Dense) -> Measurement:
    """Keep a share q of whatever shape came out, though the widths were rounded."""
    total = sum(round(dense.density * np.prod(shape)) for shape in dense.shapes().values())
    return Measurement(float(abs(total - dense.cost)), dense.slack, scale=1.0)


iso_flop_cost = Claim(
    name="weight_structure.iso_flop_cost",
    summary="Wide and parallel sparse layers cost exactly as much as the dense one; the other two up to one rank.",
    statement=r"|\text{multiplications} - d_{in} d_{out}| \le \tfrac12 \ \text{(wide, parallel)}, \quad"
    r" \le d_{in} + d_{out} + 1 \ \text{(factorised, doped)}",
    source=Source(_SPARSE_IFT, "the four families, with exact counts of masks", "2303.11525", "ours"),
    verdict=Always(rtol=0.0),
    instances=_layers,
    evaluate=_cost,
    near_miss=_at_the_nominal_density,
)


@dataclass(frozen=True)
class Network:
    """Widths of a network of linear layers, and the sparsity of its hidden layers after widening."""

    widths: tuple[int, ...]
    sparsity: float


def _networks() -> st.SearchStrategy[Network]:
    widths = st.lists(st.integers(1, 12), min_size=3, max_size=5).map(tuple)
    return st.builds(Network, widths, st.floats(0.0, 0.96))


def _kept(network: Network) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return entries of the layers, entries of the wide layers, and how many of these are not zero."""
    narrow: Any = core.models.MLP(network.widths)
    wide: Any = weights.widen(narrow, network.sparsity, generator=0).model
    pairs = [(narrow[index].weight, wide[index].weight) for index in range(0, len(narrow), 2)]
    numbers = np.array(
        [(one.numel(), other.numel(), int((other != 0).sum())) for one, other in pairs], dtype=np.float64
    )
    return numbers[:, 0], numbers[:, 1], numbers[:, 2]


def _widened(network: Network) -> Measurement:
    """Compare every layer of a wide network with the one it replaces, the first and the last included."""
    dense, _, kept = _kept(network)
    return Measurement.worst(np.abs(kept - dense), 0.0, scale=1.0)


def _density_q_everywhere(network: Network) -> Measurement:
    """Use the density of hidden layers for the layers of which one side is widened, too."""
    dense, size, _ = _kept(network)
    return Measurement.worst(np.abs(np.round((1 - network.sparsity) * size) - dense), 0.0, scale=1.0)


widened_cost = Claim(
    name="weight_structure.widened_cost",
    summary="In a widened network every layer keeps as many weights as it had, whichever of its sides grew.",
    statement=r"\text{density} = \frac{d_{in} d_{out}}{d_{in}' d_{out}'}",
    source=Source(
        _SPARSE_IFT, "Sparse Wide, with the first and last layer at their exact densities", "2303.11525", "ours"
    ),
    verdict=Always(rtol=0.0),
    instances=_networks,
    evaluate=_widened,
    near_miss=_density_q_everywhere,
)

_LINEAR = {
    "doped": lambda n_in, n_out, seed: weights.SparseDopedLinear(n_in, n_out, 0.5, generator=seed),
    "factorized": lambda n_in, n_out, seed: weights.SparseFactorizedLinear(
        n_in, n_out, 0.5, activation="identity", normalisation="none", generator=seed
    ),
    "lost": lambda n_in, n_out, seed: weights.LOSTLinear(
        n_in, n_out, 2, 1 + seed % n_in, gamma=(seed % 5) / 4, activation="identity", generator=seed
    ),
}


@dataclass(frozen=True)
class Factored:
    """A layer of linear factors, and inputs for it."""

    kind: str
    n_in: int
    n_out: int
    seed: int

    def layer(self) -> Any:
        """Return the layer in double precision."""
        return _LINEAR[self.kind](self.n_in, self.n_out, self.seed).double()

    def inputs(self) -> Any:
        """Return inputs of normal distribution."""
        return tensor(np.random.default_rng(self.seed).standard_normal((6, self.n_in)))


def _factored() -> st.SearchStrategy[Factored]:
    return st.builds(Factored, st.sampled_from(tuple(_LINEAR)), st.integers(4, 12), st.integers(4, 12), seeds)


def _difference(case: Factored, layer: Any, weight: Any) -> Measurement:
    outputs = array(layer(case.inputs()))
    merged = array(case.inputs()) @ array(weight).T
    return Measurement(float(np.abs(outputs - merged).max()), 0.0, scale=float(np.abs(outputs).max()) + 1.0)


def _merged(case: Factored) -> Measurement:
    """Compare a layer of factors with the dense one that it merges to."""
    layer = case.layer()
    return _difference(case, layer, layer.merged().weight)


def _merged_as_stored(case: Factored) -> Measurement:
    """Multiply the stored factors and forget what is added to the product: the masks, or the other part."""
    layer = case.layer()
    stored = [getattr(part, "parametrizations", None) for part in (layer.inner, layer.outer)]
    inner, outer = (
        one.weight.original if one else part.weight
        for one, part in zip(stored, (layer.inner, layer.outer), strict=True)
    )
    return _difference(case, layer, outer @ inner)


merged_factors = Claim(
    name="weight_structure.merged_factors",
    summary="Linear factors, and what is added to their product, are one dense matrix with the same outputs.",
    statement=r"(W_s + V U) x = W_s x + V (U x)",
    source=Source.ours("linearity; it says that the merged layer is what was trained"),
    verdict=Always(rtol=1e-12),  # sums of a few dozen products
    instances=_factored,
    evaluate=_merged,
    near_miss=_merged_as_stored,
)
