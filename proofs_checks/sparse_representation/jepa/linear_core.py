"""Claims about the linear problem behind the grouped predictor: its optimality, and the supports that it finds."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["Groups", "draw_groups", "f1_score"]

_TOL = 1e-9
_N_LATENTS, _N_GROUPS, _SIZE = 8, 4, 5


def f1_score(found: BoolArray, truth: BoolArray) -> float:
    """Return the harmonic mean of precision and recall of a support."""
    both = int((found & truth).sum())
    return 2 * both / max(int(found.sum()) + int(truth.sum()), 1)


@dataclass(frozen=True, eq=False)
class Groups:
    """Latents, targets in groups of equal size that are linear in some latents each, and strengths of the penalty."""

    Z: Float64Array
    Y: Float64Array
    incidence: BoolArray
    alphas: tuple[float, ...]

    @property
    def groups(self) -> list[list[int]]:
        """The numbers of the targets of each group."""
        return np.arange(self.Y.shape[1]).reshape(len(self.incidence), -1).tolist()

    @cached_property
    def path(self) -> Any:
        """The solutions."""
        with one_thread():
            return representation.group_prox_path(
                tensor(self.Z), tensor(self.Y), self.groups, self.alphas, tol=_TOL, max_iter=100_000
            )


def draw_groups(
    rng: np.random.Generator, n: int, alphas: tuple[float, ...], noise_std: float = 0.3, mixing: float = 0.0
) -> Groups:
    """Draw 8 latents and 4 groups of 5 targets, each of which uses a latent with probability 0.35, at least one."""
    Z = rng.standard_normal((n, _N_LATENTS)) @ (
        np.eye(_N_LATENTS) + mixing * rng.standard_normal((_N_LATENTS, _N_LATENTS))
    )
    incidence = rng.random((_N_GROUPS, _N_LATENTS)) < 0.35
    incidence[np.arange(_N_GROUPS), rng.integers(_N_LATENTS, size=_N_GROUPS)] = True
    W = rng.standard_normal((_N_GROUPS, _SIZE, _N_LATENTS)) * incidence[:, None]
    Y = Z @ W.reshape(-1, _N_LATENTS).T
    return Groups(Z, Y + noise_std * rng.standard_normal(Y.shape), incidence, alphas)


def _instances() -> st.SearchStrategy[Groups]:
    return st.builds(
        lambda seed, n, alpha, mixing: draw_groups(np.random.default_rng(seed), n, (alpha,), mixing=mixing),
        seeds,
        st.sampled_from((12, 60)),
        st.sampled_from((0.05, 0.3, 2.0)),
        st.sampled_from((0.0, 0.5)),
    )


def _optimality(case: Groups, *, converse: bool) -> Measurement:
    """Compare gradients with what optimality asks for, by numpy.

    Columns that are zero have gradients of norm at most alpha; those of the others have norm alpha and point against
    the column. The converse of the first part, that columns whose gradient is at most alpha are zero, is wrong for
    every column that is used.
    """
    alpha, W = case.alphas[0], np.asarray(array(case.path.coefs))[0].reshape(_N_GROUPS, _SIZE, -1)
    residual = case.Y - case.Z @ W.reshape(-1, _N_LATENTS).T
    gradient = -(residual.T @ case.Z / len(case.Z)).reshape(W.shape)
    norms, sizes = np.linalg.norm(W, axis=1), np.linalg.norm(gradient, axis=1)
    zero = norms == 0
    start = float(np.linalg.norm((case.Y.T @ case.Z / len(case.Z)).reshape(W.shape), axis=1).max())
    if converse:
        return Measurement(float((norms[sizes <= alpha * (1 + 1e-6)] > 0).sum()), 0.0, scale=1.0)
    off = np.linalg.norm(gradient + alpha * W / np.where(zero, 1.0, norms)[:, None], axis=1)[~zero]
    return Measurement.worst(np.concatenate([sizes[zero] - alpha, off]), 0.0, scale=start)


group_lasso_optimality = Claim(
    name="sparse_representation.group_lasso_optimality",
    summary="At the solution gradients of zero columns are at most alpha; others have norm alpha, against the column.",
    statement=r"W_{g,j} = 0 \Rightarrow \|\nabla_{g,j}\| \le \alpha, \quad"
    r" W_{g,j} \ne 0 \Rightarrow \nabla_{g,j} = -\alpha W_{g,j} / \|W_{g,j}\|",
    source=Source.classic("Yuan and Lin (2006)", "conditions of Karush, Kuhn and Tucker"),
    verdict=Always(1e-8),
    instances=_instances,
    evaluate=lambda case: _optimality(case, converse=False),
    near_miss=lambda case: _optimality(case, converse=True),
)


def _draw_sweep(rng: np.random.Generator, alpha: float) -> Groups:
    return draw_groups(rng, 400, (alpha,))


def _support(case: Groups) -> Measurement:
    """Compare the F1 score of the support with 0.9."""
    return Measurement(0.9, f1_score(np.asarray(array(case.path.incidence))[0], case.incidence), scale=1.0)


def _least_squares(case: Groups) -> Measurement:
    """Take all columns that are not zero in the solution by least squares."""
    return Measurement(0.9, f1_score(np.ones_like(case.incidence), case.incidence), scale=1.0)


group_lasso_support = Claim(
    name="sparse_representation.group_lasso_support",
    summary="With linear predictors the right latents of each group are found, for strengths from 0.1 to 0.4.",
    statement=r"F_1(\hat A, A) \ge 0.9 \text{ for } \alpha \in [0.1, 0.4],\ n = 400,\ \sigma = 0.3",
    source=Source.measured("synthetic: 8 latents, 4 groups of 5 targets, a group uses a latent with probability 0.35"),
    verdict=WithProbability(0.9),
    evaluate=_support,
    near_miss=_least_squares,
    sweep=Sweep(
        axis="strength alpha",
        values=(0.1, 0.2, 0.4),
        draw=_draw_sweep,
        trials=60,
        quick_trials=22,
        log="x",
        measured_label="0.9",
        bound_label="F1 score of the support",
        y_label="F1 score",
    ),
)
