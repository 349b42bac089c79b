"""Designs by name, for experiments."""

import inspect
from collections.abc import Callable
from typing import Any

from sparsetheory.constraints import Choice
from sparsetheory.regression.datasets.gaussian import brownian, gaussian, lowrank, multiscale
from sparsetheory.regression.datasets.near_duplicates import clusters, pairs, tree
from sparsetheory.regression.datasets.smooth import analytic, cauchy, runge, vandermonde
from sparsetheory.regression.datasets.worst_cases import (
    WorstCase,
    sparse_precision,
    worst_pairs,
    worst_sparse_precision,
    worst_zwj_blocks,
    zwj_blocks,
)
from sparsetheory.typing import Float64Array

__all__ = ["DESIGNS", "WORST_CASES", "WorstCase", "check_design", "make_design", "worst_case"]

DESIGNS: dict[str, Callable[..., Float64Array]] = {
    "gaussian": gaussian,
    "clusters": clusters,
    "tree": tree,
    "lowrank": lowrank,
    "multiscale": multiscale,
    "analytic": analytic,
    "cauchy": cauchy,
    "runge": runge,
    "vandermonde": vandermonde,
    "zwj_blocks": zwj_blocks,
    "pairs": pairs,
    "brownian": brownian,
    "sparse_precision": sparse_precision,
}

WORST_CASES: dict[str, Callable[..., WorstCase]] = {
    "zwj_blocks": worst_zwj_blocks,
    "pairs": worst_pairs,
    "sparse_precision": worst_sparse_precision,
}

# What all families take.
_SIZES = {"n_samples", "n_features", "random_state"}
# Names of benchmark tables, with the parameter that they fix.
_ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "clusters15": ("clusters", {"n_clusters": 15}),
    "clusters40": ("clusters", {"n_clusters": 40}),
    "lowrank4": ("lowrank", {"rank": 4}),
}


def make_design(name: str, n_samples: int, n_features: int, *, random_state: Any = None, **params: Any) -> Float64Array:
    """Draw a design of a named family.

    Under a random support and coefficients chosen to cancel, ``gaussian``, ``brownian`` and ``runge`` are easy;
    ``clusters``, ``tree``, ``lowrank``, ``multiscale``, ``analytic``, ``cauchy`` and ``vandermonde`` break most known
    methods; ``zwj_blocks``, ``pairs`` and ``sparse_precision`` are hard on chosen supports only (:func:`worst_case`).

    Parameters
    ----------
    name : str
        A key of `DESIGNS`, or ``"clusters15"``, ``"clusters40"``, ``"lowrank4"``, which fix one parameter.
    n_samples, n_features : int
        Numbers of rows and columns.
    random_state : None, int, Generator or RandomState
        Seed.
    **params
        Parameters of the family; its function in `DESIGNS` documents them.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        float64, Fortran order, columns of Euclidean norm ``sqrt(n_samples)``.

    Raises
    ------
    ValueError
        If the name, a parameter or its value is not one of the family's.

    Examples
    --------
    >>> X = make_design("clusters", 30, 100, n_clusters=5, random_state=0)
    >>> X.shape, X.flags.f_contiguous
    ((30, 100), True)
    """
    family, fixed = check_design(name, params)
    return DESIGNS[family](n_samples, n_features, random_state=random_state, **fixed)


def check_design(name: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the family and all parameters that a name and some parameters stand for.

    Parameters
    ----------
    name : str
        Family or alias.
    params : dict
        Parameters given by the user.

    Returns
    -------
    family : str
        A key of `DESIGNS`.
    params : dict
        With what the alias fixes.

    Raises
    ------
    ValueError
        If there is no such name or parameter, or the alias fixes the parameter already.

    Examples
    --------
    >>> check_design("lowrank4", {"perturbation": 0.1})
    ('lowrank', {'perturbation': 0.1, 'rank': 4})
    """
    Choice(*DESIGNS, *_ALIASES).check("name", name)
    family, fixed = _ALIASES.get(name, (name, {}))
    _check_parameters(name, DESIGNS[family], params, set(fixed))
    return family, params | fixed


def worst_case(name: str, n_samples: int, n_features: int, *, random_state: Any = None, **params: Any) -> WorstCase:
    """Draw a design with the support and the coefficients on which it is hard.

    Parameters
    ----------
    name : str
        A key of `WORST_CASES`.
    n_samples, n_features : int
        Numbers of rows and columns.
    random_state : None, int, Generator or RandomState
        Seed.
    **params
        `n_nonzero`, the size of the support, and the parameters of the family; its function in `WORST_CASES` documents
        them.

    Returns
    -------
    WorstCase

    Raises
    ------
    ValueError
        If the name, a parameter or its value is not one of the family's.

    Examples
    --------
    >>> worst_case("zwj_blocks", 64, 64).support.tolist()
    [0, 1]
    """
    Choice(*WORST_CASES).check("name", name)
    _check_parameters(name, WORST_CASES[name], params, set())
    return WORST_CASES[name](n_samples, n_features, random_state=random_state, **params)


def _check_parameters(name: str, function: Callable[..., Any], params: dict[str, Any], fixed: set[str]) -> None:
    known = [p for p in inspect.signature(function).parameters if p not in _SIZES | fixed]
    for unknown in set(params) - set(known):
        raise ValueError(f"{name} has no parameter {unknown!r}; it has {', '.join(known) or 'none'}")
