"""Laws of penalties, for every family of the table, with and without a sign constraint.

Definitions, brute force and other units judge the operators; nothing here knows how a family is computed.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penalties.penalty_table import EPS, TABLE, each_row, each_sign
from scipy.optimize import minimize_scalar

from sparsetheory.penalties.best_entries import best_distances, penalty_values
from sparsetheory.regression.certificates.coordinate_minima import distance_to_best

rows, seeds = st.sampled_from(TABLE), st.integers(0, 10**6)


def _draws(row, rng, positive, count=40):
    """Yield penalties with steps, and numbers to threshold: of all sizes and signs, and close to the threshold."""
    for _ in range(count):
        u, step, alpha, shape = row.draw(rng)
        penalty = row.make(alpha, shape, positive=positive)
        near = penalty.zero_threshold(step) * (1 + 1e-3 * rng.standard_normal(4))
        u = np.concatenate([u * 10 ** rng.uniform(-1, 1, 6) * rng.choice([-1, 1], 6), near, -near, [0.0]])
        yield penalty, step, u


def _value(row, x, penalty):
    """Return the definition entry by entry, infinite where the sign is wrong."""
    x = np.asarray(x, dtype=float)
    values = row.definition(np.abs(x), penalty.alpha, penalty.shape)
    return np.where((x < 0) & penalty.positive, np.inf, values)


def _balanced(penalty, step):
    """Say whether step and bend just cancel, so that the operator is as steep as can be."""
    rho = penalty.weak_convexity()
    return np.isfinite(rho) and abs(1 - step * rho) < 1e-2


def _excess(row, penalty, step, u, x):
    """Return how much better brute force does than x, relative to the objective at zero; one entry each."""

    def objective(z):
        return 0.5 * (z - u) ** 2 + step * _value(row, z, penalty)

    shares = np.linspace(0.0, 1.0, 4001)[:, None]
    grid = objective(shares * u)
    best = shares[grid.argmin(axis=0), 0]
    near = np.clip(best + np.linspace(-1, 1, 401)[:, None] / 4000, 0.0, 1.0)
    least = np.minimum(grid.min(axis=0), objective(near * u).min(axis=0))
    return (objective(x) - least) / np.maximum(u**2 / 2, 1e-300)


@each_row
@each_sign
def test_values_follow_the_definition(row, positive, rng):
    for penalty, _, u in _draws(row, rng, positive):
        for x in (u, np.abs(u), np.zeros(3)):
            assert penalty.value(x) == pytest.approx(_value(row, x, penalty).sum(), rel=1e-12)
            assert penalty_values(penalty, x) == pytest.approx(_value(row, x, penalty), rel=1e-11, abs=1e-300)
        edges = np.array(row.kinks(penalty.alpha, penalty.shape))
        assert penalty_values(penalty, edges) == pytest.approx(_value(row, edges, penalty), rel=1e-12)


@each_row
def test_nothing_negative_is_allowed_where_entries_must_be_positive(row, rng):
    _, step, alpha, shape = row.draw(rng)
    penalty = row.make(alpha, shape, positive=True)
    assert penalty.value([1.0, -1e-300]) == np.inf
    assert penalty.value([0.0, -0.0]) == 0.0
    assert penalty.prox([-3.0, -1e-3, -np.inf], step).tolist() == [0.0, 0.0, 0.0]
    assert penalty.subgrad_dist([-1.0, -1e-3], 0.5).tolist() == [np.inf, np.inf]
    assert penalty.subgrad_dist([0.0, 0.0], [1e3, 0.0]).tolist() == [0.0, 0.0]


@each_row
@each_sign
def test_the_operator_minimises(row, positive, rng):
    for penalty, step, u in _draws(row, rng, positive):
        assert _excess(row, penalty, step, u, penalty.prox(u, step)).max() <= 1e-12


@each_row
def test_the_sign_constraint_only_cuts_what_is_negative(row, rng):
    for penalty, step, u in _draws(row, rng, True):
        free = row.make(penalty.alpha, penalty.shape)
        assert penalty.prox(u, step).tolist() == free.prox(np.maximum(u, 0.0), step).tolist()
        assert penalty.zero_threshold(step) == free.zero_threshold(step)
        assert penalty.jump(step) == free.jump(step)
        assert penalty.weak_convexity() == free.weak_convexity()
        assert penalty.value(np.abs(u)) == free.value(u)


@each_row
def test_the_threshold_is_the_least_at_which_a_value_beats_zero(row, rng):
    for _ in range(60):
        _, step, alpha, shape = row.draw(rng)
        penalty = row.make(alpha, shape)

        def cost(log_x, step=step, penalty=penalty):
            x = np.exp(log_x)
            return x / 2 + step * _value(row, x, penalty) / x

        grid = np.linspace(np.log(1e-12), np.log(1e4), 1001)
        k = np.argmin(cost(grid))
        bounds = grid[max(k - 1, 0)], grid[min(k + 1, 1000)]
        found = minimize_scalar(cost, bounds=bounds, options={"xatol": 1e-10})
        assert penalty.zero_threshold(step) == pytest.approx(min(found.fun, cost(grid[0])), rel=1e-9)
        # Where the operator is continuous, the infimum lies at zero itself.
        size = penalty.jump(step)
        assert size == pytest.approx(np.exp(found.x), rel=1e-4) if size > 0 else k == 0


@each_row
@each_sign
def test_zero_wins_ties_and_the_next_number_jumps(row, positive, rng):
    for penalty, step, _ in _draws(row, rng, positive, count=100):
        limit, size = penalty.zero_threshold(step), penalty.jump(step)
        assert penalty.prox([limit, -limit], step).tolist() == [0.0, 0.0]
        after = penalty.prox(limit * (1 + 8 * EPS), step)
        assert after > 0
        assert after == pytest.approx(size, rel=1e-7, abs=1e-6 * limit)


@given(rows, st.booleans(), seeds, st.floats(1e-12, 10.0))
def test_operators_shrink_and_do_not_decrease(row, positive, seed, relative):
    u, step, alpha, shape = row.draw(np.random.default_rng(seed))
    penalty = row.make(alpha, shape, positive=positive)
    x = penalty.prox(u, step)
    assert penalty.prox(-u, step) == (0.0 if positive else -x)
    assert 0 <= x <= u
    assert penalty.prox(u * (1 + relative), step) >= x * (1 - 4 * EPS)


@given(rows, st.booleans(), seeds, st.floats(1e-3, 10.0))
def test_more_strength_shrinks_more(row, positive, seed, relative):
    u, step, alpha, shape = row.draw(np.random.default_rng(seed))
    weak = row.make(alpha, shape, positive=positive)
    strong = weak.with_alpha(alpha * (1 + relative))
    assert strong.value(u) >= weak.value(u) * (1 - 8 * EPS)
    assert strong.zero_threshold(step) >= weak.zero_threshold(step) * (1 - 8 * EPS)
    # Next to a threshold rounding decides; the smaller of the two is then a jump away.
    assert strong.prox(u, step) <= weak.prox(u * (1 + 16 * EPS), step) * (1 + 1e-9)


@given(rows, st.booleans(), seeds, st.floats(-3.0, 3.0))
def test_other_units_give_the_same_answers(row, positive, seed, power):
    rng, c = np.random.default_rng(seed), 10.0**power
    u, step, alpha, shape = row.draw(rng)
    penalty = row.make(alpha, shape, positive=positive)
    other = row.make(*row.units(alpha, shape, c), positive=positive)
    limit = penalty.zero_threshold(step)
    assert other.value(c * u) == pytest.approx(c**2 * penalty.value(u), rel=1e-11)
    assert other.zero_threshold(step) == pytest.approx(c * limit, rel=1e-10)
    assert other.jump(step) == pytest.approx(c * penalty.jump(step), rel=1e-6, abs=1e-6 * c * limit)
    if abs(u - limit) > 1e-9 * limit and not _balanced(penalty, step):
        assert other.prox(c * u, step) == pytest.approx(c * penalty.prox(u, step), rel=1e-8)


@each_row
@each_sign
def test_weak_convexity_is_the_least_bend(row, positive, rng):
    for _ in range(50):
        _, _, alpha, shape = row.draw(rng)
        penalty = row.make(alpha, shape, positive=positive)
        rho = penalty.weak_convexity()
        assert np.isfinite(rho) == row.weakly_convex
        assert (rho == 0) == row.convex == penalty.convex
        if row.weakly_convex:
            x = np.linspace(0.0, 2 * max([*row.kinks(alpha, shape), shape, 1.0 / 16]), 801)
            values = _value(row, x, penalty)
            bend = np.diff(values, 2) / (x[1] - x[0]) ** 2
            rounding = 8 * EPS * values.max() / (x[1] - x[0]) ** 2
            assert bend.min() >= -rho * (1 + 1e-6) - rounding
            # Nothing has to be made up for where all bends are upwards.
            assert rho == 0 or bend.min() <= -rho * 0.97 + rounding


@each_row
def test_operators_are_lipschitz_while_the_objective_is_convex(row, rng):
    if not row.weakly_convex:
        return
    attained = 0.0
    for _ in range(60):
        _, _, alpha, shape = row.draw(rng)
        penalty = row.make(alpha, shape)
        rho = penalty.weak_convexity()
        step = rng.uniform(0.05, 0.95) / max(rho, 1e-2)
        bound = 1 / (1 - step * rho)
        u = np.linspace(0.0, 3 * penalty.zero_threshold(step), 2001)
        slopes = np.diff(penalty.prox(u, step)) / np.diff(u)
        assert slopes.max() <= bound * (1 + 1e-9)
        attained = max(attained, slopes.max() / bound)
    assert attained >= 0.99


@each_row
@each_sign
def test_thresholded_numbers_are_critical_and_others_are_not(row, positive, rng):
    for penalty, step, u in _draws(row, rng, positive):
        if _balanced(penalty, step):
            continue
        x = penalty.prox(u, step)
        # Below zero any pull downwards is met by the constraint.
        assert (penalty.subgrad_dist(x, (x - u) / step) <= 1e-12 * np.abs(u) / step + 1e-300).all()
        slope = float(penalty.slope_at_zero(np.array(penalty.alpha), np.array(penalty.shape)))
        g = np.concatenate([u, 3 * u])
        assert penalty.subgrad_dist(0.0, g).tolist() == [max(-v if positive else abs(v), slope) - slope for v in g] or (
            slope == np.inf and not penalty.subgrad_dist(0.0, g).any()
        )
        away = np.abs(u[u != 0])
        h = 1e-6 * away
        for kink in row.kinks(penalty.alpha, penalty.shape):
            smooth = np.abs(away - kink) > 4 * h
            away, h = away[smooth], h[smooth]
        rise = (_value(row, away + h, penalty) - _value(row, away - h, penalty)) / (2 * h)
        slack = 1e-8 * (1 + rise) + 8 * EPS * _value(row, away, penalty) / h
        assert (np.abs(penalty.subgrad_dist(away, 1.0) - (rise + 1.0)) <= slack).all()


@each_row
@each_sign
def test_no_strength_means_no_penalty(row, positive, rng):
    penalty = row.make(0.0, row.draw_shape(rng), positive=positive)
    u = np.array([-3.7, 0.0, 1e-300, 0.1, 1e300])
    assert penalty.prox(u, 0.3).tolist() == (np.maximum(u, 0.0) if positive else u).tolist()
    assert penalty.zero_threshold() == penalty.jump() == penalty.weak_convexity() == penalty.value(np.abs(u)) == 0.0
    assert penalty.subgrad_dist([0.0, 1.0], -2.0).tolist() == [2.0, 2.0]


@each_row
@each_sign
def test_infinity_and_not_a_number_pass_through(row, positive, rng):
    for alpha in (0.0, 1.0, 100.0):
        penalty = row.make(alpha, row.draw_shape(rng), positive=positive)
        assert penalty.prox([np.inf, -np.inf]).tolist() == [np.inf, 0.0 if positive else -np.inf]
        assert np.isnan(penalty.prox(np.nan))


@each_row
@each_sign
def test_single_precision_is_kept(row, positive, rng):
    for penalty, step, u in _draws(row, rng, positive):
        step, alpha, shape = (float(np.float32(number)) for number in (step, penalty.alpha, penalty.shape))
        single, u = row.make(alpha, shape, positive=positive), u.astype(np.float32)
        x = single.prox(u, step)
        assert x.dtype == single.subgrad_dist(x, u).dtype == np.float32
        # Near a jump the threshold may be some roundings off, and the objective then as many times eps u^2.
        excess = _excess(row, single, step, u.astype(float), x.astype(float))
        assert excess.max() <= 16 * np.finfo(np.float32).eps


@each_row
@each_sign
def test_certificates_find_what_operators_find(row, positive, rng):
    for penalty, step, u in _draws(row, rng, positive):
        u = u[np.newaxis]
        x, steps = penalty.prox(u, step), np.full(u.shape, step)
        assert (best_distances(penalty, x, u, steps, 1e-13 * np.abs(u)) <= 1e-9 * np.abs(u)).all()
        wrong = x + 0.5 + np.abs(u)
        assert (best_distances(penalty, wrong, u, steps, 0 * u) >= 0.4).all()
        h, alpha, shape = 1 / steps, np.full(u.shape, penalty.alpha), np.full(u.shape, float(penalty.shape))
        off = distance_to_best(penalty, x, (u - x) / step, h, alpha, shape)
        assert (off <= 1e-6 * np.abs(u) / step).all()
        assert (distance_to_best(penalty, wrong, (u - wrong) / step, h, alpha, shape) >= 0.4 / step).all()


def test_negative_entries_are_no_minimisers_where_they_must_be_positive():
    one = np.ones((1, 1))
    for row in TABLE:
        penalty = row.make(0.1, row.draw_shape(np.random.default_rng(0)), positive=True)
        assert best_distances(penalty, -one, -one, one, 0 * one) == [[np.inf]]
        assert distance_to_best(penalty, -one, 0 * one, one, 0.1 * one, penalty.shape * one) == [[np.inf]]


@each_row
@each_sign
def test_where_only_the_count_matters_steps_of_unit_atoms_threshold_hard(row, positive, rng):
    if row.family.counts_nonzeros:
        shape = row.draw_shape(rng)
        penalty, u = row.make(0.7, shape, positive=positive), 3 * rng.standard_normal(200)
        step = 1.0 / shape**2 if shape else 1.0
        kept = penalty.pull(u) > np.sqrt(2 * step * 0.7)
        assert penalty.prox(u, step) == pytest.approx(np.where(kept, u, 0.0), rel=1e-12)
