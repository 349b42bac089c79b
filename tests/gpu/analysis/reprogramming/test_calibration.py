"""Calibration errors by hand, and a temperature against a search."""

import math

import pytest
import torch
from scipy import optimize

from sparsetheory.gpu.analysis import ece, fit_temperature, negative_log_likelihood


def logits_and_classes(n=300, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (n,), generator=generator)
    logits = 3 * torch.randn(n, 4, generator=generator) + 4 * torch.nn.functional.one_hot(y, 4)
    return logits.to(device), y.to(device)


def by_hand(probs, y, n_bins):
    """Return the calibration error of bins of equal width, sample by sample."""
    sums = dict.fromkeys(range(1, n_bins + 1), 0.0)
    for row, label in zip(probs.double().tolist(), y.tolist(), strict=True):
        confidence = max(row)
        sums[min(max(math.ceil(confidence * n_bins), 1), n_bins)] += confidence - (row.index(confidence) == label)
    return sum(abs(value) for value in sums.values()) / len(y)


@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_equal_widths_by_hand(device, n_bins):
    logits, y = logits_and_classes(device=device)
    probs = logits.double().softmax(1)
    assert ece(probs, y, n_bins) == pytest.approx(by_hand(probs, y, n_bins), abs=1e-12)


def test_default_is_fifteen_bins_of_equal_width():
    logits, y = logits_and_classes()
    probs = logits.softmax(1)
    assert ece(probs, y) == ece(probs, y, 15, "width")
    assert ece(probs, y) != ece(probs, y, 14, "width")


def test_equal_masses_by_hand():
    confidences = torch.tensor([0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
    probs = torch.stack([confidences, 1 - confidences], dim=1)
    y = torch.tensor([0, 1, 0, 0])
    # Two bins of two samples: |0.6 + 0.7 - 1| and |0.8 + 0.9 - 2|, of 4 samples.
    assert ece(probs, y, 2, "mass") == pytest.approx((0.3 + 0.3) / 4)
    assert ece(probs, y, 2, "width") == pytest.approx(abs(3.0 - 3) / 4)


def test_order_does_not_matter_and_sure_and_right_has_no_error():
    logits, y = logits_and_classes()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
    for strategy in ("width", "mass"):
        before = ece(logits.softmax(1), y, strategy=strategy)
        assert ece(logits[order].softmax(1), y[order], strategy=strategy) == pytest.approx(before, abs=1e-12)
        assert ece(torch.eye(4)[y], y, strategy=strategy) == 0.0
        assert ece(torch.eye(4)[(y + 1) % 4], y, strategy=strategy) == 1.0


def test_errors_of_batches_are_not_that_of_the_data():
    logits, y = logits_and_classes()
    probs = logits.softmax(1)
    batches = sum(ece(p, c) for p, c in zip(probs.split(10), y.split(10), strict=True)) / 30
    assert batches > 1.5 * ece(probs, y)


def test_logits_are_refused():
    logits, y = logits_and_classes()
    for function in (ece, negative_log_likelihood):
        with pytest.raises(ValueError, match="probs must have rows"):
            function(logits, y)
        with pytest.raises(ValueError, match="probs must have rows"):
            function(logits.log_softmax(1), y)
        with pytest.raises(ValueError, match="probs must have rows"):
            function(torch.full((2, 2), float("nan")), torch.tensor([0, 1]))
        with pytest.raises(ValueError, match="probs must have rows"):
            function(torch.tensor([[1.5, -0.5]]), torch.tensor([0]))


def test_half_precision_is_taken_for_what_it_rounds():
    logits, y = logits_and_classes()
    assert ece(logits.softmax(1).bfloat16(), y) == pytest.approx(ece(logits.softmax(1), y), abs=0.01)


def test_rows_that_are_nearly_distributions_are_scaled_and_others_refused():
    nearly = torch.tensor([[0.5, 0.49]], dtype=torch.float64)
    assert negative_log_likelihood(nearly, torch.tensor([0])) == pytest.approx(math.log(0.99 / 0.5))
    with pytest.raises(ValueError, match="probs must have rows"):
        negative_log_likelihood(torch.tensor([[0.5, 0.4]]), torch.tensor([0]))


def test_bad_strategy():
    with pytest.raises(ValueError, match="strategy"):
        ece(torch.eye(2), torch.tensor([0, 1]), strategy="equal")


def test_likelihood_is_torchs_cross_entropy(device):
    logits, y = logits_and_classes(device=device)
    expected = torch.nn.functional.cross_entropy(logits.double(), y)
    assert negative_log_likelihood(logits.double().softmax(1), y) == pytest.approx(float(expected), rel=1e-9)
    assert negative_log_likelihood(torch.eye(2), torch.tensor([1, 1])) == math.inf


def test_temperature_has_the_largest_likelihood(device):
    logits, y = logits_and_classes(device=device)
    found = fit_temperature(logits, y)
    best = optimize.minimize_scalar(
        lambda log: float(torch.nn.functional.cross_entropy(logits.double() / math.exp(log), y)), (-1, 1), tol=1e-10
    )
    assert found == pytest.approx(math.exp(best.x), rel=1e-5)
    assert torch.equal((logits / found).argmax(1), logits.argmax(1))
    assert fit_temperature(10 * logits, y) == pytest.approx(10 * found, rel=1e-5)


def test_temperature_stops_at_its_ends():
    separable = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(separable, torch.tensor([0, 1])) == pytest.approx(1e-3, rel=1e-6)
    assert fit_temperature(separable, torch.tensor([1, 0])) == pytest.approx(1e3, rel=1e-6)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0, 2]), "y must hold classes from 0 to 1; got 0 to 2"),
        (torch.tensor([-1, 0]), "y must hold classes from 0 to 1; got -1 to 0"),
        (torch.tensor([0.0, 1.0]), "y must hold int64"),
        (torch.tensor([0]), "y must have one label"),
    ],
)
@pytest.mark.parametrize("measure", [ece, negative_log_likelihood, fit_temperature])
def test_labels_are_classes(measure, y, words):
    with pytest.raises(ValueError, match=words):
        measure(torch.full((2, 2), 0.5), y)


@pytest.mark.parametrize(
    ("logits", "y", "words"),
    [
        (torch.zeros(2), torch.tensor([0, 1]), "y must have one label"),
        (torch.zeros(2, 2), torch.tensor([0]), "y must have one label"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "y must have one label"),
        (torch.full((2, 2), math.inf), torch.tensor([0, 1]), "logits must be finite"),
    ],
)
def test_bad_logits(logits, y, words):
    with pytest.raises(ValueError, match=words):
        fit_temperature(logits, y)
