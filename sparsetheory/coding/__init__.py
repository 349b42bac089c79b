"""Sparse coding: the penalty family of the package."""

from sparsetheory.coding.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq, make_penalty, prox
from sparsetheory.coding.penalty import Penalty

__all__ = ["CEL0", "L0", "L1", "MCP", "SCAD", "CappedL1", "LogSum", "Lq", "Penalty", "make_penalty", "prox"]
