"""Which criteria of removal agree: on synthetic weights over their scale and noise, and on weights of real digits."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sparsetheory.bayesian import removal_score
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.typing import AnyArray, Float64Array

_NAMES = {
    "mean": "|mean|",
    "mean_abs": "E|w|",
    "exp_abs": "E exp|w|",
    "snr": "r",
    "snr_abs": "SNR of |w|",
    "savage_dickey": "Savage-Dickey",
    "snr_exp_abs": "SNR of exp|w|",
}
_REFERENCES = ("mean", "snr")
_COLUMNS = (
    "weights",
    "median r",
    "typical deviation",
    "criterion",
    "rank correlation with |mean|",
    "rank correlation with r",
    "removed as by |mean|",
    "removed as by r",
)
_REMOVED = 0.3
_N_WEIGHTS, _N_CLOUDS = 4000, {"quick": 1, "full": 8}
_RATIOS, _SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0), (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_TYPICAL_RATIO, _TYPICAL_SCALE = 3.0, 1e-2

Laws = tuple[Float64Array, Float64Array]


def _cloud(seed: int, ratio: float, scale: float) -> Laws:
    """Return synthetic means and deviations with spreads of log-normal laws."""
    rng = np.random.default_rng(seed)
    sigma = scale * np.exp(rng.normal(0, 0.7, _N_WEIGHTS))
    return ratio * sigma * np.exp(rng.normal(0, 0.7, _N_WEIGHTS)) * rng.choice([-1, 1], _N_WEIGHTS), sigma


def _digits(prior_std: float = 0.5) -> Laws:
    """Return the mean-field law of the weights of a linear model of the ten digits, one against all others.

    With a normal prior and the variance of the residuals as noise; pixels in [0, 1].
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels[:, pixels.std(axis=0) > 0] / 16
    centred, targets = pixels - pixels.mean(axis=0), np.eye(10)[labels]
    targets = targets - targets.mean(axis=0)
    gram, right = centred.T @ centred, centred.T @ targets
    noise = np.var(targets - centred @ np.linalg.lstsq(centred, targets, rcond=None)[0], axis=0)
    means = [
        np.linalg.solve(gram / level + np.eye(len(gram)) / prior_std**2, column / level)
        for level, column in zip(noise, right.T, strict=True)
    ]
    deviations = 1 / np.sqrt(np.diag(gram)[:, None] / noise + 1 / prior_std**2)
    return np.array(means).ravel(), deviations.T.ravel()


def _scores(laws: Laws) -> dict[str, AnyArray]:
    # The deviation of the prior under which the evidence bound is largest.
    prior_std = float(np.sqrt(np.mean(laws[0] ** 2 + laws[1] ** 2)))
    return {name: removal_score(*laws, name, prior_std=prior_std) for name in _NAMES}


def _agreement(first: AnyArray, second: AnyArray) -> tuple[float, float]:
    """Return the rank correlation of two scores, and the share of one removed set that is in the other."""
    correlation = np.corrcoef(rankdata(first), rankdata(second))[0, 1]
    count = round(_REMOVED * len(first))
    removed = [set(np.argsort(score, kind="stable")[:count].tolist()) for score in (first, second)]
    return float(correlation), len(removed[0] & removed[1]) / count


def _rows(label: str, clouds: Sequence[Laws]) -> list[tuple[Any, ...]]:
    scores = [_scores(laws) for laws in clouds]
    ratio = float(np.mean([np.median(found["snr"]) for found in scores]))
    scale = float(np.mean([np.median(sigma) for _, sigma in clouds]))
    rows = []
    for name, title in _NAMES.items():
        found = [[_agreement(each[name], each[other]) for other in _REFERENCES] for each in scores]
        correlations, shares = np.mean(found, axis=0).T
        rows.append(
            (label, float(f"{ratio:.3g}"), float(f"{scale:.3g}"), title, *correlations.round(4), *shares.round(3))
        )
    return rows


def _plot(by_ratio: list[Any], by_scale: list[Any], digits: Laws) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        figure.set_size_inches(13, 4.2)
        axes = figure.subplots(1, 3)
        shown = ("|mean|", "E|w|", "SNR of |w|", "Savage-Dickey", "SNR of exp|w|")
        for ax, rows, column, x_label in (
            (axes[0], by_ratio, 1, "median r = |mean| / deviation"),
            (axes[1], by_scale, 2, "typical deviation, at median r = 3"),
        ):
            for marker, title in zip("osdv^", shown, strict=True):
                points = [(row[column], row[7]) for row in rows if row[3] == title]
                ax.plot(*zip(*points, strict=True), f"{marker}-", label=title, alpha=0.8)
            ax.axhline(_REMOVED, color="0.5", linestyle=":", linewidth=1)
            ax.set_xscale("log")
            ax.set_xlabel(x_label)
            ax.set_ylabel("share removed as by r")
            ax.set_ylim(0, 1.05)
        axes[0].set_title("synthetic weights, by their noise")
        axes[0].legend(fontsize=8, ncols=2, loc="lower center")
        axes[1].set_title("synthetic weights, by their scale")
        _matrix(axes[2], digits)

    return draw


def _matrix(ax: Any, laws: Laws) -> None:
    scores = _scores(laws)
    shares = np.array([[_agreement(first, second)[1] for second in scores.values()] for first in scores.values()])
    ax.grid(visible=False)
    ax.imshow(shares, vmin=_REMOVED, vmax=1, cmap="viridis")
    for (i, j), share in np.ndenumerate(shares):
        ax.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color="white" if share < 0.8 else "black")
    ax.set_xticks(range(len(_NAMES)), _NAMES.values(), rotation=45, ha="right", fontsize=8)
    ax.set_yticks(range(len(_NAMES)), _NAMES.values(), fontsize=8)
    ax.set_title("weights of digits: share of removed\nsets that two criteria have in common", fontsize=10)


def _run(profile: str) -> StudyResult:
    def clouds(ratio: float, scale: float) -> list[Laws]:
        return [_cloud(seed, ratio, scale) for seed in range(_N_CLOUDS[profile])]

    by_ratio = [row for ratio in _RATIOS for row in _rows("synthetic", clouds(ratio, _TYPICAL_SCALE))]
    by_scale = [row for scale in _SCALES for row in _rows("synthetic", clouds(_TYPICAL_RATIO, scale))]
    laws = _digits()
    real = _rows("digits", [laws])
    correlation = {row[3]: row for row in real}
    notes = (
        f"The {_REMOVED:.0%} of least score are removed; two random sets would share as much. On the linear weights of "
        f"digits, of median r {real[0][1]:g}, r and Savage-Dickey share {correlation['Savage-Dickey'][7]:.0%} of what "
        f"they remove, r and |mean| {correlation['|mean|'][7]:.0%}, and r and the ratio of exponentials "
        f"{correlation['SNR of exp|w|'][7]:.0%}. Orders of r and of the ratio of magnitudes are the same everywhere."
    )
    return StudyResult(_COLUMNS, [*real, *by_ratio, *by_scale], notes, _plot(by_ratio, by_scale, laws))


removal_criteria = Study(
    name="subspace_vi.removal_criteria",
    title="Which removal criteria agree",
    description="Seven criteria remove 30 % of weights: of a linear model of the digits of scikit-learn, and of "
    "synthetic weights over noise and scale.",
    run=_run,
)
