"""Claims about AdamS on least squares, where what it aims at is known: a lasso off the mask, and the best mask."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import BoolArray, Float64Array

# The problems of a batch are run together; a trial looks at one of them.
_PROBLEMS = 60
# Strength of the decay where it is held fast.
_ALPHA = 0.3


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows w of layers with Gram matrices G; the loss of each is ``(s - w)' G (s - w) / 2``.

    Parameters
    ----------
    gram : ndarray of shape (problems, p, p)
    weight : ndarray of shape (problems, p)
    """

    gram: Float64Array
    weight: Float64Array

    def train(
        self, alpha: float, n_steps: int, rate: Callable[[int], float], held: float | None = None
    ) -> tuple[Float64Array, BoolArray]:
        """Return weights and masks at 2:4 after steps of AdamS with exact gradients.

        Parameters
        ----------
        alpha : float
        n_steps : int
        rate : callable
            Learning rate of a step.
        held : float, optional
            Part of the run at which the decay stays, as does the mask then; by default it grows from 0 to 1.

        Returns
        -------
        weight, mask : ndarray of shape (problems, p)
        """
        import torch

        from sparsetheory.gpu import weights

        gram, target = tensor(self.gram), tensor(self.weight)
        parameter = torch.nn.Parameter(target.clone())
        # At a step in the middle of a very long run, nothing changes from step to step.
        total = n_steps if held is None else 10**9
        every = 10 if held is None else total
        group = {"params": [parameter], "sparse": True}
        optimizer = weights.AdamS([group], 1.0, total_steps=total, alpha=alpha, pattern="2:4", mask_every=every)
        (options,) = optimizer.param_groups
        options["steps_done"] = 0 if held is None else round(held * total)
        with one_thread():
            for step in range(n_steps):
                options["lr"] = rate(step)
                parameter.grad = ((parameter.detach() - target).unsqueeze(1) @ gram).squeeze(1)
                optimizer.step()
        return array(parameter), array(optimizer.masks[parameter])

    def lasso(self, mask: BoolArray, strength: float) -> Float64Array:
        """Return the minimum of the loss plus `strength` times the sum of magnitudes off the mask.

        By coordinate descent, one coordinate of all problems at a time.
        """
        found = self.weight.copy()
        for _ in range(300):
            for j in range(found.shape[1]):
                own = self.gram[:, j, j]
                pull = np.einsum("bi,bi->b", self.gram[:, j], self.weight - found) + own * found[:, j]
                shrunk = np.sign(pull) * np.maximum(np.abs(pull) - strength, 0.0)
                found[:, j] = np.where(mask[:, j], pull, shrunk) / own
        return found

    def refitted(self, mask: BoolArray) -> Float64Array:
        """Return the least error of each problem on a mask, as a share of that of no weight at all."""
        errors = []
        for gram, weight, kept in zip(self.gram, self.weight, mask, strict=True):
            on, off = np.ix_(kept, kept), np.ix_(kept, ~kept)
            # The best weights on the mask leave what the others cannot explain.
            rest = gram[np.ix_(~kept, ~kept)] - gram[off].T @ np.linalg.solve(gram[on], gram[off])
            errors.append(weight[~kept] @ rest @ weight[~kept] / (weight @ gram @ weight))
        return np.array(errors)


@cache
def _batch(p: int, n: int, correlation: float) -> Batch:
    """Return normal weights, and inputs whose neighbours are correlated."""
    rng = np.random.default_rng(p)
    apart = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    rows = rng.normal(size=(_PROBLEMS, n, p)) @ np.linalg.cholesky(correlation**apart).T
    return Batch(np.swapaxes(rows, 1, 2) @ rows / n, rng.normal(size=(_PROBLEMS, p)))


@dataclass(frozen=True)
class Problem:
    """One problem of the batch.

    Parameters
    ----------
    value : float
        What is swept.
    index : int
    """

    value: float
    index: int


def _problem(rng: np.random.Generator, value: float) -> Problem:
    return Problem(value, int(rng.integers(_PROBLEMS)))


@cache
def _settled(part: float) -> dict[str, Float64Array]:
    """Return for each problem how far AdamS ends from two lassos, and how far one of them is from the start."""
    batch = _batch(8, 32, 0.5)
    weight, mask = batch.train(_ALPHA, 1500, lambda step: 0.03 * (1 - step / 1500), held=part)
    grown, plain = (batch.lasso(mask, strength) for strength in (part / (1 - part) * _ALPHA, _ALPHA))
    far = {"grown": weight - grown, "plain": weight - plain, "start": batch.weight - grown}
    return {name: np.abs(difference).max(1) for name, difference in far.items()}


def _lasso(problem: Problem) -> Measurement:
    """Compare where AdamS settles with the lasso of strength ``a / (1 - a) alpha`` off the mask.

    It rests where its direction is zero: on the mask the gradient, off it ``(1 - a) g + a alpha sign(w)``. That is
    ``1 - a`` times the derivative of the loss plus ``a / (1 - a) alpha |w|``. The root that directions are divided by
    only sets the pace. At ``w = 0`` the sign turns from step to step, and steps shrink with the learning rate.
    """
    far = {name: float(values[problem.index]) for name, values in _settled(problem.value).items()}
    return Measurement(
        far["grown"], 0.05 * far["start"], extras={"distance to the lasso of strength alpha": far["plain"]}
    )


def _lasso_of_alpha(problem: Problem) -> Measurement:
    """Take alpha itself for the strength."""
    far = _settled(problem.value)
    return Measurement(float(far["plain"][problem.index]), 0.05 * float(far["start"][problem.index]))


adam_s_lasso = Claim(
    name="sparse_training.adam_s_lasso",
    summary="With its decay held fast at a < 1, AdamS settles at a lasso of strength a / (1 - a) alpha off the mask.",
    statement=r"w_\infty = \operatorname{argmin}_w \tfrac{1}{2} (w - w_0)^\top G (w - w_0)"
    r" + \frac{a}{1 - a} \alpha \sum_{j \text{ off the mask}} |w_j|",
    source=Source.ours("where AdamS (Huang et al., 2509.25996) settles"),
    verdict=WithProbability(0.9),
    evaluate=_lasso,
    near_miss=_lasso_of_alpha,
    sweep=Sweep(
        axis="part of the run a",
        values=(0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9),
        quick_values=(0.3, 0.7),
        draw=_problem,
        trials=40,
        quick_trials=21,
        log="y",
        measured_label="distance to the lasso",
        bound_label="5 % of the way from the start",
        y_label="largest difference of a weight",
    ),
)


@cache
def _masks(alpha: float) -> dict[str, Float64Array]:
    """Return the errors of each problem on the masks of three methods, with the best weights on each."""
    from sparsetheory.gpu import core, weights

    batch = _batch(16, 200, 0.8)
    pattern = core.NM(2, 4)
    largest = pattern.mask(tensor(batch.weight).abs())
    rows = zip(batch.weight, batch.gram, largest, strict=True)
    swapped = [weights.swap_search(tensor(w[None]), tensor(H), mask[None], pattern).mask[0] for w, H, mask in rows]
    trained = batch.train(alpha, 600, lambda step: 0.01)[1]
    masks = {"swap search": np.array([array(mask) for mask in swapped]), "AdamS": trained, "magnitude": array(largest)}
    return {name: batch.refitted(mask) for name, mask in masks.items()}


def _order(problem: Problem) -> Measurement:
    """Compare the masks of AdamS, of swap search from the same weights, and of the largest weights."""
    errors = {name: float(values[problem.index]) for name, values in _masks(problem.value).items()}
    # Equal masks have equal errors up to rounding.
    return Measurement.chain(
        errors["swap search"], (1 + 1e-9) * errors["AdamS"], {"magnitude": (1 + 1e-6) * errors["magnitude"]}
    )


def _no_worse_than_search(problem: Problem) -> Measurement:
    """Expect a mask at least as good as that of the search."""
    errors = _masks(problem.value)
    return Measurement(float(errors["AdamS"][problem.index]), (1 + 1e-9) * float(errors["swap search"][problem.index]))


adam_s_masks = Claim(
    name="sparse_training.adam_s_masks",
    summary="On least squares AdamS finds better masks than those of the largest weights, and swap search better ones.",
    statement=r"f(\text{swap search}) \le f(\text{AdamS}) \le f(\text{largest weights})"
    r" \quad \text{with the best weights on each mask, 2:4}",
    source=Source.measured("16 inputs with correlations of 0.8 between neighbours, normal weights, 600 steps"),
    verdict=WithProbability(0.9),
    evaluate=_order,
    near_miss=_no_worse_than_search,
    sweep=Sweep(
        axis="strength of the decay alpha",
        values=(0.03, 0.1, 0.3, 1.0, 3.0),
        quick_values=(0.3,),
        draw=_problem,
        trials=60,
        quick_trials=31,
        log="x",
        measured_label="swap search",
        bound_label="AdamS",
        y_label="relative error, refitted",
    ),
)
