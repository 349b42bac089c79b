"""Exact claims about scores of single weights at the start of training: SNIP and GraSP."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import Always

# Products of a few dozen numbers, each rounded some times; relative to the largest score.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Network:
    """A small network with smooth activations, and labelled data; all are drawn from a seed."""

    widths: tuple[int, ...]
    rows: int
    temperature: float
    rng_seed: int

    def model(self) -> Any:
        """Return the network in double precision."""
        return core.models.MLP(self.widths, activation="tanh", generator=self.rng_seed).double()

    def batch(self) -> tuple[Any, Any]:
        """Return inputs and classes."""
        rng = np.random.default_rng(self.rng_seed)
        labels = rng.integers(0, self.widths[-1], self.rows)
        return tensor(rng.standard_normal((self.rows, self.widths[0]))), tensor(labels)

    def loss(self, model: Any, parameters: dict[str, Any], half: tuple[Any, Any]) -> Any:
        """Return the loss on a part of the data with other weights."""
        import torch

        output = torch.func.functional_call(model, parameters, (half[0],))
        return core.class_loss(output / self.temperature, half[1])


def _networks() -> st.SearchStrategy[Network]:
    widths = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 3))
    return st.builds(Network, widths, st.integers(2, 9), st.sampled_from([1.0, 10.0, 200.0]), seeds)


def _named(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if name.endswith("weight")}


def _worst(found: dict[str, Any], wanted: dict[str, Any]) -> Measurement:
    largest = max(float(score.detach().abs().max()) for score in wanted.values())
    off = max(float((found[name] - wanted[name]).detach().abs().max()) for name in wanted)
    return Measurement(off, 0.0, scale=largest or 1.0)


def _mask_gradients(network: Network) -> dict[str, Any]:
    """Return the derivatives of the loss by masks of ones, by automatic differentiation."""
    import torch

    model = network.model()
    named = {name: weight.detach() for name, weight in _named(model).items()}
    masks = {name: torch.ones_like(weight, requires_grad=True) for name, weight in named.items()}
    inputs, labels = network.batch()
    output = torch.func.functional_call(model, {name: w * masks[name] for name, w in named.items()}, (inputs,))
    found = torch.autograd.grad(core.class_loss(output, labels), list(masks.values()))
    return {name: gradient.abs() for name, gradient in zip(masks, found, strict=True)}


def _snip(network: Network) -> Measurement:
    """Compare scores with the derivatives of the loss by a mask.

    With v = w m the chain rule gives dL/dm = w dL/dv, and v = w at m = 1.
    """
    return _worst(weights.snip_scores(network.model(), network.batch(), core.class_loss), _mask_gradients(network))


def _without_the_weight(network: Network) -> Measurement:
    """Take the gradient by the weight for the one by its mask."""
    import torch

    model = network.model()
    inputs, labels = network.batch()
    named = _named(model)
    gradients = torch.autograd.grad(core.class_loss(model(inputs), labels), list(named.values()))
    found = {name: gradient.abs() for name, gradient in zip(named, gradients, strict=True)}
    return _worst(found, _mask_gradients(network))


snip_score = Claim(
    name="weight_structure.snip_score",
    summary="The connection sensitivity of SNIP is the derivative of the loss by a mask on the weights.",
    statement=r"\Big|\frac{\partial L(w \odot m)}{\partial m}\Big|_{m=1} = |w \odot \nabla L(w)|",
    source=Source("Lee, Ajanthan, Torr (2019), SNIP", "equation 6", "1810.02340"),
    verdict=Always(_ROUNDING),
    instances=_networks,
    evaluate=_snip,
    near_miss=_without_the_weight,
)


def _curved(network: Network, use: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Return w times a vector that is made of an explicit Hessian matrix and the gradient."""
    import torch

    model = network.model()
    named = {name: weight.detach() for name, weight in _named(model).items()}
    sizes = [weight.numel() for weight in named.values()]
    inputs, labels = network.batch()
    middle = network.rows // 2
    halves = [(inputs[:middle], labels[:middle]), (inputs[middle:], labels[middle:])]

    def split(flat: Any) -> dict[str, Any]:
        parts = zip(named.items(), flat.split(sizes), strict=True)
        return {name: part.reshape(weight.shape) for (name, weight), part in parts}

    def loss(flat: Any) -> Any:
        return sum(network.loss(model, split(flat), half) for half in halves)

    flat = torch.cat([weight.reshape(-1) for weight in named.values()])
    gradient = torch.func.grad(loss)
    return split(flat * use(torch.func.jacrev(gradient)(flat), gradient(flat)))


def _grasp(network: Network) -> Measurement:
    """Compare scores with products with the Hessian as a matrix.

    The derivative of |g|^2 / 2 by the weights is H g. The derivative of the number z = v g, for a constant v, is H v,
    so a second backward pass at v = g gives it without the matrix.
    """
    found = weights.grasp_scores(
        network.model(), network.batch(), core.class_loss, n_per_class=None, temperature=network.temperature
    )
    return _worst(found, _curved(network, lambda hessian, gradient: hessian @ gradient))


def _diagonal_only(network: Network) -> Measurement:
    """Leave out how weights act together."""
    diagonal = _curved(network, lambda hessian, gradient: hessian.diagonal() * gradient)
    return _worst(diagonal, _curved(network, lambda hessian, gradient: hessian @ gradient))


grasp_score = Claim(
    name="weight_structure.grasp_score",
    summary="The score of GraSP, from two backward passes, is the product with the Hessian of both halves of the data.",
    statement=r"w \odot H g = \tfrac{1}{2}\, w \odot \nabla \|\nabla L(w)\|^2",
    source=Source("Wang, Zhang, Grosse (2020), GraSP", "algorithm 2", "2002.07376", "authors' code"),
    verdict=Always(_ROUNDING),
    instances=_networks,
    evaluate=_grasp,
    near_miss=_diagonal_only,
)
