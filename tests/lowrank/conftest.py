"""Every family of blocks in turn."""

import pytest
from lowrank.references import FAMILIES, make_family


@pytest.fixture(params=FAMILIES)
def family(request):
    return make_family(request.param)
