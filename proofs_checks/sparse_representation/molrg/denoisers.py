"""Claims about the denoiser: it is the posterior mean, and what follows from its form."""

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import PAPER, Mixture, mixtures
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Double precision; weights are exponentials of numbers of some hundreds.
_ROUNDING = 1e-10


def _conditioned(mixture: Mixture, *, volumes: bool) -> Float64Array:
    """Return posterior means by conditioning joint Gaussians, from dense covariances; or without their volumes."""
    bases = [array(basis) for basis in mixture.sample().bases]
    probabilities = np.arange(1.0, len(bases) + 1)
    means, logs = [], []
    rows = array(mixture.noisy())
    for basis, probability in zip(bases, probabilities, strict=True):
        prior = basis @ basis.T
        covariance = mixture.scale**2 * prior + mixture.level**2 * np.eye(mixture.n)
        solved = np.linalg.solve(covariance, rows.T).T
        means.append(mixture.scale * solved @ prior)
        volume = np.linalg.slogdet(covariance)[1] if volumes else 0.0
        logs.append(np.log(probability) - 0.5 * (volume + (rows * solved).sum(1)))
    shares = np.exp(np.array(logs) - np.max(logs, axis=0))
    shares /= shares.sum(0)
    return np.einsum("ki,kij->ij", shares, np.array(means))


def _mean(mixture: Mixture, *, volumes: bool) -> Measurement:
    with one_thread():
        found = array(mixture.denoiser()(mixture.noisy(), mixture.level, mixture.scale))
    expected = _conditioned(mixture, volumes=volumes)
    return Measurement(float(np.abs(found - expected).max()), 0.0, float(np.abs(expected).max()))


posterior_mean = Claim(
    name="sparse_representation.posterior_mean",
    summary="The denoiser is the posterior mean of the clean point, also for subspaces of different dimensions.",
    statement=r"D(x_t) = E[x_0 \mid x_t] = \tfrac{s}{s^2 + \gamma^2} \sum_k w_k(x_t) U_k U_k^T x_t",
    source=Source(
        PAPER, "denoiser of the mixture; term of the dimensions ours, without it the near miss", "2409.02426", "ours"
    ),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _mean(mixture, volumes=True),
    near_miss=lambda mixture: _mean(mixture, volumes=False),
)


def _tweedie(mixture: Mixture, power: int) -> Measurement:
    """Compare the denoiser with a step along the gradient of its log density."""
    import torch

    with one_thread():
        denoiser, x = mixture.denoiser(), mixture.noisy().requires_grad_()
        (slope,) = torch.autograd.grad(denoiser.log_density(x, mixture.level, mixture.scale).sum(), x)
        found = array(denoiser(x, mixture.level, mixture.scale))
    expected = (array(x) + mixture.level**power * array(slope)) / mixture.scale
    return Measurement(float(np.abs(found - expected).max()), 0.0, float(np.abs(array(x)).max() / mixture.scale))


score_step = Claim(
    name="sparse_representation.score_step",
    summary="The denoiser is a step along the score: the gradient of the log density of noisy points.",
    statement=r"D(x_t) = \tfrac1s \left( x_t + \gamma^2 \nabla \log p(x_t) \right)",
    source=Source.classic("Robbins 1956, Miyasawa 1961, Efron 2011", "Tweedie's formula"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _tweedie(mixture, 2),
    near_miss=lambda mixture: _tweedie(mixture, 1),
)


def _additive(mixture: Mixture) -> Measurement:
    """Find how far the denoiser is from additive, and from shrinking points of the subspace alike."""
    import torch

    with one_thread(), torch.no_grad():
        denoiser, x = mixture.denoiser(), mixture.noisy()
        level, scale = mixture.level, mixture.scale
        whole, parts = denoiser(x + 2 * x.flip(0), level, scale), denoiser(x, level, scale)
        clean = x @ denoiser.bases[0] @ denoiser.bases[0].mT
        inside = denoiser(clean, level, scale) - scale / (scale**2 + level**2) * clean
        error = max(float((whole - parts - 2 * parts.flip(0)).abs().max()), float(inside.abs().max()))
        return Measurement(error, 0.0, float(x.abs().max()))


linear_denoiser = Claim(
    name="sparse_representation.linear_denoiser",
    summary="With one subspace the denoiser is linear, and multiplies points of the subspace by one number.",
    statement=r"K = 1: \quad D(x + 2y) = D(x) + 2 D(y), \quad D(x) = \tfrac{s}{s^2 + \gamma^2} x"
    r" \ \text{ for } x \in \operatorname{span} U",
    source=Source(PAPER, "one component", "2409.02426"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _additive(mixture.only()),
    near_miss=_additive,
)


def _weights(mixture: Mixture, level: float) -> Measurement:
    """Add up what posterior weights lack of one, and what they are off the vertex of the largest projection."""
    import torch

    with one_thread(), torch.no_grad():
        denoiser, x = mixture.denoiser(), mixture.noisy()
        weights = denoiser.posterior_weights(x, mixture.level, mixture.scale)
        sharp = denoiser.posterior_weights(x, level * float(x.abs().max()), mixture.scale)
        held = torch.stack([(x @ basis).square().sum(1) for basis in denoiser.bases], dim=1)
        top = held.topk(min(2, held.shape[1]), dim=1).values
        # Projections of nearly the same length take a still smaller noise to tell apart.
        clear = (top[:, 0] - top[:, -1] > 1e-3 * top[:, 0]) if held.shape[1] > 1 else torch.ones(len(x)) > 0
        vertex = torch.nn.functional.one_hot(held.argmax(1), held.shape[1]).to(sharp)
        errors = [(weights.sum(1) - 1).abs(), (sharp.sum(1) - 1).abs(), (sharp - vertex).abs().amax(1) * clear]
        return Measurement(max(float(error.max()) for error in errors), 0.0, 1.0)


weights_limit = Claim(
    name="sparse_representation.weights_limit",
    summary="Posterior weights sum to one, and as noise vanishes all weight goes to the largest projection.",
    statement=r"\textstyle\sum_k w_k = 1, \quad w \to e_{k^*} \text{ as } \gamma \to 0, \quad"
    r" k^* = \arg\max_k \|U_k^T x\|",
    source=Source(PAPER, "hard-max weights", "2409.02426"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _weights(mixture, 1e-5),
    near_miss=lambda mixture: _weights(mixture, 0.3),
)
