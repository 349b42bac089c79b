"""Claims about training: the loss has a formula, whose minimisers are those of PCA and of K-subspaces."""

from dataclasses import replace

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import PAPER, Mixture, mixtures
from sparsetheory.proofs_checks.verdicts import Always, WithProbability

_ROUNDING = 1e-10
_N_STEPS, _STEP_SIZE = 400, 0.1
# Of subspaces, whose distances go up to the root of twice the dimension: what the last steps of Adam may leave.
_NEAR = 0.03


def _quadrature(mixture: Mixture, *, kept: float) -> Measurement:
    """Compare the formula with the exact mean over noise on a design whose first two moments are those of the normal.

    The error of a linear denoiser is quadratic in the noise, so that plus and minus the root of n times every axis,
    each equally often, give its expectation exactly.
    """
    import torch

    with one_thread(), torch.no_grad():
        mixture = mixture.only()
        denoiser, X = mixture.denoiser(), mixture.sample().X
        scale, level, n = mixture.scale, mixture.level, mixture.n
        axes = n**0.5 * torch.eye(n, dtype=X.dtype)
        design = torch.cat([axes, -axes])
        noisy = scale * X.unsqueeze(1) + level * design
        mean = float((denoiser(noisy, level, scale) - X.unsqueeze(1)).square().sum(-1).mean())
        held = float(denoiser.held(X).sum(1).mean())
        square, a = float(X.square().sum(1).mean()), scale / (scale**2 + level**2)
        formula = square - a * scale * (kept - a * scale) * held + a**2 * level**2 * mixture.widths[0]
        found = float(representation.molrg_loss(denoiser, X, level, scale=scale, expected=True))
    error = abs(formula - mean) + abs(found - mean)
    return Measurement(error, 0.0, square + a**2 * level**2 * n)


expected_loss = Claim(
    name="sparse_representation.expected_loss",
    summary="With one subspace the loss, averaged over the noise, is a constant less a multiple of what PCA maximises.",
    statement=r"E\|D(s x_i + \gamma \epsilon) - x_i\|^2 = \|x_i\|^2 - a s (2 - a s) \|U^T x_i\|^2 + a^2 \gamma^2 d,"
    r" \quad a = \tfrac{s}{s^2 + \gamma^2}",
    source=Source(PAPER, "training one component is PCA; expectation by an exact design", "2409.02426", "ours"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _quadrature(mixture, kept=2.0),
    near_miss=lambda mixture: _quadrature(mixture, kept=1.0),
)


def _weighted(mixture: Mixture, *, principal: bool) -> Measurement:
    """Compare a weighted sum of losses over levels at the principal subspace with that at other subspaces."""
    import torch

    with one_thread(), torch.no_grad():
        mixture = mixture.only()
        X, width = mixture.sample().X, mixture.widths[0]
        source = torch.Generator().manual_seed(mixture.seed + 2)
        levels = torch.rand(4, 3, dtype=X.dtype, generator=source) + 0.05
        right = torch.linalg.svd(X).Vh
        rivals = [torch.linalg.qr(torch.randn(mixture.n, width, dtype=X.dtype, generator=source)).Q for _ in range(4)]
        # The neighbour among principal subspaces, too: the leading directions but the last, and the one after it.
        rivals += [right[[*range(width - 1), min(width, mixture.n - 1)]].mT.contiguous()]
        best = right[:width].mT.contiguous() if principal else rivals.pop()

        def total(basis: torch.Tensor) -> float:
            denoiser = representation.MoLRGDenoiser([basis])
            losses = [
                weight * representation.molrg_loss(denoiser, X, level, scale=scale, expected=True)
                for weight, level, scale in levels
            ]
            return float(sum(losses))

        rival = min(total(basis) for basis in rivals) if principal else total(right[:width].mT.contiguous())
        return Measurement(total(best), rival, float(levels[:, 0].sum() * (1 + X.square().sum(1).mean())))


training_is_pca = Claim(
    name="sparse_representation.training_is_pca",
    summary="Whatever levels of noise are trained on, in whatever weights, the principal subspace has the least loss.",
    statement=r"\textstyle\sum_t \lambda_t L_t(U_{\text{PCA}}) \le \sum_t \lambda_t L_t(U) \ \text{ for all }"
    r" \lambda_t, s_t, \gamma_t > 0 \text{ and } U^T U = I",
    source=Source(PAPER, "training one component is PCA", "2409.02426"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _weighted(mixture, principal=True),
    near_miss=lambda mixture: _weighted(mixture, principal=False),
)


def _draw(rng: np.random.Generator, n_subspaces: float) -> Mixture:
    widths = (3,) * int(n_subspaces)
    return Mixture(16, widths, per_subspace=20, noise=0.1, orthogonal=True, seed=int(rng.integers(2**20)))


def _train(mixture: Mixture, n_steps: int) -> Measurement:
    """Train from random bases by Adam, and measure how far K-subspaces moves on from there; show how far it came."""
    import torch

    with one_thread():
        X, count = mixture.sample().X, len(mixture.widths)
        start = replace(mixture, seed=mixture.seed + 1).sample().bases
        denoiser = representation.MoLRGDenoiser(start, assignment="hard")
        optimizer = torch.optim.Adam(denoiser.parameters(), lr=_STEP_SIZE)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _N_STEPS)
        for _ in range(n_steps):
            optimizer.zero_grad()
            representation.molrg_loss(denoiser, X, 0.5, expected=True).backward()
            optimizer.step()
            scheduler.step()
        fixed = representation.k_subspaces(X, count, mixture.widths[0], init=denoiser.bases)
        errors = representation.matched_errors(denoiser.bases, fixed.bases)
        moved = representation.matched_errors(denoiser.bases, start)
    return Measurement(float(errors.max()), _NEAR, extras={"distance from the start": float(array(moved).max())})


training_by_gradients = Claim(
    name="sparse_representation.training_by_gradients",
    summary="Adam on the loss ends at a fixed point of K-subspaces; with one subspace at that of PCA.",
    statement=r"\|U_k U_k^T - V_k V_k^T\|_F \le 0.03, \quad V = \text{K-subspaces from the trained } U",
    source=Source.measured(f"{_N_STEPS} steps of Adam from random bases, hard assignment"),
    verdict=WithProbability(0.8, margin=0.25),
    evaluate=lambda mixture: _train(mixture, _N_STEPS),
    near_miss=lambda mixture: _train(mixture, 10),
    sweep=Sweep(
        axis="number of subspaces",
        values=(1, 2),
        draw=_draw,
        trials=50,
        quick_trials=12,
        quick_values=(2,),
        log="y",
        measured_label="distance that K-subspaces goes on",
        bound_label="0.03",
        y_label="distance of subspaces",
    ),
)
