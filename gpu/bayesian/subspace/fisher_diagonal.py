"""Second derivatives on the diagonal, from the backward passes that training makes anyway."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Instance, Real
from sparsetheory.gpu.core.layers import as_weight, find_layers, input_rows
from sparsetheory.gpu.solvers.arguments import in_memory_chunks, working_dtype

__all__ = ["FisherDiagonal"]

_DECAY = Real(0.0, 1.0, closed="left")
_MODEL = Instance(nn.Module, "a torch.nn.Module")


class FisherDiagonal:
    """A running mean of squared gradients of single samples, for the weights of layers, in units of one sample.

    For a loss that is a mean of negative log likelihoods, the mean of the squared gradients of its terms is the
    diagonal of the empirical Fisher matrix. It stands for the second derivatives of that mean loss; n over the
    temperature times it is what :func:`addition_score` needs for a gain in nats. It is dense: entries off a mask have
    it, too. Means of weights with normal laws have it as plain weights have, noise or not.

    Layers are watched from the start, until :meth:`remove`, or within a ``with`` block. Nothing else changes: neither
    outputs nor gradients.

    Parameters
    ----------
    model : torch.nn.Module
        Trained with the mean over the first axis of its inputs. Rows must not depend on each other, so no batch
        normalisation in training mode. Gradients must not be scaled, as a GradScaler does.
    layers : str or sequence of str
        Names or shell patterns, as :func:`sparsetheory.gpu.core.find_layers` takes them.
    decay : float
        Weight of the past in the mean, in [0, 1); 0 keeps the last batch alone.

    Raises
    ------
    ValueError
        If a name matches no layer or `decay` is not in [0, 1).

    Notes
    -----
    For a linear layer with one row per sample the mean is one product of matrices, of the squares of the gradients by
    the outputs with the squares of the inputs. With several rows per sample, tokens or the places of a convolution,
    their gradients are added before squaring, in chunks of bounded memory; time is that of a backward pass by the
    weights. Where a layer is called several times in a pass, products between calls are left out. Batches with
    infinite or undefined gradients are left out.

    References
    ----------
    Martens, "New insights and perspectives on the natural gradient method", JMLR 2020.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> with FisherDiagonal(model) as fisher:
    ...     errors = model(torch.eye(2)) - torch.tensor([[1.0], [2.0]])
    ...     (errors.square() / 2).mean().backward()
    >>> fisher.curvatures[""]
    tensor([[0.5000, 2.0000]])
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str] = "*", *, decay: float = 0.9) -> None:
        self._layers = find_layers(_MODEL.check("model", model), layers)
        self._decay = _DECAY.check("decay", decay)
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._passes: dict[str, int] = {}
        self._pass = 0
        self._handles = [model.register_forward_pre_hook(self._begin)]
        self._handles += [
            layer.register_forward_hook(self._watch(name), with_kwargs=True) for name, layer in self._layers.items()
        ]

    @property
    def curvatures(self) -> dict[str, Tensor]:
        """The means by the names of layers, of the shapes of their weights; only layers that have had a gradient."""
        return {name: total / self._weights[name] for name, total in self._sums.items() if self._weights[name] > 0}

    def remove(self) -> None:
        """Stop watching; what was gathered stays."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and their weights, which never change in place, as ``attach_state`` stores them."""
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises
        ------
        ValueError
            If it is of other layers.
        """
        unknown = [name for name in state["sums"] if name not in self._layers]
        if unknown:
            raise ValueError(f"state must be of layers that are watched; got {', '.join(unknown)}")
        self._sums, self._weights = dict(state["sums"]), dict(state["weights"])

    def _begin(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        self._pass += 1

    def _watch(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            # Copies of a model have its hooks, but are not watched.
            if layer is not self._layers[name] or not output.requires_grad:
                return
            # The layer itself keeps its input for the backward pass: holding it takes no more memory.
            x, number = (args[0] if args else next(iter(kwargs.values()))).detach(), self._pass
            output.register_hook(lambda gradient: self._add(name, layer, x, gradient, number))

        return hook

    @torch.no_grad()
    def _add(self, name: str, layer: nn.Module, x: Tensor, gradient: Tensor, number: int) -> None:
        new = as_weight(layer, _mean_square(*_rows(layer, x, gradient)))
        if name not in self._sums:
            self._sums[name] = torch.zeros_like(new)
            self._weights[name] = new.new_zeros(())
        again = self._passes.get(name) == number
        decay, share = (1.0, 0.0) if again else (self._decay, 1 - self._decay)
        # Asking for the answer on the host would wait for the device at every layer.
        usable = new.isfinite().all()
        total, weight = self._sums[name].to(new.device), self._weights[name].to(new.device)
        self._sums[name] = torch.where(usable, decay * total + (1 - self._decay) * new, total)
        self._weights[name] = torch.where(usable, decay * weight + share, weight)
        self._passes[name] = number


def _rows(layer: nn.Module, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and gradients by outputs, of shape (samples, places, features)."""
    rows = input_rows(layer, x)
    if isinstance(layer, nn.Conv2d):
        batched = gradient if gradient.ndim == 4 else gradient.unsqueeze(0)
        return rows, batched.flatten(2).mT
    samples = x.shape[0] if x.ndim > 1 else 1
    return rows.reshape(samples, -1, x.shape[-1]), gradient.reshape(samples, -1, gradient.shape[-1])


def _mean_square(rows: Tensor, gradients: Tensor) -> Tensor:
    """Return the mean over samples of the squared gradients of their terms, of shape (outputs, features)."""
    dtype = working_dtype(rows, gradients)
    rows, gradients = rows.to(dtype), gradients.to(dtype)
    samples, places, features = rows.shape
    # A term of a mean has the gradient of the mean times the number of terms: its square, averaged, has one factor.
    if places == 1:
        return samples * (gradients.squeeze(1).square().T @ rows.squeeze(1).square())
    total = rows.new_zeros(gradients.shape[-1], features)
    for part in in_memory_chunks(samples, rows.element_size() * total.numel(), rows.device):
        total += (gradients[part].mT @ rows[part]).square().sum(0)
    return samples * total
