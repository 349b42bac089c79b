import math

import pytest
import torch

from sparsetheory.gpu.analysis import mixture_variance, variance_growth


def test_expectations_are_those_of_the_derivation():
    for density, squared in ((0.25, 0.0625), ((0.5, 0.1), 0.05)):
        linear = variance_growth(6, 16, density, branch_scale=2.0)
        start = float(linear.measured[0])
        assert linear.expected.tolist() == pytest.approx([start + step * 2 * squared for step in range(7)])
        free = variance_growth(6, 16, density, norm=False, branch_scale=2.0)
        assert free.expected.tolist() == pytest.approx([start * (1 + 2 * squared) ** step for step in range(7)])
    assert variance_growth(6, 16, 0.25, rescale=True).expected[-1] == pytest.approx(start + 6 / 2)


@pytest.mark.parametrize("options", [{}, {"norm": False}, {"density": (0.5, 0.25)}, {"density": 0.5, "rescale": True}])
def test_means_over_many_draws_agree_with_the_expectation(options):
    grown = [variance_growth(4, 48, generator=seed, n_tokens=32, **options) for seed in range(120)]
    ratios = torch.stack([(one.measured - one.measured[0])[1:] / (one.expected - one.expected[0])[1:] for one in grown])
    error = ratios.std(0) / math.sqrt(len(grown))
    assert ((ratios.mean(0) - 1).abs() < 5 * error).all()
    assert (error < 0.06).all()


def test_one_seed_gives_one_stream():
    first, second, other = (variance_growth(3, 8, 0.5, generator=seed).measured for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "density must be"),
        ({"density": 1.5}, "density must be"),
        ({"density": (0.5, 0.5, 0.5)}, "density must be a number or two of them"),
        ({"branch_scale": 0.0}, "branch_scale must be"),
        ({"norm": 1}, "norm must be"),
        ({"n_tokens": 0}, "n_tokens must be"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        variance_growth(3, 8, **options)
    with pytest.raises(ValueError, match="depth must be"):
        variance_growth(0, 8)


def test_attention_over_independent_values_has_the_variance_of_its_sum_of_squares():
    source = torch.Generator().manual_seed(0)
    weights = (2 * torch.randn(64, generator=source)).softmax(0)
    values = 3.0 * torch.randn(64, 40_000, generator=source)
    assert float((weights @ values).var()) == pytest.approx(float(mixture_variance(weights, 9.0)), rel=0.05)
    # Equal gates of k experts divide the variance by k.
    assert float(mixture_variance(torch.full((4,), 0.25))) == pytest.approx(0.25)


def test_grouped_queries_keep_the_variance_of_a_head_and_tie_heads_together():
    source = torch.Generator().manual_seed(0)
    q, own = (torch.randn(2000, 4, 8, 6, generator=source) for _ in range(2))
    shared = torch.randn(2000, 2, 2, 8, 6, generator=source)
    keys, values = own, torch.randn(2000, 4, 8, 6, generator=source)
    attend = torch.nn.functional.scaled_dot_product_attention
    plain = attend(q, keys, values)
    grouped = attend(q, shared[:, 0], shared[:, 1], enable_gqa=True)
    assert float(grouped.var()) == pytest.approx(float(plain.var()), rel=0.03)

    def tied(heads):
        return float((heads[:, 0] * heads[:, 1]).mean() / heads.var())

    assert abs(tied(plain)) < 0.02
    assert tied(grouped) > 0.3
    with pytest.raises(ValueError, match="variance must be"):
        mixture_variance(torch.ones(2), -1.0)
