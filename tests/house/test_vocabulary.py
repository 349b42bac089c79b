"""Public names are words of one vocabulary, each with one meaning."""

import inspect
import re
from pathlib import Path

from house.estimator_table import TARGET, table
from house.public_names import estimators, named, parameters

VOCABULARY = Path(__file__).resolve().parents[2] / "docs" / "vocabulary.md"
_ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)
# Hyper-parameters are given by name, except for the first one, which says what an estimator is for.
_POSITIONAL = 1


def _vocabulary():
    return _ROW.findall(VOCABULARY.read_text(encoding="utf-8"))


def test_every_public_name_is_in_the_vocabulary():
    known = {name for name, _ in _vocabulary()}
    unknown = {}
    for name, where in named():
        if name not in known:
            unknown.setdefault(name, []).append(where)
    assert not unknown


def test_the_vocabulary_holds_no_name_twice_and_none_that_nobody_uses():
    names = [name for name, _ in _vocabulary()]
    assert len(names) == len(set(names))
    assert set(names) <= {name for name, _ in named()}


def test_hyper_parameters_of_estimators_are_given_by_name():
    for _, kind in estimators():
        positional = [p.name for p in parameters(kind) if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert len(positional) <= _POSITIONAL, f"{kind.__name__}: {positional}"


def test_the_table_of_estimators_is_that_of_the_code():
    assert TARGET.read_text(encoding="utf-8") == table(), "run make docs"
