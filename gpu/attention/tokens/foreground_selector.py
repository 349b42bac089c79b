"""A network that scores tokens of several levels by whether an object of the right size for the level is there."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["ForegroundSelector"]

_BORDER = 0.01
_MODULATION = 0.3


class _ScoreNetwork(nn.Module):
    """Scores of the tokens of one level, with a mean over all of them as context."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.score = nn.Sequential(
            nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim // 4), nn.GELU(), nn.Linear(dim // 4, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of shape (batch, n) for tokens of shape (batch, n, dim)."""
        own, context = self.features(x).chunk(2, dim=-1)
        context = context.mean(1, keepdim=True).expand_as(own)
        return self.score(torch.cat([own, context], dim=-1)).squeeze(-1)


class ForegroundSelector(nn.Module):
    """Score tokens from the coarsest level to the finest; each level is modulated by the scores of the one above [1]_.

    Tokens of padding, and tokens whose cell is at the very border of the image, are set to zero. All then go through
    a linear layer and a normalisation. The network f sees each token, and the mean over all tokens of the level,
    zeroed ones included. With x_l the tokens of level l, f shared by all levels, and ``up``
    the bilinear interpolation to the finer grid whose corners fall on corners,

        ``S_last = f(x_last)``,  ``S_l = f(x_l (1 + alpha_l up(S_{l+1})))``.

    Parameters
    ----------
    dim : int
        Features of a token, a multiple of 4.
    n_levels : int
        Levels, the finest one first.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU: those of linear layers as torch draws them by default, with
        biases 0, and the numbers alpha_l uniform between -0.3 and 0.3.

    Raises
    ------
    ValueError
        If `dim` is not a multiple of 4.

    References
    ----------
    .. [1] D. Zheng, W. Dong, H. Hu, X. Chen, Y. Wang, "Less is more: focus attention for efficient DETR", ICCV 2023,
       arXiv:2307.12612; the authors' code for torch, whose port to another framework differs.

    Examples
    --------
    >>> import torch
    >>> selector = ForegroundSelector(8, 2)
    >>> selector([torch.randn(3, 8, 4, 6), torch.randn(3, 8, 2, 3)]).shape
    torch.Size([3, 30])
    """

    def __init__(self, dim: int, n_levels: int, *, generator: torch.Generator | int | None = 0) -> None:
        super().__init__()
        COUNT.require(dim=dim, n_levels=n_levels)
        if dim % 4:
            raise ValueError(f"dim must be a multiple of 4; got {dim}")
        self.dim, self.n_levels = dim, n_levels
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.network = _ScoreNetwork(dim)
        source = cpu_generator(generator)
        initialise(self, "lecun_uniform", source)
        drawn = torch.rand(n_levels - 1, generator=source)
        self.alpha = nn.Parameter((2.0 * drawn - 1.0) * _MODULATION)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the score of every token: larger is more likely foreground.

        Parameters
        ----------
        levels : sequence of Tensor of shape (batch, dim, rows, columns)
            Features with their positions added, the finest level first.
        masks : sequence of Tensor of bool of shape (batch, rows, columns), optional
            True inside the image, False in the padding at the right and at the bottom; by default there is none.

        Returns
        -------
        Tensor of shape (batch, n)
            Logits, levels after each other, each row by row. Those of padding mean nothing: `valid` of
            :func:`top_tokens` leaves them out.

        Raises
        ------
        ValueError
            If the number of levels or features is wrong, or masks do not fit.
        """
        self._check(levels, masks)
        scores: list[Tensor] = []
        for number in reversed(range(self.n_levels)):
            level = levels[number]
            inside = level.new_ones(level[:, 0].shape, dtype=torch.bool) if masks is None else masks[number]
            kept = inside & _away_from_border(inside)
            tokens = torch.where(kept[:, None], level, 0.0).flatten(2).mT
            x = self.norm(self.project(tokens))
            if scores:
                x = x * (1.0 + self.alpha[number] * _upsampled(scores[-1], level.shape[-2:]))[..., None]
            scores.append(self.network(x).unflatten(1, level.shape[-2:]))
        return torch.cat([score.flatten(1) for score in reversed(scores)], dim=1)

    def _check(self, levels: Sequence[Tensor], masks: Sequence[Tensor] | None) -> None:
        if len(levels) != self.n_levels:
            raise ValueError(f"levels must be {self.n_levels} tensors; got {len(levels)}")
        for level in levels:
            if level.dim() != 4 or level.shape[1] != self.dim:
                raise ValueError(f"levels must have shape (batch, {self.dim}, rows, columns); got {tuple(level.shape)}")
        if masks is not None:
            wanted = [(*level.shape[:1], *level.shape[2:]) for level in levels]
            if [tuple(mask.shape) for mask in masks] != wanted:
                raise ValueError(f"masks must have shapes {wanted}; got {[tuple(mask.shape) for mask in masks]}")


def _upsampled(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Return scores of shape (batch, rows, columns) on a finer grid, flat."""
    finer = functional.interpolate(scores[:, None], size=tuple(size), mode="bilinear", align_corners=True)
    return finer[:, 0].flatten(1)


def _away_from_border(inside: Tensor) -> Tensor:
    """Return the cells whose centre is more than a hundredth of the size of the image away from its sides."""
    kept = torch.ones_like(inside)
    for axis in (1, 2):
        # Padding is at the end, so that the first row and the first column tell the size of the image.
        length = inside.select(3 - axis, 0).sum(1).clamp(min=1)
        centre = (torch.arange(inside.shape[axis], device=inside.device) + 0.5) / length[:, None]
        clear = (centre > _BORDER) & (centre < 1.0 - _BORDER)
        kept = kept & clear.unsqueeze(3 - axis)
    return kept
