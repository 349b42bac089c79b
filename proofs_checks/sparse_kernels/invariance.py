"""Claim that a permutation of channels, carried along all axes that hold them, leaves the function of a network."""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import kernels
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import Always

# At most eight layers in sequence, with sums of at most 300 terms in double precision: each changes by at most 300
# roundings when its terms are reordered, relative to the sum of their sizes.
_ROUNDING = 1e-12
_KINDS = ("plain", "residual", "depthwise", "joined")


@dataclass(frozen=True)
class Network:
    """A small convolutional network, drawn by a seed.

    Parameters
    ----------
    kind : str
        What lies between its first and its last convolution.
    width : int
        Channels.
    side : int
        Pixels along a side of the image, which are flattened in the end.
    seed : int
        Of weights, statistics, images and permutations.
    """

    kind: str
    width: int
    side: int
    seed: int


def _networks() -> st.SearchStrategy[Network]:
    return st.builds(Network, st.sampled_from(_KINDS), st.integers(2, 8), st.integers(1, 3), st.integers(0, 2**32 - 1))


def _built(network: Network) -> tuple[Any, Any]:
    """Return the network in torch, and images."""
    import torch
    from torch import nn

    class Body(nn.Module):
        """Layers between the first and the last one."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.one = nn.Conv2d(width, width, 1)
            self.two = nn.Conv2d(width, width, 3, padding=1, groups=width if network.kind == "depthwise" else 1)
            self.norm = nn.BatchNorm2d(width)

        def forward(self, x: Any) -> Any:
            y = self.norm(self.two(torch.relu(self.one(x))))
            if network.kind == "residual":
                return x + y
            return torch.cat([y, x], 1) if network.kind == "joined" else y

    width, inside = network.width, network.width * (1 + (network.kind == "joined"))
    draw = torch.Generator().manual_seed(network.seed)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
        Body(width),
        nn.Conv2d(inside, width, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * network.side**2, 4),
    )
    model = model.to(torch.float64).eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=draw, dtype=tensor.dtype))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                module.running_var.square_().add_(0.1)
    return model, torch.randn(2, 3, network.side, network.side, generator=draw, dtype=torch.float64)


def _largest(model: Any, x: Any) -> float:
    """Return a bound of the outputs in which nothing cancels: all numbers by their sizes, and no clamp."""
    import torch
    from torch import nn

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.abs_().neg_()
            if isinstance(module, nn.ReLU6):
                module.max_val = float("inf")
        return float(model(x.abs()).max())


def _moved(network: Network, *, without: str = "") -> Measurement:
    """Permute all channels that can be, and compare the outputs.

    Every layer maps a permuted input to its output permuted: rows and biases of the producer, statistics and filters of
    a channel, and columns of the consumer are numbered alike, so the sums have the same terms in another order. Where
    two branches are added their channels have one number; where they are joined, each keeps its own.
    """
    import torch

    model, x = _built(network)
    with one_thread(), torch.no_grad():
        before = model(x)
        draw = torch.Generator().manual_seed(network.seed)
        for ties in kernels.channel_ties(model, x):
            axes = tuple(axis for axis in ties.axes if not (without and axis.parameter.endswith(without)))
            order = torch.randperm(ties.n_channels, generator=draw)
            kernels.apply_permutation(model, replace(ties, axes=axes), order)
        off = float((model(x) - before).abs().max())
        return Measurement(off, 0.0, scale=_largest(model, x))


def _statistics_forgotten(network: Network) -> Measurement:
    """Leave the running means where they were: plausible, as they are no parameters."""
    return _moved(network, without="running_mean")


rearranged_network = Claim(
    name="sparse_kernels.rearranged_network",
    summary="Channels permuted along all axes that hold them leave the function of a network as it is.",
    statement=r"f(x; \pi \cdot \theta) = f(x; \theta)",
    source=Source(
        "Xu et al., SparseByteNN (2023)",
        "rearrangement of a whole network; the rules for each operation are reconstructed",
        arxiv="2310.19509",
        provenance="ours",
    ),
    verdict=Always(_ROUNDING),
    instances=_networks,
    evaluate=_moved,
    near_miss=_statistics_forgotten,
)
