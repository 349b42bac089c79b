import pytest
from toys import toy_claims


@pytest.fixture(scope="session")
def norms():
    return toy_claims.norms


@pytest.fixture(scope="session")
def energy():
    return toy_claims.energy


@pytest.fixture(scope="session")
def triangle():
    return toy_claims.triangle


@pytest.fixture(scope="session")
def letters():
    return toy_claims.letters
