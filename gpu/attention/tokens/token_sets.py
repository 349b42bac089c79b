"""A few tokens of each image, by falling score, and the numbers of tokens that the layers of an encoder compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Integer, Real
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["TokenSet", "cascade_budgets", "top_tokens"]

_SHARE = Real(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Tokens of each image of a batch; images may have different numbers of them.

    Parameters
    ----------
    index : Tensor of int64 of shape (batch, width)
        Numbers of different tokens. Those beyond the number of an image fill up the row.
    exists : Tensor of bool of shape (batch, width)
        Which of them count.
    """

    index: Tensor
    exists: Tensor

    def gather(self, x: Tensor) -> Tensor:
        """Return the rows of these tokens, those that fill up included.

        Parameters
        ----------
        x : Tensor of shape (batch, n) or (batch, n, features)

        Returns
        -------
        Tensor of shape (batch, width) or (batch, width, features)
        """
        return x.gather(1, self._rows(x))

    def scatter(self, x: Tensor, update: Tensor) -> Tensor:
        """Return a copy in which the rows of these tokens are new; all others are the same bits.

        Parameters
        ----------
        x : Tensor of shape (batch, n, features)
        update : Tensor of shape (batch, width, features)
            Rows that fill up are not read.

        Returns
        -------
        Tensor of shape (batch, n, features)
        """
        rows = self._rows(x)
        # No token is named twice, so a row that fills up can write back what it holds.
        return x.scatter(1, rows, torch.where(self.exists[..., None], update, x.gather(1, rows)))

    def _rows(self, x: Tensor) -> Tensor:
        return self.index if x.dim() == 2 else self.index[..., None].expand(-1, -1, x.shape[-1])


def top_tokens(scores: Tensor, budget: int | Tensor, *, valid: Tensor | None = None) -> TokenSet:
    """Return the tokens of the largest scores of each image, the largest first.

    Sets of the same scores are prefixes of one stable sort, so a smaller one is always within a larger one.

    Parameters
    ----------
    scores : Tensor of shape (batch, n)
        Of equal scores the first token wins.
    budget : int, or Tensor of integers of shape (batch,)
        Tokens of each image, at least 1.
    valid : Tensor of bool of shape (batch, n), optional
        True where a token is of the image and not padding; by default everywhere.

    Returns
    -------
    TokenSet
        As wide as the largest budget.

    Raises
    ------
    TypeError
        If scores are not real floating-point numbers, or `valid` is not of bool.
    ValueError
        If a score is not a number, or an image has fewer tokens than its budget.

    Notes
    -----
    O(n log n) for each image.

    Examples
    --------
    >>> import torch
    >>> chosen = top_tokens(torch.tensor([[1.0, 3.0, 3.0], [9.0, 1.0, 2.0]]), torch.tensor([2, 1]))
    >>> chosen.index.tolist(), chosen.exists.tolist()
    ([[1, 2], [0, 2]], [[True, True], [True, False]])
    """
    scores = check_scores(scores, "scores")
    if scores.dim() != 2:
        raise ValueError(f"scores must have shape (batch, n); got {tuple(scores.shape)}")
    valid = torch.ones_like(scores, dtype=torch.bool) if valid is None else valid
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be a tensor of bool; got {valid.dtype}")
    if valid.shape != scores.shape:
        raise ValueError(f"valid must have the shape of scores, {tuple(scores.shape)}; got {tuple(valid.shape)}")
    budgets = _budgets(budget, valid)
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    # Padding goes last whatever its scores are, minus infinity included.
    order = order.gather(1, torch.sort(~valid.gather(1, order), dim=1, stable=True).indices)
    width = int(budgets.max())
    exists = torch.arange(width, device=scores.device) < budgets[:, None]
    return TokenSet(order[:, :width], exists)


def _budgets(budget: int | Tensor, valid: Tensor) -> Tensor:
    if isinstance(budget, Tensor):
        if budget.is_floating_point() or budget.dtype == torch.bool or budget.shape != valid.shape[:1]:
            raise ValueError(
                f"budget must be an int or integers of shape ({len(valid)},); got {budget.dtype} of shape "
                f"{tuple(budget.shape)}"
            )
        budgets = budget.to(valid.device)
    else:
        budgets = torch.full(valid.shape[:1], COUNT.check("budget", budget), device=valid.device)
    most = valid.sum(1)
    if bool((budgets < 1).any()) or bool((budgets > most).any()):
        raise ValueError(
            f"budget must be from 1 to the valid tokens of each image, {most.tolist()}; got {budgets.tolist()}"
        )
    return budgets


def cascade_budgets(
    n_valid: int | Sequence[int] | Tensor,
    rho: float = 0.5,
    cascade: Sequence[float] = (1.0, 0.8, 0.6, 0.6, 0.4, 0.2),
) -> Tensor:
    """Return how many tokens each layer of an encoder computes.

    Of N valid tokens ``M = min(floor(rho N) + 1, N)`` are foreground, and layer t computes the first ``floor(c_t M)``
    of them [1]_, at least one. With the published numbers that is 30 % of the tokens on average.

    Parameters
    ----------
    n_valid : int, sequence of int or Tensor of integers of shape (batch,)
        Valid tokens of each image.
    rho : float
        Share of the tokens that are foreground, from 0 to 1.
    cascade : sequence of float
        Share of the foreground for each layer, from 0 to 1.

    Returns
    -------
    Tensor of int64 of shape (layers,) or (layers, batch)
        On the CPU.

    Raises
    ------
    ValueError
        If a share is not in [0, 1], or an image has no valid token.

    Notes
    -----
    Shares are taken as the decimal numbers that they are written as, and products are exact: 0.29 of 100 tokens are 29,
    although the nearest binary number to 0.29 is below it. The authors' code, which has no minimum of one token, rounds
    products in single precision, and may differ by one where a product is whole.

    References
    ----------
    .. [1] D. Zheng, W. Dong, H. Hu, X. Chen, Y. Wang, "Less is more: focus attention for efficient DETR", ICCV 2023,
       arXiv:2307.12612.

    Examples
    --------
    >>> cascade_budgets(1000).tolist(), cascade_budgets(5).tolist()
    ([501, 400, 300, 300, 200, 100], [3, 2, 1, 1, 1, 1])
    """
    share = Fraction(repr(_SHARE.check("rho", rho)))
    shares = [Fraction(repr(_SHARE.check("cascade", part))) for part in cascade]
    counts = n_valid.tolist() if isinstance(n_valid, Tensor) else n_valid
    if not isinstance(counts, Sequence):
        return cascade_budgets([Integer(1).check("n_valid", counts)], rho, cascade)[:, 0]
    rows = []
    for count in counts:
        n = COUNT.check("n_valid", count)
        foreground = min(floor(share * n) + 1, n)
        rows.append([max(floor(part * foreground), 1) for part in shares])
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(shares)).T
