"""Patterns as the command line takes them."""

import re
from typing import Any

from sparsetheory.gpu.core.patterns.base import Pattern
from sparsetheory.gpu.core.patterns.blocks import BlockNM, RowBlock
from sparsetheory.gpu.core.patterns.entries import NM, PerRow, PerTensor

__all__ = ["as_pattern", "parse_pattern"]


def parse_pattern(text: str) -> Pattern:
    """Read a pattern as the command line takes it.

    Parameters
    ----------
    text : str
        ``"2:4"`` for N:M, ``"50%"`` for half of every row, ``"50%/tensor"`` for half of every tensor, ``"4x2:4"`` for
        N:M in blocks of four rows, ``"4x50%"`` for half of the positions of blocks of four rows.

    Returns
    -------
    Pattern

    Raises
    ------
    ValueError
        If the text is none of these, or its numbers are out of range.

    Examples
    --------
    >>> parse_pattern("2:4"), parse_pattern("50%"), parse_pattern("4x2:4")
    (NM(n=2, m=4, axis=-1), PerRow(n_nonzero=None, density=0.5), BlockNM(size=4, n=2, m=4, axis=-1))
    """
    found = re.fullmatch(r"(?:(\d+)x)?(?:(\d+):(\d+)|(\d+(?:\.\d+)?)%(/tensor)?)", text.strip())
    if not found or (found[1] and found[5]):
        raise ValueError(f"pattern must be like 2:4, 50%, 50%/tensor, 4x2:4 or 4x50%; got {text!r}")
    size, n, m, percent, whole = found.groups()
    if percent is None:
        return BlockNM(int(size), int(n), int(m)) if size else NM(int(n), int(m))
    density = float(percent) / 100
    if size:
        return RowBlock(int(size), density)
    return PerTensor(density) if whole else PerRow(density=density)


def as_pattern(pattern: Any) -> Pattern:
    """Return a pattern as it is given, or read it from text.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the text is no pattern.
    """
    if isinstance(pattern, str):
        return parse_pattern(pattern)
    if not isinstance(pattern, Pattern):
        raise TypeError(f"pattern must be a pattern of sparsetheory.gpu.core, or text such as 2:4; got {pattern!r}")
    return pattern
