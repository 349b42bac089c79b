"""A claim about the evolutionary search: the best candidate never gets worse, as the best parents survive."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.verdicts import Always

_GENERATIONS = 3


@dataclass(frozen=True)
class Landscape:
    """A fitness of whole numbers that depends on genes and on pairs of neighbours, with many ties."""

    n_genes: int
    n_levels: int
    n_parents: int
    n_children: int
    rng_seed: int

    def search(self) -> tuple[Any, list[float]]:
        """Return what the search found, and the fitness of all candidates it judged."""
        rng = np.random.default_rng(self.rng_seed)
        own = rng.integers(0, 9, (self.n_genes, self.n_levels))
        pairs = rng.integers(0, 9, (self.n_genes, self.n_levels, self.n_levels))
        judged: list[float] = []

        def fitness(genome: tuple[int, ...]) -> float:
            alone = sum(int(own[place, level]) for place, level in enumerate(genome))
            judged.append(float(alone + sum(int(pairs[k, a, b]) for k, (a, b) in enumerate(pairwise(genome)))))
            return judged[-1]

        found = core.evolve(
            fitness,
            self.n_genes,
            self.n_levels,
            n_parents=self.n_parents,
            n_children=self.n_children,
            n_generations=_GENERATIONS,
            mutation=0.3,
            step=1,
            generator=self.rng_seed,
        )
        return found, judged


def _landscapes() -> st.SearchStrategy[Landscape]:
    small = st.integers(1, 6)
    return st.builds(Landscape, small, small, st.integers(2, 5), st.integers(1, 8), seeds)


def _elitism(landscape: Landscape) -> Measurement:
    """Compare the best fitness of consecutive stages, and the last one with all that was ever judged.

    Parents stay among those from which the next parents are chosen. So the best candidate so far is always a parent.
    """
    found, judged = landscape.search()
    again, _ = landscape.search()
    n_evaluations = landscape.n_levels + landscape.n_parents - 1 + _GENERATIONS * landscape.n_children
    lost = [
        *np.diff(found.best),
        abs(found.fitness - min(judged)),
        abs(found.best[0] - min(found.uniform)),
        abs(found.n_evaluations - n_evaluations),
        max(found.n_distinct - n_evaluations, 0),
        float(found != again),
    ]
    return Measurement.worst(lost, 0.0, scale=1.0)


def _always_better(landscape: Landscape) -> Measurement:
    """Expect every generation to find something better."""
    found, _ = landscape.search()
    return Measurement.worst(np.diff(found.best) + 1.0, 0.0, scale=1.0)


elitism = Claim(
    name="activation_sparsity.rsparse_elitism",
    summary="The best candidate of the evolutionary search never gets worse, and no other one judged is better.",
    statement=r"f^*_{g+1} \le f^*_g, \quad f^*_{\text{last}} = \min_{x\ \text{judged}} f(x)",
    source=Source.ours("selection among parents and children together"),
    verdict=Always(0.0),
    instances=_landscapes,
    evaluate=_elitism,
    near_miss=_always_better,
)
