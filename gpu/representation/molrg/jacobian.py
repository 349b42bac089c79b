"""The numerical rank of a Jacobian."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparsetheory.constraints import Real
from sparsetheory.gpu.solvers.arguments import finite_tensor, working_dtype

__all__ = ["jacobian_rank"]


def jacobian_rank(f: Callable[[Tensor], Tensor], x: Tensor, fraction: float = 0.99) -> int:
    r"""Return how many singular values of a Jacobian hold almost all of its Frobenius norm.

    Parameters
    ----------
    f : callable
        From a tensor of the shape of `x` to a tensor, by operations that torch can differentiate.
    x : Tensor
        Where to differentiate: one point, in the shape that `f` takes.
    fraction : float
        Share of the norm, in (0, 1): the smallest r with
        :math:`(\sum_{i \le r} \sigma_i^2)^{1/2} > \text{fraction} \cdot \|J\|_F` is returned.

    Returns
    -------
    int
        Zero where the Jacobian is zero.

    Raises
    ------
    TypeError
        If `x` is no tensor of floating-point numbers.
    ValueError
        If `x` or the Jacobian is not finite, or `fraction` is out of range.

    Notes
    -----
    One backward pass for each entry of the output, all at once by :func:`torch.func.jacrev`, and one singular value
    decomposition. The rank of a denoiser at a noisy image is a measure of the dimension of the images near by.

    References
    ----------
    P. Wang, H. Zhang, Z. Zhang, S. Chen, Y. Ma, Q. Qu, "Diffusion models learn low-dimensional distributions via
    subspace clustering", arXiv:2409.02426.

    Examples
    --------
    >>> import torch
    >>> jacobian_rank(lambda x: torch.tensor([3.0, 1.0, 0.01]) * x, torch.ones(3))
    2
    """
    Real(0, 1, closed="neither").check("fraction", fraction)
    at = finite_tensor("x", x)
    if not at.numel():
        raise ValueError(f"x must have at least one entry; got shape {tuple(at.shape)}")
    jacobian = torch.func.jacrev(f)(at).reshape(-1, at.numel())
    if not bool(torch.isfinite(jacobian).all()):
        raise ValueError("the Jacobian of f at x must be finite; it holds NaN or infinity")
    squares = torch.linalg.svdvals(jacobian.to(working_dtype(jacobian))).square().double().cumsum(0)
    if not len(squares) or squares[-1] == 0:
        return 0
    return int((squares <= fraction**2 * squares[-1]).sum()) + 1
