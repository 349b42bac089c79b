"""Recommenders with sparse embedding tables, trained in several ways."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.feedback import Feedback
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.typing import AnyArray

__all__ = ["DIM", "Recipe", "Recommender", "fit", "greedy_start", "refilled"]

DIM = 32
# Share of the steps after which masks stay, and the largest share of entries that one event moves.
_REWIRED, _MOVED = 0.75, 0.3


@dataclass(frozen=True)
class Recipe:
    """How a recommender is trained by pairwise ranking with Adam.

    Parameters
    ----------
    n_steps, batch_size : int
        Steps and triples of each.
    lr : float
        Step length.
    every : int
        Steps between changes of masks.
    """

    n_steps: int = 300
    batch_size: int = 512
    lr: float = 0.02
    every: int = 20


@dataclass(eq=False)
class Recommender:
    """Two embedding tables, the feedback that they are trained with, and how.

    Parameters
    ----------
    feedback : Feedback
    seed : int
    recipe : Recipe
    density : float
        Share of the entries that are kept.
    growth : str, optional
        What entries grow by: "accumulated", "last batch" or "random"; masks stay without one.
    dim : int
        Entries of a row.
    rows : tuple of Tensor, optional
        Users and items to start from, zeros and all, in place of random rows and masks.
    budget : str
        Whether each "table" keeps its number of entries, or both together: "global".
    """

    feedback: Feedback
    seed: int
    recipe: Recipe
    density: float = 1.0
    growth: str | None = None
    dim: int = DIM
    rows: tuple[Any, Any] | None = None
    budget: str = "table"

    @cached_property
    def trained(self) -> tuple[Any, Any]:
        """The model after training, and the controller of its masks."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        train = self.feedback.tensors[0]
        n_users, n_items = train.shape
        model = dynamic.MatrixFactorisation(n_users, n_items, self.dim, self.density, generator=generator)
        tables = [model.users, model.items]
        for table, rows in zip(tables, self.rows or (), strict=False):
            table.set_rows(rows)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.recipe.lr)
        fraction = core.Cosine(_MOVED, round(_REWIRED * self.recipe.n_steps)) if self.growth else 0.0
        scores: dict[str, Any] = {
            "accumulated": dynamic.GradientAccumulator(),
            "last batch": dynamic.gradient_magnitude,
            "random": dynamic.random_order,
        }
        # Masks that stay look at no score, so theirs is one that costs nothing.
        grow = scores[self.growth or "last batch"]
        controller = dynamic.DynamicEmbeddings(
            tables,
            optimizer,
            fraction,
            self.recipe.every,
            budget=self.budget,
            grow=grow,
            generator=generator,
        )
        with one_thread(), controller:
            fit(model, optimizer, train, self.recipe, generator)
        return model, controller

    @property
    def quality(self) -> tuple[float, float]:
        """Recall and normalised discounted cumulative gain at 20."""
        return dynamic.recall_ndcg(self.trained[0].scores(), *self.feedback.tensors)

    @property
    def recall(self) -> float:
        """Share of the hidden items among the first 20 of each user."""
        return self.quality[0]

    @property
    def row_nonzeros(self) -> AnyArray:
        """Entries of the row of each item."""
        return array(self.trained[0].items.row_nonzeros)

    @property
    def popularity_correlation(self) -> float:
        """Rank correlation of the entries of an item's row with the number of its users."""
        from scipy import stats

        if np.ptp(self.row_nonzeros) == 0:
            return float("nan")
        return float(stats.spearmanr(self.feedback.degrees, self.row_nonzeros).statistic)


def fit(model: Any, optimizer: Any, observed: Any, recipe: Recipe, generator: Any) -> None:
    """Train a model by pairwise ranking."""
    sampler = dynamic.TripleSampler(observed, generator)
    for _ in range(recipe.n_steps):
        users, positives, negatives = sampler(recipe.batch_size)
        optimizer.zero_grad()
        dynamic.bpr_loss(model(users, positives), model(users, negatives)).backward()
        optimizer.step()


def greedy_start(feedback: Feedback, density: float, dim: int = DIM) -> tuple[Any, Any]:
    """Return users and items as sparse greedy rows of the matrix of what is trained with."""
    users, items = dynamic.greedy_tables(feedback.tensors[0].double(), dim, density)
    return users.float(), items.float()


def refilled(rows: tuple[Any, Any], seed: int, std: float = 0.1) -> tuple[Any, Any]:
    """Return tables with the zeros of others and random values elsewhere."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.empty_like(table).normal_(0.0, std, generator=generator) for table in rows]
    users, items = (values.masked_fill_(table == 0, 0.0) for values, table in zip(drawn, rows, strict=True))
    return users, items
