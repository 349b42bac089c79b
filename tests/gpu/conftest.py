"""The devices on which the numerical tests run, and what tests on real data share."""

from importlib.metadata import PackageNotFoundError, files

import pytest
import torch

from sparsetheory.gpu.core.datasets.files import install_command


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


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
