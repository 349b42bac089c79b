"""Bytes of a sparse matrix in four formats, and the density below which each of them saves any."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Storage", "break_even", "group_patterns", "storage", "total_storage"]

_INDEX = 4
# Sizes of groups that are looked at; hardware has 2:4.
_GROUPS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Storage:
    """One number for each format: bytes of a matrix, or the density at which the format needs as much as a dense one.

    Parameters
    ----------
    dense : float
        All entries one after the other.
    csr : float
        Values, a 32-bit column for each, and a 32-bit pointer for each row and one more.
    bitmap : float
        Values, and one bit for each entry.
    nm : float
        The same number of values in every group, and the place of each in its group, in as few whole bits as hold it.
        A matrix in which no group has a zero to spare stays dense.
    """

    dense: float
    csr: float
    bitmap: float
    nm: float


def storage(mask: Tensor, value_bytes: int) -> Storage:
    """Return the bytes of one masked weight.

    Parameters
    ----------
    mask : Tensor of bool, of shape (out, in, ...)
    value_bytes : int
        Bytes of one entry.

    Examples
    --------
    >>> import torch
    >>> storage(torch.tensor([[True, False, False, True]]), 4)
    Storage(dense=16, csr=24, bitmap=9, nm=9)
    """
    n, nonzero = mask.numel(), int(mask.sum())
    groups = [_nm_bytes(n, kept, m, value_bytes) for kept, m in group_patterns(mask)]
    return Storage(
        dense=n * value_bytes,
        csr=nonzero * (value_bytes + _INDEX) + (_rows(mask) + 1) * _INDEX,
        bitmap=nonzero * value_bytes + -(-n // 8),
        nm=min([n * value_bytes, *groups]),
    )


def total_storage(parts: Iterable[Storage]) -> Storage:
    """Return the sums over several weights."""
    parts = list(parts)
    names = ("dense", "csr", "bitmap", "nm")
    return Storage(**{name: sum(getattr(part, name) for part in parts) for name in names})


def break_even(rows: int, n: int, value_bytes: int, m: int = 4) -> Storage:
    """Return below which density each format needs fewer bytes than the dense one.

    Parameters
    ----------
    rows : int
        Rows of the matrix.
    n : int
        Entries of the matrix.
    value_bytes : int
        Bytes of one entry.
    m : int
        Size of the groups of the N:M format.

    Returns
    -------
    Storage
        Densities. With 4 bytes CSR saves below one half less what the pointers to rows take, a bitmap below 31/32.

    Examples
    --------
    >>> break_even(rows=100, n=100 * 1024, value_bytes=4).bitmap == 31 / 32
    True
    """
    size = max(n, 1)
    return Storage(
        dense=1.0,
        csr=max(0.0, (n * value_bytes - (rows + 1) * _INDEX) / (size * (value_bytes + _INDEX))),
        bitmap=max(0.0, (n * value_bytes - -(-n // 8)) / (size * value_bytes)),
        nm=value_bytes / (value_bytes + _bits(m) / 8),
    )


def group_patterns(mask: Tensor) -> tuple[tuple[int, int], ...]:
    """Return the N:M patterns that a mask has along its inputs, the second axis: the smallest n for each m.

    Examples
    --------
    >>> import torch
    >>> group_patterns(torch.tensor([[True, False, False, True]]))
    ((1, 2), (2, 4))
    """
    inputs = mask.movedim(1, -1)
    found = []
    for m in _GROUPS:
        if mask.numel() and inputs.shape[-1] % m == 0:
            most = int(inputs.reshape(-1, m).sum(1).max())
            if most < m:
                found.append((most, m))
    return tuple(found)


def _nm_bytes(n: int, kept: int, m: int, value_bytes: int) -> int:
    values = n // m * kept
    return values * value_bytes + -(-values * _bits(m) // 8)


def _bits(m: int) -> int:
    return (m - 1).bit_length()


def _rows(mask: Tensor) -> int:
    return mask.shape[0]
