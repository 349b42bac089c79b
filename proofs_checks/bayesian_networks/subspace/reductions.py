"""Claims about what swaps become where masks are full, where noise vanishes, and under a criterion in disguise."""

import warnings
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import bayesian, core, dynamic
from sparsetheory.proofs_checks.bayesian_networks.subspace.runs import SwapRun, Trained, swap_runs
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always


def _dense(run: SwapRun, *, losing_steps: bool = False) -> Measurement:
    """Compare a run under full masks with plain variational training of a copy, by the largest difference.

    No weight has a place to go to, so that all steps are ordinary ones.
    """
    ours, plain = run.start(), run.start()
    plain.scheduler.detach()
    worst = 0.0
    for step in range(1, run.n_steps + 1):
        # The streams of batches and noise go by the step of a scheduler, and this one is off.
        plain.scheduler.step = ours.scheduler.step
        lost = deepcopy(ours.model.state_dict()) if losing_steps and step % 2 == 0 else None
        ours.step()
        if lost is not None:
            ours.model.load_state_dict(lost)
        plain.step()
        for a, b in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
            worst = max(worst, float((a - b).detach().abs().max()))
    return Measurement(worst, 0.0, scale=1.0)


full_masks_are_dense = Claim(
    name="bayesian_networks.full_masks_are_dense",
    summary="Under full masks the scheduler changes nothing: it is dense variational training, to the bit.",
    statement=r"|A_l| = d_l \text{ for all } l \; \Rightarrow \; (\mu, \varrho)_t = "
    r"(\mu, \varrho)_t^{\text{dense}} \text{ for all } t",
    source=Source.ours("a step in which nothing can be swapped is an ordinary one"),
    verdict=Always(rtol=0.0),
    instances=lambda: swap_runs().map(lambda run: replace(run, density=1.0)),
    evaluate=_dense,
    near_miss=lambda run: _dense(run, losing_steps=True),
)


def _magnitudes(run: SwapRun, *, criterion: str = "mean") -> Measurement:
    """Count differences between masks of swaps without noise and prior, and masks by magnitudes of plain weights.

    The means alone are then the network, and swaps compare what the controller of plain weights compares. Noise is
    switched off rather than small: derivatives that are exactly zero tie, and any noise would break the ties.
    """
    import torch

    ours = run.start(criterion=criterion)
    for layer in ours.layers:
        layer.sampling = "mean"
    plain = _plain(ours)
    name, options = run.optimizer
    optimizer = getattr(torch.optim, name)(plain.parameters(), **options)
    masks = {plain[index].weight: ours.model[index].mask.clone() for index in (0, 2)}
    core.TopologyController(
        optimizer,
        masks,
        drop=dynamic.magnitude,
        grow=dynamic.gradient_magnitude,
        fraction=core.Cosine(0.5, 50),
        every=2,
        rounding=lambda count: max(1, int(count)),
        skip_update="state",
    )
    wrong = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(run.n_steps):
            x, y = ours.batch(ours.scheduler.step)
            ours.step(prior=0.0)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(plain(x), y).backward()
            optimizer.step()
            pairs = zip(ours.layers, masks.values(), strict=True)
            wrong += sum(int((layer.mask != mask).sum()) for layer, mask in pairs)
    return Measurement(float(wrong), 0.0, scale=1.0)


def _plain(trained: Trained) -> Any:
    import torch

    first, hidden, last = trained.run.sizes
    plain: Any = torch.nn.Sequential(
        torch.nn.Linear(first, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, last)
    ).double()
    with torch.no_grad():
        for index in (0, 2):
            plain[index].weight.copy_(trained.model[index].weight)
            plain[index].bias.copy_(trained.model[index].bias)
    return plain


no_noise_is_rigl = Claim(
    name="bayesian_networks.no_noise_is_rigl",
    summary="Without noise and prior, swaps by the size of the mean are those of RigL, at every step.",
    statement=r"\varepsilon = 0, \; \tau = 0 \; \Rightarrow \; A_{l,t} = A_{l,t}^{\text{RigL}} \text{ for all } l, t",
    source=Source(
        "U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen, Rigging the lottery: making all tickets winners, "
        "ICML 2020",
        "the update of the mask",
        "1911.11134",
        "ours",
    ),
    verdict=Always(rtol=0.0),
    instances=swap_runs,
    evaluate=_magnitudes,
    near_miss=lambda run: _magnitudes(run, criterion="snr"),
)


def _ratio_of_size(snapshot: Any) -> Any:
    """Return the mean over the standard deviation of the size of each weight."""
    import torch

    mu, rho = (parameter.detach() for parameter in snapshot.parameters)
    moments = bayesian.folded_normal_moments(mu, torch.nn.functional.softplus(rho))
    return moments.mean / moments.variance.sqrt()


def _mean_of_size(snapshot: Any) -> Any:
    import torch

    mu, rho = (parameter.detach() for parameter in snapshot.parameters)
    return bayesian.folded_normal_moments(mu, torch.nn.functional.softplus(rho)).mean


def _same_swaps(run: SwapRun, score: Any) -> Measurement:
    """Count differences between the masks of two runs, by the ratio of the mean and by a score of the size.

    The ratio for the size of a normal variable is a strictly increasing function of that for the variable itself.
    """
    ours, other = run.start(criterion="snr"), run.start(criterion="snr")
    other.scheduler._rules = replace(other.scheduler._rules, drop=score)
    wrong = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(run.n_steps):
            ours.step()
            other.step()
            wrong += sum(int((a.mask != b.mask).sum()) for a, b in zip(ours.layers, other.layers, strict=True))
    return Measurement(float(wrong), 0.0, scale=1.0)


size_swaps_alike = Claim(
    name="bayesian_networks.size_swaps_alike",
    summary="The signal-to-noise ratio of the size of a weight swaps the same weights as that of the weight, always.",
    statement=r"A_{l,t} \text{ by } \frac{E|\theta|}{\operatorname{sd}|\theta|} = A_{l,t} \text{ by } "
    r"\frac{|\mu|}{\sigma} \text{ for all } l, t",
    source=Source.ours("the first ratio is a strictly increasing function of the second"),
    verdict=Always(rtol=0.0),
    instances=lambda: swap_runs(allow_regrow=st.booleans(), grow_std=st.sampled_from(["mean", "eps"])),
    evaluate=lambda run: _same_swaps(run, _ratio_of_size),
    near_miss=lambda run: _same_swaps(run, _mean_of_size),
)
