"""Operations of training runs, against sums over the steps of short runs."""

import pytest

from sparsetheory.gpu.core import training_flops

D, S = 1000.0, 100.0


def test_rigl_with_period_100_at_a_tenth():
    run = training_flops("rigl", 1.0, 0.1, 1000, period=100)
    assert run.per_step == pytest.approx((30 + 0.2 + 1) / 101, rel=1e-14)
    assert run.per_step / training_flops("dense", 1.0, 0.1, 1000).per_step == pytest.approx(0.103, abs=5e-4)


def test_rigl_tends_to_fixed_masks_as_updates_get_rare():
    static = training_flops("static", D, S, 10).per_step
    costs = [training_flops("rigl", D, S, 10, period=10**k).per_step for k in range(1, 7)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(static, rel=1e-5)
    assert all(cost > static for cost in costs)


@pytest.mark.parametrize(
    ("kind", "details", "steps", "operations"),
    [
        ("dense", {}, 6, [3 * D] * 6),
        ("static", {}, 6, [3 * S] * 6),
        ("set", {}, 6, [3 * S] * 6),
        ("rigl", {"period": 2}, 6, 2 * [3 * S, 3 * S, S + S + D]),
        ("ssvi", {"period": 3}, 6, 2 * [6 * S, 6 * S, 2 * S + (S + S + D)]),
        ("dense_gradient", {}, 6, [S + S + D] * 6),
        ("gradual", {"path": [D, D, S]}, 3, [3 * D, 3 * D, 3 * S]),
        ("imp", {"path": [D, S]}, 2, [3 * D, 3 * D, 3 * S, 3 * S]),
        ("snip", {}, 6, [3 * D] + [3 * S] * 6),
        ("post", {"calibration": 0}, 6, [3 * D] * 6),
    ],
)
def test_totals_are_sums_over_steps(kind, details, steps, operations):
    run = training_flops(kind, D, S, steps, **details)
    assert run.kind == kind
    assert run.total == pytest.approx(sum(operations), rel=1e-12)
    taken = steps * (2 if kind == "imp" else 1)
    assert run.per_step == pytest.approx(sum(operations) / taken, rel=1e-12)


def test_batches_and_data_fractions_multiply():
    one = training_flops("rigl", D, S, 50, period=10)
    many = training_flops("rigl", D, S, 50, period=10, batch_size=32, data_fraction=0.75)
    assert many.total == pytest.approx(24 * one.total, rel=1e-14)
    assert many.per_step == pytest.approx(one.per_step, rel=1e-14)


def test_calibration_is_counted_once_and_by_sample():
    run = training_flops("post", D, S, 10, calibration=128, batch_size=4)
    assert run.total == 3 * D * 10 * 4 + 128 * D


@pytest.mark.parametrize(
    ("kind", "arguments", "details", "message"),
    [
        ("ripl", (1.0, 1.0, 1), {}, "kind must be one of 'dense', 'static'"),
        ("rigl", (1.0, 1.0, 1), {}, "details of 'rigl' must be period; got none"),
        ("dense", (1.0, 1.0, 1), {"period": 3}, "must be no details of its own; got period"),
        ("rigl", (1.0, 1.0, 1), {"period": 0}, "period must be an integer from 1"),
        ("dense", (-1.0, 1.0, 1), {}, "f_dense must be a finite non-negative"),
        ("dense", (1.0, 1.0, 0), {}, "n_steps must be an integer from 1"),
        ("dense", (1.0, 1.0, 1), {"data_fraction": 0.0}, r"data_fraction must be a number in \(0, 1\]"),
        ("gradual", (1.0, 1.0, 1), {"path": []}, "path must have at least 1 entry"),
    ],
)
def test_bad_arguments_are_named(kind, arguments, details, message):
    with pytest.raises(ValueError, match=message):
        training_flops(kind, *arguments, **details)
