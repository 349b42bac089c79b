"""One share for all layers, found by successive elimination: texts are spent on shares that may still be the best."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sparsetheory.bandits import PhasedElimination
from sparsetheory.bandits.certificates.gap import GapCertificate
from sparsetheory.constraints import COUNT, FRACTION, POSITIVE, Several, generator
from sparsetheory.gpu.activations.rsparse.budgets import RHO, SPARSITY
from sparsetheory.gpu.activations.rsparse.candidates import Candidates
from sparsetheory.gpu.activations.rsparse.recipes import RHOS
from sparsetheory.progress import tracked
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["RhoRace", "eliminate_rhos"]


@dataclass(frozen=True, eq=False)
class RhoRace:
    """Which uniform share won.

    Parameters
    ----------
    rho : float
        The share of the best mean in the last complete phase.
    active : tuple of float
        Shares that may still be the best.
    counts : tuple of int
        Samples that each share was judged on.
    certificate : GapCertificate
        How much worse in expectation the winner may be than the best share. It is wrong with a small probability,
        which its statement gives.
    """

    rho: float
    active: tuple[float, ...]
    counts: tuple[int, ...]
    certificate: GapCertificate


def eliminate_rhos(
    model: nn.Module,
    loss: Callable[[nn.Module, Any], float],
    samples: Sequence[Any],
    sparsity: float,
    *,
    calibration: Iterable[Any],
    horizon: int,
    noise_std: float,
    alpha: float = 0.001,
    rhos: Sequence[float] = RHOS,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    scaled: bool | None = None,
    random_state: Any = None,
    verbose: bool = False,
) -> RhoRace:
    """Find the best uniform share, and drop bad ones early.

    Shares are actions of a bandit whose features are unit vectors. There elimination in phases is successive
    elimination: each phase judges all shares that are left on twice as many random samples as the one before, and drops
    those whose mean is clearly worse.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.
    loss : callable
        From a converted model and one of `samples` to a number of which less is better.
    samples : sequence
        Texts, for example; drawn with replacement, the same ones for all shares of a phase.
    sparsity : float
        In [0, 1).
    calibration : iterable
        Batches, as :func:`rsparse_model` takes them.
    horizon : int
        Most evaluations of the loss. The search ends earlier where one share is proved to be the best.
    noise_std : float
        Of the losses of samples around their mean, which are subgaussian: half the range always suffices.
    alpha : float
        Probability of an error of one mean on one side.
    rhos : sequence of float
        Shares to choose from.
    include, exclude, scaled
        As :func:`rsparse_model` takes them.
    random_state : None, int, RandomState or Generator
        Source of the samples.
    verbose : bool
        Whether each phase shows a progress bar.

    Returns
    -------
    RhoRace

    Raises
    ------
    ValueError
        If a number is out of range, or there is no sample.

    See Also
    --------
    sparsetheory.bandits.PhasedElimination : The strategy.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> random = torch.Generator().manual_seed(0)
    >>> x = torch.randn(64, 32, generator=random)
    >>> model = nn.Linear(32, 32)
    >>> def loss(candidate, row):
    ...     return min(((candidate(row) - model(row)).norm() / model(row).norm()).item(), 1.0)
    >>> options = dict(calibration=[x], horizon=2000, noise_std=0.2, rhos=(0.0, 1.0), random_state=0)
    >>> race = eliminate_rhos(model, loss, list(x), 0.5, **options)
    >>> race.rho, sum(race.counts) < 2000
    (1.0, True)
    """
    SPARSITY.require(sparsity=sparsity)
    Several(RHO).require(rhos=rhos)
    COUNT.require(horizon=horizon)
    POSITIVE.require(noise_std=noise_std)
    FRACTION.require(alpha=alpha)
    if not len(samples):
        raise ValueError("samples must hold at least one; got none")
    candidates = Candidates.of(model, calibration, [(sparsity, float(rho)) for rho in rhos], include, exclude, scaled)
    judge = _Judge(candidates, loss, samples, generator(random_state), verbose)
    strategy = PhasedElimination(horizon, noise_std=noise_std, alpha=alpha, eps=0.0).start(np.eye(len(rhos)))
    # A gap of 0 is proved: to go on would teach nothing.
    while len(actions := strategy.ask()) and strategy.certify().bound > 0:
        strategy.tell(actions, judge(actions))
    certificate = strategy.certify()
    assert isinstance(certificate, GapCertificate)
    active = strategy.active_ if certificate.bound > 0 else [certificate.action]
    counts = np.bincount(strategy.log_.actions, minlength=len(rhos))
    return RhoRace(
        float(rhos[certificate.action]), tuple(float(rhos[k]) for k in active), tuple(counts.tolist()), certificate
    )


@dataclass(frozen=True, eq=False)
class _Judge:
    """Rewards of shares: what their models lose on random samples, with the sign changed."""

    candidates: Candidates
    loss: Callable[[nn.Module, Any], float]
    samples: Sequence[Any]
    random: np.random.Generator
    verbose: bool

    def __call__(self, actions: IndexArray) -> Float64Array:
        rewards = np.empty(len(actions))
        drawn = self.random.integers(len(self.samples), size=len(actions))
        for action in tracked(np.unique(actions).tolist(), "judging shares", self.verbose):
            model = self.candidates.put([action] * len(self.candidates.layers))
            places = np.flatnonzero(actions == action)
            chosen = [self.samples[k] for k in drawn[: len(places)]]
            with torch.no_grad():
                rewards[places] = [-float(self.loss(model, sample)) for sample in chosen]
        return rewards
