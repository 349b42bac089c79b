"""Few of many candidate directions, chosen by what they gain together."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.solvers.matching_pursuit import omp_gram

__all__ = ["greedy_directions"]


def greedy_directions(gradients: Tensor, n_nonzero: int) -> Tensor:
    r"""Choose the directions of a subspace that lower the losses of samples best together; experimental.

    Sample i has the gradient :math:`g_i \in R^d` in the coordinates of a :class:`SubspaceModel`. A step t changes its
    loss by about :math:`g_i^\top t`. Orthogonal matching pursuit looks for few coordinates with which all losses fall
    alike, :math:`\min_t \sum_i (g_i^\top t + 1)^2`, from the Gram matrix of the gradients. A direction with a large
    mean gradient and little spread over samples comes first; one that repeats what was chosen does not come again.

    Parameters
    ----------
    gradients : Tensor of shape (n_samples, n_components)
        One row for each sample or batch.
    n_nonzero : int
        Directions to choose, at most `n_components`.

    Returns
    -------
    Tensor of bool of shape (n_components,)
        The directions; fewer if these explain the gradients already. With
        :class:`sparsetheory.gpu.core.UpdateGate` the others are frozen: ``UpdateGate(optimizer, {model.t: ~mask})``.

    Raises
    ------
    ValueError
        If `gradients` is no matrix of finite floating-point numbers, or there are fewer directions than asked for.

    Notes
    -----
    ``n_samples * n_components**2`` operations for the Gram matrix, then those of
    :func:`sparsetheory.gpu.solvers.omp_gram`.

    Choosing a subspace from gradients is ours. It differs from a random subspace, where t may be dense, and from
    compressed sensing, where the same P measures a sparse change of all D parameters.

    Examples
    --------
    The third direction repeats the first, which has more spread than the second:

    >>> import torch
    >>> gradients = torch.tensor([[1.0, 2.0, 1.0], [3.0, 2.0, 3.0]])
    >>> greedy_directions(gradients, 1)
    tensor([False,  True, False])
    """
    COUNT.require(n_nonzero=n_nonzero)
    if not isinstance(gradients, Tensor) or gradients.ndim != 2 or not gradients.is_floating_point():
        got = tuple(gradients.shape) if isinstance(gradients, Tensor) else type(gradients).__name__
        raise ValueError(f"gradients must be a matrix of floating-point numbers; got {got}")
    if not bool(gradients.isfinite().all()):
        raise ValueError("gradients must be finite; got infinite entries or NaN")
    if n_nonzero > gradients.shape[1]:
        raise ValueError(f"n_nonzero must be at most the number of directions, {gradients.shape[1]}; got {n_nonzero}")
    rows = gradients.to(torch.float64)
    return omp_gram(rows.mT @ rows, rows.sum(dim=0), n_nonzero=n_nonzero) != 0
