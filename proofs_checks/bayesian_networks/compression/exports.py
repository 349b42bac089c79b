"""Claims about exported networks: the same function, on plain layers, on sparse rows, and without dead neurons."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian, core, kernels
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always

_UNIT = 2.0**-53


@dataclass(frozen=True)
class _Case:
    """A seed, the widths of a network, and the share of weights on its masks."""

    seed: int
    widths: tuple[int, ...]
    density: float

    def network(self) -> Any:
        """Return a Bayesian network in double precision, with numbers stored off its masks too."""
        import torch

        model: Any = core.models.MLP(self.widths, activation="tanh", generator=self.seed).double()
        bayesian.bayesianise(model, self.density, mu_std=0.5, dense_first=False, generator=self.seed + 1)
        source = torch.Generator().manual_seed(self.seed + 2)
        with torch.no_grad():
            for layer in list(model)[::2]:
                # Products on the mask alone add in another order.
                layer.backend = "dense"
                layer.weight.add_(0.1 * torch.randn(layer.weight.shape, generator=source, dtype=torch.float64))
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=source, dtype=torch.float64))
        return model

    def exported(self) -> Any:
        """Return a plain copy of the network."""
        return bayesian.export_plain(self.network())

    def inputs(self) -> Any:
        rng = np.random.default_rng(self.seed + 3)
        return tensor(rng.standard_normal((1 + self.seed % 20, self.widths[0])))


_cases = st.builds(
    _Case,
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(3, 13), min_size=2, max_size=4).map(tuple),
    st.sampled_from([0.1, 0.3, 0.7]),
)


def _exported(case: _Case, forget_masks: bool = False) -> Measurement:
    """Compare all outputs of the plain network and of the Bayesian one without noise."""
    import torch

    model, x = case.network(), case.inputs()
    plain: Any = bayesian.export_plain(model)
    if forget_masks:
        for layer, source in zip(list(plain)[::2], list(model)[::2], strict=True):
            layer.weight.data.copy_(source.weight)
    with one_thread(), torch.no_grad(), bayesian.sampling(model, "mean"):
        return Measurement(float((plain(x) - model(x)).abs().max()), 0.0, scale=1.0)


plain_network = Claim(
    name="bayesian_networks.plain_network",
    summary="A plain copy of a network with own masks computes what it does without noise, bit by bit.",
    statement=r"f_{\text{plain}}(x) = f_{\mu \odot m}(x) \text{ in every bit}",
    source=Source.ours("the same products of the same numbers"),
    verdict=Always(rtol=0.0),
    instances=lambda: _cases,
    evaluate=_exported,
    near_miss=lambda case: _exported(case, forget_masks=True),
)


def _packed(case: _Case, relative: bool = False) -> Measurement:
    """Compare every entry of the first layer on sparse rows, single and in blocks, with what its terms may round to.

    Both products round; each errs by at most ``gamma = (n + 1) u / (1 - (n + 1) u)`` times the sum of absolute terms.
    """
    import torch

    layer, x = case.exported()[0], case.inputs()
    weight, bias = array(layer.weight), array(layer.bias)
    n = case.widths[0] + 1
    gamma = n * _UNIT / (1 - n * _UNIT)
    dense = array(x) @ weight.T + bias
    terms = np.abs(dense) if relative else np.abs(array(x)) @ np.abs(weight).T + np.abs(bias)
    with torch.inference_mode():
        errors = [
            np.abs(array(kernels.PackedLinear.from_dense(layer, block=block, break_even=1.0)(x)) - dense)
            for block in (1, 4)
        ]
    return Measurement.worst(np.maximum(*errors), 2 * gamma * terms, scale=1.0)


packed_layer = Claim(
    name="bayesian_networks.packed_layer",
    summary="A linear layer on sparse rows, single or four by four, gives what the dense one gives, up to rounding.",
    statement=r"|\widehat{y}_{bi} - y_{bi}| \le 2 \gamma_{n+1} \big((|x| |W|^{\mathsf T})_{bi} + |b_i|\big)",
    source=Source.classic("Higham (2002), Accuracy and Stability of Numerical Algorithms", "inner products, 3.1"),
    verdict=Always(rtol=0.0),
    instances=lambda: _cases,
    evaluate=_packed,
    near_miss=lambda case: _packed(case, relative=True),
)


def _counted(case: _Case, zeros_free: bool = False) -> Measurement:
    """Compare the counted bytes of all layers, in both forms, with those of the packed arrays."""
    worst = 0
    for layer in list(case.exported())[::2]:
        mask = layer.weight.detach() != 0
        for block in (1, 4):
            rows = kernels.pack_rows(layer.weight.detach(), block=block)
            held = rows.indptr.nbytes + rows.indices.nbytes + rows.values.nbytes
            if zeros_free:
                counted = 8 * int(mask.sum()) + rows.indptr.nbytes + rows.indices.nbytes
            else:
                counted = bayesian.packed_bytes(mask, block, value_bytes=8)
            worst = max(worst, abs(held - counted))
    return Measurement(float(worst), 0.0, scale=1.0)


counted_bytes = Claim(
    name="bayesian_networks.counted_bytes",
    summary="The bytes that a mask is said to need are those of the packed arrays, zeros beside others in a block too.",
    statement=r"v (4 B + R) + 4 (B + R + \text{ends}) \text{ bytes for } B \text{ blocks, } R \text{ single weights}",
    source=Source.ours("count of the packed form"),
    verdict=Always(rtol=0.0),
    instances=lambda: _cases,
    evaluate=_counted,
    near_miss=lambda case: _counted(case, zeros_free=True),
)


def _shortened(case: _Case, constants_lost: bool = False) -> Measurement:
    """Compare outputs with those of the network without its dead neurons.

    The tanh does not enlarge differences, so that rounding grows with the product of the sums of absolute weights.
    """
    import torch

    model, x = case.exported(), case.inputs()
    given = copy.deepcopy(model)
    if constants_lost:
        for layer in list(given)[:-1:2]:
            layer.bias.data.masked_fill_(~(layer.weight != 0).any(1), 0)
    smaller = bayesian.remove_dead_neurons(given)
    with one_thread(), torch.no_grad():
        error = float((smaller(x) - model(x)).abs().max())
        growth = float(np.prod([1 + float(layer.weight.abs().sum(1).max()) for layer in list(model)[::2]]))
    return Measurement(error, 0.0, scale=growth * (1 + float(x.abs().max())))


dead_neurons = Claim(
    name="bayesian_networks.dead_neurons",
    summary="Neurons without inputs or without readers go, their constants into the next bias, and no output changes.",
    statement=r"W_{j \cdot} = 0 \implies W' \sigma(W x + b) + b' = W'_{\setminus j} \sigma(W x + b)_{\setminus j}"
    r" + (b' + \sigma(b_j) W'_{\cdot j})",
    source=Source.ours("constants of neurons"),
    # As many roundings as terms of the sums, a dozen in each of at most three layers.
    verdict=Always(rtol=1e-14),
    instances=lambda: _cases,
    evaluate=_shortened,
    near_miss=lambda case: _shortened(case, constants_lost=True),
)
