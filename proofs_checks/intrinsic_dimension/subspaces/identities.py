"""Claims that hold exactly for networks in a subspace: their start, gradient, merged weights and layer scales."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces.networks import KINDS
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_LI = "Li, Farkhoor, Liu, Yosinski (2018)"
_AGHAJANYAN = "Aghajanyan, Zettlemoyer, Gupta (2021)"
# Networks of at most a few hundred weights of size about 1, in double precision.
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Case:
    """A network in double precision, a map of some kind, coordinates and scales, and inputs."""

    seed: int
    width: int
    n_components: int
    kind: str
    layers: str

    @cached_property
    def module(self) -> Any:
        """Two layers with a normalisation in between, in evaluation mode."""
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.Linear(3, self.width), nn.BatchNorm1d(self.width), nn.Tanh(), nn.Linear(self.width, 2)
            return nn.Sequential(*layers).double().eval()

    @cached_property
    def inputs(self) -> Any:
        """A few samples."""
        return self._drawn((4, 3), 1)

    def model(self, *, moved: bool = True) -> Any:
        """Return the network in its subspace, at the start or somewhere else."""
        import torch

        make = partial(
            getattr(dimension, self.kind), self.n_components, generator=self.seed % 1000, dtype=torch.float64
        )
        model = dimension.SubspaceModel(self.module, make, self.layers or False)  # type: ignore[arg-type]
        if moved:
            with torch.no_grad():
                for index, parameter in enumerate(model.parameters()):
                    parameter.copy_(self._drawn(tuple(parameter.shape), 2 + index))
        return model

    def _drawn(self, shape: tuple[int, ...], stream: int) -> Any:
        import torch

        rng = np.random.default_rng([self.seed, stream])
        return torch.from_numpy(rng.standard_normal(shape))


def _cases(layers: tuple[str, ...] = ("", "tensor", "module")) -> st.SearchStrategy[Case]:
    return st.builds(Case, seeds, st.integers(1, 9), st.integers(1, 7), st.sampled_from(KINDS), st.sampled_from(layers))


def _different(first: Any, second: Any) -> Measurement:
    """Count the entries that are not the same to the bit."""
    return Measurement(float(np.count_nonzero(array(first) != array(second))), 0.0, scale=1.0)


def _start(case: Case) -> Measurement:
    """Compare outputs at t = 0 and scales of 1 with those of the module."""
    return _different(case.model(moved=False)(case.inputs), case.module(case.inputs))


def _small_start(case: Case) -> Measurement:
    """Start at small random coordinates, as one initialises weights."""
    import torch

    model = case.model(moved=False)
    with torch.no_grad():
        model.t.add_(1e-3)
    return _different(model(case.inputs), case.module(case.inputs))


subspace_start = Claim(
    name="intrinsic_dimension.subspace_start",
    summary="At coordinates of 0 a network in a subspace has the outputs of the network it starts from, to the bit.",
    statement=r"t = 0, \lambda = 1 \;\Rightarrow\; f(x; \theta_0 + \lambda \odot P t) = f(x; \theta_0)",
    source=Source(_LI, "section 2", "1804.08838"),
    verdict=Always(rtol=0.0),
    instances=_cases,
    evaluate=_start,
    near_miss=_small_start,
)


def _gradients(case: Case) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return the gradient in t, P, and the gradient in the weights with and without the scales of their layers."""
    model = case.model()
    (model(case.inputs) ** 2).sum().backward()
    merged = model.merge()
    (merged(case.inputs) ** 2).sum().backward()
    plain = [array(parameter.grad).ravel() for parameter in merged.parameters()]
    scales = array(model.layer_scales) if model.layer_scales is not None else np.ones(len(model.layer_names))
    of_name = {name: scale for names, scale in zip(model.layer_names, scales, strict=True) for name in names}
    scaled = [of_name[name] * one for (name, _), one in zip(merged.named_parameters(), plain, strict=True)]
    gradient, matrix = array(model.t.grad), array(model.projection.to_dense())
    return gradient, matrix, np.concatenate(plain), np.concatenate(scaled)


def _gradient(case: Case) -> Measurement:
    """Compare the gradient in t with the product of P transposed with that in the weights, scaled by layers."""
    found, matrix, _, scaled = _gradients(case)
    return _distance(found, matrix.T @ scaled, scaled)


def _unscaled_gradient(case: Case) -> Measurement:
    """Forget the scales of the layers."""
    found, matrix, plain, _ = _gradients(case)
    return _distance(found, matrix.T @ plain, plain)


def _distance(found: Float64Array, expected: Float64Array, gradient: Float64Array) -> Measurement:
    # Entries of P^T g are at most the length of g, as columns have about unit length.
    return Measurement(float(np.abs(found - expected).max()), 0.0, scale=1.0 + float(np.linalg.norm(gradient)))


subspace_gradient = Claim(
    name="intrinsic_dimension.subspace_gradient",
    summary="The gradient in the coordinates is the adjoint of the map on the gradient in the weights, times scales.",
    statement=r"\nabla_t L = P^\top (\lambda \odot \nabla_\theta L)",
    source=Source(_LI, "section 2, by the chain rule", "1804.08838"),
    verdict=Always(_ROUNDING),
    instances=_cases,
    evaluate=_gradient,
    near_miss=_unscaled_gradient,
)


def _merge(case: Case) -> Measurement:
    """Compare outputs with those of the module that has the weights of the subspace."""
    model = case.model()
    return _different(model.merge()(case.inputs), model(case.inputs))


def _merge_without_scales(case: Case) -> Measurement:
    """Merge P t and forget the scales of the layers."""
    import torch

    model = case.model()
    expected = model(case.inputs)
    if model.layer_scales is not None:
        with torch.no_grad():
            model.layer_scales.fill_(1.0)
    return _different(model.merge()(case.inputs), expected)


subspace_merge = Claim(
    name="intrinsic_dimension.subspace_merge",
    summary="A module with the weights of the subspace as its own has the outputs of the subspace model, to the bit.",
    statement=r"f_{\mathrm{merged}}(x) = f(x; \theta_0 + \lambda \odot P t)",
    source=Source.ours("docstring of SubspaceModel.merge"),
    verdict=Always(rtol=0.0),
    instances=_cases,
    evaluate=_merge,
    near_miss=_merge_without_scales,
)


def _said(case: Case, *, per_tensor: bool) -> Measurement:
    """Compare fine-tuning with m scales, kept at 1, with a plain map of d - m entries from the same seed."""
    import torch

    n_scales = len(dimension.SubspaceModel(case.module, case.model().projection, case.layers).layer_names)  # type: ignore[arg-type]
    seed = case.seed % 1000
    said = dimension.SAID(
        case.module,
        case.n_components + n_scales,
        case.layers,  # type: ignore[arg-type]
        per_tensor,
        generator=seed,
    )
    make = partial(dimension.FastfoodProjection, case.n_components, generator=seed, dtype=torch.float64)
    plain = dimension.SubspaceModel(case.module, make)
    with torch.no_grad():
        for model in (said, plain):
            model.t.copy_(case._drawn((case.n_components,), 2))
    found, expected = array(said.flat_parameters()), array(plain.flat_parameters())
    return Measurement(float(np.abs(found - expected).max()), 0.0, scale=1.0 + float(np.abs(expected).max()))


layer_scales = Claim(
    name="intrinsic_dimension.layer_scales",
    summary="With its m scales at 1, structure-aware fine-tuning in d dimensions is plain with d - m coordinates.",
    statement=r"\lambda = 1 \;\Rightarrow\; \theta_{\mathrm{SAID}(d)} = \theta_0 + P_{d - m}\, t",
    source=Source(_AGHAJANYAN, "structure-aware intrinsic dimension", "2012.13255"),
    verdict=Always(_ROUNDING),
    instances=lambda: _cases(("tensor", "module")),
    evaluate=partial(_said, per_tensor=False),
    near_miss=partial(_said, per_tensor=True),
)
