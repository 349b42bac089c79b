"""Claims about how many weights a swap moves, and from where new deviations start."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian, core
from sparsetheory.proofs_checks.bayesian_networks.subspace.runs import SwapRun, swap_runs
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always


@dataclass(frozen=True)
class _Small:
    """A layer of s weights whose swaps begin with a share of them."""

    n_active: int
    drop_fraction: float
    t_end: int


def _path(case: _Small, *, rounding: Any = int) -> Measurement:
    """Measure the shares of the schedule, and how many weights a small layer swaps in a whole run.

    The cosine falls from 1 to -1. Where the largest share of the weights is below one weight, its whole part is 0 at
    every step; the first swap comes after the first step, when the share is smaller yet.
    """
    import torch

    share = core.Cosine(case.drop_fraction, case.t_end)
    shares = np.array([share(step) for step in range(case.t_end + 2)])
    rises = float(np.diff(shares).max())
    ends = abs(shares[0] - case.drop_fraction) + abs(shares[case.t_end])
    layer = bayesian.BayesLinear(8, 4, bias=False)
    layer.set_mask((torch.arange(32) < case.n_active).reshape(4, 8))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scheduler: Any = bayesian.SSVIScheduler(
            layer, optimizer, period=2, t_end=case.t_end, drop_fraction=case.drop_fraction
        )
    scheduler._round, scheduler._rules = rounding, replace(scheduler._rules, rounding=rounding)
    for step in range(6):
        optimizer.zero_grad()
        layer(torch.randn(3, 8, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        optimizer.step()
    allowed = 0.0 if case.drop_fraction * case.n_active < 1 else np.inf
    return (
        Measurement(float(len(scheduler.history)), allowed, 1.0)
        .and_chain({"largest rise": rises, "no rise": 0.0})
        .and_chain({"error at the ends": ends, "no error": 0.0})
    )


swap_schedule = Claim(
    name="bayesian_networks.swap_schedule",
    summary="The share that is swapped falls from its start to zero; layers below one over the start never swap.",
    statement=r"f_0 = \alpha, \; f_T = 0, \; f_{t+1} \le f_t, \quad \alpha s < 1 \Rightarrow \lfloor f_t s \rfloor = 0 "
    r"\text{ for all } t",
    source=Source.ours("whole parts of a share below one"),
    verdict=Always(rtol=1e-15),
    instances=lambda: st.builds(_Small, st.integers(1, 30), st.floats(0.01, 1.0), st.integers(3, 60)),
    evaluate=_path,
    near_miss=lambda case: _path(case, rounding=round),
)


def _new_deviations(run: SwapRun) -> Measurement:
    """Compare the deviation of new weights with the mean of the survivors, at every swap.

    Softplus is convex: its value at the mean of the parameters is at most the mean of its values.
    """
    trained, new, mean = run.start(), [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for step in range(1, run.n_steps + 1):
            masks = [array(layer.mask).copy() for layer in trained.layers]
            trained.step()
            if step % 2:
                continue
            for layer, before in zip(trained.layers, masks, strict=True):
                mask, sigma = array(layer.mask), array(layer.sigma)
                grown, survivors = sigma[mask & ~before], sigma[mask & before]
                if grown.size and survivors.size:
                    new += list(grown)
                    mean += [survivors.mean()] * grown.size
    return Measurement.worst(new, mean)


new_deviations = Claim(
    name="bayesian_networks.new_deviations",
    summary="New weights that start at the mean parameter of the survivors start below their mean deviation.",
    statement=r"\log(1 + e^{\bar\varrho}) \le \frac1{|S|} \sum_{i \in S} \log(1 + e^{\varrho_i})",
    source=Source.ours("Jensen's inequality for softplus"),
    verdict=Always(rtol=1e-13),
    instances=lambda: swap_runs(criterion=st.sampled_from(["snr", "savage_dickey", "random"])),
    evaluate=_new_deviations,
    near_miss=Reversed(),
)
