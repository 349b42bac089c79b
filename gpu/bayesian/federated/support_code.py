"""How many bytes it takes to say which weights are on: a bit for each, or the lengths of runs."""

import math

import numpy as np
import torch
from torch import Tensor

from sparsetheory.typing import BoolArray, Int64Array

__all__ = ["decode_support", "encode_support"]

_EMPTY, _BITS, _RUNS = 0, 1, 2


def encode_support(mask: Tensor) -> bytes:
    r"""Return a mask as bytes, in the shorter of two codes.

    The first byte says which code follows: one bit per weight, or the lengths of runs of equal entries along the last
    axis and on into the next line, each in the code of Elias: a run of length n costs
    :math:`2 \lfloor \log_2 n \rfloor + 1` bits. So supports that cluster along that axis cost less.

    Parameters
    ----------
    mask : Tensor of bool of any shape

    Returns
    -------
    bytes
        Never more than ``1 + ceil(size / 8)`` of them.

    References
    ----------
    P. Elias. Universal codeword sets and representations of the integers. IEEE Trans. Information Theory 21(2), 1975.

    Examples
    --------
    >>> import torch
    >>> mask = torch.zeros(100, 100, dtype=torch.bool)
    >>> mask[10:20, 40:60] = True
    >>> len(encode_support(mask)), bool((decode_support(encode_support(mask), mask.shape) == mask).all())
    (33, True)
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must hold booleans; got {mask.dtype}")
    flat = mask.detach().cpu().numpy().ravel()
    if not flat.size:
        return bytes([_EMPTY])
    edges = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = np.diff(edges, append=flat.size)
    if 1 + _elias_size(lengths) < flat.size:
        first = np.array([flat[0]])
        return bytes([_RUNS]) + np.packbits(np.concatenate([first, _elias(lengths)])).tobytes()
    return bytes([_BITS]) + np.packbits(flat).tobytes()


def decode_support(code: bytes, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return the mask of a shape that :func:`encode_support` has written.

    Raises
    ------
    ValueError
        If it is not that of a mask of this size.
    """
    size = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(code[1:], dtype=np.uint8)).astype(bool)
    kind = code[0] if code else None
    if kind == _RUNS:
        flat = _from_runs(bits, size)
    else:
        fits = kind == (_BITS if size else _EMPTY) and 0 <= bits.size - size < 8
        flat = bits[:size] if fits else None
    if flat is None:
        raise ValueError(f"code must be that of a mask of shape {tuple(shape)}; got another")
    return torch.from_numpy(flat.copy()).reshape(tuple(shape))


def _elias_size(lengths: Int64Array) -> int:
    """Return the bits that the lengths take."""
    # The exponent of a floating-point number is exact below 2^53, the rounded logarithm is not.
    return int((2 * np.frexp(lengths.astype(np.float64))[1] - 1).sum())


def _elias(lengths: Int64Array) -> BoolArray:
    """Return the bits of all lengths: one zero for each binary digit after the first, then the digits."""
    digits = np.frexp(lengths.astype(np.float64))[1].astype(np.int64)
    ends = np.cumsum(2 * digits - 1)
    bits = np.zeros(int(ends[-1]), dtype=bool)
    for place in range(int(digits.max())):
        has = digits > place
        bits[ends[has] - 1 - place] = (lengths[has] >> place) & 1
    return bits


def _from_runs(bits: BoolArray, size: int) -> BoolArray | None:
    """Return the entries that the first value and the lengths of runs stand for, unless there are others or more bits.

    Nothing after the last whole byte of the runs, and no run that goes on past the end, is part of a code.
    """
    flat, value, filled = np.empty(size, dtype=bool), bool(bits[:1].any()), 0
    ones = np.flatnonzero(bits[1:]) + 1
    place = 1
    while filled < size:
        at = int(np.searchsorted(ones, place))
        if at == ones.size:
            break
        digits = int(ones[at]) - place + 1
        word = bits[ones[at] : ones[at] + digits]
        if word.size < digits:
            break
        length = int("".join("1" if bit else "0" for bit in word), 2)
        flat[filled : filled + length] = value
        value, filled, place = not value, filled + length, int(ones[at]) + digits
    return flat if size and filled == size and bits.size - place < 8 else None
