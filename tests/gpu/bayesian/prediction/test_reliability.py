"""Reliability curves against counting by hand, and against the calibration error."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.analysis import ece
from sparsetheory.gpu.bayesian import reliability_curve


def _predictions(n=200, n_classes=4, seed=0):
    source = torch.Generator().manual_seed(seed)
    probs = (2 * torch.randn(n, n_classes, dtype=torch.float64, generator=source)).softmax(1)
    return probs, torch.randint(n_classes, (n,), generator=source)


def test_bins_by_hand():
    probs, y = _predictions()
    curve = reliability_curve(probs, y, n_bins=7)
    confidence, chosen = probs.max(1)
    for index in range(7):
        inside = (confidence > index / 7) & (confidence <= (index + 1) / 7)
        assert curve.counts[index] == inside.sum()
        if inside.any():
            torch.testing.assert_close(curve.confidence[index], confidence[inside].mean())
            torch.testing.assert_close(curve.accuracy[index], (chosen == y)[inside].double().mean())
        else:
            assert curve.confidence[index].isnan()


def test_bins_of_equal_mass_by_hand():
    probs, y = _predictions()
    curve = reliability_curve(probs, y, 7, "mass")
    confidence, chosen = probs.max(1)
    parts = np.array_split(confidence.argsort().numpy(), 7)
    assert curve.counts.tolist() == [29] * 4 + [28] * 3
    for index, part in enumerate(parts):
        torch.testing.assert_close(curve.confidence[index], confidence[part].mean())
        torch.testing.assert_close(curve.accuracy[index], (chosen == y)[part].double().mean())


@pytest.mark.parametrize("strategy", ["width", "mass"])
@pytest.mark.parametrize("n_bins", [1, 10, 300])
def test_the_distances_of_bins_are_the_calibration_error(strategy, n_bins):
    probs, y = _predictions()
    probs[:50] = probs[0]  # ties
    curve = reliability_curve(probs, y, n_bins, strategy)
    assert int(curve.counts.sum()) == 200
    assert abs(curve.ece - ece(probs, y, n_bins, strategy)) < 1e-12
    if strategy == "mass":
        assert curve.counts.max() - curve.counts.min() <= 1


def test_the_order_of_samples_does_not_matter():
    probs, y = _predictions()
    probs[:80] = probs[0]
    order = torch.randperm(200)
    for strategy in ("width", "mass"):
        curves = reliability_curve(probs, y, 6, strategy), reliability_curve(probs[order], y[order], 6, strategy)
        torch.testing.assert_close(curves[0].accuracy, curves[1].accuracy, equal_nan=True)


def test_the_picture():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, ax = pyplot.subplots()
    curve = reliability_curve(*_predictions(), n_bins=10)
    assert curve.plot(ax, label="some") is ax
    drawn = ax.get_lines()[0].get_xydata()
    full = curve.counts > 0
    torch.testing.assert_close(torch.from_numpy(drawn.copy()), torch.stack([curve.confidence, curve.accuracy], 1)[full])
    pyplot.close(figure)


def test_bad_arguments():
    probs, y = _predictions(5)
    with pytest.raises(ValueError, match="probs must have rows"):
        reliability_curve(3 * probs, y)
    with pytest.raises(ValueError, match="strategy must be"):
        reliability_curve(probs, y, strategy="equal")
    with pytest.raises(ValueError, match="y must have one label"):
        reliability_curve(probs, y[:3])
    with pytest.raises(ValueError, match="n_bins must be"):
        reliability_curve(probs, y, 0)
    with pytest.raises(ValueError, match="probs must be a tensor"):
        reliability_curve(probs.numpy(), y)
