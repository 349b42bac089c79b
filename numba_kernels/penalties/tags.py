"""Integer tags of the separable penalties. Importing them loads no compiler.

A kernel knows a penalty by its tag, its strength `alpha` and one further number `shape`:

=========== ===================== ==========================================================================
tag         shape                 penalty of v = abs(x)
=========== ===================== ==========================================================================
L1          unused                alpha v
L0          unused                alpha where v > 0
LQ          q in (0, 1)           alpha v^q
CEL0        column norm a > 0     alpha - (a^2 / 2) (v - k)^2 below k = sqrt(2 alpha) / a, then alpha
MCP         gamma > 0             alpha v - v^2 / (2 gamma) below gamma alpha, then gamma alpha^2 / 2
SCAD        a > 2                 alpha v below alpha, a parabola below a alpha, then alpha^2 (a + 1) / 2
LOG_SUM     eps > 0               alpha log(1 + v / eps)
CAPPED_L1   theta > 0             alpha min(v, theta)
ELASTIC_NET l1_ratio in (0, 1]    alpha (l1_ratio v + (1 - l1_ratio) v^2 / 2)
=========== ===================== ==========================================================================

Added to a tag, `POSITIVE` makes the penalty infinite below zero: ``kind = tag + POSITIVE``. `FAMILY` is the mask that
gives the tag back: ``tag = kind & FAMILY``.
"""

__all__ = ["CAPPED_L1", "CEL0", "ELASTIC_NET", "FAMILY", "L0", "L1", "LOG_SUM", "LQ", "MCP", "POSITIVE", "SCAD"]

L1, L0, LQ, CEL0, MCP, SCAD, LOG_SUM, CAPPED_L1, ELASTIC_NET = range(9)
POSITIVE = 16
FAMILY = POSITIVE - 1
