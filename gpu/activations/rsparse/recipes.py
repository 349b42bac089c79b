"""Which share of its budget each layer spends on input channels: by evolution, or from tables of layer errors."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sparsetheory.constraints import Choice, Several
from sparsetheory.gpu.activations.rsparse.budgets import RHO, SPARSITY, exact
from sparsetheory.gpu.activations.rsparse.candidates import Candidates
from sparsetheory.gpu.core.budgets.choices import choose_options
from sparsetheory.gpu.core.budgets.evolution import evolve

__all__ = ["Recipe", "search_recipe"]

RHOS = tuple(number / 20 for number in range(21))


@dataclass(frozen=True)
class Recipe:
    """Shares for each layer.

    Parameters
    ----------
    sparsity, rho : dict of str to float
        As :func:`rsparse_model` takes them.
    fitness : float
        Of the model with these shares; less is better.
    best : tuple of float
        Least fitness after the uniform shares, after the first population, and after each generation. For "lagrange"
        the fitness alone.
    n_evaluations : int
        Evaluations of the fitness.
    """

    sparsity: dict[str, float]
    rho: dict[str, float]
    fitness: float
    best: tuple[float, ...]
    n_evaluations: int


def search_recipe(
    model: nn.Module,
    fitness: Callable[[nn.Module], float],
    sparsity: float,
    method: Literal["evolution", "lagrange"] = "evolution",
    generator: torch.Generator | int | None = None,
    *,
    calibration: Iterable[Any],
    rhos: Sequence[float] = RHOS,
    sparsities: Sequence[float] | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    scaled: bool | None = None,
    n_generations: int = 5,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> Recipe:
    """Search for the share `rho` of each layer under one sparsity.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.
    fitness : callable
        From the converted model to a number of which less is better, such as a perplexity. The same model object is
        passed each time, with other layers; it is not to be kept.
    sparsity : float
        Share of the weights that a token does not read, in [0, 1).
    method : {"evolution", "lagrange"}
        "evolution" asks the fitness, see :func:`sparsetheory.gpu.core.evolve`. "lagrange" tabulates for each layer and
        share the squared output error on the calibration, relative to the output, and chooses for the least sum under
        the budget of the whole model, see :func:`sparsetheory.gpu.core.choose_options`. It evaluates the fitness once.
    generator : torch.Generator, int or None
        Source of the draws of "evolution", on the CPU.
    calibration : iterable
        Batches, as :func:`rsparse_model` takes them.
    rhos : sequence of float
        Shares to choose from, ascending.
    sparsities : sequence of float, optional
        For "lagrange" the sparsities that a layer may have, so that budget moves between layers; `sparsity` holds for
        the whole. By default all layers have it.
    include, exclude, scaled
        As :func:`rsparse_model` takes them.
    n_generations : int
        Of the evolution, with 16 children each. A mutation moves a share by two places in `rhos`.
    checkpoint, resume, verbose
        Of the evolution, as :func:`sparsetheory.gpu.core.evolve` takes them.

    Returns
    -------
    Recipe
        With the default shares, evolution takes 108 evaluations: 21 uniform ones, 7 mutants, 5 times 16 children.

    Raises
    ------
    ValueError
        If a number is out of range; `sparsities` are given for "evolution"; or all of them are below `sparsity`.

    Notes
    -----
    The paper searches shares by an evolutionary algorithm whose operators we did not find; those here are ours.
    Singular values and scores are computed once, and a new choice of shares costs a copy of the weights. Memory: the
    weights twice, half a copy of them in singular directions, and the inputs of the calibration.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.activations import rsparse_model
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randn(64, 32, generator=generator)
    >>> model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    >>> def fitness(candidate):
    ...     return (candidate(x) - model(x)).square().mean().item()
    >>> recipe = search_recipe(model, fitness, 0.5, generator=0, calibration=[x])
    >>> recipe.n_evaluations, bool(recipe.fitness == recipe.best[-1] <= recipe.best[0])
    (108, True)
    >>> bool(fitness(rsparse_model(model, [x], recipe.sparsity, recipe.rho)) == recipe.fitness)
    True
    """
    SPARSITY.require(sparsity=sparsity)
    Choice("evolution", "lagrange").require(method=method)
    Several(RHO).require(rhos=rhos)
    if sparsities is not None:
        Several(SPARSITY).require(sparsities=sparsities)
        if method == "evolution":
            raise ValueError(f"sparsities must be None for method='evolution'; got {sparsities!r}")
    shares = [(float(s), float(rho)) for s in (sparsities or (sparsity,)) for rho in rhos]
    candidates = Candidates.of(model, calibration, shares, include, exclude, scaled)

    @torch.no_grad()
    def judged(numbers: Sequence[int]) -> float:
        return float(fitness(candidates.put(numbers)))

    if method == "lagrange":
        numbers = _cheapest(candidates, sparsity)
        value = judged(numbers)
        return _recipe(candidates, shares, numbers, value, (value,), 1)
    found = evolve(
        judged,
        len(candidates.layers),
        len(shares),
        n_generations=n_generations,
        generator=generator,
        checkpoint=checkpoint,
        resume=resume,
        verbose=verbose,
    )
    return _recipe(candidates, shares, found.genome, found.fitness, found.best, found.n_evaluations)


def _cheapest(candidates: Candidates, sparsity: float) -> tuple[int, ...]:
    """Return the options of least error within the budget of the whole model."""
    budget = float((1 - exact(sparsity)) * candidates.n_entries)
    return choose_options(candidates.losses(), candidates.costs(), budget).options


def _recipe(
    candidates: Candidates,
    shares: Sequence[tuple[float, float]],
    numbers: Sequence[int],
    fitness: float,
    best: tuple[float, ...],
    n_evaluations: int,
) -> Recipe:
    chosen = {name: shares[number] for name, number in zip(candidates.layers, numbers, strict=True)}
    sparsity, rho = ({name: pair[place] for name, pair in chosen.items()} for place in (0, 1))
    return Recipe(sparsity, rho, fitness, best, n_evaluations)
