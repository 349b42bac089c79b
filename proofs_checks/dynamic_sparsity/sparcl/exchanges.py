"""Claim about the masks of a continual learner: their densities follow a path, in every layer and epoch."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.verdicts import Always

_PAPER = "Wang et al., SparCL: Sparse Continual Learning on the Edge, NeurIPS 2022"


@dataclass(frozen=True, eq=False)
class Exchanges:
    """Sizes of layers, the base density of a path, its steps, and the epochs that a learner goes through."""

    widths: tuple[int, int]
    base: float
    inter: float
    intra: float
    seed: int

    def path(self, epoch: int) -> tuple[float, float]:
        """Return the densities after dropping and after growing."""
        return dynamic.density_path(epoch, self.base, self.inter, self.intra, settle=1, freeze=2)

    def densities(self) -> list[tuple[int, int, float, int]]:
        """Return of each layer after each epoch its non-zeros, those of its mask, the density of the path, its size."""
        import torch

        sizes = [*self.widths, 6, 2]
        model = core.models.MLP(sizes, activation="tanh", generator=self.seed)
        optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9)
        path = self.path
        method = dynamic.SparCL(
            model, optimizer, self.base, q=0.5, path=path, exchange_every=1, mask_every=2, generator=self.seed
        )
        x = torch.randn(8, self.widths[0], generator=torch.Generator().manual_seed(self.seed))
        y = torch.arange(8) % 2
        found = []
        for epoch in [0, 1, 2, 0]:
            if epoch == 0:
                method.begin_task(y)
            method.begin_epoch()
            for _ in range(2):
                optimizer.zero_grad()
                core.class_loss(model(x), y).backward()
                with warnings.catch_warnings():
                    # Random masks may cut a layer off; it has no gradient then.
                    warnings.simplefilter("ignore", RuntimeWarning)
                    optimizer.step()
            found += [
                (int((model.get_parameter(name) != 0).sum()), int(mask.sum()), path(epoch)[1], mask.numel())
                for name, mask in method.masks.items()
            ]
        return found

    def by_chance(self) -> list[tuple[int, int, float, int]]:
        """Return the same where each free place grows by a coin with the right mean."""
        rng, found = np.random.default_rng(self.seed), []
        for size in (self.widths[0] * self.widths[1], 6 * self.widths[1]):
            pruned, grown = self.path(0)
            kept = round(pruned * size)
            missing, free = round(grown * size) - kept, size - kept
            count = kept + int((rng.random(free) < missing / max(free, 1)).sum())
            found.append((count, count, grown, size))
        return found


def _exchanges() -> st.SearchStrategy[Exchanges]:
    sizes = st.tuples(st.integers(3, 9), st.integers(3, 9))
    return st.builds(
        Exchanges, sizes, st.sampled_from([0.25, 0.5, 0.7]), st.floats(0.01, 0.3), st.floats(0.01, 0.2), seeds
    )


def _off_path(found: list[Any]) -> Measurement:
    """Return the largest distance to the path in entries, and how many weights are not zero off a mask."""
    worst = max(abs(count - density * size) for _, count, density, size in found)
    outside = max(max(0, nonzero - count) for nonzero, count, _, _ in found)
    return Measurement(worst + outside, 0.5, 1.0)


def _path(case: Exchanges) -> Measurement:
    """Compare densities of all layers in all epochs with those of the path, in entries.

    An exchange drops to the first density and grows to the second one, each rounded to a whole number of entries. So no
    layer is further from the path than half an entry, whatever has happened before.
    """
    return _off_path(case.densities())


def _by_chance(case: Exchanges) -> Measurement:
    """Grow each free place with the probability that gives the right number on average."""
    return _off_path(case.by_chance())


sparcl_density_path = Claim(
    name="dynamic_sparsity.sparcl_density_path",
    summary="Masks of a continual learner follow the path of densities to half an entry, in every layer and epoch.",
    statement=r"\big| |M_l(e)| - d(e)\, n_l \big| \le 1/2 \text{ for all layers } l \text{ and epochs } e",
    source=Source(_PAPER, "task-aware dynamic masking", "2209.09476", "authors' code"),
    verdict=Always(rtol=1e-9),
    instances=_exchanges,
    evaluate=_path,
    near_miss=_by_chance,
)
