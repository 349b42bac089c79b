"""The sparsest change of a layer that has the effect of an update on calibration data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import Choice, Real
from sparsetheory.gpu.core.gram import Gram, as_gram
from sparsetheory.gpu.core.patterns import PerTensor
from sparsetheory.gpu.weights.layerwise.certificate import LayerwiseCertificate
from sparsetheory.gpu.weights.layerwise.one_layer import LayerwiseResult, layerwise_prune

__all__ = ["SparsestUpdate", "sparsest_update"]


@dataclass(frozen=True, eq=False)
class SparsestUpdate:
    """A sparse change of a weight that does what the whole change does.

    Parameters
    ----------
    change : Tensor of shape (out, p)
        To be added to the weight before; zero off the mask.
    mask : Tensor of bool, of the same shape
        The entries that change.
    relative_error : float
        Squared error of the change of the outputs on the calibration data, relative to that change.
    n_changed : int
        Entries that the whole change moved.
    certificate : LayerwiseCertificate
        Verifies the coefficients and the error, with the whole change as the weight.
    """

    change: Tensor
    mask: Tensor
    relative_error: float
    n_changed: int
    certificate: LayerwiseCertificate

    @property
    def n_nonzero(self) -> int:
        """Entries of the sparse change."""
        return int(self.mask.sum())


def sparsest_update(
    before: Tensor, after: Tensor, gram: Gram | Tensor, tol: float = 0.01, *, method: str = "forward"
) -> SparsestUpdate:
    r"""Find few entries of a layer that, refitted, change its outputs as fine-tuning did.

    With :math:`D` the change of the weight, inputs X and :math:`G = X'X`, a sparse E is sought with
    :math:`\mathrm{tr}((D - E) G (D - E)') \le \mathrm{tol}\, \mathrm{tr}(D G D')`: sparse regression of the changes of
    the outputs on the inputs. The number of entries is found by halving an interval, so the result meets the
    tolerance; neither the search nor the method promises that no smaller one does.

    Parameters
    ----------
    before, after : Tensor of shape (out, p)
        Weight of a linear layer before and after fine-tuning.
    gram : Gram, or Tensor of shape (p, p)
        Of the inputs of the layer, see :func:`sparsetheory.gpu.core.collect_grams`.
    tol : float
        Squared error that is allowed, as a share of the change of the outputs; above 0, below 1.
    method : {"forward", "obs", "swap"}
        Of :func:`sparsetheory.gpu.weights.layerwise_prune`: greedy selection, greedy elimination, or exchanges after
        a start, the slowest.

    Returns
    -------
    SparsestUpdate

    Raises
    ------
    ValueError
        If shapes do not fit, or an argument is out of range.

    Notes
    -----
    One run of the method for each halving, so about log2 of the number of entries.

    Examples
    --------
    The two inputs are equal, so one of the two entries does for both:

    >>> import torch
    >>> before, after = torch.zeros(1, 2), torch.tensor([[1.0, 1.0]])
    >>> found = sparsest_update(before, after, torch.ones(2, 2))
    >>> found.n_nonzero, found.n_changed, float(found.change.sum())
    (1, 2, 2.0)
    """
    Real(0.0, 1.0, closed="neither").check("tol", tol)
    Choice("forward", "obs", "swap").check("method", method)
    if before.ndim != 2 or before.shape != after.shape:
        shapes = f"{tuple(before.shape)} and {tuple(after.shape)}"
        raise ValueError(f"before and after must be two matrices of one shape; got {shapes}")
    change = after.detach().to(torch.float64) - before.detach().to(after.device, torch.float64)
    collected = as_gram(gram, change.shape[1])

    def pruned(n_nonzero: int) -> LayerwiseResult:
        return layerwise_prune(change, collected, PerTensor(n_nonzero=n_nonzero), method, damping=0.0)

    found, n_changed = _fewest(pruned, change.numel(), tol), int(change.count_nonzero())
    mask = found.mask & (found.weight != 0)
    return SparsestUpdate(found.weight, mask, found.relative_error, n_changed, found.certificate)


def _fewest(pruned: Callable[[int], LayerwiseResult], n_entries: int, tol: float) -> LayerwiseResult:
    """Return the result of the fewest entries that halving an interval finds within the tolerance."""
    too_few, enough = -1, n_entries
    best = pruned(n_entries)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        found = pruned(middle)
        if found.relative_error <= tol:
            best, enough = found, middle
        else:
            too_few = middle
    return best
