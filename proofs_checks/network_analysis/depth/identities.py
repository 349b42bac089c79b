"""Identities of the scores of depth: layers that do nothing, linear layers, exchanges, scales and sums of variances."""

import copy
from typing import Any

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.network_analysis.depth.networks import Network, networks
from sparsetheory.proofs_checks.verdicts import Always

# Double precision, after some layers and a loss.
_ROUNDING = 1e-9


def _idle(network: Network, factor: float) -> Measurement:
    """Find the largest score of a layer whose branches are multiplied by a factor."""
    model, i = network.model(), network.layer
    network.scale_branches(model, factor, i)
    with one_thread():
        report: Any = analysis.depth_report(model, None, network.texts[0], network.texts[1])
    scores = (report.relative_contribution[i], report.skip_increase[i], report.linear_increase[i], report.jacobian[i])
    effects = float(report.causal[i].abs().max())
    return Measurement(max(effects, 1.0 - float(report.cosine[i]), *(abs(float(score)) for score in scores)), 0.0, 1.0)


idle_layer = Claim(
    name="network_analysis.idle_layer",
    summary="A layer that adds nothing to the residual stream has the score 0 everywhere.",
    statement=r"F_l = 0 \;\Rightarrow\; \|\Delta_l\| = 0,\ \cos(h_l, h_{l+1}) = 1,\ \text{causal}(l, \cdot) = 0,"
    r"\ \text{rises of the loss} = 0,\ J_l = I",
    source=Source.ours("skipping, replacing and deriving a layer that is the identity"),
    verdict=Always(_ROUNDING),
    instances=networks,
    evaluate=lambda network: _idle(network, 0.0),
    near_miss=lambda network: _idle(network, 1e-2),
)


def _linear(network: Network, *, transposed: bool) -> Measurement:
    """Find how far the fitted map and the mean Jacobian are from a linear layer, and what the map costs."""
    model, i = network.linear_model(), network.layer
    with one_thread():
        maps = analysis.linear_map(analysis.layer_grams(model, [network.texts[1]], f"1.{i}")[f"1.{i}"])
        jacobian = analysis.mean_jacobian(model, i, network.texts[0])
        W = maps.W.T if transposed else maps.W
        with analysis.linearised(model, i, W, maps.b):
            changed = network.loss_of(model)
        loss = network.loss_of(model)
    slope = float(np.abs(array(jacobian) - array(model[1][i].weight)).max())
    return Measurement(max(abs(changed - loss) / loss, slope), 0.0, 1.0)


linear_layer = Claim(
    name="network_analysis.linear_layer",
    summary="A linear layer can be replaced by its fitted map at no cost, and its mean Jacobian is its matrix.",
    statement=r"h_{l+1} = W h_l + b \;\Rightarrow\; |L_{\text{linear}} - L| \le 10^{-5} L,\ J_l = W",
    source=Source.ours("least squares on other tokens; the published code applies the transposed map, the near miss"),
    verdict=Always(1e-5),
    instances=networks,
    evaluate=lambda network: _linear(network, transposed=False),
    near_miss=lambda network: _linear(network, transposed=True),
)


def _exchange(network: Network, *, order: bool) -> Measurement:
    """Compare scores of exchanges with copies of the model whose layers are exchanged, for pairs in both orders."""
    model, n_layers = network.model(), network.n_layers
    with one_thread():
        report = network.report(model)
        scores = array(report.permutation)
        expected = np.zeros_like(scores)
        for a in range(n_layers):
            for b in range(n_layers):
                other = copy.deepcopy(model)
                # Not exchanged, but the first in place of the second: what a slip with one hook would do.
                other.blocks[b] = model.blocks[a]
                if order:
                    other.blocks[a] = model.blocks[b]
                loss = network.loss_of(other)
                expected[a, b] = abs(loss - report.loss) / report.loss
    return Measurement(float(np.abs(scores - expected).max()), 0.0, 1.0)


exchanged_layers = Claim(
    name="network_analysis.exchanged_layers",
    summary="The score of an exchange is that of a model built with the two layers exchanged; so it is symmetric.",
    statement=r"\text{perm}(a, b) = |L_{a \leftrightarrow b} - L| / L = \text{perm}(b, a), \quad \text{perm}(a, a) = 0",
    source=Source.ours("all pairs of layers, against copies of the model"),
    verdict=Always(_ROUNDING),
    instances=networks,
    evaluate=lambda network: _exchange(network, order=True),
    near_miss=lambda network: _exchange(network, order=False),
)


def _copies(network: Network, *, identical: bool) -> Measurement:
    """Find the largest score of an exchange where all layers have the weights of the first one."""
    model = network.model()
    for block in model.blocks[1:]:
        block.load_state_dict(model.blocks[0].state_dict())
    if not identical:
        network.scale_branches(model, 1.5, network.n_layers - 1)
    with one_thread():
        return Measurement(float(network.report(model).permutation.max()), 0.0, 1.0)


identical_layers = Claim(
    name="network_analysis.identical_layers",
    summary="Exchanging layers of equal weights changes nothing.",
    statement=r"\theta_a = \theta_b \;\Rightarrow\; \text{perm}(a, b) = 0",
    source=Source.ours("layers of equal weights"),
    verdict=Always(_ROUNDING),
    instances=networks,
    evaluate=lambda network: _copies(network, identical=True),
    near_miss=lambda network: _copies(network, identical=False),
)


def _scaled(network: Network, *, embeddings: bool) -> Measurement:
    """Compare scores before and after all branches, and the embeddings, are multiplied by one number."""
    import torch

    model, scaled = network.model(), network.model()
    network.scale_branches(scaled, network.scale)
    if embeddings:
        with torch.no_grad():
            for table in (scaled.characters, scaled.positions):
                table.weight.mul_(network.scale)
    with one_thread():
        before, after = network.report(model), network.report(scaled)
    pairs = [
        (getattr(before, name), getattr(after, name))
        for name in ("causal", "cosine", "relative_contribution", "permutation", "skip_increase")
    ]
    pairs.append((torch.ones_like(before.variance), after.variance / before.variance / network.scale**2))
    return Measurement(max(float((a - b).abs().max()) for a, b in pairs), 0.0, 1.0)


common_scale = Claim(
    name="network_analysis.common_scale",
    summary="If embeddings and all branches shrink alike, variances shrink, and no layer is used any better.",
    statement=r"h_0, F_0, F_1, \ldots \to c h_0, c F_0, c F_1, \ldots \;\Rightarrow\;"
    r" \operatorname{var} h_l \to c^2 \operatorname{var} h_l \text{ and all scores stay}",
    source=Source.ours("layers that normalise first, without eps, do not see the scale of the stream"),
    verdict=Always(1e-8),
    instances=networks,
    evaluate=lambda network: _scaled(network, embeddings=True),
    near_miss=lambda network: _scaled(network, embeddings=False),
)


def _account(network: Network, factor: float) -> Measurement:
    """Compare the growth of the variance with the sum of variances of branches and covariances with the stream."""
    with one_thread():
        report = network.report(network.model(), loss=None)
    added = report.branch_variance + factor * report.covariance
    growth = report.variance - report.variance[0]
    return Measurement(float((growth[1:] - added.cumsum(0)).abs().max()), 0.0, float(report.variance.max()))


variance_account = Claim(
    name="network_analysis.variance_account",
    summary="The variance of the stream grows by the variances of the branches and twice their covariances with it.",
    statement=r"\operatorname{var} h_L - \operatorname{var} h_0"
    r" = \sum_l \operatorname{var} \Delta_l + 2 \operatorname{cov}(h_l, \Delta_l)",
    source=Source.classic("folklore", "variance of a sum"),
    verdict=Always(_ROUNDING),
    instances=networks,
    evaluate=lambda network: _account(network, 2.0),
    near_miss=lambda network: _account(network, 1.0),
)


class _Interrupted(Exception):
    """Ends a block of code."""


def _restored(network: Network, *, by_weights: bool) -> Measurement:
    """Count bits of weights that changed and hooks that stayed, after interventions that end with an error."""
    import torch

    model = network.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    last = network.n_layers - 1
    interventions: list[Any] = [
        analysis.skip_layer(model, network.layer),
        analysis.swapped(model, 0, last),
        analysis.linearised(model, last, model.blocks[0].attention.out.weight),
    ]
    for intervention in interventions:
        try:
            with intervention:
                model(network.texts[0])
                if by_weights:
                    # An exchange by writing, whose second half comes after the error.
                    model.blocks[0].load_state_dict(model.blocks[last].state_dict())
                raise _Interrupted
        except _Interrupted:
            pass
    after = model.state_dict()
    changed = sum(
        int((after[name].view(torch.int64) != value.view(torch.int64)).sum()) for name, value in before.items()
    )
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    return Measurement(float(changed + hooks), 0.0, 1.0)


untouched = Claim(
    name="network_analysis.untouched",
    summary="After an intervention, even one that ends with an error, weights are as before in all bits.",
    statement=r"\theta_{\text{after}} = \theta_{\text{before}} \text{ in all bits}, \quad \text{no hooks}",
    source=Source.ours("skipping, exchanging and replacing layers, each ended by an exception"),
    verdict=Always(0.0),
    instances=networks,
    evaluate=lambda network: _restored(network, by_weights=False),
    near_miss=lambda network: _restored(network, by_weights=True),
)
