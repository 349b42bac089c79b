"""Docstrings are those that Python itself reports, in two parts that share nothing."""

import configparser
import inspect
import statistics

import pytest

from sparsetheory.gpu.core.datasets import docstrings, load_characters, load_docstrings


def test_parts_share_no_text_and_do_not_depend_on_each_other():
    both = load_docstrings()
    assert (len(both.calibration), len(both.held_out)) == (160, 80)
    assert not set(both.calibration) & set(both.held_out)
    assert load_docstrings(200, 30).calibration[:160] == both.calibration
    assert load_docstrings(10, 100).held_out[:80] == both.held_out


def test_texts_are_what_python_reports():
    texts = load_docstrings(1, 1000)
    texts = {*texts.calibration, *texts.held_out}
    for reported in (statistics.harmonic_mean, configparser.ConfigParser.read, statistics.NormalDist.overlap):
        assert inspect.getdoc(reported) in texts | set(load_docstrings(1000, 1).calibration)


def test_texts_are_different_and_long_enough():
    texts = load_docstrings(1000, 1).calibration
    assert len({" ".join(text.split()) for text in texts}) == 1000
    assert min(map(len, texts)) >= 40


def test_too_many_texts_and_a_library_without_sources(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"n_calibration \+ n_held_out must be at most \d+"):
        load_docstrings(10**6, 1)
    with pytest.raises(ValueError, match="n_held_out must be"):
        load_docstrings(1, 0)
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"holds no argparse\.py"):
        load_docstrings()


def test_characters_spell_the_docstrings():
    text = load_characters(30)
    n_texts = 0
    for part, expected in (
        (text.calibration, load_docstrings(50, 1).calibration),
        (text.held_out, load_docstrings(1, 30).held_out),
    ):
        spelled = "".join(text.alphabet[number] for number in part).split("\0")
        assert spelled.pop() == ""
        assert spelled[: len(expected)] == [docstring.encode("ascii", "ignore").decode() for docstring in expected]
        n_texts += len(spelled)
    # Every docstring is in one of the parts.
    with pytest.raises(ValueError, match=f"n_held_out must be an integer from 1 to {n_texts - 1}"):
        load_characters(n_texts)
    assert list(text.alphabet) == sorted(set(text.alphabet))
    assert text.calibration.max() < len(text.alphabet) < 128
    assert len(text.calibration) > 300_000
