"""One layer pruned on the Gram matrix of its inputs, by any of the methods of this room."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, JOBS, MISSING, SIZE, Choice
from sparsetheory.gpu.core.gram import Gram, as_gram
from sparsetheory.gpu.core.patterns import Pattern, as_pattern
from sparsetheory.gpu.weights.layerwise.certificate import LayerwiseCertificate, certify
from sparsetheory.gpu.weights.layerwise.damping import choose_delta, damped
from sparsetheory.gpu.weights.layerwise.dispatch import METHODS, STARTS, Settings
from sparsetheory.gpu.weights.layerwise.least_squares import refit as refit_on
from sparsetheory.gpu.weights.layerwise.pruned import check_weight
from sparsetheory.gpu.weights.layerwise.search.blockwise import LONGEST_ROW

__all__ = ["LayerwiseResult", "layerwise_prune"]


@dataclass(frozen=True, eq=False)
class LayerwiseResult:
    """A pruned layer.

    Parameters
    ----------
    weight : Tensor of shape (out, p)
        The new weight, in the dtype and on the device of the old one; zero where `mask` is False.
    mask : Tensor of bool, of the same shape
        What is kept.
    objective : Tensor of shape (out,)
        ``(w - s)' H (w - s)`` of every row, with the damped H; float64.
    relative_error : float
        ``tr((W - S) G (W - S)') / tr(W G W')`` with the undamped G: the squared error of the outputs on the calibration
        data, relative to the outputs.
    n_swaps : Tensor of shape (out,)
        Swaps done in every row, 0 for methods that do none.
    delta : float
        Damping of the objective, ``H = G + delta diag(G)``.
    method : str
    pattern : Pattern
    certificate : LayerwiseCertificate
    """

    weight: Tensor
    mask: Tensor
    objective: Tensor
    relative_error: float
    n_swaps: Tensor
    delta: float
    method: str
    pattern: Pattern
    certificate: LayerwiseCertificate = field(repr=False)


def layerwise_prune(
    W: Tensor,
    gram: Gram | Tensor,
    pattern: Pattern | str,
    method: str = "swap",
    *,
    refit: bool | None = None,
    damping: float | str = "shards",
    start: str = "continuation",
    max_swaps: int | None = None,
    n_jobs: int | None = None,
) -> LayerwiseResult:
    """Prune a linear layer so that its outputs on calibration data change least.

    Each row w of the weight is replaced by an s of the pattern with a small ``(w - s)' G (w - s)``, where G is the Gram
    matrix of the inputs that all rows share: sparse linear regression of the outputs of the layer on its inputs. That
    formulation, and all methods but "swap" and the default start, are published; "swap" moves from mask to mask by
    exchanges priced with the exact least-squares refit, and ends where none helps.

    Parameters
    ----------
    W : Tensor of shape (out, p)
        Real floating-point numbers, on any device.
    gram : Gram, or Tensor of shape (p, p)
        Of the inputs, see :func:`sparsetheory.gpu.core.collect_grams`.
    pattern : Pattern or str
        What may be kept, or text such as ``"2:4"``. "swap" takes N:M, per-row counts, blocks of rows, and, by budgets
        across rows, whole tensors.
    method : str
        "magnitude"; "wanda" (Sun et al., 2306.11695); "sparsegpt" (Frantar and Alistarh, 2301.00774); "admm" (Boza,
        2401.02938); "alps" (Meng et al., 2406.07831); "sparseswaps" from the mask of Wanda (Zimmer et al., 2512.10922);
        "obs", exact greedy backward elimination (Frantar et al., 2208.11580); "forward", greedy selection; "swap".
    refit : bool, optional
        Whether to end with the least-squares solution on the mask, for the damped objective. By default as the method
        is published; "obs", "forward" and "swap" always end there.
    damping : float or "shards"
        Delta of the damped objective, at least 0, or "shards": chosen by leaving out shards of the calibration data;
        0.01 where there is one shard. Published methods have their own damping; without a refit "shards" means 0 here.
    start : str
        Mask that "swap" starts from: "continuation" (ours, after ALPS), or the mask of another method.
    max_swaps : int, optional
        Most swaps in a row; no limit by default. With a limit the result need not be optimal against swaps.
    n_jobs : int, optional
        Threads, over rows; -1 takes every core. Results do not depend on it.

    Returns
    -------
    LayerwiseResult

    Raises
    ------
    TypeError
        If `W` is not a tensor of real floating-point numbers.
    ValueError
        If the Gram matrix does not fit or is not symmetric and finite, the method cannot produce the pattern, or its
        weights are too large for the dtype of `W`.

    Notes
    -----
    "swap" takes O(k^2 p) operations for the start of a row with k nonzeros of p, and O(p^2) per swap. Inputs that are
    always zero get weight zero.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM, Gram
    >>> X = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)).cumsum(1)
    >>> W = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    >>> gram = Gram.of(X)
    >>> swap, wanda = (layerwise_prune(W, gram, NM(2, 4), method) for method in ("swap", "wanda"))
    >>> swap.relative_error < wanda.relative_error, swap.certificate.check(W, X).valid
    (True, True)
    """
    pattern = as_pattern(pattern)
    dense = check_weight(W)
    if dense.numel() == 0:
        raise ValueError(f"W must have at least 1 entry; got shape {tuple(W.shape)}")
    pattern.check_shape(W.shape, name="W")
    collected = as_gram(gram, W.shape[1]).to(W.device)
    settings = Settings(
        start=Choice(*STARTS).check("start", start),
        max_swaps=(MISSING | SIZE).check("max_swaps", max_swaps),
        n_jobs=JOBS.check("n_jobs", n_jobs),
    )
    found = METHODS[Choice(*METHODS).check("method", method)]
    (MISSING | FLAG).check("refit", refit)
    # Without a refit there is nothing to damp: the objective is the plain error, unless a number was given.
    refits = found.refits or bool(refit)
    problem = choose_delta(dense, collected, pattern, damping if refits or damping != "shards" else 0.0)
    pruned = found.prune(dense, problem, pattern, settings)
    weight = pruned.weight if found.refits or not refit else refit_on(dense, problem.damped, pruned.mask)
    weight = torch.where(pruned.mask, weight, 0.0).to(W.dtype)
    if not bool(torch.isfinite(weight).all()):
        raise ValueError(f"W must have a wider dtype than {W.dtype}, whose numbers {method} exceeds")
    difference = dense - weight.to(torch.float64)
    # In longer rows swaps are tried inside blocks of columns only.
    swap_optimal = found.swaps and max_swaps is None and W.shape[1] <= LONGEST_ROW
    return LayerwiseResult(
        weight=weight,
        mask=pruned.mask,
        objective=_quadratic(difference, damped(problem.gram, problem.delta)),
        relative_error=relative_error(W, weight, problem.gram),
        n_swaps=pruned.n_swaps if pruned.n_swaps is not None else torch.zeros(len(W), dtype=torch.int64),
        delta=problem.delta,
        method=method,
        pattern=pattern,
        certificate=certify(
            W,
            weight,
            pruned.mask,
            problem.gram,
            pattern,
            problem.delta,
            refitted=refits,
            swap_optimal=swap_optimal,
        ),
    )


def relative_error(W: Tensor, weight: Tensor, gram: Gram | Tensor) -> float:
    """Return the squared error of the outputs of a pruned layer, relative to the outputs of the dense one.

    Parameters
    ----------
    W, weight : Tensor of shape (out, p)
        Dense and pruned weight.
    gram : Gram, or Tensor of shape (p, p)
        Of the inputs on which to compare, such as fresh ones.

    Returns
    -------
    float
        ``tr((W - S) G (W - S)') / tr(W G W')``; 0 where the dense outputs are zero.

    Examples
    --------
    Without the second of two equal and independent inputs half of the output is gone:

    >>> import torch
    >>> relative_error(torch.ones(1, 2), torch.tensor([[1.0, 0.0]]), torch.eye(2))
    0.5
    """
    matrix = as_gram(gram, W.shape[-1]).matrix.to(W.device)
    dense = W.detach().to(torch.float64)
    whole = float(_quadratic(dense, matrix).sum())
    return float(_quadratic(dense - weight.detach().to(torch.float64), matrix).sum()) / whole if whole > 0 else 0.0


def _quadratic(rows: Tensor, matrix: Tensor) -> Tensor:
    # Where a row has hardly any error, rounding may make it negative.
    return ((rows @ matrix) * rows).sum(1).clamp_(min=0.0)
