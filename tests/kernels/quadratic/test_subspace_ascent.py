"""Kernels of the ascent against dense algebra."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.quadratic.subspace_ascent import exchange_gains, grow, refit, swap, warmup

KAPPA, PRIOR = 3.0, 0.5


class State:
    def __init__(self, seed, n=600, size=5):
        rng = np.random.default_rng(seed)
        self.F, y = rng.standard_normal((20, n)), rng.standard_normal(20)
        self.gram, self.b = self.F.T @ self.F, self.F.T @ y
        curvature = KAPPA * PRIOR * np.diagonal(self.gram)
        self.weight, self.cost = 0.5 * PRIOR / (1 + curvature), 0.5 * np.log1p(curvature)
        self.place = np.arange(n)
        self.active, self.mean = rng.choice(n, size, replace=False).astype(np.int64), np.zeros(size)
        self.is_active, self.factor = np.zeros(n, np.bool_), np.zeros((size, size))
        self.g, self.best = np.empty(n), np.empty(n)

    def moves(self):
        return self.active, self.is_active, self.mean, self.factor

    def bound(self, active):
        precision = KAPPA * self.gram[np.ix_(active, active)] + np.eye(len(active)) / PRIOR
        mean = KAPPA * np.linalg.solve(precision, self.b[active])
        return mean, 0.5 * KAPPA * self.b[active] @ mean - self.cost[active].sum()

    def table(self):
        """Gains of all exchanges by two steps: leave, and enter."""
        gains = np.full((self.active.size, self.b.size), -np.inf)
        for i in range(self.active.size):
            rest = np.delete(self.active, i)
            g = KAPPA * (self.b - self.gram[:, rest] @ np.delete(self.mean, i))
            leaving = self.cost[self.active[i]] - self.mean[i] ** 2 / (4 * self.weight[self.active[i]])
            gains[i] = leaving + self.weight * g**2 - self.cost
        gains[:, self.active] = -np.inf
        return gains


@pytest.mark.parametrize("seed", range(3))
def test_refit_is_the_dense_solution(seed):
    state = State(seed)
    bound = refit(state.gram, state.place, state.b, state.cost, *state.moves(), 5, KAPPA, PRIOR, 1.0)
    mean, wanted = state.bound(state.active)
    np.testing.assert_allclose(state.mean, mean, rtol=1e-11)
    assert bound == pytest.approx(wanted, rel=1e-11)
    assert np.flatnonzero(state.is_active).tolist() == np.sort(state.active).tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1, 4, 5])
def test_every_move_is_the_best_one_of_the_table(seed, size):
    state = State(seed, size=size)
    given = (state.gram, state.place, state.b, state.weight, state.cost, *state.moves(), size, KAPPA, PRIOR, 1.0)
    bounds = np.zeros(60)
    bounds[0] = refit(state.gram, state.place, state.b, state.cost, *state.moves(), size, KAPPA, PRIOR, 1.0)
    for move in range(1, 60):
        table, before = state.table(), state.active.copy()
        i, j = np.unravel_index(np.argmax(table), table.shape)
        # Room for one move at a time.
        done, needed = swap(*given, state.g, state.best, 1e-9, bounds[: move + 1], move - 1)
        assert needed == -1
        if table.max() <= 1e-9:
            assert done == move - 1
            break
        np.testing.assert_array_equal(np.sort(state.active), np.sort(np.append(np.delete(before, i), j)))
        mean, wanted = state.bound(state.active)
        np.testing.assert_allclose(state.mean, mean, rtol=1e-9)
        assert bounds[move] == pytest.approx(wanted, rel=1e-10)
        assert bounds[move] >= bounds[move - 1] + table.max() - 1e-9
    assert 1 < move < 59
    exchange_gains(
        state.gram, state.place, state.weight, state.cost, state.active, state.mean, KAPPA,
        KAPPA * (state.b - state.gram[:, state.active] @ state.mean), state.best,
    )  # fmt: skip
    outside = ~state.is_active
    np.testing.assert_allclose(state.best[outside], state.table().max(axis=0)[outside], rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_pivot_is_below_the_share_of_the_prior(seed):
    """The second of two equal columns leaves two; beside 1e16 rounding leaves anything."""
    column = np.random.default_rng(seed).standard_normal((7, 1))
    gram, place, active = np.tile(column.T @ column, (4, 4)), np.arange(4), np.arange(4)
    factor, ridge, prior = np.zeros((4, 4)), 3.0, 1e15
    refit(
        gram, place, np.ones(4), np.zeros(4), active, np.zeros(4, np.bool_), np.zeros(4), factor, 4, 1.0, prior, ridge
    )
    assert np.all(np.diagonal(factor) >= np.sqrt(ridge))


def test_an_exchange_that_does_not_raise_the_bound_is_taken_back():
    state = State(2)
    given = (state.gram, state.place, state.b, state.weight, state.cost, *state.moves(), 5, KAPPA, PRIOR, 1.0)
    bounds = np.zeros(99)
    bounds[0] = refit(state.gram, state.place, state.b, state.cost, *state.moves(), 5, KAPPA, PRIOR, 1.0)
    done, _ = swap(*given, state.g, state.best, 1e-9, bounds, 0)
    active, mean = np.sort(state.active), state.mean[np.argsort(state.active)]
    # As if the table promised a gain: all exchanges lose now.
    again, needed = swap(*given, state.g, state.best, -1e9, bounds, done)
    assert (again, needed) == (done, -1)
    order = np.argsort(state.active)
    np.testing.assert_array_equal(state.active[order], active)
    np.testing.assert_allclose(state.mean[order], mean, rtol=1e-11)
    assert np.flatnonzero(state.is_active).tolist() == active.tolist()


def test_rows_that_are_not_known_are_asked_for():
    state = State(0)
    whole, known = state.gram, state.active.copy()
    state.gram, state.place = whole[known], np.full(600, -1)
    state.place[known] = np.arange(5)
    bounds = np.zeros(9)
    bounds[0] = refit(state.gram, state.place, state.b, state.cost, *state.moves(), 5, KAPPA, PRIOR, 1.0)
    given = (state.gram, state.place, state.b, state.weight, state.cost, *state.moves(), 5, KAPPA, PRIOR, 1.0)
    done, needed = swap(*given, state.g, state.best, 1e-9, bounds, 0)
    state.gram = whole
    assert done == 0
    assert needed == np.unravel_index(np.argmax(state.table()), (5, 600))[1]
    assert state.active.tolist() == known.tolist()


def test_growth_takes_the_largest_gain_and_never_what_costs_infinity():
    state = State(1, n=12, size=12)
    state.cost[[2, 5]] = np.inf
    given = (state.gram, state.place, state.b, state.weight, state.cost, *state.moves())
    size, needed = grow(*given, 0, KAPPA, PRIOR, 1.0, state.g, state.best)
    assert (size, needed) == (10, -1)
    chosen = []
    for _ in range(10):
        mean, _ = state.bound(np.array(chosen, dtype=int))
        gains = state.weight * (KAPPA * (state.b - state.gram[:, chosen] @ mean)) ** 2 - state.cost
        gains[chosen] = -np.inf
        chosen.append(int(np.argmax(gains)))
    assert state.active[:10].tolist() == chosen


def test_warmup_compiles():
    warmup()
