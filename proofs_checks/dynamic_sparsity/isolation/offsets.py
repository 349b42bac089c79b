"""Claim that connects isolated tasks to sparse regression: each task is a lasso on what earlier weights leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["task_offsets"]

# Singular values of designs over the root of the samples; steps of 1 / 1.2**2 then halve the error at least.
_SPREAD = (0.9, 1.2)
_N_SAMPLES, _STEPS = 24, 30


@dataclass(frozen=True, eq=False)
class Regressions:
    """Designs and responses of some tasks, the strength of the l1 norm and the density of a mask."""

    designs: list[Float64Array]
    responses: list[Float64Array]
    alpha: float
    density: float
    seed: int

    def fits(self) -> Iterator[tuple[BoolArray, BoolArray, Float64Array]]:
        """Train a linear layer on one task after the other; yield mask, used entries and result of each."""
        import torch

        model = torch.nn.Linear(self.designs[0].shape[1], 1, bias=False, dtype=torch.float64)
        optimizer = _proximal_descent(model, self.alpha)
        tasks = dynamic.TaskIsolation(
            model, optimizer, self.density, "uniform", fraction=0.0, generator=self.seed, fresh="zero"
        )
        for task, (X, y) in enumerate(zip(self.designs, self.responses, strict=True)):
            used = array(tasks.used["weight"])[0]
            tasks.begin_task(task)
            inputs, targets = tensor(X), tensor(y)
            with one_thread():
                for _ in range(_STEPS):
                    optimizer.zero_grad()
                    ((targets - model(inputs)[:, 0]).square().mean() / 2).backward()
                    optimizer.step()
            tasks.end_task()
            yield array(tasks.masks(task)["weight"])[0], used, array(model.weight)[0].copy()


def _proximal_descent(model: Any, alpha: float) -> Any:
    """Return an optimiser that takes a gradient step and then soft-thresholds."""
    import torch

    class ProximalDescent(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    with torch.no_grad():
                        moved = parameter - group["lr"] * parameter.grad
                        size = (moved.abs() - group["lr"] * alpha).clamp(min=0.0)
                        parameter.copy_(moved.sign() * size)

    return ProximalDescent(model.parameters(), {"lr": 1.0 / _SPREAD[1] ** 2})


@st.composite
def _regressions(draw: st.DrawFn) -> Regressions:
    rng = np.random.default_rng(draw(seeds))
    # So that a task always finds free weights.
    n_tasks, density = draw(st.sampled_from([(2, 0.5), (3, 0.3)]))
    n_features = draw(st.integers(4, 12))
    designs, responses = [], []
    for _ in range(n_tasks):
        left = np.linalg.qr(rng.standard_normal((_N_SAMPLES, n_features)))[0]
        right = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
        values = rng.uniform(*_SPREAD, n_features) * _N_SAMPLES**0.5
        designs.append((left * values) @ right)
        truth = rng.standard_normal(n_features) * (rng.random(n_features) < 0.6)
        responses.append(designs[-1] @ truth + 0.3 * rng.standard_normal(_N_SAMPLES))
    alpha = draw(st.sampled_from([0.01, 0.1, 0.3]))
    return Regressions(designs, responses, alpha, density, draw(seeds) % 2**31)


def _classical(X: Float64Array, y: Float64Array, alpha: float) -> Float64Array:
    from sparsetheory.regression import WorkingSetLasso

    return np.asarray(WorkingSetLasso(alpha=alpha, fit_intercept=False, tol=1e-14).fit(X, y).coef_)


def _distance(case: Regressions, *, offset: bool) -> Measurement:
    """Return the largest distance of the task's own weights from the lasso on its own columns."""
    worst, size = 0.0, 1.0
    for (mask, used, weight), X, y in zip(case.fits(), case.designs, case.responses, strict=True):
        own, shared = mask & ~used, mask & used
        if own.any():
            rest = y - X[:, shared] @ weight[shared] if offset else y
            worst = max(worst, float(np.abs(weight[own] - _classical(X[:, own], rest, case.alpha)).max()))
            size = max(size, float(np.abs(weight).max()))
    return Measurement(worst, 0.0, scale=size)


def _with_offset(case: Regressions) -> Measurement:
    """Compare with the lasso on what shared weights leave of the response.

    With M the mask and U what is used, the task minimises over the entries of ``own = M - U``; the entries of
    ``shared = M & U`` are read and do not move. So the response of the problem is ``y - X_shared w_shared``, a fixed
    offset, and columns off the mask do not count.
    """
    return _distance(case, offset=True)


def _without_offset(case: Regressions) -> Measurement:
    """Take the tasks for separate regressions on disjoint columns."""
    return _distance(case, offset=False)


task_offsets = Claim(
    name="dynamic_sparsity.task_offsets",
    summary="A linear task under isolation is a lasso on its own columns, with the shared ones as an offset.",
    statement=r"w_{M \setminus U} = \arg\min_v \tfrac{1}{2n} \|y - X_{M \cap U} w_{M \cap U}"
    r" - X_{M \setminus U} v\|^2 + \alpha \|v\|_1",
    source=Source.ours("isolated tasks as sequential regressions with offsets"),
    verdict=Always(rtol=1e-7),
    instances=_regressions,
    evaluate=_with_offset,
    near_miss=_without_offset,
)
