"""The classical problem behind the grouped predictor: with linear predictors it is the group lasso."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, POSITIVE, Several
from sparsetheory.gpu.representation.jepa.group_prox import shrunk
from sparsetheory.gpu.representation.jepa.partition import as_partition
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["GroupPath", "group_prox_path"]

# Steps between two looks at the optimality conditions.
_PATIENCE = 10


@dataclass(frozen=True, eq=False)
class GroupPath:
    """Solutions of the group lasso for several strengths.

    Attributes
    ----------
    alphas : Tensor of shape (n_alphas,)
    coefs : Tensor of shape (n_alphas, n_targets, n_features)
    incidence : Tensor of bool of shape (n_alphas, n_groups, n_features)
        Which group of targets uses which feature.
    violations : Tensor of shape (n_alphas,)
        Largest violation of the optimality conditions: norms of the gradients of zero columns beyond alpha, and
        lengths of ``gradient + alpha w / ||w||`` of the others.
    n_iter : int
        Steps, for all strengths together.
    converged : bool
        Whether all violations are within the tolerance.
    """

    alphas: Tensor
    coefs: Tensor
    incidence: Tensor
    violations: Tensor
    n_iter: int
    converged: bool


def group_prox_path(
    X: Tensor,
    Y: Tensor,
    groups: Sequence[Sequence[int]],
    alphas: Sequence[float],
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> GroupPath:
    r"""Predict groups of targets linearly, each group from few features.

    Minimises :math:`\|Y - X W^\top\|_F^2 / (2n) + \alpha \sum_g \sum_j \|W_{g, j}\|_2`, where :math:`W_{g, j}` holds
    the weights of feature j for the targets of group g. That is what a :class:`SparseJEPA` solves if its predictors are
    linear and its latents fixed. Groups do not interact: each is a lasso for several responses that share a support.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Latent variables; no constant is fitted.
    Y : Tensor of shape (n_samples, n_targets)
    groups : sequence of sequences of int
        A partition of the targets.
    alphas : sequence of float
        Strengths of the penalty, positive, in any order; all are solved together.
    tol : float
        Tolerance of violations, relative to the smallest strength that makes all weights zero.
    max_iter : int
        Most steps.

    Returns
    -------
    GroupPath
        In the dtype of X.

    Raises
    ------
    TypeError, ValueError
        If shapes or devices do not fit, an entry is not finite, groups are no partition, or a number is out of range.

    Notes
    -----
    Accelerated proximal gradient steps (Beck and Teboulle, 2009) with restarts (O'Donoghue and Candès, 2015) on the
    Gram matrix: O(n_alphas n_targets n_features^2) a step, and memory for three sets of weights, groups filled up to
    the largest one. Yuan and Lin (2006); Obozinski, Wainwright, Jordan (2011) for shared supports. Sparse Bayesian
    learning with a Kronecker structure has the same supports in view, see
    :class:`sparsetheory.bayesian.KroneckerSBL`.

    Examples
    --------
    >>> import torch
    >>> X = torch.eye(4)
    >>> Y = torch.tensor([[8.0, 0.0], [0.0, 0.4], [0.0, 0.0], [0.0, 4.0]])
    >>> path = group_prox_path(X, Y, [[0], [1]], [0.25])
    >>> path.coefs[0]
    tensor([[7., 0., 0., 0.],
            [0., 0., 0., 3.]])
    """
    X, Y, parts = _checked(X, Y, groups)
    listed = list(alphas) if hasattr(alphas, "__iter__") else alphas
    strengths = [POSITIVE.check("alphas", alpha) for alpha in Several(POSITIVE).check("alphas", listed)]
    if not strengths:
        raise ValueError("alphas must hold at least one strength; got none")
    POSITIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    dtype = working_dtype(X, Y)
    A, B = X.to(dtype), Y.to(dtype)
    problem = _Problem(
        A.T @ A / len(A), _filled(B.T @ A / len(A), parts), torch.tensor(strengths, dtype=dtype, device=X.device)
    )
    least = float(torch.linalg.vector_norm(problem.correlations, dim=1).max())
    W, violations, n_iter = problem.descend(tol * least, max_iter)
    coefs = torch.zeros(len(strengths), Y.shape[1], X.shape[1], dtype=X.dtype, device=X.device)
    for number, part in enumerate(parts):
        coefs[:, part] = W[:, number, : len(part)].to(X.dtype)
    return GroupPath(
        problem.alphas.to(X.dtype),
        coefs,
        (W != 0).any(2),
        violations.to(X.dtype),
        n_iter,
        bool((violations <= tol * least).all()),
    )


def _checked(X: Tensor, Y: Tensor, groups: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, list[list[int]]]:
    together(X=X, Y=Y)
    X, Y = finite_tensor("X", X), finite_tensor("Y", Y)
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or not X.numel() or not Y.numel():
        raise ValueError(f"X and Y must be matrices with the same rows; got {tuple(X.shape)} and {tuple(Y.shape)}")
    return X, Y, as_partition("groups", groups, Y.shape[1])


def _filled(rows: Tensor, parts: list[list[int]]) -> Tensor:
    """Return one matrix for each group; smaller groups have rows of zeros below, which stay zero."""
    filled = rows.new_zeros(len(parts), max(map(len, parts)), rows.shape[1])
    for number, part in enumerate(parts):
        filled[number, : len(part)] = rows[part]
    return filled


@dataclass(frozen=True)
class _Problem:
    """Gram matrix of the features, their correlations with targets by group, and strengths."""

    gram: Tensor
    correlations: Tensor
    alphas: Tensor

    def descend(self, tol: float, max_iter: int) -> tuple[Tensor, Tensor, int]:
        """Step until violations are small; return weights, violations and steps."""
        curvature = float(torch.linalg.eigvalsh(self.gram)[-1])
        step = 1.0 / curvature if curvature > 0 else 1.0
        threshold = (step * self.alphas)[:, None, None, None]
        W = self.correlations.new_zeros(len(self.alphas), *self.correlations.shape)
        point, momentum = W, torch.ones_like(threshold)
        for done in range(max_iter + 1):
            if done % _PATIENCE == 0 or done == max_iter:
                violations = self.violations(W)
                if bool((violations <= tol).all()) or done == max_iter:
                    break
            moved = shrunk(point - step * self._gradient(point), threshold, (2,))
            move = moved - W
            uphill = ((point - moved) * move).sum((1, 2, 3), keepdim=True) > 0
            following = torch.where(uphill, 1.0, (1 + (1 + 4 * momentum.square()).sqrt()) / 2)
            point = moved + torch.where(uphill, 0.0, (momentum - 1) / following) * move
            W, momentum = moved, following
        return W, violations, done

    def violations(self, W: Tensor) -> Tensor:
        """Return the largest violation of the optimality conditions for every strength."""
        gradient, norm = self._gradient(W), torch.linalg.vector_norm(W, dim=2)
        alphas = self.alphas[:, None, None]
        beyond = (torch.linalg.vector_norm(gradient, dim=2) - alphas).clamp(min=0)
        direction = W / torch.where(norm > 0, norm, 1.0).unsqueeze(2)
        off = torch.linalg.vector_norm(gradient + alphas.unsqueeze(2) * direction, dim=2)
        return torch.where(norm > 0, off, beyond).amax((1, 2))

    def _gradient(self, W: Tensor) -> Tensor:
        return W @ self.gram - self.correlations
