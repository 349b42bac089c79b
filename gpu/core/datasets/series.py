"""Time series with classes, from the test data of aeon."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Series", "load_series"]

_NAMES = ("ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf")


@dataclass(frozen=True, eq=False)
class Series:
    """Series of several channels, with their classes.

    Parameters
    ----------
    values : ndarray of float64 of shape (n, n_channels, longest)
        In the units of the source; 0 after the end of a series.
    lengths : ndarray of int64 of shape (n,)
        Length of each series.
    labels : ndarray of int64 of shape (n,)
        Classes, from 0.
    classes : tuple of str
        Names of classes, in the order of the file.
    n_train : int
        Series of the published training part, which come first.
    """

    values: Float64Array
    lengths: Int64Array
    labels: Int64Array
    classes: tuple[str, ...]
    n_train: int


def load_series(name: str) -> Series:
    """Load series by name.

    Parameters
    ----------
    name : str
        One of these:

        ================= ============ ======== ========= ======= =======================================
        name              training     all      channels  length  classes
        ================= ============ ======== ========= ======= =======================================
        ACSF1             100          200      1         1460    10 kinds of appliances, by their power
        ArrowHead         36           211      1         251     3 kinds of arrow heads, by their outline
        BasicMotions      40           80       6         100     4 motions, by a watch on the wrist
        GunPoint          50           200      1         150     2: a hand with a gun or without
        ItalyPowerDemand  67           1096     1         24      2 halves of a year, by demand of a day
        JapaneseVowels    270          640      12        7-29    9 speakers, by a vowel
        OSULeaf           200          442      1         427     6 kinds of leaves, by their outline
        ================= ============ ======== ========= ======= =======================================

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        If there are no series of that name.
    ImportError
        Without the package ``aeon``; the message is the command that installs it.

    Notes
    -----
    Licence of the package: BSD-3-Clause. Sources are named at the head of each file; collected by H. A. Dau et al.,
    "The UCR Time Series Archive", 2019, and A. Bagnall et al., "The UEA Multivariate Archive", 2018.
    """
    Choice(*_NAMES).require(name=name)
    parts = [_parse(packaged_file("aeon", f"datasets/data/{name}/{name}_{part}.ts")) for part in ("TRAIN", "TEST")]
    classes = parts[0][0]
    rows = [row for part in parts for row in part[1]]
    lengths = np.array([len(channels[0]) for channels, _ in rows], dtype=np.int64)
    values = np.zeros((len(rows), len(rows[0][0]), int(lengths.max())))
    for place, (channels, _) in zip(values, rows, strict=True):
        place[:, : len(channels[0])] = channels
    labels = np.array([classes.index(label) for _, label in rows], dtype=np.int64)
    return Series(values, lengths, labels, classes, len(parts[0][1]))


def _parse(file: Path) -> tuple[tuple[str, ...], list[tuple[list[list[float]], str]]]:
    """Return the classes, and for each line of data its channels and its class."""
    classes: tuple[str, ...] = ()
    rows = []
    for line in map(str.strip, file.read_text(encoding="utf-8").splitlines()):
        if line.lower().startswith("@classlabel"):
            classes = tuple(line.split()[2:])
        elif line and line[0] not in "#@":
            *channels, label = line.split(":")
            rows.append(([[float(value) for value in channel.split(",")] for channel in channels], label))
    return classes, rows
