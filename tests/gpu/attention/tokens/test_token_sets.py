import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.gpu.attention import cascade_budgets, top_tokens

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@given(st.data())
def test_tokens_are_those_of_a_stable_sort_of_the_valid_ones(device, data):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    n = data.draw(st.integers(1, 12))
    row = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 1.0]), min_size=n, max_size=n)
    scores = np.array(data.draw(st.lists(row, min_size=1, max_size=3)))
    valid = np.array([data.draw(st.lists(st.booleans(), min_size=n, max_size=n)) for _ in scores])
    valid[:, data.draw(st.integers(0, n - 1))] = True
    budgets = np.array([data.draw(st.integers(1, int(one.sum()))) for one in valid])
    args = (torch.from_numpy(x).to(device) for x in (scores, budgets, valid))
    found = top_tokens(*list(args)[:2], valid=torch.from_numpy(valid).to(device))
    for image, count in enumerate(budgets):
        order = [i for i in np.argsort(-scores[image], kind="stable") if valid[image, i]]
        assert found.index[image][found.exists[image]].tolist() == order[:count]


def test_smaller_sets_are_prefixes_of_larger_ones_at_ties():
    scores = torch.ones(1, 300)
    large, small = top_tokens(scores, 200), top_tokens(scores, 5)
    assert small.index[0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(large.index[:, :5], small.index)


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_writing_back_what_was_gathered_changes_nothing(n, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((3, n, 2)))
    budgets = torch.from_numpy(rng.integers(1, n + 1, 3))
    chosen = top_tokens(torch.from_numpy(rng.integers(0, 3, (3, n)).astype(float)), budgets)
    assert torch.equal(chosen.scatter(x, chosen.gather(x)), x)
    # What fills up a row is not written, whatever it is.
    update = torch.where(chosen.exists[..., None], 7.0, torch.nan)
    written = chosen.scatter(x, update)
    assert int((written == 7.0).all(-1).sum()) == int(budgets.sum())
    assert not bool(written.isnan().any())


def test_published_counts():
    assert cascade_budgets(1000).tolist() == [501, 400, 300, 300, 200, 100]
    assert cascade_budgets(5).tolist() == [3, 2, 1, 1, 1, 1]
    assert cascade_budgets([5, 1000]).tolist() == [[3, 501], [2, 400], [1, 300], [1, 300], [1, 200], [1, 100]]
    assert cascade_budgets(torch.tensor([5, 1])).tolist() == [[3, 1], [2, 1], [1, 1], [1, 1], [1, 1], [1, 1]]


def test_shares_at_the_ends_and_decimal_products():
    assert cascade_budgets(7, rho=1.0, cascade=(1.0,)).tolist() == [7]
    assert cascade_budgets(7, rho=0.0, cascade=(1.0, 0.0)).tolist() == [1, 1]
    # 0.29 * 100 is 28.999999999999996 in binary.
    assert cascade_budgets(100, rho=0.29, cascade=(1.0,)).tolist() == [30]
    assert cascade_budgets(99, rho=1.0, cascade=(0.7,)).tolist() == [69]
    assert cascade_budgets(100, rho=1.0, cascade=(0.29,)).tolist() == [29]


def test_bad_arguments_are_named():
    scores = torch.zeros(2, 3)
    with pytest.raises(
        ValueError, match=r"budget must be from 1 to the valid tokens of each image, \[3, 3\]; got \[4, 4\]"
    ):
        top_tokens(scores, 4)
    with pytest.raises(ValueError, match="budget must be from 1"):
        top_tokens(scores, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="budget must be an int or integers of shape"):
        top_tokens(scores, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="scores must not hold NaN"):
        top_tokens(scores * torch.nan, 1)
    with pytest.raises(ValueError, match=r"scores must have shape \(batch, n\)"):
        top_tokens(torch.zeros(3), 1)
    with pytest.raises(TypeError, match="valid must be a tensor of bool"):
        top_tokens(scores, 1, valid=torch.ones(2, 3))
    with pytest.raises(ValueError, match="valid must have the shape of scores"):
        top_tokens(scores, 1, valid=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"rho must be a number in \[0, 1\]; got 1.5"):
        cascade_budgets(5, rho=1.5)
    with pytest.raises(ValueError, match=r"cascade must be a number in \[0, 1\]"):
        cascade_budgets(5, cascade=(2.0,))
    with pytest.raises(ValueError, match="n_valid must be an integer from 1"):
        cascade_budgets(0)
