"""Handwritten digits and photographs: a trained network with random weights, from end to end."""

import torch
from torch import nn

from sparsetheory.gpu.analysis import ece
from sparsetheory.gpu.bayesian import (
    bayesianise,
    detection_auroc,
    kl_divergence,
    predict_mc,
    reliability_curve,
    sampling,
)
from sparsetheory.gpu.core import accuracy, class_loss, train
from sparsetheory.gpu.core.datasets import load_digits, load_photographs
from sparsetheory.gpu.core.models import MLP


def _trained(x, y, density):
    model = MLP([64, 128, 10])
    bayesianise(model, density, prior_std=0.3, mu_std="fan_in", sigma_init=(0.05, 0.0), dense_first=False, generator=1)
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    source = torch.Generator().manual_seed(2)
    with sampling(model, "local", source):
        train(
            model,
            x,
            y,
            optimizer=adam,
            n_steps=200,
            batch_size=128,
            loss=lambda output, targets: class_loss(output, targets) + 0.1 / len(x) * kl_divergence(model),
            generator=3,
        )
    return model


def _patches(n):
    rng, pictures = torch.Generator().manual_seed(4), load_photographs().images
    found = []
    while len(found) < n:
        picture = torch.from_numpy(pictures[int(torch.randint(len(pictures), (), generator=rng))]).float().mean(2)
        top, left = (int(torch.randint(side - 7, (), generator=rng)) for side in picture.shape)
        patch = picture[top : top + 8, left : left + 8]
        if patch.max() > patch.min() + 8:
            found.append(((patch - patch.min()) / (patch.max() - patch.min())).flatten())
    return torch.stack(found)


def test_digits_are_told_apart_and_photographs_from_digits(needs):
    needs("scikit-image")
    digits = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    x, y = torch.from_numpy(digits.images).flatten(1)[order], torch.from_numpy(digits.labels)[order]
    model = _trained(x[:1400], y[:1400], 0.3)
    assert [int(layer.mask.sum()) for layer in model if isinstance(layer, nn.Linear)] == [2458, 384]
    found = predict_mc(model, x[1400:], generator=5)
    # Chance is 0.1.
    assert accuracy(found.mean.log(), y[1400:]) > 0.8
    assert found.mutual_information.mean() > 0.01
    curve = reliability_curve(found.mean, y[1400:])
    assert abs(curve.ece - ece(found.mean, y[1400:])) < 1e-12
    other = predict_mc(model, _patches(300), generator=5)
    # Measured 0.9 and more; 0.5 is chance.
    assert detection_auroc(found.entropy, other.entropy) > 0.7
