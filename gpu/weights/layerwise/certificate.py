"""What is certain about one pruned layer, recomputed from the dense layer and its raw inputs."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import COUNT, generator
from sparsetheory.gpu.core.gram import Gram, as_gram
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights.layerwise.damping import damped
from sparsetheory.gpu.weights.layerwise.recomputed import (
    excess_of,
    lower_bound_of,
    objective_of,
    rounding_of,
    scales_of,
    unit,
)
from sparsetheory.gpu.weights.layerwise.search.one_swap import best_swap_gain
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["LayerwiseCertificate", "certify"]

# Rounding of the coefficients in double precision, and of what a swap gains, relative to the output of the row.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LayerwiseCertificate(Certificate):
    """The error of a pruned layer on its calibration data, and how far it is from a better one.

    With w for a row of the dense weight, s for the same row of the pruned one and H for the damped Gram matrix, the
    objective of a row is ``(w - s)' H (w - s)``. The certificate says what the sum over all rows is, relative to that
    of ``s = 0``; that no weight of the pattern reaches less than `lower_bound`; that on its mask every row is the exact
    least-squares solution up to `bound`, where the method refits; and that no exchange of one kept weight for a pruned
    one, with all others refitted, lowers the objective of a row, where the method searches for that.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` and `measured` are excesses of a row over the
        least-squares solution on its mask, relative to the output of the row; or, where the terms of a row cancel, to
        ``1e-4 sum_j w_j^2 H_jj``.
    weight : Tensor of shape (out, p)
        The pruned weight, one row per output.
    mask : Tensor of bool, of the same shape
        Which weights may be nonzero.
    pattern : Pattern
        What the mask is promised to fulfil.
    delta : float
        Damping: ``H = G + delta diag(G)``.
    objective : float
        Sum of the objectives of all rows, relative to that of the zero weight.
    lower_bound : float
        ``lambda_min(H) d^2`` relative to the same, with d the distance of the dense weight to its projection.
    refitted : bool
        Whether rows are promised to be least-squares solutions.
    swap_optimal : bool
        Whether no swap is promised to help.
    """

    weight: Tensor = field(kw_only=True)
    mask: Tensor = field(kw_only=True)
    pattern: Pattern = field(kw_only=True)
    delta: float = field(kw_only=True)
    objective: float = field(kw_only=True)
    lower_bound: float = field(kw_only=True)
    refitted: bool = field(kw_only=True)
    swap_optimal: bool = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("objective", "lower_bound", "delta")

    def promise(self) -> str:
        """Return the guarantee in words."""
        parts = [f"the weight is {self.pattern}, and its damped relative output error is as stated"]
        if self.refitted:
            parts.append(f"rows are least-squares optimal on their masks within {self.bound:.3g}")
        if self.swap_optimal:
            parts.append("no swap of two weights of a row, with refit, lowers its error")
        return "; ".join(parts)

    def check(
        self, W: Any, inputs: Any, *, n_rows: int = 8, random_state: Any = 0, **options: Any
    ) -> "LayerwiseCertificate":
        """Recompute everything from the dense weight and the inputs of the layer.

        Least-squares solutions come from an orthogonal factorisation of the damped inputs, row after row, and swaps
        are tried one by one. No kernel of the search takes part.

        Parameters
        ----------
        W : Tensor of shape (out, p)
            The dense weight.
        inputs : Tensor of shape (n, p), or Gram
            The calibration inputs, or their Gram matrix.
        n_rows : int
            Rows, or blocks of rows, of which all swaps are tried; drawn at random. Least squares are checked on the
            same rows.
        random_state : int, Generator or None
            Draws the rows.
        **options
            None are known.

        Returns
        -------
        LayerwiseCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be n_rows or random_state; got {', '.join(options)}")
        COUNT.check("n_rows", n_rows)
        dense, pruned = _finite(W, "W"), _array(self.weight)
        if dense.shape != pruned.shape:
            raise ValueError(f"W must have shape {pruned.shape}; got {dense.shape}")
        H = _damped_from(inputs, dense.shape[1], self.delta)
        rows = _drawn(len(dense), n_rows, _block_size(self.pattern), random_state)
        excess, fault = 0.0, self._misfit(pruned)
        if not fault:
            mask, problem = self.mask.cpu().numpy(), unit(H)
            excess = max(excess_of(dense[r], pruned[r], mask[r], problem) for r in rows) if self.refitted else 0.0
            fault = self._fault(dense, pruned, H, rows, excess)
        status = Status.of(not fault)
        return replace(self, measured=excess, status=status, reason=fault).unless_misstated()

    def _misfit(self, pruned: Float64Array) -> str:
        """Return what is wrong with weight, mask or bound by themselves, or nothing."""
        if not np.isfinite(pruned).all():
            return "the weight is not finite"
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) != pruned.shape:
            return f"the mask is not one of bool of shape {pruned.shape}"
        if bool((self.weight[~self.mask] != 0).any()) or not _fits(self.mask, self.pattern):
            return f"the weight is not {self.pattern}"
        return "" if np.isfinite(self.bound) and self.bound >= 0 else f"the bound is {self.bound}"

    # What is not a number fulfils no comparison, so each one says what must hold.
    def _fault(self, dense: Float64Array, pruned: Float64Array, H: Float64Array, rows: list[int], excess: float) -> str:
        """Return which promise does not hold, or nothing."""
        objective = objective_of(dense, pruned, H)
        if not abs(objective - self.objective) <= 1e-6 * self.objective + ROUNDING:
            return f"the objective is {objective:.9g}, not {self.objective:.9g}"
        if not lower_bound_of(dense, H, self.pattern) >= self.lower_bound * (1 - 1e-6) - ROUNDING:
            return "the lower bound is smaller than stated"
        if not excess <= self.bound:
            return f"a row exceeds its least-squares solution by {excess:.3g}"
        if not self.swap_optimal:
            return ""
        gain = _largest_gain(dense, self.mask.cpu().numpy(), H, rows, self.pattern)
        return "" if gain <= ROUNDING else f"a swap lowers the objective of a row by {gain:.3g} of its output"


def certify(
    W: Tensor,
    weight: Tensor,
    mask: Tensor,
    gram: Tensor,
    pattern: Pattern,
    delta: float,
    *,
    refitted: bool,
    swap_optimal: bool,
) -> LayerwiseCertificate:
    """Return the certificate of a pruned weight in the precision in which it is used.

    Parameters
    ----------
    W, weight : Tensor of shape (out, p)
        Dense and pruned weight.
    mask : Tensor of bool, of the same shape
    gram : Tensor of shape (p, p)
        Undamped, float64.
    pattern : Pattern
    delta : float
    refitted, swap_optimal : bool
        What is promised.

    Returns
    -------
    LayerwiseCertificate
    """
    dense, pruned, H = _array(W), _array(weight), _array(damped(gram, delta))
    certificate = LayerwiseCertificate(
        statement="",
        bound=ROUNDING + rounding_of(dense, pruned, H, weight.dtype),
        measured=None,
        status=Status.VALID,
        weight=weight,
        mask=mask,
        pattern=pattern,
        delta=delta,
        objective=objective_of(dense, pruned, H),
        lower_bound=lower_bound_of(dense, H, pattern),
        refitted=refitted,
        swap_optimal=swap_optimal,
    )
    return certificate.stated()


def _array(tensor: Any) -> Float64Array:
    return torch.as_tensor(tensor).detach().to("cpu", torch.float64).numpy()


def _finite(tensor: Any, name: str) -> Float64Array:
    array = _array(tensor)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got infinite entries or NaN")
    return array


def _damped_from(inputs: Any, n_features: int, delta: float) -> Float64Array:
    if isinstance(inputs, Gram):
        G = _array(as_gram(inputs, n_features, name="inputs").matrix)
    else:
        X = _finite(inputs, "inputs")
        if X.ndim == 0 or X.shape[-1] != n_features or X.size == 0:
            raise ValueError(f"inputs must have {n_features} features in at least 1 row; got shape {X.shape}")
        X = X.reshape(-1, n_features)
        G = X.T @ X / len(X)
    return G + delta * np.diag(np.diagonal(G))


def _fits(mask: Tensor, pattern: Pattern) -> bool:
    """Whether a mask is among those that the pattern allows."""
    kept = pattern.mask(mask.to(torch.float32))
    return bool((kept | ~mask).all())


def _block_size(pattern: Pattern) -> int:
    return pattern.size if isinstance(pattern, RowBlock | BlockNM) else 1


def _drawn(n: int, wanted: int, size: int, random_state: Any) -> list[int]:
    blocks = -(-n // size)
    chosen = generator(random_state).choice(blocks, min(wanted, blocks), replace=False)
    return [row for block in sorted(chosen) for row in range(block * size, min((block + 1) * size, n))]


def _largest_gain(dense: Float64Array, mask: BoolArray, H: Float64Array, rows: list[int], pattern: Pattern) -> float:
    """Return the largest gain of a swap, relative to the output of its row or block."""
    size, gains = _block_size(pattern), [0.0]
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        whole = float(scales_of(dense[block], H).sum())
        if whole > 0:
            gains.append(_gain(dense[block], mask[block], H, pattern) / whole)
    return max(gains)


def _gain(w: Float64Array, mask: BoolArray, H: Float64Array, pattern: Pattern) -> float:
    # Swaps keep the number of nonzeros, so patterns of rows are all alike here: one count per row.
    alike = PerRow(density=0.5) if isinstance(pattern, PerRow | PerTensor) else pattern
    assert isinstance(alike, NM | PerRow | RowBlock | BlockNM)
    return float(best_swap_gain(torch.from_numpy(w), torch.from_numpy(H), torch.from_numpy(mask), alike))
