"""Where the tokens of a film stand in a sequence: text, then frame after frame, or place after place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """A sequence of text tokens and then `frames` frames of `places` tokens each.

    Token ``text + f * places + p`` shows place p of frame f.

    Parameters
    ----------
    frames : int
        Frames of the film.
    places : int
        Tokens of a frame.
    text : int
        Tokens in front of the first frame.

    Examples
    --------
    >>> layout = Layout(frames=2, places=3, text=1)
    >>> layout.n, layout.place_major_order().tolist()
    (7, [0, 1, 4, 2, 5, 3, 6])
    """

    frames: int
    places: int
    text: int = 0

    def __post_init__(self) -> None:
        COUNT.require(frames=self.frames, places=self.places)
        SIZE.check("text", self.text)

    @property
    def n_video(self) -> int:
        """Tokens of all frames."""
        return self.frames * self.places

    @property
    def n(self) -> int:
        """Tokens together."""
        return self.text + self.n_video

    def place_major_order(self) -> Tensor:
        """Return the positions of the tokens, text first, then place after place with all frames of a place together.

        Returns
        -------
        Tensor of int64 of shape (n,)
        """
        video = torch.arange(self.text, self.n).view(self.frames, self.places)
        return torch.cat([torch.arange(self.text), video.T.reshape(-1)])

    def to_place_major(self, x: Tensor) -> Tensor:
        """Return tokens in the order of :meth:`place_major_order`.

        Parameters
        ----------
        x : Tensor of shape (..., n, features)

        Raises
        ------
        ValueError
            If there are not `n` tokens.
        """
        self.require(x.shape[-2])
        return x[..., self.place_major_order().to(x.device), :]

    def to_frame_major(self, x: Tensor) -> Tensor:
        """Return tokens in their own order; undoes :meth:`to_place_major`.

        Parameters
        ----------
        x : Tensor of shape (..., n, features)

        Raises
        ------
        ValueError
            If there are not `n` tokens.
        """
        self.require(x.shape[-2])
        return x[..., torch.argsort(self.place_major_order()).to(x.device), :]

    def require(self, n: int) -> None:
        """Refuse a number of tokens that is not that of the layout.

        Parameters
        ----------
        n : int
            Number of tokens.
        """
        if n != self.n:
            raise ValueError(
                f"n must be text + frames * places = {self.text} + {self.frames} * {self.places} = {self.n}; got {n}"
            )
