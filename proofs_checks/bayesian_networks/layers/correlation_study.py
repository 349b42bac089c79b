"""How correlated the outputs of a convolution are under random weights, on handwritten digits."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import bayesian, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.typing import Float64Array

_SIZE, _N_IMAGES, _N_FILTERS = 3, 50, 400
_COLUMNS = (
    "distance of two places",
    "correlation, random weights: mean",
    "highest",
    "correlation, local noise: mean",
    "highest",
)


def _outputs(sampling: str) -> Float64Array:
    """Return the noise of many filters with equal laws, by image, row, column and filter."""
    import torch

    layer = bayesian.BayesConv2d(1, _N_FILTERS, _SIZE, padding=1, bias=False, sampling=sampling, generator=1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.rho.fill_(-2.0)
        images = torch.from_numpy(core.datasets.load_digits().images[:_N_IMAGES])[:, None]
        # One call for each picture, so that pictures do not share weights.
        return np.concatenate([array(layer(image[None])) for image in images]).transpose(0, 2, 3, 1)


def _correlations(noise: Float64Array, distance: int) -> Float64Array:
    """Return the correlations over filters of the outputs at places in one row."""
    left, right = noise[:, :, : noise.shape[2] - distance], noise[:, :, distance:]
    norms = np.sqrt((left**2).sum(3) * (right**2).sum(3))
    lit = norms > 1e-6 * norms.max()  # places that see ink
    return np.asarray((left * right).sum(3)[lit] / norms[lit])


def _run(profile: str) -> StudyResult:
    noise = {way: _outputs(way) for way in ("weights", "local")}
    distances = range(1, 6)
    found = {way: [_correlations(one, distance) for distance in distances] for way, one in noise.items()}
    rows = [
        (distance, *(round(float(value), 3) for way in found for value in (pair[way].mean(), pair[way].max())))
        for distance, pair in ((d, {way: found[way][d - 1] for way in found}) for d in distances)
    ]
    notes = (
        f"{_N_IMAGES} handwritten digits under {_N_FILTERS} filters of {_SIZE} x {_SIZE} weights with equal laws; "
        f"correlations over the filters, whose sampling error is {_N_FILTERS**-0.5:.2f}. Under random weights, outputs "
        "whose patches overlap are sums over the same weights. Local noise draws them one by one: variances are right, "
        "and correlations are missing. Beyond the width of the filter the same weights meet other pixels, and the "
        "correlation stays: weights are shared by all places."
    )

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        for way, color, label in (("weights", "C0", "random weights"), ("local", "C1", "local noise")):
            at = 0.1 if way == "local" else -0.1
            parts = ax.violinplot(found[way], [d + at for d in distances], widths=0.35, showmedians=True)
            for body in parts["bodies"]:
                body.set_color(color)
            ax.plot([], [], color=color, label=label)
        ax.axhline(0, color="0.5", linewidth=0.5)
        ax.set_xlabel("distance of two places in a row, pixels")
        ax.set_ylabel("correlation of the outputs")
        ax.legend()

    return StudyResult(_COLUMNS, rows, notes, draw)


convolution_noise = Study(
    name="bayesian_networks.convolution_noise",
    title="Correlations that local noise leaves out",
    description="A convolution with random weights on digits: outputs at two places, under weights that are "
    "drawn once and under noise that is drawn for each place.",
    run=_run,
)
