"""Predictions that average over the weights of a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, Choice
from sparsetheory.gpu.bayesian.layers.modes import sampling, variational_layers
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.recording import call_on

__all__ = ["MonteCarloPrediction", "predict_mc"]


@dataclass(frozen=True, eq=False)
class MonteCarloPrediction:
    """What a network with random weights predicts, over several drawn sets of weights.

    Parameters
    ----------
    mean : Tensor of float64 of shape (n, ..., n_outputs)
        Mean of the probabilities of the classes, or of the outputs themselves.
    variance : Tensor of float64 of the same shape
        Variance of the same over the sets of weights, the mean of squared distances from the mean.
    entropy : Tensor of float64 of shape (n, ...), or None
        Of the mean probabilities, in nats: how uncertain a prediction is; None for outputs that are no classes.
    mutual_information : Tensor of float64 of shape (n, ...), or None
        Of class and weights, in nats: entropy minus the mean entropy under single sets of weights. It is the part of
        the uncertainty that knowledge of the weights would remove.
    """

    mean: Tensor
    variance: Tensor
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None


def predict_mc(
    model: nn.Module,
    x: Any,
    n_samples: int = 20,
    generator: torch.Generator | int | None = None,
    *,
    outputs: str = "logits",
    batch_size: int | None = None,
) -> MonteCarloPrediction:
    """Average the predictions of a network over drawn weights.

    Each set of weights is drawn once and predicts all inputs, whatever the batches and however often layers are called.
    So predictions of several inputs may be combined, and with a seed they do not depend on `batch_size`.

    Parameters
    ----------
    model : torch.nn.Module
        With layers with normal weights, as :func:`bayesianise` makes them. Run in evaluation mode and without
        gradients; modes, ways of sampling and generators are restored, also after an exception.
    x
        Inputs: a tensor, a tuple of positional arguments, or a mapping of keyword arguments.
    n_samples : int
        Sets of weights.
    generator : torch.Generator or int, optional
        Source of the weights on the CPU; by default the global one.
    outputs : {"logits", "values"}
        What the model returns: logits of classes along the last axis, whose softmax is averaged, or numbers to be
        averaged themselves, as in regression.
    batch_size : int, optional
        Rows that run together, where `x` is a tensor; by default all.

    Returns
    -------
    MonteCarloPrediction
        On the device of the outputs. For one set of weights variance and mutual information are 0.

    Raises
    ------
    ValueError
        If the model has no layer with normal weights or returns no tensor, or an argument is out of range.

    Notes
    -----
    Memory does not grow with `n_samples`; there is one more copy of the weights. The noise of the observations of a
    regression is not part of `variance`.

    References
    ----------
    .. [1] N. Houlsby, F. Huszar, Z. Ghahramani, M. Lengyel. Bayesian active learning for classification and preference
       learning. arXiv 1112.5745, 2011 (the mutual information).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> model = bayesianise(nn.Sequential(nn.Linear(4, 3)), 1.0, sigma_init=(1.0, 0.0), generator=0)
    >>> found = predict_mc(model, torch.ones(5, 4), generator=1)
    >>> found.mean.shape, bool((found.mutual_information <= found.entropy).all())
    (torch.Size([5, 3]), True)
    """
    COUNT.require(n_samples=n_samples)
    (MISSING | COUNT).require(batch_size=batch_size)
    Choice("logits", "values").require(outputs=outputs)
    if not variational_layers(model):
        raise ValueError("model must have layers with normal weights, as bayesianise makes them; got none")
    batches = list(x.split(batch_size)) if batch_size is not None and isinstance(x, Tensor) else [x]
    classes = outputs == "logits"
    mean = variance = entropies = torch.zeros(())
    source = cpu_generator(generator)
    with in_mode(model, training=False), torch.no_grad(), sampling(model, "mean", source):
        for count, found in enumerate(_drawn(model, batches, n_samples, classes), start=1):
            # Welford's sums: squares would cancel where outputs are large and vary little.
            step = found - mean
            mean = mean + step / count
            variance = variance + (step * (found - mean) - variance) / count
            entropies = entropies + (_entropy(found) - entropies) / count if classes else entropies
    if not classes:
        return MonteCarloPrediction(mean, variance)
    entropy = _entropy(mean)
    return MonteCarloPrediction(mean, variance, entropy, (entropy - entropies).clamp_min(0))


def _drawn(model: nn.Module, batches: list[Any], n_samples: int, classes: bool) -> Iterator[Tensor]:
    """Yield the predictions of all batches under one set of weights after another, in double precision."""
    for _ in range(n_samples):
        # In the place of the means, so that layers which are called several times have one set of weights, and code
        # that reads weights without a call of their layer finds them too.
        weights = {
            f"{name}.weight".lstrip("."): layer.draw_weight() for name, layer in variational_layers(model).items()
        }

        def run(*args: Any, weights: dict[str, Tensor] = weights, **kwargs: Any) -> Any:
            return torch.func.functional_call(model, weights, args, kwargs, tie_weights=False)

        yield torch.cat([_values(call_on(run, batch), classes) for batch in batches])


def _values(output: Any, classes: bool) -> Tensor:
    values = getattr(output, "logits", output)
    if not isinstance(values, Tensor):
        raise ValueError(f"model must return a tensor, or an output that has logits; got {type(output).__name__}")
    return values.double().softmax(-1) if classes else values.double()


def _entropy(probs: Tensor) -> Tensor:
    return -torch.special.xlogy(probs, probs).sum(-1)
