"""Claims about the multi-information of Gaussian vectors: its zero, joined blocks, and maps within blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_STUDENY = "Studený and Vejnarová (1998)"
# Correlations of six variables have a condition of at most a few hundred here.
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class Covariance:
    """A covariance matrix of six variables, and a seed of what a claim draws besides."""

    S: Float64Array
    seed: int

    def information(self, blocks: Any = None, S: Float64Array | None = None) -> float:
        """Return the multi-information."""
        return float(representation.gaussian_multi_information(tensor(self.S if S is None else S), blocks))


def _draw(seed: int, kind: str, excess: int) -> Covariance:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((6, 6 + excess))
    S = rows @ rows.T / rows.shape[1] + 0.05 * np.eye(6)
    if kind == "diagonal":
        S = np.diag(np.diagonal(S))
    elif kind == "pairs":
        S = S * np.kron(np.eye(3), np.ones((2, 2)))
    elif kind == "units":
        units = 10.0 ** rng.integers(-6, 7, size=6)
        S = S * units * units[:, None]
    return Covariance((S + S.T) / 2, seed)


def _covariances() -> st.SearchStrategy[Covariance]:
    kinds = st.sampled_from(("dense", "diagonal", "pairs", "units"))
    return st.builds(_draw, seeds, kinds, st.sampled_from((0, 4, 30)))


def _sign(case: Covariance, *, unscaled: bool) -> Measurement:
    """Compare with the formula by eigenvalues; zero for diagonal matrices, above zero for others, of any units."""
    diagonal = np.diagonal(case.S)
    correlation = case.S if unscaled else case.S / np.sqrt(diagonal) / np.sqrt(diagonal)[:, None]
    expected = -float(np.log(np.linalg.eigvalsh(correlation)).sum()) / 2
    found = case.information()
    off = float(np.abs(correlation - np.diag(np.diagonal(correlation))).max())
    # -log det R is at least the squared correlation of any pair.
    zero_only = off**2 / 2 if off else -found
    return Measurement(abs(found - expected), 0.0, scale=1.0).and_chain({"zero": zero_only, "information": found})


gaussian_information_sign = Claim(
    name="sparse_representation.gaussian_information_sign",
    summary="The multi-information of a Gaussian vector is at least 0, and 0 only if its covariance is diagonal.",
    statement=r"I = \tfrac{1}{2} \left( \sum_j \log S_{jj} - \log \det S \right) \ge 0, \quad I = 0 \iff S"
    r" \text{ diagonal}",
    source=Source.classic("Hadamard (1893)", "inequality of determinants"),
    verdict=Always(_ROUNDING),
    instances=_covariances,
    evaluate=lambda case: _sign(case, unscaled=False),
    near_miss=lambda case: _sign(case, unscaled=True),
)

_SINGLE, _PAIRS = [[0], [1], [2], [3], [4], [5]], [[0, 1], [2, 3], [4, 5]]
_FOUR, _TRIPLES = [[0, 1, 2, 3], [4, 5]], [[0, 1, 2], [3, 4, 5]]


def _merged(case: Covariance, chain: tuple[Any, ...]) -> Measurement:
    """Compare the multi-information of partitions, finest first."""
    values = [case.information(blocks) for blocks in chain]
    return Measurement.worst(values[1:], values[:-1], scale=1.0)


information_of_merged_blocks = Claim(
    name="sparse_representation.information_of_merged_blocks",
    summary="Joining blocks lowers the multi-information between them; partitions that are not nested have no order.",
    statement=r"\mathcal{B} \text{ refines } \mathcal{B}' \;\Rightarrow\; I(\mathcal{B}) \ge I(\mathcal{B}')",
    source=Source.classic(_STUDENY, "multi-information; pairs and triples of six variables are the near miss"),
    verdict=Always(_ROUNDING),
    instances=_covariances,
    evaluate=lambda case: _merged(case, (_SINGLE, _PAIRS, _FOUR, [[0, 1, 2, 3, 4, 5]])),
    near_miss=lambda case: _merged(case, (_PAIRS, _TRIPLES)),
)


def _processed(case: Covariance, *, across: bool) -> Measurement:
    """Apply linear maps to pairs of variables, some of which drop a dimension or add noise."""
    rng = np.random.default_rng(case.seed)
    if across:
        maps = rng.standard_normal((6, 6))
        S, blocks = maps @ case.S @ maps.T, _PAIRS
    else:
        heights = [1, 2, 2]
        maps = np.zeros((sum(heights), 6))
        blocks, start = [], 0
        for number, height in enumerate(heights):
            maps[start : start + height, 2 * number : 2 * number + 2] = rng.standard_normal((height, 2))
            blocks.append(list(range(start, start + height)))
            start += height
        S = maps @ case.S @ maps.T + np.diag(rng.random(start)) * float(np.diagonal(case.S).mean()) * rng.integers(2)
    units = np.sqrt(np.diagonal(S))
    S = S / units / units[:, None]
    return Measurement(case.information(blocks, (S + S.T) / 2), case.information(_PAIRS), scale=1.0)


def _even(case: Covariance) -> bool:
    """Leave out units so different that a random map of a pair would be all one variable."""
    diagonal = np.diagonal(case.S)
    return bool(diagonal.max() < 1e3 * diagonal.min())


information_processing = Claim(
    name="sparse_representation.information_processing",
    summary="Maps within blocks and independent noise never raise the multi-information between blocks.",
    statement=r"I(f_1(z_{B_1}), \ldots, f_k(z_{B_k})) \le I(z_{B_1}, \ldots, z_{B_k})",
    source=Source.classic("Kullback and Leibler (1951)", "data processing inequality, for linear maps of Gaussians"),
    verdict=Always(1e-8),
    instances=lambda: _covariances().filter(_even),
    evaluate=lambda case: _processed(case, across=False),
    near_miss=lambda case: _processed(case, across=True),
)
