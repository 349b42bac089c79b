"""Claims about the bound for few numbers of few bits, their rounding, and the columns of stacked maps."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True)
class Numbers:
    """Arguments of the bound."""

    n_components: int
    bits: int
    n_samples: int
    delta: float

    def slack(self, *, n_components: int = 0, bits: int = 0, n_samples: int = 0, share: float = 1.0) -> float:
        """Return what the bound adds to the loss on the sample, with some more of each."""
        return dimension.occam_bound(
            0.0,
            self.n_components + n_components,
            self.bits + bits,
            self.n_samples + n_samples,
            self.delta * share,
        )


def _numbers() -> st.SearchStrategy[Numbers]:
    counts = st.integers(1, 300), st.integers(1, 12), st.integers(1, 10_000)
    return st.builds(Numbers, *counts, st.sampled_from((0.5, 0.05, 1e-6)))


def _order(case: Numbers) -> Measurement:
    """Check that more samples lower the bound, and more numbers, bits or confidence raise it."""
    here = case.slack()
    larger = [case.slack(n_components=1), case.slack(bits=1), case.slack(share=0.5)]
    return Measurement.worst([case.slack(n_samples=1), here, here, here], [here, *larger], scale=1.0)


def _order_of_errors(case: Numbers) -> Measurement:
    """Take the confidence for the probability of failure."""
    return Measurement(case.slack(share=0.5), case.slack(), scale=1.0)


occam_monotone = Claim(
    name="intrinsic_dimension.occam_monotone",
    summary="The bound falls with the number of samples, and grows with dimension, bits and confidence.",
    statement=r"B(m + 1) \le B(m), \quad B(d + 1), B(b + 1), B(\delta / 2) \ge B",
    source=Source.ours("docstring of occam_bound"),
    verdict=Always(rtol=0.0),
    instances=_numbers,
    evaluate=_order,
    near_miss=_order_of_errors,
)

_MOST = 200


def _failures(case: Numbers, slack: Float64Array) -> Measurement:
    """Sum what Hoeffding's inequality leaves to each model of at most 200 numbers, against the promised probability."""
    d = np.arange(1, _MOST + 1)
    log_each = d * case.bits * math.log(2) - 2 * case.n_samples * slack**2
    return Measurement(float(np.exp(log_each).sum()), case.delta)


def _budget(case: Numbers) -> Measurement:
    """Take the slack of the package; each model of d numbers may fail with probability exp(-2 m slack^2)."""
    start = Numbers(1, case.bits, case.n_samples, case.delta)
    return _failures(case, np.array([start.slack(n_components=d) for d in range(_MOST)]))


def _budget_without_prior(case: Numbers) -> Measurement:
    """Choose the dimension after the data were seen, and do not pay for it."""
    d = np.arange(1, _MOST + 1)
    return _failures(case, np.sqrt((d * case.bits * math.log(2) + math.log(1 / case.delta)) / (2 * case.n_samples)))


occam_budget = Claim(
    name="intrinsic_dimension.occam_budget",
    summary="Failures of all rounded models of all dimensions sum to at most delta: the dimension may be chosen late.",
    statement=r"\sum_d 2^{d b} e^{-2 m s_d^2} \le \delta, \quad s_d = B(d) - \hat L",
    source=Source.ours("docstring of occam_bound: Hoeffding's inequality and a union over models"),
    verdict=Always(1e-9),
    instances=_numbers,
    evaluate=_budget,
    near_miss=_budget_without_prior,
)


@dataclass(frozen=True, eq=False)
class Rounding:
    """Numbers within an interval, some of them half-way between two levels."""

    t: Float64Array
    bits: int
    radius: float


def _draw_rounding(seed: int, bits: int, radius: float) -> Rounding:
    rng = np.random.default_rng(seed)
    edges = radius * (2 * rng.integers(2**bits + 1, size=6) / 2**bits - 1)
    return Rounding(np.concatenate([rng.uniform(-radius, radius, 6), edges]), bits, radius)


def _roundings() -> st.SearchStrategy[Rounding]:
    return st.builds(_draw_rounding, seeds, st.integers(1, 16), st.sampled_from((0.1, 1.0, 3.0, 1e4)))


def _centres(case: Rounding) -> Measurement:
    """Compare errors with half a cell, which entries on the edges of cells reach."""
    rounded = array(dimension.quantize_subspace(tensor(case.t), case.bits, case.radius))
    return Measurement.worst(np.abs(rounded - case.t), case.radius / 2**case.bits, scale=case.radius)


def _ends(case: Rounding) -> Measurement:
    """Round to levels of which the outer ones are the ends of the interval."""
    step = 2 * case.radius / (2**case.bits - 1)
    rounded = np.round((case.t + case.radius) / step) * step - case.radius
    return Measurement.worst(np.abs(rounded - case.t), case.radius / 2**case.bits, scale=case.radius)


cell_centres = Claim(
    name="intrinsic_dimension.cell_centres",
    summary="Rounding to the centres of 2^b cells moves a number of at most R by R / 2^b, half-way cases included.",
    statement=r"|t| \le R \;\Rightarrow\; |Q(t) - t| \le R\, 2^{-b}",
    source=Source.ours("docstring of quantize_subspace"),
    # The centre is computed with a few roundings, relative to the radius.
    verdict=Always(1e-14),
    instances=_roundings,
    evaluate=_centres,
    near_miss=_ends,
)


@dataclass(frozen=True)
class Stack:
    """A stack of maps for tensors whose sizes are powers of two."""

    exponents: tuple[int, ...]
    n_components: int
    seed: int

    def deviation(self, length: float) -> Measurement:
        """Return by how much columns differ from a length, relative to it."""
        import torch

        from sparsetheory.gpu.dimension.subspace.stacked import StackedFastfood

        sizes = [2**exponent for exponent in self.exponents]
        stack = StackedFastfood(self.n_components, sum(sizes), sizes=sizes, generator=self.seed, dtype=torch.float64)
        return Measurement(float(np.abs(array(stack.column_norms()) / length - 1).max()), 0.0, scale=1.0)


def _stacks() -> st.SearchStrategy[Stack]:
    # All tensors have at least as many entries as t, so that no column is missing in a short one.
    exponents = st.lists(st.integers(3, 6), min_size=1, max_size=5).map(tuple)
    return st.builds(Stack, exponents, st.integers(1, 8), seeds)


stacked_columns = Claim(
    name="intrinsic_dimension.stacked_columns",
    summary="A Fastfood map for each of m tensors, all driven by one vector, has columns of length sqrt(m), and not 1.",
    statement=r"\|P e_j\|^2 = \sum_{i=1}^m \|P_i e_j\|^2 = m",
    source=Source(
        "Aghajanyan, Zettlemoyer, Gupta (2021)", "public copies of the wrapper", "2012.13255", "authors' code"
    ),
    verdict=Always(1e-10),
    instances=_stacks,
    evaluate=lambda case: case.deviation(math.sqrt(len(case.exponents))),
    near_miss=lambda case: case.deviation(1.0),
)
