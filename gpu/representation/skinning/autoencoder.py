"""An autoencoder of skinning weights with discrete codes: a few tokens for each bone."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.skinning.scalar_quantisation import FSQ

__all__ = ["SkinningVAE", "check_rig"]


class SkinningVAE(nn.Module):
    r"""Code the column of weights of each bone as a few tokens, given the shape that it is on.

    A column is encoded from points with their weights, by a network on each point and a mean over points. Its latent
    vectors are rounded by :class:`FSQ`. The decoder sees the codes, the encoded shape, and one point, and returns the
    weight there: so weights can be read at any point. Columns are coded one by one; rows are normalised afterwards.

    Parameters
    ----------
    levels : sequence of int
        Levels of each coordinate of a token.
    n_tokens : int
        Tokens per bone.
    width : int
        Of all hidden layers.
    n_frequencies : int
        Octaves of the Fourier features of a point.
    generator : torch.Generator, int or None
        Source of the initial weights.

    Notes
    -----
    As in other models with discrete codes, the prior over codes is uniform, and the term of the evidence bound that
    measures the distance to it is constant: training minimises the error of reconstruction alone. Published for
    bones of artist-made rigs with attention in place of means [1]_; the loss is not published, see
    :func:`skinning_loss`.

    References
    ----------
    .. [1] Zhang, Pu, Guo, Cao, Hu: SkinTokens: a learned compact representation for unified autoregressive rigging,
       2026, arXiv:2602.04805.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.representation import make_tube_rig
    >>> rig = make_tube_rig(n_vertices=50)
    >>> model = SkinningVAE(width=16)
    >>> tokens = model.tokens(rig.vertices, rig.weights)
    >>> tokens.shape, model.bits_per_bone
    (torch.Size([8, 4]), 39.86)
    >>> model.decode(tokens, rig.vertices).shape
    torch.Size([50, 8])
    """

    def __init__(
        self,
        levels: Sequence[int] = (8, 5, 5, 5),
        *,
        n_tokens: int = 4,
        width: int = 96,
        n_frequencies: int = 2,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(n_tokens=n_tokens, width=width, n_frequencies=n_frequencies)
        self.fsq = FSQ(levels)
        self.n_tokens, self.n_frequencies = n_tokens, n_frequencies
        n_features, n_latents = 3 * (1 + 2 * n_frequencies), n_tokens * len(levels)
        self.shape_encoder = _network(n_features, width, width)
        self.bone_encoder = _network(n_features + 1, width, width)
        self.to_latents = nn.Linear(2 * width, n_latents)
        self.from_codes = nn.Linear(n_latents + width, width)
        self.from_point = nn.Linear(n_features, width)
        self.decoder = nn.Sequential(
            nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )
        _initialise(self, cpu_generator(generator))

    @property
    def bits_per_bone(self) -> float:
        """Logarithm to base two of the number of codes of a column, rounded to two digits."""
        return round(self.n_tokens * math.log2(self.fsq.n_codes), 2)

    def forward(
        self, points: Tensor, weights: Tensor, queries: Tensor | None = None, *, shape: Tensor | None = None
    ) -> Tensor:
        """Code columns and read them again.

        Parameters
        ----------
        points : Tensor of shape (n_columns, n_points, 3)
            Where the column is encoded.
        weights : Tensor of shape (n_columns, n_points)
            Weight of the bone at each point.
        queries : Tensor of shape (n_columns, n_queries, 3), optional
            Where to read weights; by default at the points.
        shape : Tensor of shape (n_columns, n_shape_points, 3), optional
            Points from all over the shape that the column is on; by default the points.

        Returns
        -------
        Tensor of shape (n_columns, n_queries)
            Logits of the weights.
        """
        if weights.shape != points.shape[:-1]:
            raise ValueError(
                "weights must have one entry for each point; "
                f"got shapes {tuple(weights.shape)} and {tuple(points.shape)} of points"
            )
        features = self._features(points)
        encoded = self.shape_encoder(features if shape is None else self._features(shape)).mean(-2)
        codes = self._codes(features, encoded, weights)
        return self._read(codes, encoded, features if queries is None else self._features(queries))

    @torch.no_grad()
    def tokens(self, points: Tensor, weights: Tensor) -> Tensor:
        """Return the tokens of all bones of a shape.

        Parameters
        ----------
        points : Tensor of shape (n_points, 3)
        weights : Tensor of shape (n_points, n_bones)

        Returns
        -------
        Tensor of int64 of shape (n_bones, n_tokens)
        """
        check_rig(points, weights)
        features = self._features(points).expand(weights.shape[1], -1, -1)
        shape = self.shape_encoder(features[:1]).mean(-2).expand(len(features), -1)
        codes = self._codes(features, shape, weights.mT)
        return self.fsq.codes_to_indices(codes.unflatten(-1, (self.n_tokens, -1)))

    @torch.no_grad()
    def decode(self, tokens: Tensor, points: Tensor, queries: Tensor | None = None) -> Tensor:
        """Return the weights that tokens stand for, with rows that sum to one.

        Parameters
        ----------
        tokens : Tensor of int64 of shape (n_bones, n_tokens)
        points : Tensor of shape (n_points, 3)
            Points of the shape, as they were encoded with.
        queries : Tensor of shape (n_queries, 3), optional
            Where to read weights; by default at the points.

        Returns
        -------
        Tensor of shape (n_queries, n_bones)
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.n_tokens:
            raise ValueError(f"tokens must have shape (n_bones, {self.n_tokens}); got {tuple(tokens.shape)}")
        features = self._features(points)
        codes = self.fsq.indices_to_codes(tokens).to(features.dtype).flatten(-2)
        shape = self.shape_encoder(features).mean(-2).expand(len(codes), -1)
        read = features if queries is None else self._features(queries)
        logits = self._read(codes, shape, read.expand(len(codes), -1, -1)).mT
        # Sigmoids over their sum, also where all of them round to zero.
        return functional.logsigmoid(logits).softmax(-1)

    def _features(self, points: Tensor) -> Tensor:
        if points.shape[-1] != 3 or not points.is_floating_point():
            raise ValueError(
                "points, queries and shape must be floating-point numbers, three in their last axis; "
                f"got {points.dtype} of shape {tuple(points.shape)}"
            )
        octaves = 2.0 ** torch.arange(self.n_frequencies, dtype=points.dtype, device=points.device)
        angles = (points.unsqueeze(-1) * octaves).flatten(-2)
        return torch.cat([points, angles.sin(), angles.cos()], -1)

    def _codes(self, features: Tensor, shape: Tensor, weights: Tensor) -> Tensor:
        each = self.bone_encoder(torch.cat([features, weights.unsqueeze(-1)], -1))
        # A mean over points, by their weights: one over all points would hardly see a bone that holds few of them.
        total = weights.sum(-1, keepdim=True)
        bone = (weights.unsqueeze(-2) @ each).squeeze(-2) / torch.where(total > 0, total, 1.0)
        latents = self.to_latents(torch.cat([bone, shape], -1)).unflatten(-1, (self.n_tokens, -1))
        codes: Tensor = self.fsq(latents)
        return codes.flatten(-2)

    def _read(self, codes: Tensor, shape: Tensor, features: Tensor) -> Tensor:
        # What does not depend on the point is computed once per column.
        hidden = self.from_codes(torch.cat([codes, shape], -1)).unsqueeze(-2) + self.from_point(features)
        logits: Tensor = self.decoder(hidden).squeeze(-1)
        return logits


def _network(n_in: int, width: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width), nn.GELU(), nn.Linear(width, n_out))


def _initialise(model: nn.Module, source: torch.Generator) -> None:
    """Draw all weights on the CPU, uniform as torch's own linear layers have them."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            with torch.no_grad():
                for values in (layer.weight, layer.bias):
                    values.copy_((2 * torch.rand(values.shape, generator=source) - 1) * bound)


def check_rig(points: Tensor, weights: Tensor) -> None:
    """Raise unless points and weights are those of one shape with points."""
    if points.ndim != 2 or points.shape[1] != 3 or weights.ndim != 2 or len(weights) != len(points) or not len(points):
        raise ValueError(
            "points and weights must have shapes (n_points, 3) and (n_points, n_bones); "
            f"got {tuple(points.shape)} and {tuple(weights.shape)}"
        )
