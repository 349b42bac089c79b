import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.gpu.core import allocate, choose_options, lagrangian_sweep


@st.composite
def _problems(draw, numbers):
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    losses = [draw(st.lists(numbers, min_size=n, max_size=n)) for n in counts]
    costs = [draw(st.lists(numbers, min_size=n, max_size=n)) for n in counts]
    least, most = math.fsum(map(min, costs)), math.fsum(map(max, costs))
    whole = st.integers(math.ceil(least), math.ceil(most) + 1)
    return losses, costs, draw(st.one_of(st.floats(least, most + 1), whole, st.just(least), st.just(most)))


WHOLE = _problems(st.integers(0, 12))
REAL = _problems(st.floats(0, 10, allow_subnormal=False))


def _every_choice(losses, costs):
    for options in itertools.product(*(range(len(row)) for row in losses)):
        yield (
            math.fsum(row[i] for row, i in zip(losses, options, strict=True)),
            math.fsum(row[i] for row, i in zip(costs, options, strict=True)),
        )


def _least_loss(losses, costs, budget):
    return min(loss for loss, cost in _every_choice(losses, costs) if cost <= budget)


@given(st.one_of(WHOLE, REAL))
def test_a_price_finds_the_least_loss_at_the_cost_of_its_choice(problem):
    losses, costs, budget = problem
    found = lagrangian_sweep(losses, costs, budget)
    assert found.cost <= budget
    assert found.loss <= _least_loss(losses, costs, found.cost) + 1e-9
    assert found.lower_bound <= _least_loss(losses, costs, budget) + 1e-9


@given(st.one_of(WHOLE, REAL))
def test_every_unit_holds_a_least_option_at_the_price(problem):
    losses, costs, budget = problem
    found = lagrangian_sweep(losses, costs, budget)
    if found.multiplier > 1e12:  # two costs that differ by a rounding error
        return
    for loss, cost, option in zip(losses, costs, found.options, strict=True):
        priced = np.add(loss, np.multiply(found.multiplier, cost))
        assert priced[option] <= priced.min() + 1e-9 * (1 + abs(priced).max())


@given(WHOLE)
def test_the_table_finds_the_least_loss_for_whole_costs(problem):
    losses, costs, budget = problem
    found = choose_options(losses, costs, budget, "dp")
    assert found.loss == _least_loss(losses, costs, budget)
    assert found.cost <= budget
    assert found.lower_bound <= found.loss + 1e-9


@given(REAL, st.integers(1, 60))
def test_a_rounded_table_misses_no_choice_that_leaves_a_cell_for_each_unit(problem, n_cells):
    losses, costs, budget = problem
    found = choose_options(losses, costs, budget, "dp", n_cells=n_cells)
    assert found.cost <= budget
    least = math.fsum(map(min, costs))
    cell = (budget - least) / n_cells
    roomy = [loss for loss, cost in _every_choice(losses, costs) if cost <= budget - len(costs) * cell - 1e-9]
    assert found.loss <= min(roomy, default=math.inf) + 1e-9


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_removals_of_growing_price_are_split_as_by_allocate(rows, data):
    rows = [sorted(row) for row in rows]
    total = data.draw(st.integers(0, sum(map(len, rows))))
    kept = allocate(rows, total)
    removed = [np.concatenate([[0], np.cumsum(row)]) for row in rows]
    wanted = sum(loss[len(loss) - 1 - k] for loss, k in zip(removed, kept, strict=True))
    entries = [np.arange(len(loss))[::-1] for loss in removed]
    assert choose_options(removed, entries, total).loss == wanted
    assert choose_options(removed, entries, total, "dp").loss == wanted


def test_a_price_misses_what_lies_between_corners_of_the_hull():
    losses, costs = [[0.0, 1.0, 0.5]], [[1.0, 0.0, 0.9]]
    priced = choose_options(losses, costs, 0.95)
    assert (priced.options, priced.loss, priced.multiplier) == ((1,), 1.0, 1.0)
    assert priced.lower_bound == pytest.approx(0.05)
    assert choose_options(losses, costs, 0.95, "dp").options == (2,)


def test_steps_of_one_price_go_to_the_first_units_that_fit():
    found = lagrangian_sweep([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 1.0], [0.0, 1.0]], 1)
    assert found.options == (0, 1, 0)
    assert found.multiplier == 1.0


@pytest.mark.parametrize("method", ["lagrange", "dp"])
def test_equal_options_go_to_the_lowest_index(method):
    assert choose_options([[1.0, 1.0, 1.0]], [[2.0, 1.0, 1.0]], 5, method).options == (1,)


def test_options_on_one_line_are_all_corners():
    found = lagrangian_sweep([[3.0, 2.0, 1.0, 0.0]], [[0.0, 1.0, 2.0, 3.0]], 2)
    assert found.options == (2,)


@pytest.mark.parametrize("method", ["lagrange", "dp"])
def test_a_large_budget_takes_every_least_loss_at_its_least_cost(method):
    found = choose_options([[1.0, 0.0, 0.0], [4.0]], [[0.0, 9.0, 2.0], [7.0]], 1e12, method)
    assert found.options == (2, 0)
    assert (found.loss, found.cost, found.multiplier, found.lower_bound) == (4.0, 9.0, 0.0, 4.0)


def test_costs_of_layers_in_operations_are_exact_where_they_share_a_divisor():
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=(5, 4)).tolist()
    costs = (rng.integers(0, 50, size=(5, 4)) * 123_456_789).tolist()
    budget = 130 * 123_456_789
    assert choose_options(losses, costs, budget, "dp").loss == pytest.approx(_least_loss(losses, costs, budget))


def test_a_price_beyond_all_numbers_is_infinite():
    found = lagrangian_sweep([[1e300, 0.0]], [[0.0, 1e-300]], 0)
    assert (found.options, found.multiplier, found.lower_bound) == ((0,), math.inf, 1e300)


def test_options_may_be_tensors_and_units_may_be_none():
    assert choose_options(torch.tensor([[1.0, 0.0]]), torch.tensor([[0, 1]]), 1, "dp").options == (1,)
    assert choose_options([], [], 0.0, "dp").options == ()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"budget must be at least the cost of the cheapest options, 3\.0; got 2"):
        choose_options([[1.0], [2.0]], [[1.0], [2.0]], 2)
    with pytest.raises(ValueError, match=r"losses\[1\] must be a finite sequence"):
        choose_options([[1.0], [math.nan]], [[1.0], [2.0]], 5)
    with pytest.raises(ValueError, match=r"costs must hold a number for each of losses, \[1, 2\] a unit; got \[1, 1\]"):
        choose_options([[1.0], [2.0, 3.0]], [[1.0], [2.0]], 5)
    with pytest.raises(ValueError, match=r"losses\[0\] must hold at least one number"):
        choose_options([[]], [[]], 5)
    with pytest.raises(ValueError, match="budget must be a finite number"):
        choose_options([[1.0]], [[1.0]], math.inf)
    with pytest.raises(ValueError, match="method must be one of 'lagrange', 'dp'"):
        choose_options([[1.0]], [[1.0]], 1, "greedy")
    with pytest.raises(ValueError, match="n_cells must be an integer"):
        choose_options([[1.0]], [[1.0]], 1, "dp", n_cells=0)
