import copy

import pytest
import torch

from sparsetheory.gpu.bayesian import (
    SSVIScheduler,
    bayesianise,
    export_plain,
    kl_divergence,
    remove_dead_neurons,
    sampling,
    structured_masks,
)
from sparsetheory.gpu.core import class_loss, mask_units
from sparsetheory.gpu.core.models import MLP

ROWS = {"0": "rows", "2": "rows"}
X = torch.randn(128, 12, generator=torch.Generator().manual_seed(5))
Y = (X[:, :3].argmax(1)).long()


def trained(units, n_steps=30, seed=0, resume_at=None, **options):
    model = bayesianise(
        MLP([12, 32, 16, 4], generator=seed), 0.25, prior_std=0.1, mu_std="fan_in", dense_first=False, generator=seed
    )
    if units is not None:
        structured_masks(model, units, generator=seed + 1)
    settings = {"period": 4, "t_end": 25, "min_swaps": 1, "units": units} | options

    def start(of):
        optimizer = torch.optim.SGD(of.parameters(), lr=0.1, momentum=0.9)
        scheduler = SSVIScheduler(of, optimizer, **settings)
        return optimizer, scheduler

    optimizer, scheduler = start(model)
    counts = []
    for step in range(n_steps):
        if step == resume_at:
            states = copy.deepcopy((model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
            scheduler.detach()
            model = bayesianise(MLP([12, 32, 16, 4]), 0.25, prior_std=0.1, dense_first=False)
            model.load_state_dict(states[0])
            optimizer, scheduler = start(model)
            optimizer.load_state_dict(states[1])
            scheduler.load_state_dict(states[2])
        optimizer.zero_grad()
        with sampling(model, "local", step):
            loss = class_loss(model(X), Y)
        (loss + 1e-5 * kl_divergence(model)).backward()
        optimizer.step()
        counts.append([int(layer.mask.sum()) for layer in (model[0], model[2], model[4])])
    return model, scheduler, counts


def test_networks_of_rows_become_small_dense_ones():
    model, scheduler, _ = trained(ROWS)
    assert len(scheduler.history) > 2
    scheduler.detach()
    plain = export_plain(model)
    smaller = remove_dead_neurons(plain)
    # A quarter of 32 and of 16 neurons at most, with all their inputs.
    assert smaller[0].out_features <= 8
    assert smaller[2].out_features <= 4
    assert bool((smaller[0].weight != 0).all())
    assert bool((smaller[2].weight != 0).all())
    torch.testing.assert_close(smaller(X), plain(X), rtol=1e-4, atol=1e-5)
    with sampling(model, "mean"):
        assert torch.equal(plain(X), model(X))


@pytest.mark.parametrize("units", [ROWS, "1:4", (2, 2)])
def test_runs_go_on_to_the_bit(units):
    whole, again = (trained(units, resume_at=at)[0] for at in (None, 13))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_one_budget_in_nats_keeps_the_number_of_units_and_one_in_each_layer():
    options = {"criterion": "savage_dickey", "rule": "gain", "n_samples": 128, "temperature": 1.0, "drop_fraction": 0.9}
    _, _, counts = trained(None, budget="global", min_active=2, **options)
    assert {sum(layers) for layers in counts} == {sum(counts[0])}
    assert len({tuple(layers) for layers in counts}) > 1
    assert min(min(layers) for layers in counts) >= 2
    _, _, counts = trained(dict.fromkeys(("0", "2", "4"), (2, 2)), budget="global", **options)
    assert {sum(layers) for layers in counts} == {sum(counts[0])}


def test_one_budget_of_unlike_scores_is_reported():
    with pytest.warns(UserWarning, match="only nats allow"):
        trained(None, n_steps=0, budget="global")


def test_deviations_move_with_means():
    model, _, _ = trained("1:4")
    for layer in (model[0], model[2], model[4]):
        mask_units("1:4", layer.mask.shape).check_mask(layer.mask, "mask")
        assert not bool(layer.weight[~layer.mask].any())
        assert not bool(layer.rho[~layer.mask].any())
        assert bool((layer.rho[layer.mask] != 0).all())
