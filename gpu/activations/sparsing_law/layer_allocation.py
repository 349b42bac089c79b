"""One budget of active neurons for all layers: a threshold for each, so that errors are least together."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from sparsetheory.constraints import COUNT, FRACTION
from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons
from sparsetheory.gpu.core.budgets.choices import choose_options

__all__ = ["allocate_neurons"]


def allocate_neurons(
    hidden: Mapping[str, tuple[Tensor, Tensor]], density: float, *, n_options: int = 33
) -> dict[str, float]:
    """Choose a threshold on norms for each layer, so that few neurons are active and errors are small in sum.

    The same CETT in all layers is one way to share out a budget. Here each layer offers thresholds at evenly spaced
    shares of active neurons; its loss is the mean square of :func:`cett`, its cost the number of active neurons.
    One price on neurons for all layers then chooses (:func:`sparsetheory.gpu.core.choose_options`).

    Parameters
    ----------
    hidden : mapping of str to (Tensor, Tensor)
        Activations of shape (n_tokens, n_neurons) and weight of shape (width, n_neurons) of each layer, as
        :func:`hidden_activations` returns them.
    density : float
        Share of active neurons of all layers together, between 0 and 1; it is not exceeded.
    n_options : int
        Thresholds of each layer, from none active to all, at least 2.

    Returns
    -------
    dict of str to float
        Thresholds on norms: neurons below are left out. Infinity leaves out all.

    Raises
    ------
    ValueError
        If an argument is out of its range, or a layer has no output.

    Notes
    -----
    One product of ``n_tokens * width * n_neurons`` operations for each option of a layer. Errors are those of each
    layer by itself, in the dense model; how much an error of a layer matters to the model is not part of it.

    Examples
    --------
    Of the second layer two neurons make all of the output:

    >>> import torch
    >>> h = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    >>> hidden = {"first": (h, torch.eye(4)), "second": (h**4, torch.eye(4))}
    >>> allocate_neurons(hidden, 0.75, n_options=5)
    {'first': 1.0, 'second': 81.0}
    """
    FRACTION.require(density=density)
    if COUNT.check("n_options", n_options) < 2:
        raise ValueError(f"n_options must be at least 2; got {n_options!r}")
    thresholds, losses, costs = [], [], []
    for h, w_out in hidden.values():
        neurons = Neurons.of(h, w_out)
        options = _options(neurons, n_options)
        thresholds.append(options)
        losses.append([neurons.mean_square(eps) for eps in options])
        costs.append([float((neurons.norms >= eps).double().mean()) * h.shape[-1] for eps in options])
    total = sum(h.shape[-1] for h, _ in hidden.values())
    chosen = choose_options(losses, costs, density * total).options
    return {name: options[index] for name, options, index in zip(hidden, thresholds, chosen, strict=True)}


def _options(neurons: Neurons, n_options: int) -> list[float]:
    """Return norms that a share of 0, ..., all neurons reaches, falling; infinity for the first."""
    norms = neurons.norms.flatten().sort(descending=True).values
    places = np.linspace(0, norms.numel(), n_options).round().astype(int)[1:] - 1
    return [float("inf"), *(float(norms[place]) for place in places)]
