"""Embedding tables with few entries: a mask of exactly a budget, and zeros off it."""

import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Integer, Real
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["SparseEmbedding", "check_flags", "score_macs"]

_DENSITY = Real(0.0, 1.0, closed="right")


class SparseEmbedding(nn.Embedding):
    """An embedding table of which a random mask keeps exactly a share of the entries.

    The weight itself holds the zeros off the mask, so that its gradient is dense and scores of growth can see what is
    missing. Nothing keeps the zeros during training by itself: :class:`DynamicEmbeddings` does, and with a fraction of
    0 it keeps the mask as it is.

    Parameters
    ----------
    num : int
        Rows.
    dim : int
        Entries of a row.
    density : float
        Share of the entries that are kept, in (0, 1]; the row of `padding_idx` does not count.
    padding_idx : int, optional
        A row that stands for nothing: masked out entirely, and never grown. Negative numbers count from the end.
    std : float
        Standard deviation of the entries at the start.
    generator : torch.Generator or int, optional
        On the CPU, or a seed.
    device, dtype : optional
        Of the weight, as in torch.

    Attributes
    ----------
    mask : Tensor of bool of shape (num, dim)
        The entries that are kept, a buffer.

    Warns
    -----
    RuntimeWarning
        If a row has less than one entry on average.

    References
    ----------
    Wang, Sui, Wu, Zheng, Xiong, "Dynamic Sparse Learning: A Novel Paradigm for Efficient Recommendation", WSDM 2024.

    Examples
    --------
    >>> import torch
    >>> table = SparseEmbedding(6, 4, 0.5, padding_idx=0, generator=0)
    >>> int(table.mask.sum()), int(table.row_nonzeros[0])
    (10, 0)
    >>> table(torch.tensor([0])).tolist()
    [[0.0, 0.0, 0.0, 0.0]]
    """

    mask: Tensor

    def __init__(
        self,
        num: int,
        dim: int,
        density: float,
        padding_idx: int | None = None,
        *,
        std: float = 0.1,
        generator: torch.Generator | int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        COUNT.require(num=num, dim=dim)
        _DENSITY.check("density", density)
        POSITIVE.check("std", std)
        (MISSING | Integer(-num, num - 1)).check("padding_idx", padding_idx)
        super().__init__(num, dim, padding_idx=padding_idx, device="meta", dtype=dtype)
        if density * dim < 1:
            warnings.warn(
                f"density times dim must be at least 1 for one entry in the mean row; got {density:g} * {dim}",
                RuntimeWarning,
                stacklevel=2,
            )
        source = cpu_generator(generator)
        padded = self.padding_idx is not None
        mask = random_masks({"table": (num - padded, dim)}, {"table": density}, source)["table"]
        if self.padding_idx is not None:
            mask = torch.cat([mask[: self.padding_idx], mask.new_zeros(1, dim), mask[self.padding_idx :]])
        # Drawn after the mask, so that a seed stands for the same mask in every precision.
        weight = torch.empty(num, dim, dtype=self.weight.dtype).normal_(0.0, std, generator=source)
        self.weight = nn.Parameter(weight.masked_fill_(~mask, 0).to(device or torch.get_default_device()))
        self.register_buffer("mask", mask.to(self.weight.device))

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, *args: Any, **kwargs: Any) -> Self:
        """Make a table of a matrix; what is not zero in it becomes the mask.

        Parameters
        ----------
        embeddings : Tensor of shape (num, dim)
            Such as a table that was pruned. Device and dtype are kept.
        freeze : bool
            Whether the weight does not train.
        *args, **kwargs
            As in torch, in this order: `padding_idx`, ``max_norm``, ``norm_type``, ``scale_grad_by_freq`` and
            ``sparse``.

        Returns
        -------
        SparseEmbedding

        Raises
        ------
        ValueError
            If it is no finite matrix, or the row of the padding is not zero.

        Examples
        --------
        >>> import torch
        >>> SparseEmbedding.from_pretrained(torch.tensor([[0.0, 2.0], [3.0, 4.0]])).row_nonzeros
        tensor([1, 2])
        """
        values = finite_tensor("embeddings", embeddings)
        if values.ndim != 2:
            raise ValueError(f"embeddings must be a matrix; got shape {tuple(values.shape)}")
        given = nn.Embedding.from_pretrained(values, freeze, *args, **kwargs)
        table = cls(len(values), values.shape[1], 1.0, given.padding_idx, device=values.device, dtype=values.dtype)
        table.set_rows(values)
        table.weight.requires_grad_(not freeze)
        for name in ("max_norm", "norm_type", "scale_grad_by_freq", "sparse"):
            setattr(table, name, getattr(given, name))
        return table

    def reset_parameters(self) -> None:
        """Draw new entries from N(0, 1), as torch does; the mask stays."""
        super().reset_parameters()
        # The first call comes from torch, before there is a mask.
        if "mask" in self._buffers:
            with torch.no_grad():
                self.weight.masked_fill_(~self.mask, 0)

    def set_rows(self, rows: Tensor) -> None:
        """Replace the table by a matrix; what is not zero in it becomes the mask.

        Parameters
        ----------
        rows : Tensor of shape (num, dim)
            Such as those of :func:`greedy_rows`; zero in the row of the padding.

        Raises
        ------
        ValueError
            If the shape differs, an entry is not finite in the dtype of the table, or the row of the padding is not
            zero.
        """
        values = finite_tensor("rows", finite_tensor("rows", rows).to(self.weight.dtype))
        if values.shape != self.weight.shape:
            raise ValueError(f"rows must have shape {tuple(self.weight.shape)}; got {tuple(values.shape)}")
        if self.padding_idx is not None and bool(values[self.padding_idx].any()):
            raise ValueError(f"rows must be zero in row {self.padding_idx}, that of the padding")
        with torch.no_grad():
            self.weight.copy_(values)
            self.mask.copy_(self.weight != 0)

    @property
    def row_nonzeros(self) -> Tensor:
        """How many entries each row keeps, of shape (num,)."""
        return self.mask.sum(1)

    @property
    def n_empty_rows_(self) -> int:
        """How many rows keep no entry, that of the padding aside: their scores are 0 whatever they meet."""
        empty = int((self.row_nonzeros == 0).sum())
        return empty if self.padding_idx is None else empty - 1

    def extra_repr(self) -> str:
        """Return sizes, and the share of the entries that are kept now."""
        rows = self.num_embeddings - (self.padding_idx is not None)
        return f"{super().extra_repr()}, density={int(self.mask.sum()) / max(rows * self.embedding_dim, 1):.3g}"


def check_flags(name: str, value: Any) -> None:
    """Raise TypeError unless a value is a tensor of bool."""
    if not isinstance(value, Tensor) or value.dtype != torch.bool:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a tensor of bool; got {got}")


def score_macs(left: Tensor, right: Tensor) -> Tensor:
    """Count the multiplications of a score of each pair of rows: the entries that both of them keep.

    Parameters
    ----------
    left : Tensor of bool of shape (n, dim)
        Mask of one table, such as of users.
    right : Tensor of bool of shape (m, dim)
        Mask of the other one.

    Returns
    -------
    Tensor of int64 of shape (n, m)

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If the rows differ in length.

    Notes
    -----
    Two random masks of density D share ``dim * D**2`` entries in the mean: products of two sparse rows lose more than
    the tables do.

    Examples
    --------
    >>> import torch
    >>> score_macs(torch.tensor([[True, True, False]]), torch.tensor([[True, False, True], [True, True, True]]))
    tensor([[1, 2]])
    """
    for name, mask in (("left", left), ("right", right)):
        check_flags(name, mask)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        shapes = f"{tuple(left.shape)} and {tuple(right.shape)}"
        raise ValueError(f"left and right must be matrices with equally long rows; got shapes {shapes}")
    # Products of floating-point numbers have fast kernels on every device, and counts up to 2**24 are exact in them.
    return (left.float() @ right.float().T).long()
