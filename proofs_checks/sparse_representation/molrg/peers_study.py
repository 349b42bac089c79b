"""Fits of a mixture of low-rank Gaussians beside peers that know nothing of low rank."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import Mixture

_FEATURES, _WIDTH, _SUBSPACES, _NOISE = 48, 4, 3, 0.05
_COUNTS = (6, 12, 48, 192)
_COLUMNS = ("points on each", "method", "adjusted Rand index", "error of the denoised points")
_LEVEL = 0.5
_NOTES = (
    "Synthetic: three orthogonal subspaces of dimension 4 in 48, noise 0.05. Medians over draws; 1 is the right "
    "grouping. The last column is the mean squared error of new points, denoised from noise 0.5, over that of the true "
    "posterior mean. Full covariances need many more points than dimensions; k-means looks for centres, of which there "
    "are none. Ten random starts of K-subspaces miss some of the subspaces."
)


def _denoiser_of(mixture: Any) -> Callable[[Any], Any]:
    """Return the posterior mean of a mixture of full Gaussians."""

    def denoise(noisy: Any) -> Any:
        logs, means = [], []
        for weight, mean, covariance in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True):
            widened = covariance + _LEVEL**2 * np.eye(len(mean))
            solved = np.linalg.solve(widened, (noisy - mean).T).T
            logs.append(np.log(weight) - 0.5 * (np.linalg.slogdet(widened)[1] + ((noisy - mean) * solved).sum(1)))
            means.append(mean + solved @ covariance)
        shares = np.exp(np.array(logs) - np.max(logs, axis=0))
        return np.einsum("ki,kij->ij", shares / shares.sum(0), np.array(means))

    return denoise


def _fits(X: Any, seed: int) -> dict[str, tuple[Any, Callable[[Any], Any] | None]]:
    """Return for each method labels, and what denoises."""
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    found: dict[str, tuple[Any, Callable[[Any], Any] | None]] = {}
    for title, init, n_init in (
        ("codes, K-subspaces", "ssc_omp", 1),
        ("shared bases, K-subspaces", "svd", 1),
        ("K-subspaces, best of 10", "random", 10),
    ):
        fit = representation.molrg_fit(X, _SUBSPACES, _WIDTH, init=init, n_init=n_init, generator=seed)
        found[title] = (array(fit.subspaces.labels), _numpy(fit.denoiser))
    points = array(X)
    full = GaussianMixture(_SUBSPACES, n_init=2, reg_covar=_NOISE**2, random_state=seed).fit(points)
    found["Gaussian mixture, full"] = (full.predict(points), _denoiser_of(full))
    found["k-means"] = (KMeans(_SUBSPACES, n_init=5, random_state=seed).fit_predict(points), None)
    return found


def _numpy(denoiser: Any) -> Callable[[Any], Any]:
    import torch

    return lambda noisy: array(denoiser(torch.from_numpy(noisy), _LEVEL))


def _rows(count: int, n_draws: int) -> list[tuple[Any, ...]]:
    from sklearn.metrics import adjusted_rand_score

    scores: dict[str, list[tuple[float, float]]] = {}
    for seed in range(n_draws):
        with one_thread():
            sample = Mixture(_FEATURES, (_WIDTH,) * _SUBSPACES, count, _NOISE, orthogonal=True, seed=seed).sample()
            rng = np.random.default_rng(seed)
            bases = np.array([array(basis) for basis in sample.bases])
            own = rng.integers(_SUBSPACES, size=600)
            clean = np.einsum("inj,ij->in", bases[own], rng.standard_normal((600, _WIDTH)))
            noisy = clean + _LEVEL * rng.standard_normal(clean.shape)
            best = np.square(_numpy(representation.MoLRGDenoiser(sample.bases))(noisy) - clean).sum()
            for title, (labels, denoise) in _fits(sample.X, seed).items():
                error = np.nan if denoise is None else float(np.square(denoise(noisy) - clean).sum() / best)
                scores.setdefault(title, []).append((adjusted_rand_score(array(sample.labels), labels), error))
    medians = {title: np.median(values, axis=0) for title, values in scores.items()}
    return [
        (count, title, round(float(rand), 2), "" if np.isnan(error) else round(float(error), 2))
        for title, (rand, error) in medians.items()
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for title in dict.fromkeys(row[1] for row in rows):
            own = [row for row in rows if row[1] == title]
            for ax, column in ((left, 2), (right, 3)):
                known = [row for row in own if row[column] != ""]
                ax.plot([row[0] for row in known], [row[column] for row in known], "o-", label=title)
        for ax, name in ((left, "adjusted Rand index"), (right, "error over that of the truth")):
            ax.set_xscale("log")
            ax.set_xlabel("points on each subspace (synthetic)")
            ax.set_title(name, fontsize=10)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    counts, n_draws = (_COUNTS[1:3], 2) if profile == "quick" else (_COUNTS, 20)
    rows = [row for count in counts for row in _rows(count, n_draws)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


molrg_peers = Study(
    name="sparse_representation.molrg_peers",
    title="Mixtures of low-rank Gaussians and their peers",
    description="Grouping and denoising by subspaces, by a mixture of full Gaussians of scikit-learn, and by k-means.",
    run=_run,
)
