"""R-Sparse: a linear layer in which large inputs meet the weight, and all others a few singular directions of it."""

from typing import Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG, MISSING
from sparsetheory.gpu.activations.rsparse.budgets import Budget, input_sparsity, split_budget
from sparsetheory.gpu.activations.rsparse.certificate import RSparseCertificate, certify
from sparsetheory.gpu.activations.rsparse.factors import WeightFactors, decompose
from sparsetheory.gpu.activations.rsparse.thresholds import (
    calibration_rows,
    column_norms,
    lower_quantile,
)
from sparsetheory.gpu.activations.selectors import ColumnScaled
from sparsetheory.gpu.activations.skipping import check_crossing
from sparsetheory.gpu.activations.sparse_linear import SparseLinear, SvdResidual
from sparsetheory.gpu.core.layers import is_transposed, weight_rows

__all__ = ["RSparseLinear", "check_linear"]


class RSparseLinear(SparseLinear):
    r"""The layer :math:`W (x \odot m) + U_r U_r^T W (x \odot (1 - m)) + b`, with m the inputs of large score.

    Make it by :meth:`from_linear`. The score of input j is :math:`|x_j| \, \lVert W_{:j} \rVert_2`, the norm of what it
    adds to the output, or :math:`|x_j|`.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
    selector : ColumnScaled
    residual : SvdResidual or None
        The low-rank path; None for rank 0.
    bias : Tensor of shape (out,), optional
    budget : Budget
        What it was made for.
    sigma : float
        Bound of the norm of ``W - U_r U_r^T W``: singular value r + 1, and the rounding of the factors.
    realised : float
        Share of the calibration inputs that lie off the mask. Ties at the threshold can only make it larger than
        planned.
    crossing : float, optional
        As :class:`SparseLinear` takes it.

    See Also
    --------
    rsparse_model : All layers of a model.

    Notes
    -----
    Zhang et al., "R-Sparse: Rank-Aware Activation Sparsity for Efficient LLM Inference", ICLR 2025, arXiv:2504.19449.

    One token reads ``channels * out + rank * (in + out)`` entries of weights, ``(1 - sparsity)`` of all at most, if the
    product skips what is off the mask. Tokens of a batch select different inputs, and together read more.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, dense = torch.randn(200, 64, generator=generator), nn.Linear(64, 48)
    >>> layer = RSparseLinear.from_linear(dense, 0.5, 0.8, x)
    >>> layer.budget.channels, layer.budget.rank, round(layer.realised, 3)
    (25, 3, 0.6)
    >>> lost = (dense(x) - layer(x)).norm(dim=-1)
    >>> bool((lost <= layer.error_bound(x) + 1e-4).all()), layer.certify(x).valid
    (True, True)
    """

    selector: ColumnScaled
    residual: SvdResidual | None

    def __init__(
        self,
        weight: Tensor,
        selector: ColumnScaled,
        residual: SvdResidual | None,
        bias: Tensor | None,
        *,
        budget: Budget,
        sigma: float,
        realised: float,
        crossing: float | None = None,
    ) -> None:
        super().__init__(weight, selector, residual, bias, crossing=crossing)
        self.budget, self.sigma, self.realised = budget, sigma, realised

    @classmethod
    def from_linear(
        cls,
        lin: nn.Module,
        sparsity: float,
        rho: float,
        calibration: Tensor,
        *,
        scaled: bool | None = None,
        forced: bool = False,
        crossing: float | None = None,
    ) -> Self:
        r"""Return the layer that stands in for a linear one, on its device and in its dtype.

        The threshold is the :math:`\lfloor N (1 - (1 - s) \rho) \rfloor`-th smallest of all N scores of the
        calibration. What scores above it is selected, at calibration and later.

        Parameters
        ----------
        lin : torch.nn.Linear
            Or ``Conv1D`` of transformers. It is not changed, and shares no memory with the result.
        sparsity : float
            Share s of the weight that a token does not read, in [0, 1).
        rho : float
            Share of the budget that goes to inputs which meet the weight, in [0, 1]. See :func:`split_budget`.
        calibration : Tensor of shape (..., in)
            Inputs of the dense layer, of tokens that count; the authors take one text of 512 tokens.
        scaled : bool, optional
            Whether scores are multiplied by the norms of the columns. By default where `rho` is less than 1, as in the
            authors' code; the paper describes plain sizes throughout.
        forced : bool
            As :func:`split_budget` takes it.
        crossing : float, optional
            As :class:`SparseLinear` takes it.

        Returns
        -------
        RSparseLinear

        Raises
        ------
        TypeError
            If `calibration` is not a tensor of floating-point numbers.
        ValueError
            If a number is out of range, `lin` is not linear, or `calibration` is empty, not finite or of another width.

        Notes
        -----
        O(in out min(in, out)) operations for the singular value decomposition, none where the rank is 0.
        """
        weight = weight_rows(check_linear("lin", lin))
        budget = split_budget(weight.shape[1], weight.shape[0], sparsity, rho, forced=forced)
        rows = calibration_rows(calibration, budget.n_in)
        selector = ColumnScaled(column_norms(weight) if is_scaled(scaled, rho) else None, 0.0)
        scores = selector.scores(rows)
        selector.threshold = lower_quantile(scores, input_sparsity(sparsity, rho))
        realised = float((scores <= selector.threshold).double().mean())
        made = cls.assembled(lin, budget, selector, decompose(weight, budget.rank), realised)
        made.crossing = check_crossing(crossing)
        return made

    @classmethod
    def assembled(
        cls, lin: nn.Module, budget: Budget, selector: ColumnScaled, factors: WeightFactors, realised: float
    ) -> Self:
        """Return the layer made of parts; `factors` have at least the rank of the budget."""
        made = cls(
            weight_rows(lin),
            selector,
            factors.residual(budget.rank),
            getattr(lin, "bias", None),
            budget=budget,
            sigma=factors.sigma[budget.rank],
            realised=realised,
        )
        # Factors come from double precision without gradients, and are trained where the weight is.
        weight = lin.weight
        assert isinstance(weight, Tensor)
        return made.requires_grad_(weight.requires_grad).train(lin.training)

    def input_sparsity(self, x: Tensor) -> float:
        """Return the share of the entries of inputs, of shape (..., in), that lie off the mask.

        It drifts from ``realised`` where inputs differ from those of the calibration.
        """
        return float((~self.selector(x)).double().mean())

    @torch.no_grad()
    def error_bound(self, x: Tensor) -> Tensor:
        r"""Bound how far each output is from the dense one, :math:`\sigma_{r+1} \lVert x \odot (1 - m) \rVert_2`.

        Parameters
        ----------
        x : Tensor of shape (..., in)

        Returns
        -------
        Tensor of float64 of shape (...)
            Bounds in the Euclidean norm, for the factors as they are stored. The rounding of the products, which the
            dense layer has, too, is not in it.
        """
        return self.sigma * x.masked_fill(self.selector(x), 0).double().norm(dim=-1)

    def certify(self, x: Tensor) -> RSparseCertificate:
        """Return the certificate of the error bound, measured on inputs of shape (..., in)."""
        return certify(self.weight, self.residual, self.selector, self.sigma, x)

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        """Return the dense layer again: weight and bias are those it was made of, bit by bit."""
        out, inputs = self.weight.shape
        made = nn.Linear(inputs, out, self.bias is not None, self.weight.device, self.weight.dtype)
        made.weight.copy_(self.weight)
        if self.bias is not None:
            made.bias.copy_(self.bias)
        return made.train(self.training)


def is_scaled(scaled: bool | None, rho: float) -> bool:
    """Return whether scores are multiplied by norms of columns."""
    given = (MISSING | FLAG).check("scaled", scaled)
    return rho < 1 if given is None else bool(given)


def check_linear(name: str, layer: nn.Module) -> nn.Module:
    """Return a linear layer.

    Raises
    ------
    ValueError
        If it is another module.
    """
    if not isinstance(layer, nn.Linear) and not is_transposed(layer):
        raise ValueError(f"{name} must be a linear layer; got {type(layer).__name__}")
    return layer
