"""Search for the norm below which the neurons of a layer may be left out."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE, Choice
from sparsetheory.gpu.activations.sparsing_law.cumulative_errors import truncations
from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons

__all__ = ["N_CANDIDATES", "LayerSearch", "cett_threshold", "scanned"]

# Candidates of a layer, from the least norm to this quantile of all.
N_CANDIDATES, _HIGHEST = 65_536, 0.99


def cett_threshold(h: Tensor, w_out: Tensor, target: float, method: str = "bisect") -> float:
    """Return a norm below which neurons may be left out, so that the mean of :func:`cett` stays within a target.

    Parameters
    ----------
    h : Tensor of shape (..., n_neurons)
        Hidden activations of real tokens, without padding.
    w_out : Tensor of shape (width, n_neurons)
        Weight of the down projection.
    target : float
        Largest mean relative error of the output, at least 0. Tokens whose output is zero take no part in the mean.
    method : {"bisect", "scan"}
        "bisect" tries 65 536 candidates between the least norm and the quantile 0.99 by bisection, as the paper does.
        The mean need not grow with the threshold, so this finds a place where it crosses the target: the next candidate
        exceeds it, but one further up may not. "scan" finds the largest threshold of all within the target, which
        leaves out the most neurons; infinity if all may go.

    Returns
    -------
    float
        Neurons of a norm below it are left out.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is NaN, or no token has an output.

    Notes
    -----
    With n tokens, bisection costs 16 products of ``n * width * n_neurons`` operations. The scan costs about three such
    products, but each number of its cumulative sums is written to memory and read again; it takes one token at a time,
    so that it needs ``width * n_neurons`` numbers in double precision. It suits some tens of tokens.

    Source: Y. Luo et al., "Sparsing Law", arXiv 2411.02335, and the authors' code; the scan is ours.

    Examples
    --------
    The mean falls again after it rose, so that both methods find what they look for:

    >>> import torch
    >>> from sparsetheory.gpu.activations import cett
    >>> w_out, h = torch.tensor([[1.0, -1.0, 1.0], [0.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.1, 5.0]])
    >>> [round(float(cett(h, w_out, eps)), 3) for eps in (0.9, 1.05, 1.2)]
    [0.0, 0.143, 0.014]
    >>> round(cett_threshold(h, w_out, 0.1), 3), round(cett_threshold(h, w_out, 0.1, "scan"), 3)
    (6.952, 7.071)
    >>> round(cett_threshold(h, w_out, 0.01), 3)
    1.0
    """
    NONNEGATIVE.require(target=target)
    Choice("bisect", "scan").require(method=method)
    neurons = Neurons.of(h, w_out)
    return scanned(neurons, target) if method == "scan" else LayerSearch(neurons).threshold(target)


@dataclass(frozen=True, eq=False)
class LayerSearch:
    """Bisection over the candidates of one layer; what was computed for one target is remembered for the next."""

    neurons: Neurons
    _means: dict[int, float] = field(default_factory=dict)

    @cached_property
    def candidates(self) -> Tensor:
        """Thresholds to try, growing, in the dtype of the norms, so that comparisons round nothing."""
        norms = self.neurons.norms
        return torch.linspace(float(norms.min()), _quantile(norms, _HIGHEST), N_CANDIDATES, dtype=norms.dtype)

    def threshold(self, target: float) -> float:
        """Return the candidate before one that exceeds the target, or the last one."""
        # The first candidate is the least norm: no neuron lies below it, so it is within every target. The official
        # search does not start from there, and returns the last candidate where all exceed the target.
        low, high = 0, N_CANDIDATES
        while high - low > 1:
            middle = (low + high) // 2
            if self._mean(middle) <= target:
                low = middle
            else:
                high = middle
        return float(self.candidates[low])

    def _mean(self, index: int) -> float:
        if index not in self._means:
            self._means[index] = self.neurons.mean_cett(float(self.candidates[index]))
        return self._means[index]


def scanned(neurons: Neurons, target: float) -> float:
    """Return the largest threshold whose mean error is within the target.

    The error of a token is a step function of the threshold, which changes right above each norm. So is the mean, and
    its steps are those of all tokens, sorted.
    """
    if target >= 1:
        return math.inf
    n_tokens = neurons.h.shape[0]
    found = [truncations(neurons, token) for token in range(n_tokens)]
    norms, order = torch.cat([one.norms for one in found]).sort(stable=True)
    steps = torch.cat([one.errors.diff() for one in found])[order]
    # What is below the norm with number j are those before it, but for norms equal to it: the first of them counts.
    below = torch.cat([steps.new_zeros(1), steps.cumsum(0)[:-1]]) / n_tokens
    first = torch.cat([norms.new_ones(1, dtype=torch.bool), norms[1:] > norms[:-1]])
    within = (first & (below <= target)).nonzero()
    return float(norms[within[-1, 0]])


def _quantile(values: Tensor, q: float) -> float:
    """Return a quantile between the two nearest entries; that of torch refuses more than 16 million entries."""
    flat = values.flatten()
    place = q * (flat.numel() - 1)
    low, high = (float(flat.kthvalue(1 + side).values) for side in (math.floor(place), math.ceil(place)))
    return low + (high - low) * (place - math.floor(place))
