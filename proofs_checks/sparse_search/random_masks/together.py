"""Many small networks of one shape, trained as one: each layer of all of them is one batched product."""

from collections.abc import Sequence
from typing import Any

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.typing import Float64Array

__all__ = ["Together"]


class Together:
    """Networks that see the same batches of 100, each trained with Adam as if it were alone.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Multilayer perceptrons of equal widths.
    train : tuple of (Tensor, Tensor)
        Inputs and labels.
    lr : float
    """

    def __init__(self, networks: Sequence[Any], train: tuple[Any, Any], lr: float = 2e-3) -> None:
        import torch

        self._model, self._train = _stack(networks), train
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=lr)
        self._source = torch.Generator().manual_seed(0)

    def go(self, n_steps: int) -> "Together":
        """Train all of them for more steps."""
        with one_thread():
            core.train(
                self._model,
                *self._train,
                optimizer=self._optimizer,
                n_steps=n_steps,
                batch_size=100,
                loss=_summed_loss,
                generator=self._source,
            )
        return self

    def losses(self, data: tuple[Any, Any]) -> Float64Array:
        """Return the loss of each network on data."""
        import torch

        x, labels = data
        with torch.no_grad(), one_thread():
            return array(torch.stack([core.class_loss(output, labels) for output in self._model(x)]).double())

    def accuracies(self, data: tuple[Any, Any]) -> Float64Array:
        """Return the accuracy of each network on data."""
        import torch

        x, labels = data
        with torch.no_grad(), one_thread():
            return array((self._model(x).argmax(-1) == labels).double().mean(1))


def _stack(networks: Sequence[Any]) -> Any:
    import torch

    layers = [list(core.find_layers(network).values()) for network in networks]

    class Stacked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            columns = list(zip(*layers, strict=True))
            self.weights = torch.nn.ParameterList([torch.stack([one.weight.detach().T for one in c]) for c in columns])
            self.biases = torch.nn.ParameterList([torch.stack([one.bias.detach()[None] for one in c]) for c in columns])

        def forward(self, x: Any) -> Any:
            x = x.expand(len(self.weights[0]), -1, -1)
            for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                x = torch.baddbmm(bias, x.relu() if number else x, weight)
            return x

    return Stacked()


def _summed_loss(outputs: Any, labels: Any) -> Any:
    return core.class_loss(outputs, labels.expand(len(outputs), -1)) * len(outputs)
