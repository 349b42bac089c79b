"""What the package shows to its users: estimators, functions and classes, with the names of their parameters."""

import dataclasses
import importlib
import inspect
from collections.abc import Iterator

from sklearn.base import BaseEstimator

ROOMS = (
    "penalties",
    "regression",
    "coding",
    "bayesian",
    "lowrank",
    "privacy",
    "bandits",
    "gpu",
    "gpu.activations",
    "gpu.analysis",
    "gpu.attention",
    "gpu.bayesian",
    "gpu.core",
    "gpu.dimension",
    "gpu.dynamic",
    "gpu.kernels",
    "gpu.representation",
    "gpu.search",
    "gpu.solvers",
    "gpu.weights",
)


def public_objects() -> Iterator[tuple[str, str, object]]:
    """Yield room, name and object of every public function and class."""
    for room in ROOMS:
        package = importlib.import_module(f"sparsetheory.{room}")
        for name in sorted(package.__all__, key=str.lower):
            found = getattr(package, name)
            if f"{room}.{name}" in ROOMS:
                continue
            if inspect.ismodule(found):
                yield from ((f"{room}.{name}", inner, getattr(found, inner)) for inner in found.__all__)
            else:
                yield room, name, found


def estimators() -> Iterator[tuple[str, type[BaseEstimator]]]:
    """Yield room and class of every public estimator."""
    for room, _, found in public_objects():
        if inspect.isclass(found) and issubclass(found, BaseEstimator):
            yield room, found


def parameters(found: object) -> list[inspect.Parameter]:
    """Return the parameters of a function, or of the constructor of a class, without self and keyword catch-alls."""
    try:
        signature = inspect.signature(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    wild = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p for p in signature.parameters.values() if p.kind not in wild and not p.name.startswith("_")]


def named() -> Iterator[tuple[str, str]]:
    """Yield every public name of a parameter or field, and where it is used."""
    for room, name, found in public_objects():
        if inspect.isclass(found) and issubclass(found, BaseException):
            continue
        if inspect.isclass(found) and not (dataclasses.is_dataclass(found) or issubclass(found, BaseEstimator)):
            continue
        if callable(found):
            yield from ((parameter.name, f"{room}.{name}") for parameter in parameters(found))
