"""How few neurons could make the output of each token within an error, if their coefficients were free."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import Choice, Real
from sparsetheory.gpu.activations.sparsing_law.cumulative_errors import truncations
from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons
from sparsetheory.gpu.solvers import omp_gram

__all__ = ["AttainableSupport", "cett_oracle"]

# A column of which less than this share is new counts as a combination of those before it.
_DEPENDENT = 1e-10
_ROUNDING = 1e-10
# Steps of the lasso path, and the least strength of the penalty as a share of the first.
_PATHS = ((33, 0.1), (66, 0.01), (99, 0.001))


@dataclass(frozen=True, eq=False)
class AttainableSupport:
    """Numbers of neurons that reach one relative error of the output, token by token.

    Parameters
    ----------
    n_nonzero : Tensor of int64 of shape (n_tokens,)
        Neurons that the solver needs, with coefficients of its own.
    magnitude : Tensor of int64 of shape (n_tokens,)
        Neurons that are kept where the ones of the smallest norm are left out and coefficients stay as they are.
    """

    n_nonzero: Tensor
    magnitude: Tensor

    @property
    def slack(self) -> Tensor:
        """How many times as many neurons the choice by magnitude keeps, in double precision."""
        return self.magnitude.double() / self.n_nonzero


def cett_oracle(h: Tensor, w_out: Tensor, target: float, solver: str = "omp") -> AttainableSupport:
    r"""Return how many neurons reach a relative error of the output, if any neurons and coefficients may be taken.

    To keep few neurons within an error is to approximate the output :math:`y = W h` by few columns of W. CETT chooses
    by the norm of :math:`h_i W_{:,i}` and keeps the coefficients :math:`h_i`. Solvers of sparse regression know y, so
    that what they need is no method to run a network, but tells how far the choice by magnitude is from what columns of
    W can do.

    Parameters
    ----------
    h : Tensor of shape (..., n_neurons)
        Hidden activations of tokens; those whose output is zero are left out.
    w_out : Tensor of shape (width, n_neurons)
        Weight of the down projection.
    target : float
        Relative error to reach, between 0 and 1.
    solver : {"omp", "refit", "lasso"}
        "refit" keeps the order of magnitude, fits the coefficients of the kept neurons by least squares, and takes the
        first of these prefixes within the target: never more than by magnitude. "omp" is orthogonal matching pursuit,
        the best of the three as a rule. "lasso" takes the first support along the lasso path whose least-squares fit
        is within the target.

    Returns
    -------
    AttainableSupport

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is NaN, the target is not between 0 and 1, or no token has an output.

    See Also
    --------
    sparsetheory.gpu.solvers.omp_gram : The pursuit.
    sparsetheory.regression.lasso_path : The path.

    Notes
    -----
    All in double precision. For k neurons per token, the refit costs about ``4 width * k**2`` operations and "omp"
    ``n_neurons * k**2 / 2`` next to one Gram matrix of all neurons. The path runs token by token on the CPU.

    Examples
    --------
    >>> import torch
    >>> w_out = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 1.0]])
    >>> found = cett_oracle(torch.tensor([[4.0, 5.0, 3.0]]), w_out, 0.01)  # the output is 8 and 6
    >>> found.n_nonzero.tolist(), found.magnitude.tolist(), found.slack.tolist()
    ([1], [3], [3.0])
    """
    Real(0.0, 1.0, closed="neither").require(target=target)
    Choice(*_SOLVERS).require(solver=solver)
    found = Neurons.of(h, w_out)
    neurons = Neurons(found.h.double(), found.w_out.double())
    paths = [truncations(neurons, token) for token in range(neurons.h.shape[0])]
    # The first prefix of kept neurons within the target is what the longest tail that may go leaves.
    left_out = torch.stack([(path.errors <= target).nonzero()[-1, 0] for path in paths])
    orders = torch.stack([path.order.flip(0) for path in paths])
    return AttainableSupport(_SOLVERS[solver](neurons, orders, target), neurons.h.shape[1] - left_out)


def _pursued(neurons: Neurons, orders: Tensor, target: float) -> Tensor:
    outputs = neurons.h @ neurons.w_out.T
    # At unit length all tokens have one tolerance.
    aims = outputs / outputs.norm(dim=1, keepdim=True)
    gram = neurons.w_out.T @ neurons.w_out
    found = omp_gram(gram, aims @ neurons.w_out, tol=target**2, squares=aims.square().sum(1))
    return (found != 0).sum(1)


def _refitted(neurons: Neurons, orders: Tensor, target: float) -> Tensor:
    """Return the least prefixes of given orders whose least-squares fit is within the target.

    Columns are orthonormalised one by one, twice each as rounding asks for, for all tokens together. The residual
    loses its component along each new direction.
    """
    columns, (n_tokens, n_neurons) = neurons.w_out, orders.shape
    residual = neurons.h @ columns.T
    # Where no coefficient changes, the error may be that of the given ones but for rounding.
    goal = target * residual.norm(dim=1) * (1 + _ROUNDING)
    basis = residual.new_zeros(n_tokens, 0, columns.shape[0])
    counts = torch.full((n_tokens,), n_neurons, device=orders.device)
    waiting = torch.ones(n_tokens, dtype=torch.bool, device=orders.device)
    for k in range(n_neurons):
        column = columns[:, orders[:, k]].T
        new = column
        for _ in range(2):
            new = new - torch.einsum("tkd,tk->td", basis, torch.einsum("tkd,td->tk", basis, new))
        size = new.norm(dim=1, keepdim=True)
        new = torch.where(size > _DEPENDENT * column.norm(dim=1, keepdim=True), new / size, 0)
        residual = residual - (residual * new).sum(1, keepdim=True) * new
        basis = torch.cat([basis, new.unsqueeze(1)], dim=1)
        done = waiting & (residual.norm(dim=1) <= goal)
        counts[done] = k + 1
        waiting &= ~done
        if not bool(waiting.any()):
            break
    return counts


def _on_the_path(neurons: Neurons, orders: Tensor, target: float) -> Tensor:
    from sparsetheory.regression import lasso_path

    dictionary = neurons.w_out.cpu()
    counts = []
    for y in (neurons.h @ neurons.w_out.T).cpu():
        # The end of a path costs most and is rarely needed: paths of one grid, each reaching further than the last.
        paths = (lasso_path(dictionary.numpy(), y.numpy(), n_alphas=1 + n, min_ratio=end) for n, end in _PATHS)
        supports = (torch.from_numpy(row != 0) for path in paths for row in path.coefs.T)
        fitting = (int(support.sum()) for support in supports if _fits(dictionary[:, support], y, target))
        counts.append(next(fitting, dictionary.shape[1]))
    return torch.tensor(counts, device=orders.device)


def _fits(columns: Tensor, y: Tensor, target: float) -> bool:
    if not columns.shape[1]:
        return False
    fitted = columns @ torch.linalg.lstsq(columns, y.unsqueeze(1), driver="gelsd").solution
    return bool((y - fitted.squeeze(1)).norm() <= target * y.norm())


_SOLVERS: dict[str, Callable[[Neurons, Tensor, float], Tensor]] = {
    "omp": _pursued,
    "refit": _refitted,
    "lasso": _on_the_path,
}
