"""A copy of the network with its prior, which every participant brings up to date from one message."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import SIZE
from sparsetheory.gpu.bayesian.layers.softplus import inverse_softplus
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.network import NetworkTurboVBI

__all__ = ["Replica"]

# Laws whose factors depend on the weights alone, and not on earlier factors: who was away has missed nothing.
_WITHOUT_MEMORY = {"iid", "chain_rows"}
_FIXED = ("factorisation", "dead_inputs", "update_every", "warmup_steps", "anneal_steps")


class Replica:
    """A model whose precisions follow from the weights that are on and from the number of the round.

    A weight that is off the support is zero in the products of the layers. In the divergence it has mean zero and
    variance ``off_rate / off_shape``, at which a weight that is surely off has the expected precision that is one over
    its variance. So nothing about it need be sent.

    Parameters
    ----------
    model : torch.nn.Module
        With normal weights at density 1.
    n_samples : int
        Rows of all clients.
    warmup_rounds, anneal_rounds : int
        As the steps of NetworkTurboVBI.
    options : mapping of str to object
        Further arguments of NetworkTurboVBI.

    Raises
    ------
    ValueError
        If an option does not suit clients that come and go.
    """

    def __init__(
        self, model: nn.Module, n_samples: int, warmup_rounds: int, anneal_rounds: int, options: Mapping[str, Any]
    ) -> None:
        fixed = [name for name in _FIXED if name in options]
        if fixed:
            raise ValueError(f"options must be those of the prior that rounds leave open; got {', '.join(fixed)}")
        self.model = model
        # What NetworkTurboVBI calls steps are rounds here, and they are counted by hand: this optimiser never steps.
        rounds = torch.optim.SGD(model.parameters(), lr=1.0)
        self.turbo = NetworkTurboVBI(
            model,
            rounds,
            n_samples=n_samples,
            warmup_steps=warmup_rounds,
            anneal_steps=anneal_rounds,
            update_every=1,
            **options,
        )
        iterated = {prior.structure for prior in self.turbo.priors.values()} - _WITHOUT_MEMORY
        if iterated:
            raise ValueError(
                f"prior must be independent states or chains; got {', '.join(sorted(iterated))}, whose messages start "
                "from those of earlier rounds, which a client may have missed"
            )
        self._warmup = warmup_rounds
        self._known = self.turbo.state_dict()
        self._layers = {name: one for name, one in model.named_modules() if isinstance(one, VariationalLayer)}
        # Constants such as the infinite entries of an attention mask are those of the copy, and cannot be averaged.
        self._buffers = [
            name for name, one in model.named_buffers() if one.is_floating_point() and bool(one.isfinite().all())
        ]
        self._weights = {_join(name, part): name for name in self._layers for part in ("weight", "rho")}

    @property
    def round(self) -> int:
        """Rounds done so far."""
        return self.turbo.n_steps

    @property
    def warm(self) -> bool:
        """Whether precisions are learned, as they are after the warm-up."""
        return self.round > self._warmup

    @property
    def supports(self) -> dict[str, Tensor]:
        """Which weights are on, by names of weights; copies."""
        return {_join(name, "weight"): layer.mask.clone() for name, layer in self._layers.items()}

    def values(self) -> dict[str, Tensor]:
        """Return copies of all that is averaged: entries on the support of weights, and all entries of other tensors.

        These are the parameters, and the buffers of floating point that were finite at the start.
        """
        found = {}
        for name, tensor in self._tensors().items():
            layer = self._weights.get(name)
            part = tensor.flatten() if layer is None else tensor[self._layers[layer].mask]
            found[name] = part.detach().clone()
        return found

    @torch.no_grad()
    def start_round(self, number: int, supports: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Take over supports and values, and set the factors of precisions and states to those of a round."""
        tensors = self._tensors()
        SIZE.check("round", number)
        self._check(supports, values, tensors)
        self.turbo.n_steps = number
        self._set_supports(supports)
        for name, tensor in tensors.items():
            layer, new = self._weights.get(name), values[name].to(tensor.device, tensor.dtype)
            if layer is None:
                tensor.copy_(new.reshape(tensor.shape))
            else:
                tensor[self._layers[layer].mask] = new
        if self.warm:
            self.turbo.update()
        else:
            # Whoever goes back to a round of the warm-up has learned precisions still.
            self.turbo.load_state_dict({**self._known, "n_steps": number})

    @torch.no_grad()
    def choose_supports(self, drop_below: float) -> None:
        """Keep the weights that are on with a probability above a threshold, and set the factors anew.

        Weights that enter start as what they are in the divergence while they are off.
        """
        chosen = self.turbo.masks(drop_below)
        if any(not torch.equal(chosen[name], mask) for name, mask in self.supports.items()):
            self._set_supports(chosen)
            self.turbo.update()

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters()) | {name: self.model.get_buffer(name) for name in self._buffers}

    def _set_supports(self, supports: Mapping[str, Tensor]) -> None:
        for name, layer in self._layers.items():
            layer.mask.copy_(supports[_join(name, "weight")])
            off = ~layer.mask
            std = (self.turbo.off_rate(name) / self.turbo.priors[name].off_shape) ** 0.5
            layer.weight[off] = 0.0
            layer.rho[off] = inverse_softplus(torch.tensor(std, dtype=torch.float64)).to(layer.rho)

    def _check(
        self, supports: Mapping[str, Tensor], values: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> None:
        """Raise unless supports and values are those of this model, before anything is changed."""
        shapes = {_join(name, "weight"): one.mask.shape for name, one in self._layers.items()}
        if not all(isinstance(one, Tensor) for one in (*supports.values(), *values.values())):
            raise ValueError("supports and values must hold tensors; got other objects")
        found = {name: mask.shape for name, mask in supports.items() if mask.dtype == torch.bool}
        if len(found) < len(supports) or found != shapes:
            raise ValueError(f"supports must be masks of the weights of the model, {sorted(shapes)}; got others")
        sizes = {}
        for name, tensor in tensors.items():
            layer = self._weights.get(name)
            sizes[name] = (tensor.numel() if layer is None else int(supports[_join(layer, "weight")].sum()),)
        if {name: tuple(value.shape) for name, value in values.items()} != sizes:
            raise ValueError("values must be one number per weight on the support; got other names, numbers or shapes")
        wrong = [name for name, value in values.items() if not bool(value.isfinite().all())]
        if wrong:
            raise ValueError(f"values must be finite; got others for {', '.join(wrong)}")


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
