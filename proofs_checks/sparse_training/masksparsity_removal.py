"""Claim about channels of scale zero: they can be taken out if their constants are folded into the next layer."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always

_ROUNDING = 1e-10


@dataclass(frozen=True)
class Network:
    """A random network of linear layers or unpadded convolutions, in double precision.

    Parameters
    ----------
    seed : int
    kind : {"dense", "pictures"}
    activation : {"ReLU", "GELU", "Sigmoid", "Tanh"}
    n_dead : int
        Channels with scale zero, of six.
    """

    seed: int
    kind: str
    activation: str
    n_dead: int

    def build(self) -> tuple[Any, Any]:
        """Return the model and inputs."""
        import torch
        from torch import nn

        generator = torch.Generator().manual_seed(self.seed)
        act = getattr(nn, self.activation)
        model: Any
        if self.kind == "dense":
            model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), act(), nn.Linear(6, 3))
            x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
        else:
            first, norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
            model = nn.Sequential(
                first, norm, act(), nn.AvgPool2d(2), nn.Conv2d(6, 3, 2), nn.Flatten(), nn.Linear(27, 2)
            )
            x = torch.randn(2, 2, 8, 8, generator=generator, dtype=torch.float64)
        model.double().eval()
        for tensor in model.parameters():
            tensor.data.normal_(generator=generator)
        model[1].running_mean.normal_(generator=generator)
        model[1].weight.data[torch.randperm(6, generator=generator)[: self.n_dead]] = 0.0
        return model, x


def _removal(case: Network, forget: bool = False) -> Measurement:
    """Compare outputs before and after channels of scale zero are taken out.

    Such a channel is ``act(shift)`` at every place, whatever the input. The next layer adds its weights times that, a
    constant, and a convolution without padding does so at every place alike.
    """
    model, x = case.build()
    smaller = weights.remove_channels(model, weights.threshold_masks(model, 0.0))
    if forget:
        place = "3" if case.kind == "dense" else "4"
        smaller.get_parameter(f"{place}.bias").data = model.get_parameter(f"{place}.bias").data
    before, after = model(x).detach(), smaller(x).detach()
    return Measurement(float((before - after).abs().max()), 0.0, scale=float(before.abs().max()))


masksparsity_removal = Claim(
    name="sparse_training.masksparsity_removal",
    summary="A channel of scale zero can be taken out of a network if its constant goes to the next bias.",
    statement=r"\gamma_j = 0 \;\Rightarrow\; f(x) = f_{-j}(x), \quad b' = b + W_{\cdot j}\, \sigma(\beta_j)",
    source=Source.ours("constants of dead channels; the published code leaves them out"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        Network,
        st.integers(0, 2**32 - 1),
        st.sampled_from(["dense", "pictures"]),
        st.sampled_from(["ReLU", "GELU", "Sigmoid", "Tanh"]),
        st.integers(1, 5),
    ),
    evaluate=_removal,
    # As the published code does.
    near_miss=partial(_removal, forget=True),
)
