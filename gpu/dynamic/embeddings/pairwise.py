"""Matrix factorisation by Bayesian personalised ranking: an item of a user is to score above one that is not."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding, check_flags

__all__ = ["MatrixFactorisation", "TripleSampler", "bpr_loss"]


class MatrixFactorisation(nn.Module):
    """Scores of users and items: inner products of the rows of two embedding tables.

    Parameters
    ----------
    n_users, n_items : int
    dim : int
        Entries of a row.
    density : float
        Share of the entries of each table that are kept.
    std : float
        Standard deviation of the entries at the start.
    generator : torch.Generator or int, optional
        On the CPU, or a seed.

    Attributes
    ----------
    users, items : SparseEmbedding

    Examples
    --------
    >>> import torch
    >>> model = MatrixFactorisation(5, 7, 4, generator=0)
    >>> users, items = torch.tensor([0, 4]), torch.tensor([3, 6])
    >>> torch.allclose(model(users, items), model.scores()[users, items])
    True
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        density: float = 1.0,
        *,
        std: float = 0.1,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        COUNT.require(n_users=n_users, n_items=n_items)
        source = cpu_generator(generator)
        self.users = SparseEmbedding(n_users, dim, density, std=std, generator=source)
        self.items = SparseEmbedding(n_items, dim, density, std=std, generator=source)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair.

        Parameters
        ----------
        users, items : Tensor of int64 of shape (...)

        Returns
        -------
        Tensor of shape (...)
        """
        return (self.users(users) * self.items(items)).sum(-1)

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return the scores of all pairs, of shape (n_users, n_items), without gradients."""
        return self.users.weight @ self.items.weight.T


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the mean of ``-log sigmoid(positive - negative)``.

    Parameters
    ----------
    positive : Tensor of shape (...)
        Scores of items that users have.
    negative : Tensor of shape (...)
        Scores of items that the same users do not have.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If the shapes differ, or there is no pair.

    References
    ----------
    Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI
    2009.

    Examples
    --------
    >>> import torch
    >>> bpr_loss(torch.zeros(3), torch.zeros(3))  # the logarithm of 2
    tensor(0.6931)
    """
    if positive.shape != negative.shape or positive.numel() == 0:
        shapes = f"{tuple(positive.shape)} and {tuple(negative.shape)}"
        raise ValueError(f"positive and negative must have one shape, and an entry; got {shapes}")
    return functional.softplus(negative - positive).mean()


class TripleSampler:
    """Draw a user, an item of the user, and an item that the user does not have.

    Pairs of user and item are uniform over those observed, and the other item over all that the user does not have.

    Parameters
    ----------
    observed : Tensor of bool of shape (n_users, n_items)
        Which user has which item.
    generator : torch.Generator or int, optional
        On the CPU, or a seed.

    Raises
    ------
    TypeError
        If `observed` does not hold booleans.
    ValueError
        If it is no matrix, is empty, or a user has all items.

    Examples
    --------
    >>> import torch
    >>> observed = torch.tensor([[True, False], [False, True]])
    >>> users, positives, negatives = TripleSampler(observed, generator=0)(4)
    >>> bool(observed[users, positives].all()), bool(observed[users, negatives].any())
    (True, False)
    """

    def __init__(self, observed: Tensor, generator: torch.Generator | int | None = None) -> None:
        check_flags("observed", observed)
        if observed.ndim != 2 or not bool(observed.any()):
            raise ValueError(f"observed must be a matrix with a pair; got shape {tuple(observed.shape)}")
        full = observed.all(1)
        if bool(full.any()):
            raise ValueError(f"observed must lack an item for each user; user {int(full.nonzero()[0])} has all")
        self._observed = observed
        self._pairs = observed.cpu().nonzero()
        self._generator = cpu_generator(generator)

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw triples.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        users, positives, negatives : Tensor of int64 of shape (n,)
            On the device of `observed`.
        """
        COUNT.check("n", n)
        chosen = self._pairs[torch.randint(len(self._pairs), (n,), generator=self._generator)]
        users, positives = chosen.to(self._observed.device).unbind(1)
        negatives = self._items(n)
        # What the user has is drawn again; each time a smaller part is left.
        wrong = self._observed[users, negatives].nonzero().squeeze(1)
        while wrong.numel():
            negatives[wrong] = self._items(wrong.numel())
            wrong = wrong[self._observed[users[wrong], negatives[wrong]]]
        return users, positives, negatives

    def _items(self, n: int) -> Tensor:
        return torch.randint(self._observed.shape[1], (n,), generator=self._generator).to(self._observed.device)
