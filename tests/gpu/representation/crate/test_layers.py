"""A layer that is fitted to tokens without training, and what its steps do to their energies."""

import pytest
import torch

from sparsetheory.coding import LqDictionaryLearning
from sparsetheory.gpu.representation import (
    CrateLayer,
    coding_rate,
    compressed_rate,
    fit_crate_layer,
    ista_block,
    ista_objective,
    k_subspaces,
    mssa_step,
    subspace_error,
)


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _in_planes(n_samples=4, n_tokens=30):
    """Return tokens in two planes of six features, and bases of the planes."""
    # Of another seed than the starts of the fit, which would know the planes.
    Q = torch.linalg.qr(_random(6, 4, seed=11))[0]
    planes = torch.stack([Q[:, :2], Q[:, 2:]])
    which = torch.arange(n_tokens) % 2
    return torch.einsum("bnp,ndp->bnd", _random(n_samples, n_tokens, 2, seed=1), planes[which]), planes


def test_a_layer_is_its_two_steps():
    Z, U, D = _random(3, 7, 6), _random(2, 6, 3, seed=1), _random(6, 6, seed=2)
    layer = CrateLayer(U, D, eps=0.5, alpha=0.1, n_iter=3)
    compressed = mssa_step(Z, U, 0.5)
    assert torch.equal(layer.compress(Z), compressed)
    step = 1 / float(torch.linalg.matrix_norm(D, ord=2)) ** 2
    assert torch.allclose(layer.step(Z), ista_block(compressed, D, step, 0.1, 3), atol=1e-12)
    codes = layer.step(Z)
    counted = (codes != 0).sum((1, 2))
    expected = compressed_rate(codes, U, 0.5) - coding_rate(codes, 0.5) + 0.1 * counted
    assert torch.allclose(layer.energy(codes), expected)


def test_each_half_lowers_its_energy():
    Z = _random(3, 9, 6)
    layer = CrateLayer(_random(2, 6, 3, seed=1), _random(6, 6, seed=2), eps=0.5, alpha=0.1)
    assert bool((layer.rate(layer.compress(Z)) < layer.rate(Z)).all())
    Y = layer.compress(Z)
    more = CrateLayer(layer.U, layer.D, 0.5, 0.1, n_iter=2)
    first, second = (ista_objective(one.sparsify(Y), Y, layer.D, 0.1) for one in (layer, more))
    assert bool((second <= first + 1e-12).all())


def test_the_fit_finds_the_planes_and_a_dictionary_of_unit_atoms(device):
    Z, planes = _in_planes()
    layer = fit_crate_layer(Z.to(device), 2, 2, 0.5, 0.05, init="ssc_omp", n_batches=20)
    errors = [min(float(subspace_error(own.cpu(), plane)) for plane in planes) for own in layer.U]
    assert max(errors) < 1e-6
    assert torch.allclose(layer.D.norm(dim=1), torch.ones(6, dtype=torch.float64, device=device))
    assert (layer.U.device, layer.D.device, layer.U.dtype) == (layer.D.device, layer.D.device, torch.float64)


def test_a_learned_dictionary_codes_better_than_a_random_one():
    Z, _ = _in_planes(n_samples=10)
    layer = fit_crate_layer(Z, 2, 2, 0.5, 0.05, n_batches=60, n_iter=200)
    random = torch.nn.functional.normalize(_random(6, 6, seed=5), dim=1)
    Y = layer.compress(Z)
    costs = [
        float(ista_objective(CrateLayer(layer.U, D, 0.5, 0.05, n_iter=200).sparsify(Y), Y, D, 0.05).mean())
        for D in (layer.D, random)
    ]
    assert costs[0] < 0.8 * costs[1]


@pytest.mark.parametrize("mode", ["exact", "code"])
def test_the_dictionary_is_that_of_nonnegative_codes_of_compressed_tokens(mode):
    Z = _random(4, 30, 6, seed=3)
    layer = fit_crate_layer(Z, 2, 2, 0.5, 0.05, mode=mode, n_batches=10, n_init=2, generator=4)
    source = torch.Generator().manual_seed(4)
    k_subspaces(Z.flatten(0, 1), 2, 2, n_init=2, generator=source)
    learner = LqDictionaryLearning(
        6,
        penalty="l1",
        alpha=0.05,
        positive=True,
        batch_size=120,
        n_batches=10,
        random_state=int(torch.randint(2**31, (), generator=source)),
    )
    learner.fit(layer.compress(Z).flatten(0, 1).numpy())
    assert torch.allclose(layer.D, torch.from_numpy(learner.components_), atol=1e-10)


def test_energy_counts_only_tokens_on_the_mask():
    Z, mask = _random(2, 5, 6), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    layer = CrateLayer(_random(2, 6, 3, seed=1), torch.eye(6, dtype=torch.float64), 0.5, 0.1)
    found = layer.energy(Z, mask)
    assert torch.allclose(found[0], layer.energy(Z[0, :3]))
    assert torch.allclose(found[1], layer.energy(Z[1]))


def test_tokens_off_the_mask_do_not_reach_the_fit():
    Z, _ = _in_planes(n_samples=4)
    mask = torch.ones(4, 30, dtype=torch.bool)
    mask[:, 25:] = False
    other = torch.where(mask.unsqueeze(-1), Z, 50.0)
    layers = [fit_crate_layer(tokens, 2, 2, 0.5, 0.05, mask=mask, n_batches=5) for tokens in (Z, other)]
    # Sums depend on where tokens lie in memory, in their last bits.
    assert torch.allclose(layers[0].U, layers[1].U, atol=1e-8)
    assert torch.allclose(layers[0].D, layers[1].D, atol=1e-8)
    with pytest.raises(ValueError, match="alpha must be"):
        fit_crate_layer(Z, 2, 2, 0.5, 0.0)


def test_errors_name_the_argument():
    U, D = _random(2, 6, 3), _random(6, 6)
    with pytest.raises(ValueError, match="eps must be"):
        CrateLayer(U, D, eps=0.0, alpha=0.1)
    with pytest.raises(ValueError, match="n_iter must be"):
        CrateLayer(U, D, eps=1.0, alpha=0.1, n_iter=0)
    with pytest.raises(ValueError, match="mode must be one of"):
        CrateLayer(U, D, eps=1.0, alpha=0.1, mode="paper")
    with pytest.raises(ValueError, match="D must be finite"):
        CrateLayer(U, D / 0, eps=1.0, alpha=0.1)
