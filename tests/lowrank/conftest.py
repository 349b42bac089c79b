"""Every family of blocks in turn; matrix products on one thread."""

import pytest
from lowrank.references import FAMILIES, make_family
from threadpoolctl import threadpool_limits


@pytest.fixture(params=FAMILIES)
def family(request):
    return make_family(request.param)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Threads that wait for each other on busy cores make products of small matrices a hundred times slower.
    with threadpool_limits(1):
        yield
