"""Problems take features as they are, refuse what is not a number, and count queries."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparsetheory.bandits import LinearBanditProblem


def test_precision_and_files_are_kept_and_the_rest_becomes_double(tmp_path):
    for dtype in (np.float32, np.float64):
        features = np.ones((3, 2), dtype=dtype)
        assert LinearBanditProblem(features, np.zeros(3)).features is features
    mapped = np.memmap(tmp_path / "features", dtype=np.float32, mode="w+", shape=(4, 2))
    mapped[:] = 1.0
    assert LinearBanditProblem(mapped, np.zeros(4)).features is mapped
    for other in (np.eye(2, dtype=int), [[1, 0], [0, 1]], sparse.csr_array(np.eye(2)), sparse.csr_matrix(np.eye(2))):
        features = LinearBanditProblem(other, np.zeros(2)).features
        assert isinstance(features, np.ndarray)
        assert features.dtype == np.float64
        np.testing.assert_array_equal(features, np.eye(2))
    assert LinearBanditProblem(sparse.csr_array(np.eye(2, dtype=np.float32)), [0, 1]).features.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad):
    features, rewards = np.ones((70_000, 1)), np.zeros(70_000)
    features[[69_000, 69_500]] = bad
    with pytest.raises(ValueError, match="features must be finite; got NaN or infinity in row 69000"):
        LinearBanditProblem(features, rewards)
    rewards[[5, 9]] = bad
    with pytest.raises(ValueError, match="rewards must be finite; got NaN or infinity in row 5"):
        LinearBanditProblem(np.ones((70_000, 1)), rewards)
    with pytest.raises(ValueError, match=r"rewards must be finite; got .* from the oracle for action 2"):
        LinearBanditProblem(np.eye(3), oracle=lambda actions: [0.0, bad]).query([1, 2])


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.ones(3), {"rewards": np.zeros(3)}, "features must be a matrix with entries"),
        (np.ones((0, 3)), {"rewards": np.zeros(0)}, "features must be a matrix with entries"),
        (np.eye(2) * 1j, {"rewards": np.zeros(2)}, "features must be real numbers"),
        ([[1, 2], [3]], {"rewards": [0, 1]}, "features must be a matrix of numbers; got rows of different lengths"),
        (None, {"rewards": [0]}, "features must be real numbers; got NoneType"),
        (np.ma.masked_equal(np.eye(2), 0), {"rewards": [0, 1]}, "features must have a value everywhere"),
        (np.eye(2), {}, "rewards or oracle must be given"),
        (np.eye(2), {"rewards": [0, 1], "oracle": len}, "rewards or oracle must be given"),
        (np.eye(2), {"oracle": 3}, "oracle must be a function"),
        (np.eye(2), {"rewards": [0, 1, 2]}, r"rewards must be real numbers of shape \(2,\)"),
        (np.eye(2), {"rewards": ["a", "b"]}, "rewards must be real numbers"),
        (np.eye(2), {"rewards": [0, 1], "eps": -0.1}, "eps must be"),
        (np.eye(2), {"rewards": [0, 1], "noise_std": np.nan}, "noise_std must be"),
    ],
)
def test_bad_problems_are_refused(features, options, message):
    with pytest.raises(ValueError, match=message):
        LinearBanditProblem(features, **options)


@pytest.mark.parametrize("actions", [[3], [-1], [0.5], [[0, 1]], [True]])
def test_bad_actions_are_refused_and_not_counted(actions):
    problem = LinearBanditProblem(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="actions must be"):
        problem.query(actions)
    assert problem.n_queries == 0


def test_queries_are_counted_and_noise_is_seeded():
    def answers(seed):
        problem = LinearBanditProblem(np.eye(3), [0.0, 1.0, 3.0], noise_std=0.5, random_state=seed)
        return problem.query([0, 2, 2]), problem

    one, problem = answers(0)
    np.testing.assert_array_equal(one, answers(0)[0])
    assert one[1] != one[2]
    assert problem.n_queries == 3
    assert problem.gap(0) == 3.0
    assert problem.query(1).shape == (1,)
    assert problem.query([]).shape == (0,)
    assert problem.n_queries == 4


def test_gaps_need_rewards():
    with pytest.raises(ValueError, match="rewards must be given"):
        LinearBanditProblem(np.eye(2), oracle=lambda a: np.zeros(len(a))).gap(0)
    with pytest.raises(ValueError, match="oracle must answer with one reward for each action"):
        LinearBanditProblem(np.eye(2), oracle=lambda a: 0.0).query([0, 1])
    with pytest.raises(ValueError, match=r"oracle must answer with real numbers; got \['a'\]"):
        LinearBanditProblem(np.eye(2), oracle=lambda a: ["a"]).query([0])


def test_a_gap_is_that_of_one_action():
    with pytest.raises(ValueError, match="action must be the number of one action; got 2 numbers"):
        LinearBanditProblem(np.eye(2), [0, 1]).gap([0, 1])


def test_tables_of_pandas_are_features():
    table = pd.DataFrame({"dose": [1, 2], "age": [0.5, 0.25]})
    problem = LinearBanditProblem(table, pd.Series([0.0, 1.0]))
    np.testing.assert_array_equal(problem.features, [[1, 0.5], [2, 0.25]])
    with pytest.raises(ValueError, match="features must be real numbers; got DataFrame of dtype object"):
        LinearBanditProblem(table.assign(name=["a", "b"]), [0, 1])
