"""The error of leaving out the smallest 0, 1, 2, ... neurons of one token: all of them at once, by cumulative sums."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons

__all__ = ["Truncations", "truncations"]


@dataclass(frozen=True, eq=False)
class Truncations:
    """Neurons of one token by growing norm, and the error without the first of them.

    Parameters
    ----------
    order : Tensor of int64 of shape (n_neurons,)
        Neurons by growing norm; the lowest index first where norms tie.
    norms : Tensor of shape (n_neurons,)
        Norms in that order.
    errors : Tensor of float64 of shape (n_neurons + 1,)
        Relative error of the output without the first 0, 1, 2, ... of them.
    """

    order: Tensor
    norms: Tensor
    errors: Tensor


def truncations(neurons: Neurons, token: int) -> Truncations:
    """Return the errors of one token. Memory and time of ``width * n_neurons``, in double precision.

    The last error is 1 without rounding, as nothing is left then.
    """
    norms, order = neurons.norms[token].sort(stable=True)
    sums = (neurons.w_out[:, order].double() * neurons.h[token, order].double()).cumsum(1)
    whole = sums[:, -1].norm()
    errors = torch.cat([sums.new_zeros(1), sums[:, :-1].norm(dim=0) / whole, sums.new_ones(1)])
    return Truncations(order, norms, errors)
