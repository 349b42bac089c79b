"""A border of trained pixels around an image that stays as it is."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FINITE

__all__ = ["ExpansivePrompt"]


class ExpansivePrompt(nn.Module):
    """Put images into the centre of a larger canvas whose border is trained.

    The border shows ``sigmoid(weight)``, so all its pixels lie between 0 and 1, as those of images do. A weight of 0,
    the usual start, is grey of 0.5, not black. Pixels of the image pass through bit for bit: the border is written
    beside them, not added to them.

    Parameters
    ----------
    image_size : int
        Height and width of the images.
    canvas_size : int
        Height and width of the canvas, at least `image_size`. Where the border cannot have equal widths, that on the
        left and on top is the smaller one.
    channels : int
        Channels of the images.
    init : float
        Where the weight starts.

    Attributes
    ----------
    weight : torch.nn.Parameter of shape (channels, canvas_size, canvas_size)
        Its entries under the image do nothing, and their gradient is 0.
    border : Tensor of bool of shape (canvas_size, canvas_size)
        Where the canvas shows the weight.

    Raises
    ------
    ValueError
        If the canvas is smaller than the image.

    Notes
    -----
    Bring images to their size, and a normalisation that the network expects, in your own code: the one before the
    prompt, the other behind it.

    References
    ----------
    .. [1] A. Chen, Y. Yao, P.-Y. Chen, Y. Zhang, S. Liu. Understanding and improving visual prompting: a label-mapping
       perspective. CVPR 2023, arXiv:2211.11635.
    .. [2] D. Misra, A. Goyal, B. Runwal, P.-Y. Chen. Reprogramming under constraints: revisiting efficient and reliable
       transferability of lottery tickets. arXiv:2308.14969.

    Examples
    --------
    >>> import torch
    >>> prompt = ExpansivePrompt(1, 3)
    >>> prompt(torch.ones(1, 1, 1, 1)).detach()
    tensor([[[[0.5000, 0.5000, 0.5000],
              [0.5000, 1.0000, 0.5000],
              [0.5000, 0.5000, 0.5000]]]])
    """

    border: Tensor

    def __init__(self, image_size: int, canvas_size: int, channels: int = 1, init: float = 0.0) -> None:
        super().__init__()
        COUNT.require(image_size=image_size, canvas_size=canvas_size, channels=channels)
        if canvas_size < image_size:
            raise ValueError(f"canvas_size must be at least image_size, {image_size}; got {canvas_size}")
        first = (canvas_size - image_size) // 2
        self._inside = slice(first, first + image_size)
        self.image_size = image_size
        self.weight = nn.Parameter(torch.full((channels, canvas_size, canvas_size), FINITE.check("init", init)))
        border = torch.ones(canvas_size, canvas_size, dtype=torch.bool)
        border[self._inside, self._inside] = False
        self.register_buffer("border", border, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return images of shape (n, channels, canvas_size, canvas_size), in the precision of the images.

        Parameters
        ----------
        x : Tensor of shape (n, channels, image_size, image_size)

        Raises
        ------
        ValueError
            If the images have another shape, or hold integers, in which the border would be black.
        """
        wanted = (len(self.weight), self.image_size, self.image_size)
        if tuple(x.shape[1:]) != wanted or x.ndim != 4:
            raise ValueError(f"x must have shape (n, {', '.join(map(str, wanted))}); got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise ValueError(f"x must hold floating-point numbers, from 0 to 1 as the border; got {x.dtype}")
        canvas = self.weight.sigmoid().to(x.dtype).repeat(len(x), 1, 1, 1)
        canvas[:, :, self._inside, self._inside] = x
        return canvas

    def extra_repr(self) -> str:
        """Return the sizes, for ``repr``."""
        channels, canvas_size, _ = self.weight.shape
        return f"image_size={self.image_size}, canvas_size={canvas_size}, channels={channels}"
