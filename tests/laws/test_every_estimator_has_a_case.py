"""Whoever adds an estimator adds its case, and all laws hold it."""

import importlib
import inspect

from estimator_cases import CASES
from sklearn.base import BaseEstimator

ROOMS = ("lowrank", "regression", "coding", "bayesian", "privacy")


def public_estimators():
    """Return every public estimator class of the package by name."""
    rooms = [importlib.import_module(f"sparsetheory.{room}") for room in ROOMS]
    named = {name: getattr(room, name) for room in rooms for name in room.__all__}
    return {n: c for n, c in named.items() if inspect.isclass(c) and issubclass(c, BaseEstimator)}


def test_every_public_estimator_has_a_case():
    assert {name.split("-")[0] for name in CASES} == set(public_estimators())
