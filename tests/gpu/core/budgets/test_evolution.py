"""The evolutionary search: its schedule, its draws, what survives, and how it goes on after a stop."""

import math

import pytest
import torch

from sparsetheory.gpu.core import evolve


def _distance(genome):
    return float(sum((gene - 3 * (place % 5)) ** 2 for place, gene in enumerate(genome)))


def test_the_schedule_is_that_of_the_docstring():
    seen = []

    def fitness(genome):
        seen.append(genome)
        return _distance(genome)

    found = evolve(fitness, 60, 21, generator=0)
    assert found.n_evaluations == 21 + 7 + 80
    assert seen[:21] == [(level,) * 60 for level in range(21)]
    assert len(seen) == found.n_distinct == len(set(seen))
    assert all(0 <= gene < 21 for genome in seen for gene in genome)
    best = min(range(21), key=lambda level: found.uniform[level])
    # A mutant differs from the best uniform genome by one step or not at all.
    assert {abs(gene - best) for genome in seen[21:28] for gene in genome} == {0, 2}
    assert found.fitness == min(map(_distance, seen)) == _distance(found.genome)


def test_the_best_never_gets_worse_and_the_search_helps():
    for seed in range(20):
        found = evolve(_distance, 10, 21, generator=seed)
        assert list(found.best) == sorted(found.best, reverse=True)
        assert found.best[0] == min(found.uniform) > found.fitness


def test_draws_come_from_the_generator():
    one, same, other = (evolve(_distance, 10, 21, generator=seed) for seed in (0, 0, 1))
    assert one == same != other
    state = torch.get_rng_state()
    evolve(_distance, 3, 5, n_generations=1, generator=torch.Generator().manual_seed(3))
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_not_a_number_loses():
    found = evolve(lambda genome: math.nan if genome[0] < 4 else genome[0], 2, 6, generator=0)
    assert found.genome[0] == 4
    assert found.uniform[0] == math.inf


@pytest.mark.parametrize("stop", [1, 10, 25, 60])
def test_a_stopped_search_goes_on(tmp_path, stop):
    file, calls = tmp_path / "search.jsonl", []

    def stopping(genome):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(genome)
        return _distance(genome)

    with pytest.raises(KeyboardInterrupt):
        evolve(stopping, 8, 11, generator=0, checkpoint=file)
    # The machine went down while a line was written.
    with file.open("a") as lines:
        lines.write('{"genome": [1, 2')
    again = []
    found = evolve(
        lambda genome: again.append(genome) or _distance(genome), 8, 11, generator=0, checkpoint=file, resume=True
    )
    assert found == evolve(_distance, 8, 11, generator=0)
    assert len(again) + stop == found.n_distinct
    assert not set(again) & set(calls)
    with pytest.raises(AssertionError):
        evolve(_never, 8, 11, generator=1, checkpoint=file)


def _never(genome):
    raise AssertionError(genome)


def test_a_finished_search_is_read_from_its_checkpoint(tmp_path):
    file = tmp_path / "search.jsonl"
    before = evolve(_distance, 8, 11, generator=0, checkpoint=file)
    assert evolve(_never, 8, 11, generator=0, checkpoint=file, resume=True) == before
    with pytest.raises(ValueError, match="checkpoint must be that of this search"):
        evolve(_never, 8, 11, generator=1, checkpoint=file, resume=True)


def test_one_gene_and_one_level():
    found = evolve(lambda genome: 1.0, 1, 1, n_generations=2, generator=0)
    assert (found.genome, found.n_distinct) == ((0,), 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_genes", 0), ("n_levels", 0), ("n_parents", 1), ("n_children", 0), ("n_generations", -1), ("mutation", 1.5)],
)
def test_arguments(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*; got"):
        evolve(_distance, **{"n_genes": 3, "n_levels": 3, name: value})


def test_a_bar_is_shown_on_request(capsys):
    evolve(_distance, 3, 3, n_generations=1, generator=0, verbose=True)
    assert "evolving" in capsys.readouterr().out
