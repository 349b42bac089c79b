"""Small decoders in double precision, with random weights and texts, on which identities are checked."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import analysis, core

__all__ = ["Network", "networks"]

_CHARACTERS, _HEADS, _CONTEXT = 9, 2, 6
_BRANCHES = ("attention.out.weight", "feed_forward.down.weight")


@dataclass(frozen=True, eq=False)
class Network:
    """A decoder of random weights, and texts.

    Parameters
    ----------
    seed : int
        Of weights and texts.
    n_layers : int
    width : int
    scale : float
        Number that a claim multiplies or mixes with.
    """

    seed: int
    n_layers: int
    width: int
    scale: float

    def model(self) -> Any:
        """Return a new model in double precision; embeddings have variance 1, and the eps of normalisations is 0."""
        import torch

        made = core.models.CharacterDecoder(
            _CHARACTERS,
            width=self.width,
            n_layers=self.n_layers,
            n_heads=_HEADS,
            hidden=2 * self.width,
            context=_CONTEXT,
            generator=self.seed,
        ).double()
        for module in made.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 0.0
        with torch.no_grad():
            for table in (made.characters, made.positions):
                table.weight *= 50.0
        return made.eval()

    def linear_model(self) -> Any:
        """Return a model in double precision whose layers are linear, with constants."""
        import torch
        from torch import nn

        torch.manual_seed(self.seed)
        layers = [nn.Linear(self.width, self.width) for _ in range(self.n_layers)]
        parts = nn.Embedding(_CHARACTERS, self.width), nn.Sequential(*layers), nn.Linear(self.width, _CHARACTERS)
        return nn.Sequential(*parts).double().eval()

    @cached_property
    def texts(self) -> tuple[Any, Any]:
        """Texts to judge on, and 24 others."""
        import torch

        source = torch.Generator().manual_seed(self.seed + 1)
        drawn = torch.randint(_CHARACTERS, (28, _CONTEXT), generator=source)
        return drawn[:4], drawn[4:]

    @property
    def layer(self) -> int:
        """Number of a layer, by the seed."""
        return self.seed % self.n_layers

    def report(self, model: Any, **options: Any) -> Any:
        """Return the report on a model, without Jacobians."""
        return analysis.depth_report(model, None, self.texts[0], jacobian=False, **options)

    def loss_of(self, model: Any) -> float:
        """Return the loss of a model on the texts to judge on."""
        import torch

        with torch.no_grad():
            return float(analysis.next_token_loss(model(self.texts[0]), self.texts[0]))

    def scale_branches(self, model: Any, factor: float, layer: int | None = None) -> None:
        """Multiply what the branches of a layer, or of all, add to the stream, in place."""
        import torch

        chosen = model.blocks if layer is None else [model.blocks[layer]]
        with torch.no_grad():
            for block in chosen:
                for name in _BRANCHES:
                    block.get_parameter(name).mul_(factor)


def networks() -> st.SearchStrategy[Network]:
    """Return a strategy that draws networks."""
    return st.builds(
        Network,
        st.integers(0, 2**31 - 1),
        st.integers(2, 4),
        st.sampled_from((2, 4, 6)),
        st.sampled_from((0.01, 0.5, 3.0, 100.0)),
    )
