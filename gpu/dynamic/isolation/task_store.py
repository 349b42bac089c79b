"""What tasks leave behind: one dense copy of all weights, and for each task a mask and the tensors without masks."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.effective_weights import effective_weights
from sparsetheory.gpu.core.hooks.steps import parameters_of
from sparsetheory.gpu.core.layers import find_layers, weight_name
from sparsetheory.gpu.core.masks import MaskSet, check_alike
from sparsetheory.gpu.core.named_weights import stored

__all__ = ["TaskRecord", "TaskStore"]


@dataclass(frozen=True, eq=False)
class TaskRecord:
    """What one finished task needs to be as it was.

    Parameters
    ----------
    masks : MaskSet
        Of its weights.
    others : dict of str to Tensor
        All else that training changes, without masks: biases, normalisation and its running statistics.
    trajectory : list of tuple
        Of its controller; see :attr:`TopologyController.trajectory`.
    probe : Any
        A batch, if one was kept.
    response : Tensor or None
        Output for that batch when the task ended.
    """

    masks: MaskSet
    others: dict[str, Tensor]
    trajectory: list[tuple[Any, ...]]
    probe: Any = None
    response: Tensor | None = None


class TaskStore:
    """Weights by task, beside a model that holds those of one task.

    Masked weights lie here once. An entry that a task has used never changes again; the others are what a new task
    starts from. What has no mask is kept for each task.

    Parameters
    ----------
    model : torch.nn.Module
    weights : mapping of str to Tensor
        Parameters under masks, by the names of weights.
    parameters : mapping of str to Tensor
        Other parameters that are trained, by name.
    buffers : sequence of str
        Names of buffers.
    """

    def __init__(
        self, model: nn.Module, weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor], buffers: Sequence[str]
    ) -> None:
        self._model, self.weights, self._parameters, self._buffers = model, dict(weights), dict(parameters), buffers
        self.values = {name: weight.detach().clone() for name, weight in weights.items()}
        self.used = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        self.initial = {name: tensor.detach().clone() for name, tensor in self.others().items()}
        self.records: dict[Hashable, TaskRecord] = {}

    @classmethod
    def of(cls, model: nn.Module, optimizer: Optimizer, layers: str | Sequence[str]) -> "TaskStore":
        """Make the store for what an optimiser trains of a model, with masks for these layers.

        Raises
        ------
        ValueError
            If layers name none, or the optimiser trains none of them.
        """
        trained = {id(parameter) for parameter in parameters_of(optimizer)}
        known = effective_weights(model)
        names = dict.fromkeys(known.resolve(weight_name(layer), "layers") for layer in find_layers(model, layers))
        weights = {name: stored(model, name) for name in names}
        weights = {name: weight for name, weight in weights.items() if id(weight) in trained}
        if not weights:
            raise ValueError(f"optimizer must train at least one of {', '.join(names)}; it has none of them")
        free = trained - {id(weight) for weight in weights.values()}
        parameters = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in free}
        # Buffers that are not saved with a model are no memory of its training.
        saved = model.state_dict().keys()
        return cls(model, weights, parameters, [name for name, _ in model.named_buffers() if name in saved])

    def others(self) -> dict[str, Tensor]:
        """Return parameters without masks and buffers, as they are now; a buffer may be another tensor each time."""
        return {**self._parameters, **{name: self._model.get_buffer(name) for name in self._buffers}}

    def trainable(self) -> list[Tensor]:
        """Return all parameters that belong to tasks."""
        return [*self.weights.values(), *self._parameters.values()]

    def placed(self, batch: Any) -> Any:
        """Return a copy of a batch on the device of the first weight, in containers that any checkpoint may hold."""
        if isinstance(batch, Tensor):
            return batch.detach().to(next(iter(self.weights.values())).device, copy=True)
        if isinstance(batch, Mapping):
            return {key: self.placed(part) for key, part in batch.items()}
        if isinstance(batch, list | tuple):
            return tuple(self.placed(part) for part in batch)
        return batch

    def check(self, trained: set[int]) -> None:
        """Raise RuntimeError if parameters of the model are others than at construction.

        Parameters
        ----------
        trained : set of int
            Identities of the parameters of the optimiser.
        """
        known = {id(tensor) for tensor in self.trainable()}
        added = [name for name, p in self._model.named_parameters() if id(p) in trained and id(p) not in known]
        gone = [name for name, p in self.weights.items() if stored(self._model, name) is not p or id(p) not in trained]
        own = {id(p) for p in self._model.parameters()}
        gone += [name for name, p in self._parameters.items() if id(p) not in own or id(p) not in trained]
        kept = {**self.weights, **self._parameters}
        copies = {**self.values, **{name: self.initial[name] for name in self._parameters}}
        moved = [name for name, p in kept.items() if (p.device, p.dtype) != (copies[name].device, copies[name].dtype)]
        if added or gone or moved:
            raise RuntimeError(
                "parameters must be those that model and optimizer had at construction, on their device and of their "
                f"dtype: {', '.join([*gone, *added, *moved])} changed; make the isolation after all such changes"
            )

    def start(self, masks: Mapping[str, Tensor]) -> None:
        """Write what a new task starts from into the model."""
        self._write(masks, self.initial)

    def keep(self, task_id: Hashable, record: TaskRecord) -> None:
        """Take over the weights of a finished task from the model; used entries stay as they are.

        Raises
        ------
        RuntimeError
            If weights off the masks are not zero, or a used entry has moved: something other than the optimiser has
            written to them.
        """
        for name, mask in record.masks.items():
            weight, held = self.weights[name].detach(), mask & self.used[name]
            n_off = int(torch.count_nonzero(weight[~mask]))
            n_moved = int(torch.count_nonzero(weight[held] != self.values[name][held]))
            if n_off or n_moved:
                raise RuntimeError(
                    f"{name} must be zero off its mask and keep what earlier tasks use; {n_off} entries are not zero "
                    f"and {n_moved} have moved: it was changed by something else than the optimiser of the isolation"
                )
        for name, mask in record.masks.items():
            new = mask & ~self.used[name]
            self.values[name] = torch.where(new, self.weights[name].detach(), self.values[name])
            self.used[name] = self.used[name] | mask
        self.records[task_id] = record

    def forget_unused(self) -> None:
        """Let later tasks start from zeros."""
        self.values = {name: torch.where(self.used[name], value, 0) for name, value in self.values.items()}

    @contextmanager
    def showing(self, record: TaskRecord) -> Iterator[None]:
        """Hold the weights of a task in the model, and put back what was there."""
        before = {name: weight.detach().clone() for name, weight in self.weights.items()}
        others = {name: tensor.detach().clone() for name, tensor in self.others().items()}
        try:
            self._write(record.masks, record.others)
            yield
        finally:
            with torch.no_grad():
                for name, weight in self.weights.items():
                    weight.copy_(before[name])
                self._write_others(others)

    def _write(self, masks: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(torch.where(masks[name], self.values[name], 0))
            self._write_others(others)

    def _write_others(self, others: Mapping[str, Tensor]) -> None:
        for name, tensor in self.others().items():
            tensor.copy_(others[name])

    def state_dict(self) -> dict[str, Any]:
        """Return all that tasks left behind; tensors are not copied, and not changed by later tasks."""
        records = [
            {
                "task_id": task_id,
                "masks": dict(record.masks),
                "others": record.others,
                "trajectory": record.trajectory,
                "probe": record.probe,
                "response": record.response,
            }
            for task_id, record in self.records.items()
        ]
        values, used = dict(self.values), dict(self.used)
        return {"values": values, "used": used, "initial": dict(self.initial), "records": records}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; tensors go to the devices of their parameters."""
        check_alike("state", state["values"], self.values, "the masked weights")
        check_alike("state", state["initial"], self.initial, "parameters without masks, and buffers")
        like = {**self.weights, **self.others()}

        def there(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(like[name].device) for name, tensor in tensors.items()}

        self.values, self.used, self.initial = (there(state[key]) for key in ("values", "used", "initial"))
        self.records = {
            kept["task_id"]: TaskRecord(
                MaskSet(there(kept["masks"])),
                there(kept["others"]),
                [tuple(entry) for entry in kept["trajectory"]],
                self.placed(kept["probe"]),
                self.placed(kept["response"]),
            )
            for kept in state["records"]
        }
