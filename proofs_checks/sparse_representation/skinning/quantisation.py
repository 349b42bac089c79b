"""Finite scalar quantisation: a code for each index, all levels reached, an inverse, and the gradient that passes."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_EPS = 1e-3
_PUBLISHED = (8, 5, 5, 5)
_PAPER = Source("Mentzer, Minnen, Agustsson, Tschannen: Finite scalar quantization, 2023", "section 3.1", "2309.15505")


@dataclass(frozen=True)
class Grid:
    """Levels of a code book, and a seed of vectors."""

    levels: tuple[int, ...]
    seed: int

    def fsq(self) -> Any:
        """Return the quantiser, in which single precision is enough for its rounding."""
        return representation.FSQ(self.levels)

    def integers(self) -> Float64Array:
        """Return all rows of integers that are levels, by hand; the first coordinate varies fastest."""
        ranges = [range(-(count // 2), (count - 1) // 2 + 1) for count in reversed(self.levels)]
        return np.array(list(product(*ranges)), dtype=np.float64)[:, ::-1]

    def vectors(self, n: int = 200) -> Float64Array:
        """Return Gaussian vectors, some of them far out."""
        rng = np.random.default_rng(self.seed)
        return 3.0 * rng.standard_normal((n, len(self.levels)))


def _grids() -> st.SearchStrategy[Grid]:
    levels = st.just(_PUBLISHED) | st.lists(st.integers(2, 9), min_size=1, max_size=4).map(tuple)
    return st.builds(Grid, levels, seeds)


def _bijection(grid: Grid, *, wraps: bool) -> Measurement:
    """Count indices whose code is not the one counted by hand, that do not come back, or that should be refused."""
    fsq = grid.fsq()
    expected = grid.integers() / (np.array(grid.levels) // 2)
    codes = fsq.codebook()
    wrong = int((np.abs(array(codes) - expected) > 1e-6).any(axis=1).sum()) + abs(len(codes) - len(expected))
    wrong += int((array(fsq.codes_to_indices(codes)) != np.arange(len(codes))).sum())
    for outside in (-1, fsq.n_codes):
        # Arithmetic modulo the levels, as it is published, gives these two a code as well.
        index = outside % fsq.n_codes if wraps else outside
        try:
            fsq.indices_to_codes(tensor(np.array([index])))
            wrong += 1
        except ValueError:
            pass
    return Measurement(float(wrong), 0.0, 1.0)


fsq_bijection = Claim(
    name="sparse_representation.fsq_bijection",
    summary="Indices from 0 to the product of the levels stand for one code each, and come back; others are refused.",
    statement=r"\{0, \ldots, \prod_i L_i - 1\} \leftrightarrow"
    r" \prod_i \{-\lfloor L_i / 2 \rfloor, \ldots, \lfloor (L_i - 1) / 2 \rfloor\}",
    source=_PAPER,
    verdict=Always(0.0),
    instances=_grids,
    evaluate=lambda grid: _bijection(grid, wraps=False),
    near_miss=lambda grid: _bijection(grid, wraps=True),
)


def _reached(grid: Grid, *, shifted: bool) -> Measurement:
    """Count levels that no number reaches, and values that are no level, from minus to plus infinity, in 16 bits."""
    import torch

    line = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([-torch.inf, torch.inf])]).to(torch.bfloat16)
    wrong = 0
    for count in grid.levels:
        one = representation.FSQ([count])
        # Without offset and shift, even numbers of levels get one more.
        plain = torch.tanh(line.float()) * ((count - 1) * (1 + _EPS) / 2)
        bounded = one.bound(line.unsqueeze(1)) if shifted else plain
        found = set(array(bounded.round()).ravel().astype(int).tolist())
        wrong += len(found ^ set(range(-(count // 2), (count - 1) // 2 + 1)))
    return Measurement(float(wrong), 0.0, 1.0)


fsq_levels = Claim(
    name="sparse_representation.fsq_levels",
    summary="Every coordinate takes all of its levels and no other value, also at infinity and for inputs of 16 bits.",
    statement=r"\{\operatorname{round}(\tanh(z + \operatorname{artanh}(o / h)) h - o) : z \in [-\infty, \infty]\}"
    r" = \{-\lfloor L / 2 \rfloor, \ldots, \lfloor (L - 1) / 2 \rfloor\}",
    source=_PAPER,
    verdict=Always(0.0),
    instances=_grids,
    evaluate=lambda grid: _reached(grid, shifted=True),
    near_miss=lambda grid: _reached(grid, shifted=False),
)


def _returns(grid: Grid, *, inverted: bool) -> Measurement:
    """Count codes that quantisation does not give back, from the vectors that map to them or from the codes."""
    fsq = grid.fsq()
    integers = tensor(grid.integers())
    codes = integers / fsq.half_levels
    again = fsq.quantize(fsq.inverse_bound(integers) if inverted else codes)
    return Measurement(float((again - codes).abs().max(-1).values.gt(1e-9).sum()), 0.0, 1.0)


fsq_inverse = Claim(
    name="sparse_representation.fsq_inverse",
    summary="The inverse of the bound leads back to each code; quantising codes themselves does not.",
    statement=r"\operatorname{round}(\operatorname{bound}(\operatorname{artanh}((q + o) / h)"
    r" - \operatorname{artanh}(o / h))) = q, \quad \operatorname{round}(\operatorname{bound}(q)) \ne q"
    r" \text{ for some } q",
    source=Source.ours("codes are points of a grid, and not what is mapped to it"),
    verdict=Always(0.0),
    instances=_grids,
    evaluate=lambda grid: _returns(grid, inverted=True),
    near_miss=lambda grid: _returns(grid, inverted=False),
)


def _gradient(grid: Grid, *, bounded: bool) -> Measurement:
    """Compare the gradient that passes the rounding with the derivative of the bound, by hand."""
    z = tensor(grid.vectors()).requires_grad_()
    grid.fsq().quantize(z).sum().backward()
    counts = np.array(grid.levels)
    half, offset = (counts - 1) * (1 + _EPS) / 2, (counts % 2 == 0) / 2
    slope = half * (1 - np.tanh(array(z) + np.arctanh(offset / half)) ** 2) if bounded else np.ones(z.shape)
    return Measurement(float(np.abs(array(z.grad) - slope / (counts // 2)).max()), 0.0, 1.0)


fsq_gradient = Claim(
    name="sparse_representation.fsq_gradient",
    summary="Gradients pass the rounding as if it were not there: they are those of the bound.",
    statement=r"\partial\, \operatorname{quantize}(z) / \partial z"
    r" = h\, (1 - \tanh^2(z + \operatorname{artanh}(o / h))) / \lfloor L / 2 \rfloor",
    source=_PAPER,
    verdict=Always(1e-9),
    instances=_grids,
    evaluate=lambda grid: _gradient(grid, bounded=True),
    near_miss=lambda grid: _gradient(grid, bounded=False),
)


def _perplexity(grid: Grid, *, largest: bool) -> Measurement:
    """Compare the perplexity of codes of random vectors with the number of codes that occur, and that there are."""
    fsq = grid.fsq()
    indices = fsq.codes_to_indices(fsq.quantize(tensor(grid.vectors())))
    perplexity = representation.code_perplexity(indices, fsq.n_codes)
    if largest:
        return Measurement(perplexity, float(max(grid.levels)), 1.0)
    used = float(np.unique(array(indices)).size)
    return Measurement.chain(perplexity, used, {"codes": float(fsq.n_codes)}, scale=1.0)


code_perplexity = Claim(
    name="sparse_representation.code_perplexity",
    summary="The perplexity of codes is at most the number of those in use, which is at most that of all codes.",
    statement=r"\exp H(\text{codes}) \le |\text{codes in use}| \le \prod_i L_i",
    source=Source.classic("Gibbs", "entropy is largest for the uniform distribution"),
    verdict=Always(1e-12),
    instances=_grids,
    evaluate=lambda grid: _perplexity(grid, largest=False),
    near_miss=lambda grid: _perplexity(grid, largest=True),
)
