"""Small products stay on one thread, and what the user has set comes back."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sparsetheory.blas_threads import blas_threads, gram_work


def _threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _two_threads():
    with threadpool_limits(2, user_api="blas"):
        if _threads() != {2}:
            pytest.skip("BLAS has one thread here")
        yield


def test_small_work_is_done_by_one_thread():
    with blas_threads(1e6):
        assert _threads() == {1}
        with blas_threads(0):
            assert _threads() == {1}
        assert _threads() == {1}
    assert _threads() == {2}


def test_large_work_keeps_the_threads_of_the_user():
    with blas_threads(1e9):
        assert _threads() == {2}


def test_limit_is_lifted_after_errors():
    with pytest.raises(RuntimeError, match="inside"), blas_threads(0):
        raise RuntimeError("inside")
    assert _threads() == {2}


def test_gram_work_counts_real_multiplications():
    assert gram_work((20, 100)) == 20 * 20 * 100
    assert gram_work((100, 20), is_complex=True) == 4 * 20 * 20 * 100
