import ast

import pytest

from sparsetheory.gpu.core.datasets import load_docstrings, load_function_summaries
from sparsetheory.gpu.core.datasets.summaries import _WORDS, _functions


def test_functions_and_summaries_go_together():
    task = load_function_summaries()
    found = dict(zip(task.queries, task.summaries, strict=True))
    assert found["format exception traceback"] == "Format a stack trace and the exception information."
    assert len(found) == len(set(task.summaries)) > 720
    assert all(len(summary) >= 15 and "\n" not in summary for summary in task.summaries)
    texts = load_docstrings(1400, 1).calibration
    assert sum(any(text.startswith(summary) for text in texts) for summary in task.summaries[:50]) > 30


def test_sets_are_parts_of_one_order():
    whole = load_function_summaries()
    parts = [load_function_summaries(120, skip=120 * index) for index in range(3)]
    assert sum((part.queries for part in parts), ()) == whole.queries[:360]
    assert load_function_summaries(skip=700).summaries == whole.summaries[700:]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("get_HTTPError2", ["get", "HTTP", "Error", "2"]),
        ("assertRaises", ["assert", "Raises"]),
        ("MIMEText", ["MIME", "Text"]),
        ("nlargest", ["nlargest"]),
    ],
)
def test_names_are_split_into_words(name, words):
    assert _WORDS.findall(name) == words


def test_only_public_functions_and_methods_count():
    source = '''
def f():
    """First line
    and more."""
def _g():
    """Private."""
class A:
    def m(self):
        """Method."""
        def inner():
            """Inner."""
    def n(self): ...
class _B:
    def m(self):
        """Of a private class."""
'''
    assert list(_functions(ast.parse(source))) == [("f", "First line"), ("m", "Method.")]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_function_summaries(0), "n must be"),
        (lambda: load_function_summaries(10, skip=-1), "skip must be"),
        (lambda: load_function_summaries(10**6), r"skip \+ n must be at most"),
        (lambda: load_function_summaries(skip=10**6), r"skip \+ n must be at most"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
