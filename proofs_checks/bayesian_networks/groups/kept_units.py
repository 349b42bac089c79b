"""Claims about masks that change in whole units: structure and numbers at every step."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always

# Units, and the shares of them that are active, which all divide layers of 16 outputs and 8 or 16 inputs.
_FREE = (("rows", 0.25), ("columns", 0.5), ((4, 4), 0.25), ((2, 8), 0.5))
_GROUPS = (("2:4", 0.5), ("1:4", 0.25), ("3:8", 0.375), ("4x1:2", 0.5))


@dataclass(frozen=True)
class Run:
    """A short training of a network with normal weights whose masks change at every second step."""

    units: Any
    density: float
    fraction: float
    regrow: bool
    together: bool
    seed: int

    def masks(self, whole: bool = True) -> list[list[Any]]:
        """Return the masks of both layers after each step, and at the start; `whole` says whether units move whole."""
        import torch

        from sparsetheory.gpu import bayesian, core

        model = core.models.MLP([8, 16, 16], activation="tanh", generator=self.seed)
        bayesian.bayesianise(
            model, self.density, prior_std=0.1, mu_std="fan_in", dense_first=False, generator=self.seed
        )
        bayesian.structured_masks(model, self.units, generator=self.seed)
        layers = [layer for layer in model.modules() if isinstance(layer, bayesian.VariationalLayer)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        bayesian.SSVIScheduler(
            model,
            optimizer,
            drop_fraction=self.fraction,
            period=2,
            t_end=8,
            criterion="savage_dickey",
            rule="gain" if self.together else "grad",
            min_swaps=1,
            allow_regrow=self.regrow,
            n_samples=32,
            budget="global" if self.together else "tensor",
            units=self.units if whole else None,
        )
        generator = torch.Generator().manual_seed(self.seed + 1)
        x, target = torch.randn(32, 8, generator=generator), torch.randn(32, 16, generator=generator)
        found = [[layer.mask.clone() for layer in layers]]
        for _ in range(6):
            optimizer.zero_grad()
            with bayesian.sampling(model, "local", self.seed):
                loss = (model(x) - target).square().mean()
            (loss + 1e-4 * bayesian.kl_divergence(model)).backward()
            with warnings.catch_warnings():
                # More may be asked for than there are places.
                warnings.simplefilter("ignore", RuntimeWarning)
                optimizer.step()
            found.append([layer.mask.clone() for layer in layers])
        return found


def _runs(kinds: tuple[tuple[Any, float], ...], together: bool) -> Any:
    return st.builds(
        lambda kind, *others: Run(kind[0], kind[1], *others),
        st.sampled_from(kinds),
        st.floats(0.3, 1.0),
        st.booleans(),
        st.booleans() if together else st.just(False),
        st.integers(0, 2**31),
    )


def _broken(mask: Any, units: Any) -> int:
    """Return how many units are active in part, plus by how many active ones groups of m units are off."""
    from sparsetheory.gpu import core

    parts = core.mask_units(units, mask.shape)
    active = parts.all(mask)
    split = int((parts.any(mask) & ~active).sum())
    if parts.m is None or parts.n is None:
        return split
    return split + int((active.reshape(-1, parts.m).sum(1) - parts.n).abs().sum())


def _n_active(mask: Any, units: Any) -> int:
    from sparsetheory.gpu import core

    return int(core.mask_units(units, mask.shape).all(mask).sum())


def _structure(run: Run, whole: bool = True) -> Measurement:
    masks = run.masks(whole)
    broken = [_broken(mask, run.units) for step in masks for mask in step]
    counts = np.array([[_n_active(mask, run.units) for mask in step] for step in masks])
    drift = np.abs((counts - counts[0]).sum(1) if run.together else counts - counts[0])
    return Measurement.worst([*broken, *drift.ravel()], 0.0, scale=1.0)


whole_units = Claim(
    name="bayesian_networks.whole_units",
    summary="Rows, columns and blocks move whole, and their number is the same at every step, per layer or in all.",
    statement=r"\forall t:\ \gamma_t \text{ is constant on each unit } G,\quad "
    r"\sum_G \gamma_{t,G} = \sum_G \gamma_{0,G}",
    source=Source.ours("exchanges of units under one budget"),
    verdict=Always(0.0),
    instances=lambda: _runs(_FREE, together=True),
    evaluate=_structure,
    # Single weights leave units behind in parts.
    near_miss=lambda run: _structure(run, whole=False),
)

n_of_m = Claim(
    name="bayesian_networks.n_of_m",
    summary="Every group of m weights, or of m blocks of rows, holds exactly n active ones at every step.",
    statement=r"\forall t, \forall \text{ groups } B,\ |B| = m:\quad \sum_{i \in B} \gamma_{t,i} = n",
    source=Source.ours("exchanges within groups of N:M"),
    verdict=Always(0.0),
    instances=lambda: _runs(_GROUPS, together=False),
    evaluate=_structure,
    near_miss=lambda run: _structure(run, whole=False),
)
