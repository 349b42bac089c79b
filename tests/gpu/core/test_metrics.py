"""Metrics against their definitions: by hand, by plain loops, and by identities."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import accuracy, expected_calibration_error, mean_cosine, perplexity, run_masked
from sparsetheory.gpu.core.models import CharacterDecoder

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _random_logits(seed, n=200, n_classes=4):
    source = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, n_classes, dtype=torch.float64, generator=source)
    return logits, torch.randint(n_classes, (n,), generator=source)


def test_accuracy_counts_and_gives_ties_to_the_lowest_class():
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [2.0, 2.0]])
    assert accuracy(logits, torch.tensor([1, 1, 0, 1])) == 0.5


def test_calibration_error_by_hand():
    # Bins of width 1/5: confidences .6 (on an edge: it belongs to the bin below), .55 and .5 share (.4, .6].
    p = torch.tensor([[0.6, 0.4], [0.55, 0.45], [0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 0])
    # The bin (.4, .6] has accuracy 2/3 and confidence .55; the bin (.8, 1] has 1 and .9.
    expected = 3 / 4 * abs(2 / 3 - 0.55) + 1 / 4 * abs(1 - 0.9)
    assert expected_calibration_error(p.log(), labels, n_bins=5) == pytest.approx(expected, abs=1e-12)
    # Equal mass, two bins: .5 and .55 with accuracy 1/2, then .6 and .9 with accuracy 1.
    expected = abs(1 / 2 - 0.525) / 2 + abs(1 - 0.75) / 2
    found = expected_calibration_error(p.log(), labels, n_bins=2, bins="equal_mass")
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_error_is_the_sum_over_bins(n_bins, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    logits, labels = _random_logits(n_bins)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels.numpy()
    total = 0.0
    for b in range(n_bins):
        inside = (confidence > b / n_bins) & (confidence <= (b + 1) / n_bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    found = expected_calibration_error(logits.to(device), labels.to(device), n_bins=n_bins)
    assert found == pytest.approx(total, abs=1e-12)
    # Bins can only tear apart what cancels in the whole.
    assert found >= abs(right.mean() - confidence.mean()) - 1e-12


@pytest.mark.parametrize("bins", ["equal_width", "equal_mass"])
def test_calibration_error_of_permuted_and_of_certain_answers(bins):
    logits, labels = _random_logits(3)
    logits[50:150] = logits[0]  # many samples of one confidence
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    found = expected_calibration_error(logits, labels, bins=bins)
    assert expected_calibration_error(logits[order], labels[order], bins=bins) == pytest.approx(found, abs=1e-12)
    certain = torch.eye(4)[labels] * 1000
    assert expected_calibration_error(certain, labels, bins=bins) == 0
    assert expected_calibration_error(certain.roll(1, 1), labels, bins=bins) == 1


def _brute_force(model, tokens, window, stride):
    """Score each token at most once, in the first window that holds it behind another token."""
    scored = {}
    for start in range(0, len(tokens), stride):
        seen = tokens[start : start + window]
        with torch.no_grad():
            logs = model(seen[None])[0].log_softmax(-1)
        for place in range(1, len(seen)):
            scored.setdefault(start + place, float(logs[place - 1, seen[place]]))
        if start + window >= len(tokens):
            break
    return math.exp(-sum(scored.values()) / len(scored)), len(scored)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("n", "window", "stride"),
    [(20, 8, 8), (21, 8, 8), (20, 8, 3), (24, 8, 4), (25, 8, 4), (8, 8, 2), (5, 8, 1), (9, 2, 1)],
)
def test_perplexity_scores_each_token_once(n, window, stride, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = CharacterDecoder(6, width=8, n_layers=1, n_heads=2, hidden=8, context=8).double()
    tokens = torch.randint(6, (n,), generator=torch.Generator().manual_seed(n))
    expected, count = _brute_force(model, tokens, window, stride)
    for batch_size in (1, 3):
        found = perplexity(model.to(device), tokens, window=window, stride=stride, batch_size=batch_size)
        assert found.n_tokens == count
        assert found.value == pytest.approx(expected, rel=1e-10)
    if stride < window:
        assert count == n - 1


def test_perplexity_by_hand_and_of_an_output_with_logits():
    class Certain(nn.Module):
        """Gives the next token, one higher, the probability 3/4, and the two others 1/8."""

        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.full((3, 3), 1 / 8).log())
            with torch.no_grad():
                for token in range(3):
                    self.table[token, (token + 1) % 3] = math.log(3 / 4)

        def forward(self, tokens):
            return type("Output", (), {"logits": self.table[tokens]})()

    # Followers: 0-1, 1-2 and 2-0 are likely, 0-0 is not.
    found = perplexity(Certain(), torch.tensor([0, 1, 2, 0, 0]), window=8)
    assert found.n_tokens == 4
    assert found.value == pytest.approx(math.exp(-(3 * math.log(3 / 4) + math.log(1 / 8)) / 4), rel=1e-6)


def test_masked_outputs_leave_the_model_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    mask = torch.tensor([[True, False, True]]).expand(4, 3)
    x = torch.ones(2, 3)
    (found,) = run_masked(model, {"0.weight": mask}, [x])
    expected = model[2](nn.functional.linear(x, model[0].weight * mask, model[0].bias))
    assert torch.equal(found, expected)
    assert model.training
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_masked_outputs_drop_infinite_weights():
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[math.inf, 2.0]]))
    (found,) = run_masked(model, {"weight": torch.tensor([[False, True]])}, [torch.ones(1, 2)])
    assert found.tolist() == [[2.0]]


def test_mean_cosine_is_one_for_scaled_rows():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert mean_cosine(rows, 7 * rows) == pytest.approx(1, abs=1e-7)
    assert mean_cosine(rows, -rows) == pytest.approx(-1, abs=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy(torch.zeros(3), torch.zeros(3)), r"logits must have shape \(n, n_classes\)"),
        (lambda: accuracy(torch.zeros(0, 2), torch.zeros(0)), "logits must have shape"),
        (lambda: expected_calibration_error(*_random_logits(0), n_bins=0), "n_bins must be"),
        (lambda: expected_calibration_error(*_random_logits(0), bins="mass"), "bins must be one of 'equal_width'"),
        (lambda: perplexity(nn.Embedding(3, 3), torch.zeros(5).long(), window=1), "window must be"),
        (lambda: perplexity(nn.Embedding(3, 3), torch.zeros(5).long(), window=3, stride=4), "stride must be"),
        (lambda: perplexity(nn.Embedding(3, 3), torch.zeros(1, 5).long(), window=3), r"tokens must have shape \(n,\)"),
        (lambda: mean_cosine(torch.zeros(2, 3), torch.zeros(3, 3)), "embeddings must have the shape of reference"),
        (lambda: run_masked(nn.Linear(2, 1), {"weigth": torch.ones(1, 2)}, []), "got 'weigth' of shape"),
        (lambda: run_masked(nn.Linear(2, 1), {"weight": torch.ones(2, 1)}, []), r"for one of shape \(1, 2\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
