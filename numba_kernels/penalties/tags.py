"""Integer tags of the separable penalties. Importing them loads no compiler.

A kernel knows a penalty by its tag, its strength `lam` and one further number `shape`:

========= ===================== ============================================================================
tag       shape                 penalty of v = abs(x)
========= ===================== ============================================================================
L1        unused                lam v
L0        unused                lam where v > 0
LQ        q in (0, 1)           lam v^q
CEL0      column norm a > 0     lam - (a^2 / 2) (v - k)^2 below k = sqrt(2 lam) / a, then lam
MCP       gamma > 0             lam v - v^2 / (2 gamma) below gamma lam, then gamma lam^2 / 2
SCAD      a > 2                 lam v below lam, a parabola below a lam, then lam^2 (a + 1) / 2
LOG_SUM   eps > 0               lam log(1 + v / eps)
CAPPED_L1 theta > 0             lam min(v, theta)
========= ===================== ============================================================================
"""

__all__ = ["CAPPED_L1", "CEL0", "L0", "L1", "LOG_SUM", "LQ", "MCP", "SCAD"]

L1, L0, LQ, CEL0, MCP, SCAD, LOG_SUM, CAPPED_L1 = range(8)
