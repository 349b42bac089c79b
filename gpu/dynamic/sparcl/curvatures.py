"""Second derivatives of a classification loss on the diagonal, without the curvature of the network itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT

__all__ = ["gauss_newton_diagonal"]


def gauss_newton_diagonal(
    model: nn.Module, inputs: Tensor, names: Sequence[str], batch_size: int = 32
) -> dict[str, Tensor]:
    """Return the diagonal of the Gauss-Newton matrix of the mean cross-entropy of a model.

    With the softmax p of the logits z, the second derivatives of the loss by w are those of the cross-entropy by z,
    carried back to w, plus a term with the curvature of the network, which is left out: sum over classes of
    ``p_c (dz_c/dw - sum_k p_k dz_k/dw)**2``. It does not depend on labels, is never negative, and is exact for a linear
    model. It is also the Fisher information.

    Parameters
    ----------
    model : torch.nn.Module
        From inputs to logits of shape (n, n_classes); its mode is used as it is. No row may depend on the others.
    inputs : Tensor of shape (n, ...)
        On the device of the model.
    names : sequence of str
        Names of parameters.
    batch_size : int
        Rows that go together. The Jacobian of a batch is held: batch_size times n_classes times parameters.

    Returns
    -------
    dict of str to Tensor
        Of the shapes of the parameters.

    Raises
    ------
    ValueError
        If there are no inputs or a name is not one of a parameter.

    Notes
    -----
    Time: n times n_classes backward passes.

    Examples
    --------
    For one weight and two classes with logits (w x, 0), it is the mean of ``p (1 - p) x**2``:

    >>> import torch
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.zero_()
    >>> gauss_newton_diagonal(model, torch.tensor([[2.0]]), ["weight"])["weight"]
    tensor([[1.],
            [1.]])
    """
    COUNT.check("batch_size", batch_size)
    if not len(inputs):
        raise ValueError("inputs must have at least 1 row; got none")
    own = {name: parameter.detach() for name, parameter in model.named_parameters()}
    unknown = [name for name in names if name not in own]
    if unknown:
        raise ValueError(f"names must be those of parameters; got {', '.join(unknown)}")
    chosen = {name: own[name] for name in names}

    def logits(part: dict[str, Tensor], row: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.func.functional_call(model, {**own, **part}, (row[None],))[0]
        return found, found

    jacobian = torch.func.vmap(torch.func.jacrev(logits, has_aux=True), in_dims=(None, 0))
    sums = {name: torch.zeros_like(parameter) for name, parameter in chosen.items()}
    for rows in inputs.split(batch_size):
        slopes, found = jacobian(chosen, rows)
        p = found.softmax(-1)
        for name, slope in slopes.items():
            wide = slope.flatten(2)
            centred = wide - (p.unsqueeze(1) @ wide)
            sums[name] += (p.unsqueeze(2) * centred.square()).sum((0, 1)).reshape(sums[name].shape)
    return {name: total / len(inputs) for name, total in sums.items()}
