"""Claims about what a swap does to masks, parameters and moments, at every step of whole runs."""

import math
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.bayesian_networks.subspace.runs import SwapRun, Trained, swap_runs
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always

_PAPER = Source(
    "J. Li, Z. Miao, Q. Qiu, R. Zhang, Training Bayesian neural networks with sparse subspace variational inference, "
    "ICLR 2024",
    "the update of the subspace",
    "2402.11025",
    "authors' code",
)


def _budget(run: SwapRun) -> Measurement:
    """Count by how many weights a layer misses its budget at worst, and what is alive off the masks.

    A swap moves as many weights into a mask as it moves out, by exact counts, and all that is off the masks is set to
    zero after each step.
    """
    trained = run.start()
    budgets = [int(layer.mask.sum()) for layer in trained.layers]
    worst = 0
    for _ in range(run.n_steps):
        trained.step()
        for layer, budget in zip(trained.layers, budgets, strict=True):
            worst = max(worst, abs(int(layer.mask.sum()) - budget))
        worst = max(worst, trained.alive_off_the_masks())
    return Measurement(float(worst), 0.0, scale=1.0)


def _budget_by_rho(run: SwapRun) -> Measurement:
    """Take a weight for absent where the parameter of its deviation is 0, which means a deviation of log 2."""
    trained = run.start()
    counts = [int((layer.rho != 0).sum()) - int(layer.mask.sum()) for layer in trained.layers]
    return Measurement(float(np.abs(counts).max()), 0.0, scale=1.0)


swap_budget = Claim(
    name="bayesian_networks.swap_budget",
    summary="At every step each layer has its number of weights; means, deviations and moments are zero off them.",
    statement=r"|A_{l,t}| = |A_{l,0}|, \quad \mu, \varrho, \text{moments} = 0 \text{ off } A_{l,t} \quad "
    r"\text{for all } l, t",
    source=_PAPER,
    verdict=Always(rtol=0.0),
    instances=lambda: swap_runs(
        with_zero=True,
        criterion=st.sampled_from(["snr_abs", "mean", "exp_abs", "random"]),
        allow_regrow=st.booleans(),
        grow_std=st.sampled_from(["mean", "eps"]),
    ),
    evaluate=lambda run: _quietly(_budget, run),
    near_miss=_budget_by_rho,
)


def _chosen(run: SwapRun, *, regrow: bool = True) -> Measurement:
    """Count entries of masks that differ from sets chosen by hand, over all swaps.

    By hand: kept are the s - m active weights of the largest ratios of mean to deviation, and added the m entries of
    the largest derivatives by the means among all that were not kept. The derivatives are those of a copy without
    masks between means and loss, by autograd.
    """
    trained, wrong = run.start(), 0
    for step in range(1, run.n_steps + 1):
        if step % 2:
            trained.step()
            continue
        gradients = _dense_gradients(trained)
        share = 0.25 * (1 + math.cos(math.pi * step / 50))
        expected = [
            _choose(layer, gradient, max(1, int(share * int(layer.mask.sum()))), regrow)
            for layer, gradient in zip(trained.layers, gradients, strict=True)
        ]
        trained.step()
        wrong += sum(
            int((array(layer.mask) != mask).sum()) for layer, mask in zip(trained.layers, expected, strict=True)
        )
    return Measurement(float(wrong), 0.0, scale=1.0)


def _dense_gradients(trained: Trained) -> list[Any]:
    """Return the derivatives by means of the next step of a copy that has the same noise."""
    import torch

    twin = deepcopy(trained.model)
    layers = [twin[0], twin[2]]
    for layer in layers:
        layer.dense_gradient = True
    x, y = trained.batch(trained.scheduler.step)
    torch.manual_seed(104729 * trained.run.seed + trained.scheduler.step)
    loss = torch.nn.functional.cross_entropy(twin(x), y) + 1e-3 * sum(layer.kl() for layer in layers)
    return [array(one) for one in torch.autograd.grad(loss, [layer.weight for layer in layers])]


def _choose(layer: Any, gradient: Any, m: int, regrow: bool) -> Any:
    mask, mean, rho = (array(one).ravel() for one in (layer.mask, layer.weight, layer.rho))
    ratio = np.where(mask, np.abs(mean) / np.logaddexp(0, rho), np.inf)
    kept = mask.copy()
    kept[np.argsort(ratio, kind="stable")[:m]] = False
    out = ~kept if regrow else ~mask
    score = np.where(out, np.abs(gradient).ravel(), -1.0)
    kept[np.argsort(-score, kind="stable")[: min(m, int(out.sum()))]] = True
    return kept.reshape(layer.mask.shape)


swap_sets = Claim(
    name="bayesian_networks.swap_sets",
    summary="A swap keeps the largest ratios of mean to deviation and adds the largest derivatives, removed ones too.",
    statement=r"A' = K \cup \operatorname{top}_m \{ |\partial L / \partial \mu_i| : i \notin K \}, \quad "
    r"K = \operatorname{top}_{s-m} \{ |\mu_i| / \sigma_i : i \in A \}",
    source=_PAPER,
    verdict=Always(rtol=0.0),
    instances=lambda: swap_runs(criterion=st.sampled_from(["snr", "snr_abs"])),
    evaluate=lambda run: _quietly(_chosen, run),
    near_miss=lambda run: _quietly(_chosen, run, regrow=False),
)


def _still(run: SwapRun, **changes: Any) -> Measurement:
    """Count parameters and moments of surviving weights that a swap changes, by any bit.

    The optimiser sees no gradients in the step of a swap, so it passes all parameters by.
    """
    import torch

    trained, moved = run.start(), 0
    trained.scheduler._skip_update = changes.get("skip_update", "state")
    for step in range(1, run.n_steps + 1):
        before = deepcopy((list(trained.model.parameters()), list(trained.optimizer.state_dict()["state"].values())))
        masks = [layer.mask.clone() for layer in trained.layers]
        trained.step()
        if step % 2:
            continue
        stay: dict[int, Any] = {}
        for layer, old in zip(trained.layers, masks, strict=True):
            stay |= dict.fromkeys((id(layer.weight), id(layer.rho)), old & layer.mask)
        for parameter, old, state in zip(trained.model.parameters(), *before, strict=True):
            kept = stay.get(id(parameter), torch.ones_like(parameter, dtype=torch.bool))
            moved += int((parameter != old)[kept].sum())
            for key, value in trained.optimizer.state[parameter].items():
                same = isinstance(value, torch.Tensor) and value.shape == parameter.shape
                moved += int((value != state[key])[kept].sum()) if same else int(value != state[key])
    return Measurement(float(moved), 0.0, scale=1.0)


swap_is_no_step = Claim(
    name="bayesian_networks.swap_is_no_step",
    summary="A swap takes the place of the update: no surviving weight, no bias and no moment changes by a bit.",
    statement=r"(\mu, \varrho, b, \text{moments})_{t+1} = (\mu, \varrho, b, \text{moments})_t \text{ on } "
    r"A_t \cap A_{t+1} \text{ at each swap } t",
    source=Source.ours("gradients are hidden from the optimiser in the step of a swap"),
    verdict=Always(rtol=0.0),
    instances=swap_runs,
    evaluate=lambda run: _quietly(_still, run),
    near_miss=lambda run: _quietly(_still, run, skip_update=True),
)


def _quietly(measure: Any, run: SwapRun, **options: Any) -> Measurement:
    """Measure without warnings of masks that cannot give all that is asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return measure(run, **options)
