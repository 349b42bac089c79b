"""Patterns: from a tensor of scores to the mask of what is kept.

A pattern says which sets of positions are allowed, and its mask is the allowed set of the largest total score. With
squares as scores that is the Euclidean projection onto the tensors of the pattern; where entries are chosen one by one,
magnitudes give the same set. All patterns share one rule of counting and one of ties, those of
:mod:`sparsetheory.gpu.core.selection`.

Linear weights have shape (out, in) and N:M groups run along the inputs, the last axis. Convolutions have shape
(out, in, height, width), where ``axis=1`` makes groups run along the inputs.
"""

from sparsetheory.gpu.core.patterns.across import GlobalPattern
from sparsetheory.gpu.core.patterns.base import Pattern
from sparsetheory.gpu.core.patterns.blocks import BlockNM, RowBlock
from sparsetheory.gpu.core.patterns.entries import NM, PerRow, PerTensor
from sparsetheory.gpu.core.patterns.text import as_pattern, parse_pattern
from sparsetheory.gpu.core.patterns.units import MaskUnits, mask_units

__all__ = [
    "NM",
    "BlockNM",
    "GlobalPattern",
    "MaskUnits",
    "Pattern",
    "PerRow",
    "PerTensor",
    "RowBlock",
    "as_pattern",
    "mask_units",
    "parse_pattern",
]
