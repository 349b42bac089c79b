"""Small layers with normal weights, and what is known of their outputs by plain sums in NumPy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.typing import Float64Array

__all__ = ["CONVOLUTIONS", "Case", "cases", "noise_of"]

# Arguments of convolutions of 4 channels; None stands for a linear layer.
CONVOLUTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "padding_mode": "circular"},
    {"padding": 1, "padding_mode": "reflect", "groups": 2},
    {"dilation": 2},
)


@dataclass(frozen=True)
class Case:
    """A layer, its inputs, and where its noise comes from.

    Parameters
    ----------
    seed : int
        Of the layer and the inputs.
    convolution : int
        Which of the convolutions; -1 for a linear layer.
    density : float
        Of the mask.
    scale : float
        Of the means; deviations are log-normal around it.
    n : int
        Samples.
    dtype : str
    """

    seed: int
    convolution: int
    density: float
    scale: float
    n: int = 3
    dtype: str = "float64"

    def layer(self, sampling: str = "local", **options: Any) -> Any:
        """Return the layer, with noise from a generator of its own."""
        import torch

        rng, kind = np.random.default_rng([self.seed, 1]), getattr(torch, self.dtype)
        made: Any
        if self.convolution < 0:
            made = bayesian.BayesLinear(9, 6, dtype=kind, sampling=sampling, generator=self.noise_seed, **options)
        else:
            made = bayesian.BayesConv2d(
                4, 4, 3, dtype=kind, sampling=sampling, generator=self.noise_seed, **CONVOLUTIONS[self.convolution]
            )
        shape = tuple(made.weight.shape)
        sigma = self.scale * np.exp(rng.standard_normal(shape))
        with torch.no_grad():
            made.weight.copy_(tensor(self.scale * rng.standard_normal(shape)))
            made.rho.copy_(tensor(sigma + np.log(-np.expm1(-sigma))))
            made.bias.copy_(tensor(rng.standard_normal(made.bias.shape)))
        made.set_mask(tensor(rng.random(shape) < self.density))
        return made

    @property
    def noise_seed(self) -> int:
        """Of the noise; not the one that layer and inputs are drawn from."""
        return self.seed // 2 + 1

    def inputs(self) -> Any:
        """Return inputs, some samples of which are zero in parts."""
        rng = np.random.default_rng([self.seed, 2])
        x = rng.standard_normal((self.n, 9) if self.convolution < 0 else (self.n, 4, 6, 6))
        x[rng.random(x.shape) < 0.3] = 0.0
        return tensor(x.astype(self.dtype))


def cases(convolutions: bool = True, **fixed: Any) -> st.SearchStrategy[Case]:
    """Return a strategy of cases, with linear layers, and with convolutions unless they are left out."""
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "seed": seeds,
        "convolution": st.integers(-1, len(CONVOLUTIONS) - 1) if convolutions else st.just(-1),
        "density": st.sampled_from((0.0, 0.1, 0.5, 1.0)),
        "scale": st.sampled_from((1e-3, 0.1, 3.0)),
    }
    return st.builds(Case, **{**drawn, **{name: st.just(value) for name, value in fixed.items()}})


def noise_of(case: Case, layer: Any, x: Any) -> tuple[Float64Array, Float64Array]:
    """Return the mean of the outputs and the standard deviation that local noise had in one call.

    The noise is the stream of the generator of the layer, so it can be drawn again and divided out.
    """
    import torch

    with torch.no_grad():
        layer.sampling = "mean"
        mean = layer(x)
        layer.sampling = "local"
        layer.generator.manual_seed(case.noise_seed)
        noisy = layer(x)
    again = torch.Generator().manual_seed(case.noise_seed)
    noise = torch.randn(mean.shape, generator=again, dtype=mean.dtype)
    return array(mean).astype(float), array((noisy - mean) / noise).astype(float)
