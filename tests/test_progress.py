"""Bars appear where they are wanted, and end with the loop."""

import numpy as np
import pytest

from sparsetheory.bandits import (
    AdaptiveSupportSearch,
    LinearBanditProblem,
    SupportDesignNet,
    SupportGreedy,
    SupportNetSearch,
)
from sparsetheory.progress import tracked


def test_a_bar_says_what_it_counts_and_ends_with_a_loop_that_ends_early(capsys):
    items = [1, 2, 3, 4]
    assert tracked(items, "silence", verbose=False) is items
    for item in tracked(items, "counting", verbose=True):
        if item == 3:
            break
    assert list(tracked(iter(items), "again", verbose=True, total=4)) == items  # no bar is in the way
    shown = capsys.readouterr().out
    assert "counting" in shown
    assert "50%" in shown
    assert "again" in shown
    assert "100%" in shown


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SupportNetSearch, ["nets", "certificate"]),
        (SupportGreedy, ["designs", "predictions", "certificate"]),
        (SupportDesignNet, ["designs", "nets", "certificate"]),
        (AdaptiveSupportSearch, ["largest rewards", "certificate"]),
    ],
)
def test_searches_over_supports_show_what_they_go_through_if_asked(kind, words, capsys):
    features = np.random.default_rng(0).uniform(-1, 1, (50, 5))
    problem = LinearBanditProblem(features, features[:, 2], eps=0.1)
    silent = kind(2, eps=0.1).fit(problem)
    assert not capsys.readouterr().out
    search = kind(2, eps=0.1, verbose=True).fit(problem)
    shown = capsys.readouterr().out
    assert all(word in shown for word in words)
    assert (search.action_, search.n_queries_) == (silent.action_, silent.n_queries_)
