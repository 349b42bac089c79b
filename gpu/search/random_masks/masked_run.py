"""Training under fixed masks that can be continued, so that a search may pay for it step by step."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, POSITIVE
from sparsetheory.gpu.core.fit import class_loss, train
from sparsetheory.gpu.core.hooks.update_gate import UpdateGate
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.metrics import accuracy
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["Data", "MaskedRun", "check_data"]

Data = tuple[Tensor, Tensor]


class MaskedRun:
    """A copy of a model that is trained under masks with Adam, for as many more steps as a call asks for.

    Weights are zero off the masks, before training and after every step: the optimiser's updates of them are undone.
    Each call goes on where the last one stopped, with the moments of the optimiser.

    Parameters
    ----------
    model : torch.nn.Module
        The start; it is copied.
    masks : mapping of str to Tensor of bool
        By names of weights; others are dense.
    train_data, validation_data : tuple of (Tensor, Tensor)
        Inputs and labels, one row for each sample.
    lr : float
        Rate of Adam.
    batch_size : int, optional
        By default all rows at once. Every call starts an order of its own.
    loss : callable
        From outputs and labels to a scalar.
    generator : torch.Generator, int or None
        Source of the orders of the rows.

    Attributes
    ----------
    model : torch.nn.Module
        The copy, as far as it is trained.
    n_steps : int
        Steps done.

    Raises
    ------
    ValueError
        If data are empty or have differently many inputs and labels, or masks do not fit the model.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu import core, search
    >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> model = core.models.MLP([8, 32, 2])
    >>> run = search.MaskedRun(model, search.NodeSampler(0.5)(model, 0), (x[:100], y[:100]), (x[100:], y[100:]))
    >>> run(10) < run(90), run.n_steps
    (True, 100)
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Mapping[str, Tensor],
        train_data: Data,
        validation_data: Data,
        *,
        lr: float = 1e-2,
        batch_size: int | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = class_loss,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        check_data("train_data", train_data)
        check_data("validation_data", validation_data)
        POSITIVE.require(lr=lr)
        (MISSING | COUNT).require(batch_size=batch_size)
        self.model, self.n_steps = copy.deepcopy(model), 0
        kept = masks if isinstance(masks, MaskSet) else MaskSet(masks)
        kept.apply(self.model)
        self._data, self._validation = train_data, validation_data
        self._batch_size, self._loss, self._generator = batch_size, loss, cpu_generator(generator)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        frozen = {parameter: ~mask for parameter, mask in kept.by_parameter(self.model).items()}
        UpdateGate(self._optimizer, frozen)

    def __call__(self, n_steps: int) -> float:
        """Train for more steps, and return the accuracy on the validation data.

        Parameters
        ----------
        n_steps : int

        Returns
        -------
        float
        """
        inputs, labels = self._data
        train(
            self.model,
            inputs,
            labels,
            optimizer=self._optimizer,
            n_steps=n_steps,
            batch_size=self._batch_size,
            loss=self._loss,
            generator=self._generator,
        )
        self.n_steps += n_steps
        return self.accuracy()

    def accuracy(self) -> float:
        """Return the share of the validation data that the copy gets right now."""
        inputs, labels = self._validation
        with in_mode(self.model, training=False), torch.no_grad():
            return accuracy(self.model(inputs), labels)


def check_data(name: str, data: Data) -> None:
    """Raise ValueError unless data are inputs and labels, equally many and at least one."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"{name} must be a pair of inputs and labels; got {type(data).__name__}")
    inputs, labels = data
    if len(inputs) != len(labels) or not len(inputs):
        raise ValueError(
            f"{name} must have as many inputs as labels, at least 1; got {len(inputs)} inputs and {len(labels)} labels"
        )
