"""Claim about scores of random tables: products of sparse rows lose more than the tables do."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import WithProbability

_USERS, _ITEMS, _DIM = 40, 30, 16


@dataclass(frozen=True)
class RandomTables:
    """A density and a seed."""

    density: float
    seed: int

    @property
    def mean_macs(self) -> float:
        """Mean multiplications of a score, over all pairs of rows of two random tables."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        sizes = (_USERS, _ITEMS)
        masks = [dynamic.SparseEmbedding(n, _DIM, self.density, generator=generator).mask for n in sizes]
        return float(array(dynamic.score_macs(*masks)).mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the mean over pairs."""
        return float(np.sqrt(_column_variance(_USERS, self.density) * _column_variance(_ITEMS, self.density) * _PAIRS))


# Of the sum of products of centred column counts: d for equal columns, and what their negative correlation adds.
_PAIRS = _DIM**2 / (_DIM - 1)


def _column_variance(rows: int, density: float) -> float:
    """Return the variance of the share of a column that is kept: hypergeometric, as the whole count is fixed."""
    return density * (1 - density) * (rows * _DIM - rows) / (rows * _DIM - 1) / rows


def _draw(rng: np.random.Generator, density: float) -> RandomTables:
    return RandomTables(density, int(rng.integers(2**31)))


def _square_law(tables: RandomTables) -> Measurement:
    r"""Compare the mean with ``d D**2``, up to three standard deviations.

    Let a and b be the shares of each column that the two tables keep. The mean over pairs is their inner product. As
    counts are exact, both sum to d D, so ``a'b - d D**2`` is the inner product of the two centred vectors. Its mean is
    0. Columns are exchangeable, and centred entries of one vector have the covariance ``-v / (d - 1)``, which makes the
    variance ``v_a v_b d**2 / (d - 1)``. By Chebyshev's inequality, three standard deviations are exceeded in at most a
    ninth of the draws.
    """
    return Measurement(abs(tables.mean_macs - _DIM * tables.density**2), 3 * tables.deviation, scale=1.0)


def _as_the_tables(tables: RandomTables) -> Measurement:
    """Expect products to lose what the tables lose."""
    return Measurement(abs(tables.mean_macs - _DIM * tables.density), 3 * tables.deviation, scale=1.0)


random_score_products = Claim(
    name="dynamic_sparsity.random_score_products",
    summary="Scores of two random tables of density D take the share D squared of the dense multiplications.",
    statement=r"\mathbb{P}\left( \left| \overline{\text{MACs}} - d D^2 \right| \le"
    r" 3 \sqrt{\tfrac{d^2}{d - 1} v_a v_b} \right) \ge \tfrac{8}{9}",
    source=Source.ours("exact counts make the column sums of both tables fixed, and Chebyshev does the rest"),
    verdict=WithProbability(8 / 9),
    evaluate=_square_law,
    near_miss=_as_the_tables,
    sweep=Sweep(
        axis="density",
        values=(0.1, 0.2, 0.3, 0.5, 0.7, 0.9),
        draw=_draw,
        trials=200,
        quick_trials=100,
        measured_label="distance of the mean from d D squared",
        bound_label="three standard deviations",
        y_label="multiplications of a score",
    ),
)
