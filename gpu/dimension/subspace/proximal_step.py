"""Sparse coordinates and few layers: a proximal step after each step of an optimiser."""

from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.hooks.steps import StepHooks, parameters_of, step_is_skipped
from sparsetheory.gpu.solvers.proximal import prox
from sparsetheory.penalties import Penalty

__all__ = ["ProximalStep"]

_PENALTY = Instance(Penalty, "a penalty of sparsetheory.penalties")


class ProximalStep(StepHooks):
    r"""Apply the proximal operator of a penalty to parameters after each step of their optimiser.

    With :class:`torch.optim.SGD` this is the proximal gradient method for the loss plus the penalty, with exact zeros.
    On the coordinates of a :class:`SubspaceModel` it gives a sparse update: with a sparse P most weights stay as they
    are. On its layer scales an l1 penalty chooses layers, as the whole change of a layer is a group that is multiplied
    by one scale: layers whose scale is 0 keep their pre-trained weights.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS. The step of the operator is the learning rate of the group that has the parameter. Adaptive
        methods, such as Adam, scale gradients and not the penalty, so they solve another problem than SGD.
    parameters : iterable of Tensor
        Parameters of the optimiser, ``[model.t]`` or ``[model.layer_scales]``. One without gradient is left alone.
    penalty : Penalty
        As ``sparsetheory.penalties.L1(0.1)``.

    Raises
    ------
    ValueError
        If the optimiser is LBFGS or does not have a parameter, or `penalty` is none.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.penalties import L1
    >>> t = torch.nn.Parameter(torch.tensor([1.0, 0.1]))
    >>> optimizer = torch.optim.SGD([t], lr=0.5)
    >>> proximal = ProximalStep(optimizer, [t], L1(0.4))
    >>> (0 * t).sum().backward()
    >>> optimizer.step()
    >>> t.detach()
    tensor([0.8000, 0.0000])
    """

    def __init__(self, optimizer: Optimizer, parameters: Iterable[Tensor], penalty: Penalty) -> None:
        self._parameters, self._penalty = list(parameters), _PENALTY.check("penalty", penalty)
        known = {id(parameter) for parameter in parameters_of(optimizer)}
        for index, parameter in enumerate(self._parameters):
            if id(parameter) not in known:
                raise ValueError(f"parameters must be those of the optimiser; number {index} is none of them")
        super().__init__(optimizer)

    def before_step(self) -> None:
        """Gradients stay as they are."""

    def after_step(self) -> None:
        """Apply the operator, unless the step was left out."""
        if step_is_skipped(self.optimizer):
            return
        rates = {id(one): float(group["lr"]) for group in self.optimizer.param_groups for one in group["params"]}
        for parameter in self._parameters:
            if parameter.grad is not None and rates[id(parameter)] > 0:
                parameter.copy_(prox(parameter, self._penalty, rates[id(parameter)]))
