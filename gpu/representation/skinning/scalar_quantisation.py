"""Finite scalar quantisation: a code book that is a grid, so nothing of it is learned."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, Integer, Real, Several

__all__ = ["FSQ", "code_perplexity"]

_LEVELS = Several(Integer(2), "a sequence of integers of at least 2")
# How far from an integer a coordinate of a code may be, in steps of the grid: rounding in 16 bits stays below this.
_OFF_GRID = 0.25


class FSQ(nn.Module):
    r"""Round each coordinate of a vector to one of a few levels.

    With L levels, :math:`h = (L - 1)(1 + \mathrm{eps}) / 2`, and the offset o = 1/2 for even L and 0 for odd L, a
    coordinate z becomes the integer nearest to :math:`\tanh(z + \operatorname{atanh}(o / h))\, h - o`. There are L such
    integers: symmetric about zero for odd L, from -L/2 to L/2 - 1 for even L. A code is the integer over ``L // 2``.

    Parameters
    ----------
    levels : sequence of int
        Number of levels of each coordinate, at least 2.
    eps : float
        Makes the outermost levels reachable for finite z. Smaller than ``1 / (L - 1)`` in size, else the range would
        hold further integers. The first publication has the opposite sign: ``eps=-1e-3`` gives its variant, which
        has no value for L = 2.

    Raises
    ------
    ValueError
        If a level is not an integer of at least 2, `eps` does not fit the levels, or there are more than 2**62 codes.

    Notes
    -----
    Nothing is learned, so the module has no parameters, and its buffers are integers: casting a model to 16 bits does
    not move the grid. All is computed in single precision at least, in one pass over z. Quantisation is not
    idempotent: codes are points of a grid in (-1, 1), and quantising them as if they were z compresses them again;
    :meth:`inverse_bound` returns what does map to a code.

    References
    ----------
    .. [1] Mentzer, Minnen, Agustsson, Tschannen: Finite scalar quantization: VQ-VAE made simple, ICLR 2024,
       arXiv:2309.15505.

    Examples
    --------
    >>> import torch
    >>> fsq = FSQ([8, 5, 5, 5])
    >>> fsq.n_codes
    1000
    >>> codes = fsq.quantize(torch.tensor([0.0, 0.4, -0.4, 9.0]))
    >>> codes
    tensor([ 0.0000,  0.5000, -0.5000,  1.0000])
    >>> index = fsq.codes_to_indices(codes)
    >>> int(index), torch.equal(fsq.indices_to_codes(index), codes)
    (868, True)
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int], eps: float = 1e-3) -> None:
        super().__init__()
        counts = [int(level) for level in _LEVELS.check("levels", levels)]
        if not counts:
            raise ValueError(f"levels must be a sequence of integers of at least 2; got {levels!r}")
        self.eps = Real(-1.0, 1.0, closed="neither").check("eps", eps)
        self.n_codes = math.prod(counts)
        if self.n_codes > 2**62:
            raise ValueError(f"levels must have a product of at most 2**62; got {counts}")
        _check_range(counts, self.eps)
        steps = [math.prod(counts[:place]) for place in range(len(counts))]
        self.register_buffer("levels", torch.tensor(counts), persistent=False)
        self.register_buffer("basis", torch.tensor(steps), persistent=False)

    @property
    def half_levels(self) -> Tensor:
        """What codes are multiplied by to be integers: ``levels // 2``."""
        return self.levels // 2

    def forward(self, z: Tensor) -> Tensor:
        """Return the codes of vectors; see :meth:`quantize`."""
        return self.quantize(z)

    def bound(self, z: Tensor) -> Tensor:
        """Squash vectors into the range whose integers are the levels.

        Parameters
        ----------
        z : Tensor of shape (..., n_coordinates)
            Infinite entries are allowed: they have the outermost levels.

        Returns
        -------
        Tensor
            Of the shape of `z`; float64 where `z` is, else float32.
        """
        half, offset, shift = self._constants(z)
        return torch.tanh(z.to(half.dtype) + shift) * half - offset

    def inverse_bound(self, values: Tensor) -> Tensor:
        """Return the vectors that :meth:`bound` maps to given values, such as integers that are levels.

        Parameters
        ----------
        values : Tensor of shape (..., n_coordinates)

        Returns
        -------
        Tensor
            Not a number where a value is out of the range.
        """
        half, offset, shift = self._constants(values)
        return torch.atanh((values.to(half.dtype) + offset) / half) - shift

    def quantize(self, z: Tensor) -> Tensor:
        """Return the code of each vector; gradients pass the rounding as if it were not there.

        Parameters
        ----------
        z : Tensor of shape (..., n_coordinates)

        Returns
        -------
        Tensor
            Codes in [-1, 1], in the shape and dtype of `z`. Its gradient is that of ``bound(z) / (levels // 2)``.

        Notes
        -----
        Ties are rounded to even.
        """
        bounded = self.bound(z)
        # Zero in value, and all of the gradient: the integers stay exact.
        passed = bounded - bounded.detach()
        return ((bounded.detach().round() + passed) / self.half_levels).to(z.dtype)

    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """Return the numbers of codes; the first coordinate varies fastest.

        Parameters
        ----------
        codes : Tensor of shape (..., n_coordinates)
            As :meth:`quantize` returns them.

        Returns
        -------
        Tensor of int64 of shape (...)

        Raises
        ------
        ValueError
            If an entry is not a level, which also happens in 16 bits with hundreds of levels.
        """
        self._check_last_axis("codes", codes)
        exact = codes.detach().to(torch.float64) * self.half_levels
        rounded = exact.round()
        digits = rounded + self.half_levels
        # Comparisons with NaN are false.
        good = ((exact - rounded).abs() <= _OFF_GRID) & (digits >= 0) & (digits < self.levels)
        if not bool(good.all()):
            raise ValueError(f"codes must be on the grid of the levels; got {float(codes[~good][0]):.4g} among them")
        return (digits.to(torch.int64) * self.basis).sum(-1)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Return the codes of given numbers.

        Parameters
        ----------
        indices : Tensor of integers of shape (...)

        Returns
        -------
        Tensor of float32 of shape (..., n_coordinates)

        Raises
        ------
        ValueError
            If a number is no index of this code book.
        """
        _check_integers(indices)
        numbers = indices.to(torch.int64)
        outside = (numbers < 0) | (numbers >= self.n_codes)
        if bool(outside.any()):
            raise ValueError(f"indices must be from 0 to {self.n_codes - 1}; got {int(numbers[outside][0])}")
        digits = numbers.unsqueeze(-1) // self.basis % self.levels
        return (digits - self.half_levels).to(torch.float32) / self.half_levels

    def codebook(self) -> Tensor:
        """Return all codes in the order of their indices.

        Returns
        -------
        Tensor of float32 of shape (n_codes, n_coordinates)
        """
        return self.indices_to_codes(torch.arange(self.n_codes, device=self.levels.device))

    def extra_repr(self) -> str:
        """Return the levels, for the text of the module."""
        return f"levels={self.levels.tolist()}, eps={self.eps:g}"

    def _constants(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return half the range, the offset and the shift of each coordinate, in the precision to compute in."""
        self._check_last_axis("z", z)
        levels = self.levels.to(torch.float64)
        half, offset = (levels - 1) * ((1 + self.eps) / 2), (self.levels % 2 == 0) * 0.5
        shift = torch.atanh(offset / half)
        dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
        return half.to(dtype), offset.to(dtype), shift.to(dtype)

    def _check_last_axis(self, name: str, values: Tensor) -> None:
        if not isinstance(values, Tensor) or not values.is_floating_point():
            got = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{name} must be a tensor of real floating-point numbers; got {got}")
        if not values.ndim or values.shape[-1] != len(self.levels):
            raise ValueError(
                f"{name} must have {len(self.levels)} entries in its last axis, one per level; "
                f"got shape {tuple(values.shape)}"
            )


def _check_integers(indices: Tensor) -> None:
    if not isinstance(indices, Tensor) or indices.is_floating_point() or indices.dtype == torch.bool:
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise ValueError(f"indices must be a tensor of integers; got {got}")


def _check_range(counts: Sequence[int], eps: float) -> None:
    """Raise unless the range of every coordinate holds as many integers as it has levels."""
    most = max(counts)
    # In single precision a few roundings are lost at the ends of the range.
    if (most - 1) * (abs(eps) + 2**-22) >= 1:
        raise ValueError(f"eps must be below 1 / (L - 1) in size for every level L; got {eps!r} with L = {most}")
    if eps <= 0 and 2 in counts:
        # The shift would be the inverse hyperbolic tangent of one, or of more.
        raise ValueError(f"eps must be positive where a coordinate has 2 levels; got {eps!r}")


def code_perplexity(indices: Tensor, n_codes: int) -> float:
    """Return how many codes are in use: the exponential of the entropy of their frequencies.

    Parameters
    ----------
    indices : Tensor of integers
        Numbers of codes, from 0 to ``n_codes - 1``.
    n_codes : int

    Returns
    -------
    float
        From 1, where all are equal, to `n_codes`, where all are equally frequent.

    Examples
    --------
    >>> import torch
    >>> round(code_perplexity(torch.tensor([0, 3, 3, 0]), n_codes=1000), 6)
    2.0
    """
    COUNT.check("n_codes", n_codes)
    _check_integers(indices)
    used, counts = torch.unique(indices, return_counts=True)
    if not used.numel() or int(used.min()) < 0 or int(used.max()) >= n_codes:
        raise ValueError(f"indices must be from 0 to {n_codes - 1}, at least one; got {used.tolist()[:8]}")
    shares = counts.to(torch.float64) / counts.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))
