import pytest

from sparsetheory.gpu.core import training_flops
from sparsetheory.gpu.dynamic import sparcl_cost


def test_the_cost_is_the_published_count():
    assert sparcl_cost() == 1
    assert sparcl_cost(0.25, 0.8) == pytest.approx((2 * 0.25 + 0.2) / 3)
    assert sparcl_cost(0.25, 0.8, 0.775) == pytest.approx(0.775 * 0.7 / 3)


def test_without_a_gradient_mask_it_is_that_of_a_fixed_mask():
    fixed = (
        training_flops("static", 1.0, 0.1, 10, data_fraction=0.5).total / training_flops("dense", 1.0, 0.1, 10).total
    )
    assert sparcl_cost(0.1, 0.0, 0.5) == pytest.approx(fixed)
    # A gradient mask that is wider than the weights saves nothing.
    assert sparcl_cost(0.1, 0.5) == sparcl_cost(0.1)


def test_steps_that_choose_need_all_gradients_of_the_weights():
    assert sparcl_cost(0.25, 0.8, every=1) == sparcl_cost(0.25)
    assert sparcl_cost(0.25, 0.8, every=30) == pytest.approx((29 * 0.7 / 3 + 0.25) / 30)


@pytest.mark.parametrize("arguments", [(0.0,), (1.1,), (0.5, 1.0), (0.5, -0.1), (0.5, 0.5, 0.0), (0.5, 0.5, 1.0, 0)])
def test_shares_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        sparcl_cost(*arguments)
