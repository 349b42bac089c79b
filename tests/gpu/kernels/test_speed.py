"""The model of gains, and rates that are measured. No time is asserted: it depends on the machine."""

import math

import pytest
import torch

from sparsetheory.gpu.kernels import Rates, SpeedModel, measure_rates, speed_model


def test_model_by_hand():
    # A quarter of the rate: break-even at three quarters of zeros; nine tenths are 10 times fewer at a quarter.
    found = speed_model(25.0, 100.0, 0.9)
    assert found.break_even_sparsity == 0.75
    assert found.speedup == pytest.approx(2.5, rel=1e-12)


def test_nothing_to_compute_is_infinitely_faster():
    assert speed_model(1.0, 2.0, 1.0) == SpeedModel(math.inf, 0.5)


def test_a_faster_sparse_product_always_gains():
    found = speed_model(3.0, 2.0, 0.0)
    assert found.break_even_sparsity == -0.5
    assert found.speedup == 1.5


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0.0, 1.0, 0.5), "rate_sparse"), ((1.0, -1.0, 0.5), "rate_dense"), ((1.0, 1.0, 1.5), "sparsity")],
)
def test_model_checks_its_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        speed_model(*arguments)


def test_break_even_is_the_ratio_of_rates_and_at_most_all():
    rates = Rates(rate_single=20.0, rate_blocks=60.0, rate_dense=50.0)
    assert rates.break_even(1) == 0.4
    assert rates.break_even(4) == 1.0
    assert speed_model(rates.rate_single, rates.rate_dense, 0.0).break_even_sparsity == pytest.approx(1 - 0.4)
    with pytest.raises(ValueError, match="block must be"):
        rates.break_even(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 5, 30)])
def test_rates_are_measured_for_any_shape(shape, dtype):
    threads = torch.get_num_threads()
    rates = measure_rates(*shape, density=0.01, dtype=dtype, repeats=1)
    assert min(rates.rate_single, rates.rate_blocks, rates.rate_dense) > 0
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "change",
    [{"n_rows": 0}, {"n_columns": 0}, {"n_positions": 0}, {"density": 0.0}, {"dtype": torch.float16}, {"repeats": 0}],
)
def test_measurement_checks_its_arguments(change):
    arguments = {"n_rows": 4, "n_columns": 4, "n_positions": 4} | change
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} must be"):
        measure_rates(**arguments)
