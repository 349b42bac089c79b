"""What the number of BLAS threads may not change."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sparsetheory.bandits import SupportDesignNet, SupportNetSearch, make_sparse_misspecified


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_grid_queries_the_same_actions_for_any_number_of_threads(dtype):
    problem = make_sparse_misspecified(3000, 12, 2, 0.05, random_state=0).problem(dtype=dtype)
    with threadpool_limits(1):
        alone = SupportNetSearch(2, eps=0.05).fit(problem)
    with threadpool_limits(2):
        together = SupportNetSearch(2, eps=0.05).fit(problem)
    np.testing.assert_array_equal(alone.queried_, together.queried_)
    assert (alone.action_, alone.bound_) == (together.action_, together.bound_)


def test_guarantees_do_not_depend_on_threads():
    problem = make_sparse_misspecified(3000, 12, 2, 0.05, random_state=0).problem()
    for threads in (1, 2):
        with threadpool_limits(threads):
            search = SupportDesignNet(2, eps=0.05).fit(problem)
            assert problem.gap(search.action_) <= search.bound_
            assert search.certificate_.check(problem).valid
