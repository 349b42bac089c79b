"""What tests on real data share."""

from importlib.metadata import PackageNotFoundError, files

import pytest

from sparsetheory.gpu.core.datasets.files import install_command


@pytest.fixture(scope="session")
def needs():
    """Return a function that skips a test where a package of data is absent."""

    def check(*packages):
        for package in packages:
            try:
                files(package)
            except PackageNotFoundError:
                pytest.skip(f"no package {package}: {install_command(package)}")

    return check
