"""Sums of integers that stand for numbers: exact, and equal in any order."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sparsetheory.gpu.bayesian.federated.exact_sum import exact_terms, rounded_sum


def test_a_single_number_comes_back_as_it_was():
    rng = np.random.default_rng(0)
    values = rng.choice([-1, 1], 2000) * rng.uniform(1, 10, 2000) * 10 ** rng.uniform(-8, 11, 2000)
    values = torch.from_numpy(np.concatenate([values, [0.0, 1.0, -1.0, 2.0**40 - 1, -0.5, 2.0**-28]]))
    assert torch.equal(rounded_sum(exact_terms(values)), values)


def test_sums_are_those_of_fractions_where_all_but_little_cancels():
    rng = np.random.default_rng(1)
    large = rng.standard_normal(50) * 1e11
    small = rng.uniform(1, 2, 50) * 1e-7
    columns = torch.from_numpy(np.stack([large, small, -large]))
    total = sum(exact_terms(row) for row in columns)
    exact = [float(sum(Fraction(value) for value in column)) for column in columns.T.tolist()]
    assert rounded_sum(total).tolist() == exact


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**40, -(2.0**41)])
def test_numbers_that_do_not_fit_are_refused(value):
    with pytest.raises(ValueError, match=r"below 2\^40"):
        exact_terms(torch.tensor([1.0, value], dtype=torch.float64))
