"""Claims about what leaves a run: plain networks, and messages that stay in their rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.bayesian_networks.turbo.instances import SmallLayer, ours, small_layers
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True)
class _Network:
    """A small convolutional or plain network with normal weights, after some steps."""

    convolutional: bool
    structure: str
    seed: int

    def run(self) -> tuple[Any, Any, Any]:
        """Return the model, its supports and inputs."""
        import torch
        from torch import nn

        torch.manual_seed(self.seed)
        if self.convolutional:
            parts = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)]
            x = torch.randn(6, 2, 4, 4)
        else:
            parts, x = [nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4)], torch.randn(6, 7)
        model = bayesian.bayesianise(
            nn.Sequential(*parts), 1.0, mu_std="fan_in", sigma_init=(0.05, 0.02), generator=self.seed
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        turbo = bayesian.NetworkTurboVBI(
            model, optimizer, n_samples=6, prior=self.structure, warmup_steps=0, anneal_steps=4, update_every=1
        )
        for _ in range(2):
            optimizer.zero_grad()
            (model(x).square().mean() + turbo.penalty()).backward()
            optimizer.step()
        return model, turbo, x


def _outputs(network: _Network, mask_model: bool) -> Measurement:
    """Compare outputs of the plain network with those of the Bayesian one without noise, under the masks or not."""
    import torch

    model, turbo, x = network.run()
    plain, masks = turbo.export(), turbo.masks()
    if mask_model:
        for name, layer in model.named_modules():
            if isinstance(layer, bayesian.VariationalLayer):
                layer.set_mask(masks[f"{name}.weight"])
                # Products over the mask alone add in another order.
                if isinstance(layer, bayesian.BayesLinear):
                    layer.backend = "dense"
    with torch.no_grad(), bayesian.sampling(model, "mean"):
        distance = float((plain(x) - model(x)).abs().max())
    return Measurement(distance, 0.0, 1.0)


def _networks() -> st.SearchStrategy[_Network]:
    structures = st.sampled_from(["iid", "chain_rows", "chain_columns", "group_outputs", "group_kernels"])
    return st.builds(_Network, st.booleans(), structures, st.integers(0, 2**31))


exported_network = Claim(
    name="bayesian_networks.exported_network",
    summary="The plain network that is exported computes what the masked Bayesian one does without noise, bit by bit.",
    statement=r"f_{\mu \odot [q(s) > 1/2]}(x) = f_{\text{masked}, \sigma = 0}(x) \text{ exactly}",
    source=ours("the exported network"),
    verdict=Always(0.0),
    instances=_networks,
    evaluate=lambda network: _outputs(network, mask_model=True),
    near_miss=lambda network: _outputs(network, mask_model=False),
)


def _said(layer: SmallLayer, second: Float64Array, as_one_line: bool) -> Float64Array:
    """Return posterior probabilities; with one chain that runs on from row to row if asked for."""
    if as_one_line:
        prior = bayesian.WeightPrior(
            (1, second.size),
            "chain_rows",
            activation=layer.activation,
            deactivation=layer.deactivation,
            on_shape=layer.on_shape,
            on_rate=layer.on_rate,
            off_shape=layer.off_shape,
        )
        prior.update(second.reshape(1, -1), layer.off_rate)
        return np.asarray(prior.probability.reshape(second.shape))
    prior = layer.prior(shape=(*layer.shape[:2], 1))
    prior.update(second, layer.off_rate)
    return np.asarray(prior.probability)


def _others(layer: SmallLayer, as_one_line: bool) -> Measurement:
    """Change the weights of the last row, and measure how far the states of the other rows move."""
    means, stds = layer.weights()
    second = (means[..., 0] ** 2 + stds[..., 0] ** 2) * 1.0
    changed = second.copy()
    changed[-1] = layer.on_rate * 10.0 ** np.random.default_rng(layer.seed).uniform(-4, 4, second.shape[1])
    moved = np.abs(_said(layer, changed, as_one_line) - _said(layer, second, as_one_line))[:-1]
    return Measurement(float(moved.max(initial=0.0)), 0.0, 1.0)


rows_are_independent = Claim(
    name="bayesian_networks.rows_are_independent",
    summary="A chain starts anew in each row: weights of one unit say nothing about those of another.",
    statement=r"\partial q(s_{r c}) / \partial w_{r' c'} = 0 \text{ for } r \ne r'",
    source=ours("chains along the rows of a weight"),
    verdict=Always(0.0),
    instances=lambda: small_layers(("chain_rows",)),
    evaluate=lambda layer: _others(layer, as_one_line=False),
    near_miss=lambda layer: _others(layer, as_one_line=True),
)
