"""Choices of people: ratings of films, and clicks on logged recommendations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["LoggedClicks", "Ratings", "load_movielens_100k", "load_open_bandit"]


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what, and when; one entry per rating.

    Parameters
    ----------
    users, items : ndarray of int64 of shape (n,)
        Numbers from 0.
    ratings : ndarray of float32 of shape (n,)
        Stars.
    times : ndarray of int64 of shape (n,)
        Seconds since 1970.
    titles : tuple of str
        Title of each item.
    """

    users: Int64Array
    items: Int64Array
    ratings: NDArray[np.float32]
    times: Int64Array
    titles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LoggedClicks:
    """A log of recommendations: what was shown with which probability, and whether it was clicked.

    Parameters
    ----------
    actions : ndarray of int64 of shape (n,)
        Shown item.
    positions : ndarray of int64 of shape (n,)
        Place on the page, from 0.
    rewards : ndarray of float64 of shape (n,)
        1 for a click, else 0.
    propensities : ndarray of float64 of shape (n,)
        Probability with which the item was chosen for the place.
    times : ndarray of datetime64 of shape (n,)
        Coordinated universal time.
    user_features : ndarray of int64 of shape (n, 4)
        Codes of categories, from 0.
    affinities : ndarray of float64 of shape (n, n_items)
        Past clicks of the user on each item.
    item_features : ndarray of float64 of shape (n_items, 4)
        One number, and codes of three categories.
    """

    actions: Int64Array
    positions: Int64Array
    rewards: Float64Array
    propensities: Float64Array
    times: NDArray[np.datetime64]
    user_features: Int64Array
    affinities: Float64Array
    item_features: Float64Array


def load_movielens_100k() -> Ratings:
    """Load 100 000 ratings of 1682 films by 943 people, in the order of the file.

    Returns
    -------
    Ratings
        Stars from 1 to 5; everybody rated at least 20 films.

    Raises
    ------
    ImportError
        Without the package ``recbole``; the message is the command that installs it.

    Notes
    -----
    Licence: terms of GroupLens, for research; the package MIT. Source: F. M. Harper and J. A. Konstan, "The MovieLens
    Datasets", ACM TiiS 2015.
    """
    table = np.loadtxt(packaged_file("recbole", "ml-100k/ml-100k.inter"), delimiter="\t", skiprows=1)
    users, items, times = (table[:, k].astype(np.int64) for k in (0, 1, 3))
    lines = packaged_file("recbole", "ml-100k/ml-100k.item").read_text(encoding="utf-8").splitlines()[1:]
    titles = {int(number): title for number, title, *_ in (line.split("\t") for line in lines)}
    names = tuple(titles[number + 1] for number in range(len(titles)))
    return Ratings(users - 1, items - 1, table[:, 2].astype(np.float32), times, names)


def load_open_bandit(behaviour: str = "random", campaign: str = "all") -> LoggedClicks:
    """Load 10 000 logged recommendations of a fashion shop.

    Clicks are rare, 38 in all for items drawn at random, so the log alone hardly tells two policies apart.

    Parameters
    ----------
    behaviour : {"random", "bts"}
        Who chose: each item with equal probability, or Bernoulli Thompson sampling.
    campaign : {"all", "men", "women"}
        Of 80, 34 or 46 items.

    Returns
    -------
    LoggedClicks

    Raises
    ------
    ImportError
        Without the package ``obp``; the message is the command that installs it.

    Notes
    -----
    Licence: data CC BY 4.0, the package Apache-2.0. Source: Y. Saito et al., "Open Bandit Dataset and Pipeline",
    NeurIPS 2021 (datasets and benchmarks).
    """
    import pandas as pd

    Choice("random", "bts").require(behaviour=behaviour)
    Choice("all", "men", "women").require(campaign=campaign)
    folder = f"obd/{behaviour}/{campaign}"
    log = pd.read_csv(packaged_file("obp", f"{folder}/{campaign}.csv"), index_col=0)
    items = pd.read_csv(packaged_file("obp", f"{folder}/item_context.csv"), index_col=0).sort_values("item_id")
    codes = [items["item_feature_0"].to_numpy(), *(_codes(items[f"item_feature_{k}"]) for k in (1, 2, 3))]
    return LoggedClicks(
        actions=log["item_id"].to_numpy(np.int64),
        positions=log["position"].to_numpy(np.int64) - 1,
        rewards=log["click"].to_numpy(np.float64),
        propensities=log["propensity_score"].to_numpy(np.float64),
        times=pd.to_datetime(log["timestamp"], utc=True, format="ISO8601").dt.tz_localize(None).to_numpy(),
        user_features=np.stack([_codes(log[f"user_feature_{k}"]) for k in range(4)], axis=1),
        affinities=log[[f"user-item_affinity_{item}" for item in items["item_id"]]].to_numpy(np.float64),
        item_features=np.column_stack(codes).astype(np.float64),
    )


def _codes(column: ArrayLike) -> Int64Array:
    return np.unique(np.asarray(column, dtype=str), return_inverse=True)[1].astype(np.int64)
