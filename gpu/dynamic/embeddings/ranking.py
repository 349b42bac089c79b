"""How good a ranking of items is for each user: recall and normalised discounted cumulative gain."""

from torch import Tensor

__all__ = ["recall_ndcg"]


def recall_ndcg(scores: Tensor, train: Tensor, test: Tensor, n_top: int = 20) -> tuple[float, float]:
    """Return recall and normalised discounted cumulative gain of the top items, means over users."""
    raise NotImplementedError
