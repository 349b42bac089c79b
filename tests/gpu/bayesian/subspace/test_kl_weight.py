"""The weight of the divergence in a loss per sample."""

import pytest

from sparsetheory.gpu.bayesian import KLWeight


def test_the_weight_rises_over_the_first_half_of_training_and_stays():
    weight = KLWeight(50, temperature=0.2, n_steps=10)
    assert [weight(step) for step in range(12)] == pytest.approx([0.004 * min(step / 5, 1.0) for step in range(12)])
    assert weight(-3) == 0.0
    assert KLWeight(50)(0) == KLWeight(50)(100) == 1 / 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be"),
        ({"n_samples": 5, "temperature": 0.0}, "temperature must be"),
        ({"n_samples": 5, "n_steps": 0}, "n_steps must be"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        KLWeight(**options)
