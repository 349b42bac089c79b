"""What a sparse JEPA does after every step of an optimiser: its proximal step, and its moving average."""

from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.hooks.steps import StepHooks, parameters_of, step_is_skipped
from sparsetheory.gpu.representation.jepa.model import SparseJEPA

__all__ = ["JEPAController"]


class JEPAController(StepHooks):
    """Shrink the columns of a sparse JEPA after every optimiser step, and move its target encoder.

    The threshold is the learning rate of the step times ``model.alpha``, with Adam too: its preconditioner is left out
    of the proximal step, as usual. Where a step has no gradient of the columns, they do not shrink.

    It has no state of its own: ``model.state_dict()`` and that of the optimiser are all that a checkpoint needs.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of ``model.trained_parameters()``; any but LBFGS.
    model : SparseJEPA

    Raises
    ------
    ValueError
        If the optimiser does not train the columns, or trains the target encoder.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.representation import JEPAController, SparseJEPA
    >>> model = SparseJEPA(torch.nn.Linear(2, 2), [[0], [1]], 0.5, 1.0, n_patches=2, n_latents=1, width=1)
    >>> _ = torch.nn.init.ones_(model.group_weights)
    >>> optimizer = torch.optim.SGD(model.trained_parameters(), lr=0.5)
    >>> controller = JEPAController(optimizer, model)
    >>> (0 * model.group_weights.sum()).backward()
    >>> optimizer.step()
    >>> model.group_weights.flatten().tolist()
    [0.75, 0.75]
    """

    def __init__(self, optimizer: Optimizer, model: SparseJEPA) -> None:
        Instance(SparseJEPA, "a SparseJEPA").check("model", model)
        known = {id(parameter) for parameter in parameters_of(optimizer)}
        if id(model.group_weights) not in known:
            raise ValueError("optimizer must train model.group_weights; got one that does not")
        if any(id(parameter) in known for parameter in model.target_encoder.parameters()):
            raise ValueError("optimizer must leave the target encoder alone; give it model.trained_parameters()")
        self.model = model
        super().__init__(optimizer)

    def before_step(self) -> None:
        """Nothing is needed before a step."""

    def after_step(self) -> None:
        """Shrink the columns and move the target encoder."""
        if step_is_skipped(self.optimizer):
            return
        if self.model.group_weights.grad is not None:
            self.model.shrink(self._learning_rate())
        self.model.update_target()
        self.model.step += 1

    def _learning_rate(self) -> float | Tensor:
        for group in self.optimizer.param_groups:
            if any(parameter is self.model.group_weights for parameter in group["params"]):
                rate: float | Tensor = group["lr"]
                return rate
        raise ValueError("optimizer must train model.group_weights; got one that does not any more")
