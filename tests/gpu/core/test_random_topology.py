import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.gpu.core import MaskSet, er_densities, integer_budget, random_masks, uniform_densities

SHAPES = {"a": (20, 10), "b": (5, 20)}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 1000)), min_size=1, max_size=15))
def test_integer_budget_sums_to_the_total(layers):
    sizes = {str(i): size for i, (size, _) in enumerate(layers)}
    densities = {str(i): part / 1000 for i, (_, part) in enumerate(layers)}
    total = round(sum(size * part for size, part in layers) / 1000)
    counts = integer_budget(sizes, densities, total)
    assert sum(counts.values()) == total
    for i, (size, part) in enumerate(layers):
        assert size * part // 1000 <= counts[str(i)] <= min(size, size * part // 1000 + 1)


def test_integer_budget_serves_the_largest_parts_and_then_the_first_layers():
    sizes = {"a": 10, "b": 10, "c": 10}
    assert integer_budget(sizes, {"a": 0.12, "b": 0.18, "c": 0.12}, 4) == {"a": 1, "b": 2, "c": 1}
    assert integer_budget(sizes, {"a": 0.15, "b": 0.15, "c": 0.15}, 4) == {"a": 2, "b": 1, "c": 1}
    assert integer_budget({"a": 1, "b": 10}, {"a": 1.0, "b": 0.15}, 2) == {"a": 1, "b": 1}


def test_fifteen_odd_layers_sum_to_the_rounded_budget():
    shapes = {str(i): (2 * i + 3, 7 * i + 5) for i in range(15)}
    total = sum(math.prod(shape) for shape in shapes.values())
    for density in np.linspace(0.011, 0.99, 80).tolist():
        for rule in (uniform_densities, er_densities):
            masks = random_masks(shapes, rule(shapes, density), 0)
            assert abs(masks.n_nonzero - density * total) <= 0.5 + 1e-9


def test_half_an_entry_is_rounded_to_even_whatever_the_rounding_of_the_densities():
    # 4.5 entries of 9, 10.5 of 21, 31.5 of 63; the shares of er_densities sum to that up to rounding.
    for shapes in ({"a": (3, 1), "b": (2, 3)}, {"a": (3, 3), "b": (4, 3)}, {"a": (3, 7), "b": (6, 7)}):
        total = sum(math.prod(shape) for shape in shapes.values())
        assert random_masks(shapes, er_densities(shapes, 0.5), 0).n_nonzero == round(total / 2)


def test_masks_are_those_of_the_seed_and_spread_over_all_positions():
    shapes, densities = {"a": (4, 5), "b": (6,)}, {"a": 0.25, "b": 0.5}
    assert random_masks(shapes, densities, 3) == random_masks(shapes, densities, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(0)
    mean = sum(random_masks(shapes, densities, generator)["a"].double() for _ in range(2000)) / 2000
    assert float((mean - 0.25).abs().max()) < 6 * math.sqrt(0.25 * 0.75 / 2000)


def test_bernoulli_masks_have_random_counts_of_the_right_mean():
    generator = torch.Generator().manual_seed(0)
    counts = [random_masks({"a": (50, 40)}, {"a": 0.1}, generator, exact=False).n_nonzero for _ in range(400)]
    deviation = math.sqrt(2000 * 0.1 * 0.9)
    assert abs(np.mean(counts) - 200) < 5 * deviation / 20
    assert np.std(counts) == pytest.approx(deviation, rel=0.2)


@pytest.mark.parametrize("exact", [True, False])
def test_min_fan_in_leaves_no_row_without_inputs(exact):
    for seed in range(20):
        shapes = {"a": (32, 4, 3, 3), "b": (7, 9)}
        masks = random_masks(shapes, {"a": 0.06, "b": 0.3}, seed, exact=exact, min_fan_in=2)
        assert all(int(mask.flatten(1).sum(1).min()) >= 2 for mask in masks.values())
        if exact:
            assert masks.n_nonzero == round(0.06 * 1152 + 0.3 * 63)


def test_random_masks_of_no_layers_and_of_scalars():
    assert random_masks({}, {}, 0) == MaskSet({})
    assert random_masks({"a": ()}, {"a": 1.0}, 0)["a"].tolist() is True


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integer_budget({"a": 4}, {"a": 0.5}, 4), "total must be from 2 to 3"),
        (lambda: integer_budget({"a": 4}, {"b": 0.5}, 2), "densities must be given for a; got b"),
        (lambda: integer_budget({"a": 4}, {"a": 1.5}, 2), r"densities\['a'\] must be a number in \[0, 1\]"),
        (lambda: random_masks(SHAPES, {"a": 0.1, "b": 0.1}, 0, min_fan_in=2), "at least 0.2 for a to keep 2"),
        (lambda: random_masks(SHAPES, {"a": 1.0, "b": 0.1}, 0, min_fan_in=11), "at most 10, the inputs of a; got 11"),
        (lambda: random_masks(SHAPES, {"a": 0.1}, 0), "densities must be given for a, b; got a"),
        (lambda: random_masks(SHAPES, {"a": 0.1, "b": 0.1}, -1), "generator must be None, an int of at least 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
