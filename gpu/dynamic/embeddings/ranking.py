"""How good a ranking of items is for each user: recall and normalised discounted cumulative gain."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.selection import check_scores
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import check_flags

__all__ = ["recall_ndcg"]


def recall_ndcg(scores: Tensor, train: Tensor, test: Tensor, n_top: int = 20) -> tuple[float, float]:
    """Return recall and normalised discounted cumulative gain of the top items, means over users.

    Items of a user that were trained with are not ranked. Items with equal scores rank by their number, so an empty
    row of a table, all of whose scores are 0, has a definite ranking. Users without an item to find are left out.

    Parameters
    ----------
    scores : Tensor of shape (n_users, n_items)
        Large ones come first; they may be infinite.
    train : Tensor of bool of shape (n_users, n_items)
        Items of each user that were trained with.
    test : Tensor of bool of shape (n_users, n_items)
        Items to find.
    n_top : int
        Length of the list that each user sees.

    Returns
    -------
    recall : float
        Share of the items to find that are in the list.
    ndcg : float
        Sum of ``1 / log2(1 + place)`` over the places of items found, relative to its largest possible value.

    Raises
    ------
    TypeError
        If `scores` does not hold floating-point numbers, or the others no booleans.
    ValueError
        If shapes differ, a score is NaN, an item is in both sets, or no user has an item to find.

    Notes
    -----
    One stable sort of the scores of each user.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[0.9, 0.8, 0.1, 0.5]])
    >>> train = torch.tensor([[True, False, False, False]])
    >>> test = torch.tensor([[False, False, False, True]])
    >>> recall_ndcg(scores, train, test, n_top=1), recall_ndcg(scores, train, test, n_top=2)
    ((0.0, 0.0), (1.0, 0.6309297535714575))
    """
    COUNT.check("n_top", n_top)
    values = check_scores(scores, "scores")
    for name, mask in (("train", train), ("test", test)):
        check_flags(name, mask)
        if mask.shape != values.shape or mask.ndim != 2:
            raise ValueError(f"{name} must be a matrix of the shape of scores; got {tuple(mask.shape)}")
    if bool((train & test).any()):
        raise ValueError(f"test must not share items with train; got {int((train & test).sum())} in both")
    users = test.any(1)
    if not bool(users.any()):
        raise ValueError("test must hold an item of some user; got none")
    hits = _ranked(values[users], train[users], test[users], n_top).double()
    n_relevant = test[users].sum(1)
    discounts = 1 / torch.log2(torch.arange(2, n_top + 2, dtype=torch.float64, device=hits.device))
    ideal = discounts.cumsum(0)[n_relevant.clamp(max=n_top) - 1]
    recall = (hits.sum(1) / n_relevant).mean()
    return float(recall), float((hits @ discounts[: hits.shape[1]] / ideal).mean())


def _ranked(scores: Tensor, train: Tensor, test: Tensor, n_top: int) -> Tensor:
    """Return which of the first items of each user are to be found, in the order of their scores."""
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    # A score may be minus infinity, so what is left out is put behind all others by a second sort.
    seen = train.gather(1, order).to(torch.uint8)
    order = order.gather(1, torch.sort(seen, dim=1, stable=True).indices[:, :n_top])
    return test.gather(1, order)
