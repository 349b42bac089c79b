"""An evolutionary search over levels, one level a gene: the best of parents and children survive."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path

import torch

from sparsetheory.constraints import COUNT, FLAG, SIZE, Integer, Real
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.progress import tracked

__all__ = ["Evolution", "evolve"]

Genome = tuple[int, ...]


@dataclass(frozen=True)
class Evolution:
    """What an evolutionary search found.

    Parameters
    ----------
    genome : tuple of int
        The best levels, one for each gene; of equally good ones those found first.
    fitness : float
        Their fitness; less is better.
    uniform : tuple of float
        Fitness of each level where all genes have it.
    best : tuple of float
        The least fitness after the uniform genomes, after the first population, and after each generation.
    n_evaluations : int
        Evaluations of the schedule. A genome that comes again is counted, and not computed again.
    n_distinct : int
        Different genomes.
    """

    genome: Genome
    fitness: float
    uniform: tuple[float, ...]
    best: tuple[float, ...]
    n_evaluations: int
    n_distinct: int


def evolve(
    fitness: Callable[[Genome], float],
    n_genes: int,
    n_levels: int,
    *,
    n_parents: int = 8,
    n_children: int = 16,
    n_generations: int = 5,
    mutation: float = 0.1,
    step: int = 2,
    generator: torch.Generator | int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> Evolution:
    """Search for the levels of least fitness by uniform crossover and mutation, where the best always survive.

    All uniform genomes come first. The best of them and mutants of it are the first parents. A child takes each gene
    from one of two different parents, and mutates. Then the best of parents and children are the next parents. So the
    least fitness never rises.

    Parameters
    ----------
    fitness : callable
        From a tuple of `n_genes` levels to a number; less is better. It must return the same number each time. NaN
        counts as infinite.
    n_genes : int
        Length of a genome.
    n_levels : int
        Levels are 0, 1, ..., ``n_levels - 1``.
    n_parents : int
        How many genomes survive.
    n_children : int
        How many are made in a generation.
    n_generations : int
        How often.
    mutation : float
        Probability with which a gene moves, by `step` up or down with equal chances. It stops at the ends.
    step : int
        How far it moves.
    generator : torch.Generator, int or None
        Source of all draws, on the CPU.
    checkpoint : str or Path, optional
        File to which each evaluation is appended, one line of JSON.
    resume : bool
        Whether evaluations are read from the checkpoint where it has them. The search is repeated with the same draws,
        so `generator` must be in the state in which it was.
    verbose : bool
        Whether a progress bar is shown.

    Returns
    -------
    Evolution
        After ``n_levels + n_parents - 1 + n_generations * n_children`` evaluations.

    Raises
    ------
    ValueError
        If an argument is out of range, or the checkpoint is that of another search.

    Notes
    -----
    A (mu + lambda) evolution strategy: H.-G. Beyer and H.-P. Schwefel, "Evolution strategies", Natural Computing 1,
    2002.

    Examples
    --------
    >>> aim = (3, 7, 5)
    >>> found = evolve(lambda genome: sum(abs(a - b) for a, b in zip(genome, aim)), 3, 11, generator=0)
    >>> found.genome, found.fitness, found.n_evaluations
    ((3, 7, 5), 0.0, 98)
    """
    COUNT.require(n_genes=n_genes, n_levels=n_levels, n_children=n_children, step=step)
    Integer(2).require(n_parents=n_parents)
    SIZE.require(n_generations=n_generations)
    Real(0.0, 1.0).require(mutation=mutation)
    FLAG.require(resume=resume, verbose=verbose)
    search = _Search(_Log(fitness, checkpoint, resume), n_levels, mutation, step, cpu_generator(generator))
    total = n_levels + n_parents - 1 + n_generations * n_children
    steps = search.steps(n_genes, n_parents, n_children, n_generations)
    for _ in tracked(steps, "evolving", verbose, total):
        pass
    value, genome = search.parents[0]
    return Evolution(genome, value, tuple(search.uniform), tuple(search.best), total, len(search.log.known))


class _Search:
    """Parents, and how the next ones come about."""

    def __init__(self, log: "_Log", n_levels: int, mutation: float, step: int, source: torch.Generator) -> None:
        self.log, self.n_levels, self.mutation, self.step, self.source = log, n_levels, mutation, step, source
        self.parents: list[tuple[float, Genome]] = []
        self.uniform: list[float] = []
        self.best: list[float] = []

    def steps(self, n_genes: int, n_parents: int, n_children: int, n_generations: int) -> Iterator[None]:
        """Run the search, and stop after each evaluation."""
        yield from self._survive([(level,) * n_genes for level in range(self.n_levels)], 1)
        self.uniform = [self.log.known[(level,) * n_genes] for level in range(self.n_levels)]
        start = self.parents[0][1]
        yield from self._survive([self._mutant(start) for _ in range(n_parents - 1)], n_parents)
        for _ in range(n_generations):
            yield from self._survive([self._child() for _ in range(n_children)], n_parents)

    def _survive(self, genomes: list[Genome], n_parents: int) -> Iterator[None]:
        for genome in genomes:
            self.parents.append((self.log(genome), genome))
            yield
        # The order is stable: of equally good genomes the older one stays in front.
        self.parents = sorted(self.parents, key=lambda parent: parent[0])[:n_parents]
        self.best.append(self.parents[0][0])

    def _mutant(self, genome: Genome) -> Genome:
        moves = torch.rand(len(genome), generator=self.source, dtype=torch.float64) < self.mutation
        signs = torch.randint(2, (len(genome),), generator=self.source) * 2 - 1
        levels = torch.tensor(genome) + moves * signs * self.step
        return tuple(levels.clamp(0, self.n_levels - 1).tolist())

    def _child(self) -> Genome:
        first, second = torch.randperm(len(self.parents), generator=self.source)[:2].tolist()
        genomes = torch.tensor([self.parents[first][1], self.parents[second][1]])
        chosen = torch.randint(2, (genomes.shape[1],), generator=self.source)
        return self._mutant(tuple(genomes.gather(0, chosen.unsqueeze(0)).squeeze(0).tolist()))


class _Log:
    """The fitness of genomes, remembered, and written to a file where one was given."""

    def __init__(self, fitness: Callable[[Genome], float], file: str | Path | None, resume: bool) -> None:
        self.fitness, self.file = fitness, None if file is None else Path(file)
        self.known: dict[Genome, float] = {}
        self.written: list[tuple[Genome, float]] = []
        if self.file is not None and resume and self.file.exists():
            self.written = _read(self.file)
        elif self.file is not None:
            self.file.write_text("", encoding="utf-8")

    def __call__(self, genome: Genome) -> float:
        if genome not in self.known:
            self.known[genome] = self._recalled(genome) if self.written else self._computed(genome)
        return self.known[genome]

    def _recalled(self, genome: Genome) -> float:
        before, value = self.written.pop(0)
        if before != genome:
            raise ValueError(
                f"checkpoint must be that of this search, with the same generator; got genome {list(before)} in "
                f"{self.file} where {list(genome)} comes next"
            )
        return value

    def _computed(self, genome: Genome) -> float:
        value = float(self.fitness(genome))
        value = inf if isnan(value) else value
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"genome": genome, "fitness": value}) + "\n")
        return value


def _read(file: Path) -> list[tuple[Genome, float]]:
    """Return the evaluations of a checkpoint; a last line that was not finished is taken off the file."""
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    entries = [json.loads(line) for line in whole.splitlines()]
    return [(tuple(entry["genome"]), float(entry["fitness"])) for entry in entries]
