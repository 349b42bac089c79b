"""Claims about projections and transforms that hold exactly."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import Case, cases, projection
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of at most a few thousand products, rounded relative to the lengths of both vectors.
_ROUNDING = 1e-12
_PAPER = ("Li, Farkhoor, Liu, Yosinski, Measuring the Intrinsic Dimension of Objective Landscapes, 2018", "1804.08838")


def _hadamard(size: int) -> Float64Array:
    from scipy.linalg import hadamard

    return hadamard(size).astype(float)


def _product_gap(case: Case, adjoint: Float64Array) -> Measurement:
    t, g = case.vectors
    gap = abs(case.apply(t) @ g - t @ adjoint)
    return Measurement(gap, 0.0, scale=float(np.linalg.norm(t) * np.linalg.norm(g)))


def _adjoint(case: Case) -> Measurement:
    return _product_gap(case, case.adjoint(case.vectors[1]))


def _permuted_again(case: Case) -> Measurement:
    """Gather by the permutation on the way back, too, which is right only where it is its own inverse."""
    if case.kind != "fastfood":
        return _adjoint(case)
    whole = Case("fastfood", case.D, case.D, case.seed)
    state = {name: array(value) for name, value in whole.map.state_dict().items()}
    H = _hadamard(len(state["index"]))
    mixed = (state["factors"] * (H[:, : case.D] @ case.vectors[1]))[state["index"]]
    return _product_gap(case, (state["signs"] * (H @ mixed)[: case.D])[: case.d])


projection_adjoint = Claim(
    name="intrinsic_dimension.projection_adjoint",
    summary="The gradient in a subspace is the adjoint of the projection, with the inverse of its permutation.",
    statement=r"\langle P t, g \rangle = \langle t, P^\top g \rangle,"
    r" \quad P^\top g = (B H \Pi^\top G H \tilde g)_{1..d} / \sqrt{D \sum_i G_{ii}^2}",
    source=Source.ours("adjoint of a fastfood projection"),
    verdict=Always(rtol=_ROUNDING),
    instances=cases,
    evaluate=_adjoint,
    near_miss=_permuted_again,
)


@dataclass(frozen=True)
class Numbers:
    """As many integers as a power of two."""

    exponent: int
    seed: int

    @property
    def values(self) -> Float64Array:
        """The numbers; their sums are exact."""
        return np.random.default_rng(self.seed).integers(-99, 100, 2**self.exponent).astype(float)


def _transform(numbers: Numbers, order: Float64Array | None = None) -> Measurement:
    """Compare with the matrix, with the inverse, and in length."""
    from sparsetheory.gpu.dimension import fwht

    x = numbers.values
    once = fwht(tensor(x))
    expected = _hadamard(len(x)) @ x
    if order is not None:
        expected = expected[order.astype(int)]
    differences = [*(array(once) - expected), *(array(fwht(once)) / len(x) - x)]
    differences.append(float(once.square().sum()) / len(x) - x @ x)
    return Measurement(float(np.abs(differences).max()), 0.0, scale=1.0)


def _by_changes_of_sign(numbers: Numbers) -> Measurement:
    """Order the rows by how often their sign changes, as Walsh did."""
    changes = (np.diff(_hadamard(2**numbers.exponent), axis=1) != 0).sum(axis=1)
    return _transform(numbers, np.argsort(changes).astype(float))


hadamard_transform = Claim(
    name="intrinsic_dimension.hadamard_transform",
    summary="The fast transform is the product with the Hadamard matrix, and its own inverse up to a factor.",
    statement=r"H_{2L} = H_2 \otimes H_L, \quad H H = L I, \quad \|H x\|^2 = L \|x\|^2",
    source=Source.classic("Sylvester 1867; Fino and Algazi 1976", "Walsh-Hadamard transform"),
    verdict=Always(rtol=0.0),  # of integers, whose sums double precision holds
    instances=lambda: st.builds(Numbers, st.integers(0, 10), seeds),
    evaluate=_transform,
    near_miss=_by_changes_of_sign,
)


def _norms(case: Case) -> Measurement:
    norms = array(case.map.column_norms())
    return Measurement(float(np.abs(norms - 1).max()), 0.0, scale=1.0)


def _cut_norms(case: Case) -> Measurement:
    """Take the columns of fastfood for exact where the transform is cut."""
    return _norms(Case(case.kind, case.d, max(1, case.D - case.D // 4), case.seed) if case.d < case.D // 2 else case)


unit_columns = Claim(
    name="intrinsic_dimension.unit_columns",
    summary="Columns have length one: of dense and sparse projections always, of fastfood where D is a power of two.",
    statement=r"\|P e_j\| = 1, \quad j = 1, \ldots, d",
    source=Source(_PAPER[0], "normalised columns; the case of fastfood is derived here", _PAPER[1], "ours"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: st.one_of(cases(("dense", "sparse")), cases(("fastfood",), 512, powers=True)),
    evaluate=_norms,
    near_miss=_cut_norms,
)


def _redrawn(case: Case, shared: bool = False) -> Measurement:
    """Draw twice from a seed, once more by a generator, and in single precision."""
    import torch

    generator = torch.Generator().manual_seed(case.seed)
    again = [projection(case.kind, case.d, case.D, given) for given in (case.seed, generator)]
    if shared:
        again.append(projection(case.kind, case.d, case.D, generator))
    gaps = [np.abs(array(other.to_dense()) - case.matrix).max() for other in again]
    single = type(case.map)(case.d, case.D, generator=case.seed, dtype=torch.float32).to_dense()
    rounded = float(np.abs(array(single) - case.matrix).max())
    return Measurement(float(max(gaps)), 0.0, scale=1.0).and_chain({"single": rounded, "rounding": 1e-5})


def _one_generator_for_two(case: Case) -> Measurement:
    """Expect the same map from a generator that has moved on."""
    return _redrawn(case, shared=True)


projection_seeds = Claim(
    name="intrinsic_dimension.projection_seeds",
    summary="A seed is the whole projection: the same map comes back, in single precision up to rounding.",
    statement=r"s = s' \Rightarrow P_s = P_{s'}",
    source=Source.ours("projections are drawn on the CPU in double precision"),
    verdict=Always(rtol=0.0),
    instances=cases,
    evaluate=_redrawn,
    near_miss=_one_generator_for_two,
)


def _against_factors(case: Case, inverted: bool = False) -> Measurement:
    """Multiply the matrices of the definition, and compare; the first transform is that of all L numbers.

    With zeros beyond entry d, and m the least power of two from d on, output i of the first transform is
    ``sum_(j < m) (-1)^(bits common to i and j) x_j``. No bit of j below m tells i from
    ``i mod m``, so outputs repeat with period m, and only ``Pi mod m`` matters.
    """
    whole = Case("fastfood", case.D, case.D, case.seed)
    state = {name: array(value) for name, value in whole.map.state_dict().items()}
    permutation = np.argsort(state["index"]) if inverted else state["index"]
    H = _hadamard(len(permutation))
    t = np.zeros(len(H))
    t[: case.d] = state["signs"][: case.d] * case.vectors[0]
    expected = (H @ (state["factors"] * (H @ t)[permutation]))[: case.D]
    gap = float(np.abs(case.apply(case.vectors[0]) - expected).max())
    return Measurement(gap, 0.0, scale=float(np.linalg.norm(t)))


def _inverse_permutation(case: Case) -> Measurement:
    """Scatter where the definition gathers."""
    return _against_factors(case, inverted=True)


fastfood_period = Claim(
    name="intrinsic_dimension.fastfood_period",
    summary="The first transform of a fastfood projection repeats with a period of d, or the next power of two.",
    statement=r"(H_L \tilde t)_i = (H_m \tilde t)_{i \bmod m}, \quad m = 2^{\lceil \log_2 d \rceil}",
    source=Source.ours("outputs of the transform of few numbers"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: cases(("fastfood",)),
    evaluate=_against_factors,
    near_miss=_inverse_permutation,
)
