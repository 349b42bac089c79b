"""Claim about exchanges across layers under one budget in nats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array


@dataclass(frozen=True)
class TwoLayers:
    """Two linear layers whose outputs add up, with inputs that are orthogonal over the samples, each with its scale.

    The curvature of weight j is the squared scale h_j, and its best mean does not depend on other weights. So the bound
    is a sum over active weights, and the dense differences below need one term for each.
    """

    sizes: tuple[int, int]
    log_scale: float
    prior: float
    seed: int

    def layers(self) -> tuple[Float64Array, Float64Array]:
        """Return curvatures of all weights and their gradients where no weight is active; one after the other."""
        rng = np.random.default_rng(self.seed)
        scales = np.concatenate([np.ones(self.sizes[0]), np.full(self.sizes[1], np.exp(self.log_scale))])
        curvature = scales**2 * rng.uniform(0.5, 2.0, scales.size)
        # What the data say is of one size, whatever the scale: a weight's signal is its mean times its scale.
        return curvature, np.sqrt(curvature) * rng.normal(size=scales.size) * rng.uniform(0, 4, scales.size)

    def start(self) -> BoolArray:
        """Return a random mask with half of the weights of each layer, one at least."""
        rng = np.random.default_rng(self.seed + 1)
        parts = [rng.permutation(size) < max(1, size // 2) for size in self.sizes]
        return np.concatenate(parts)

    def bound(self, mask: BoolArray) -> float:
        """Return the evidence bound of the best factors on a mask, without constants."""
        curvature, slope = self.layers()
        variance = 1 / (curvature + self.prior**-2)
        mean = variance * slope
        gained = slope * mean - curvature * (mean**2 + variance) / 2
        kl = np.log(self.prior) - np.log(variance) / 2 + (variance + mean**2) / (2 * self.prior**2) - 0.5
        return float((gained - kl)[mask].sum())

    def exchanged(self, scores: str) -> BoolArray:
        """Return the mask after one exchange of the controller under one budget."""
        import torch

        from sparsetheory.gpu import bayesian, core

        curvature, slope = (torch.from_numpy(part).split(self.sizes) for part in self.layers())
        masks = [part.clone() for part in torch.from_numpy(self.start()).split(self.sizes)]
        variances = [(h + self.prior**-2).reciprocal() for h in curvature]
        parameters = [torch.nn.Parameter(torch.where(m, v * g, 0)) for m, v, g in zip(masks, variances, slope)]  # noqa: B905

        def drop(snapshot: Any) -> Any:
            criterion = "savage_dickey" if scores == "nats" else "mean"
            sigma = variances[snapshot.index].sqrt()
            return bayesian.removal_score(snapshot.weight, sigma, criterion, prior_std=self.prior)

        def grow(snapshot: Any) -> Any:
            # The gradient where the weight is not there: that of a weight which has just left is at its old mean.
            at_zero = snapshot.gradient - snapshot.weight * (curvature[snapshot.index] + self.prior**-2)
            rule = "gain" if scores == "nats" else "grad"
            return bayesian.addition_score(at_zero, curvature[snapshot.index], prior_std=self.prior, rule=rule)

        optimizer = torch.optim.SGD(parameters, lr=0.0)
        core.TopologyController(
            optimizer,
            dict(zip(parameters, masks, strict=True)),
            drop=drop,
            grow=grow,
            fraction=1.5 / int(self.start().sum()),
            every=1,
            budget="tensor" if scores == "per layer" else "global",
        )
        for parameter, h, g in zip(parameters, curvature, slope, strict=True):
            parameter.grad = parameter.detach() * (h + self.prior**-2) - g
        optimizer.step()
        return np.concatenate([mask.numpy() for mask in masks])


def _shortfall(pair: TwoLayers, scores: str = "nats") -> Measurement:
    """Compare the exchange with all exchanges of two weights, and with none; the number of weights stays."""
    start = pair.start()
    best = here = pair.bound(start)
    for leaving in np.flatnonzero(start):
        for coming in np.flatnonzero(~start):
            other = start.copy()
            other[[leaving, coming]] = False, True
            best = max(best, pair.bound(other))
    found = pair.exchanged(scores)
    return Measurement.worst(
        [best - pair.bound(found), abs(int(found.sum()) - int(start.sum())), 0.0],
        [0.0, 0.0, pair.bound(found) - here],
        scale=float(np.abs(pair.layers()[1]).max() ** 2) + 1,
    )


global_exchange = Claim(
    name="bayesian_networks.global_exchange",
    summary="Under one budget in nats an exchange is the one, of all pairs of weights in all layers, that gains most.",
    statement=r"\mathrm{ELBO}(A_{t+1}) = \max_{i \in A_t,\, j \notin A_t} "
    r"\{\mathrm{ELBO}(A_t), \mathrm{ELBO}(A_t \setminus i \cup j)\},\quad |A_{t+1}| = |A_t|, \quad F^\top F "
    r"\text{ diagonal}",
    source=Source.ours("prices and gains in one unit"),
    verdict=Always(1e-12),
    instances=lambda: st.builds(
        TwoLayers,
        st.tuples(st.integers(2, 5), st.integers(2, 5)),
        st.floats(-3, 3),
        st.floats(0.3, 3),
        st.integers(0, 2**31),
    ),
    evaluate=_shortfall,
    # Magnitudes of means and gradients, which depend on the scale of the inputs.
    near_miss=lambda pair: _shortfall(pair, "magnitudes"),
)
