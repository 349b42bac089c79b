"""Few bits for each number: the centres of equal cells."""

from torch import Tensor

from sparsetheory.constraints import POSITIVE, Integer

__all__ = ["BITS", "quantize_subspace"]

# Beyond this, double precision does not tell neighbouring centres apart.
BITS = Integer(1, 48)


def quantize_subspace(t: Tensor, bits: int, radius: float) -> Tensor:
    r"""Round numbers to the centres of :math:`2^b` equal cells of an interval; those outside are clipped first.

    Parameters
    ----------
    t : Tensor
        Real floating-point numbers, all finite.
    bits : int
        Bits b for each number, from 1 to 48.
    radius : float
        R of the interval :math:`[-R, R]`, above 0.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of `t`. Within the interval an entry moves by at most :math:`R / 2^b`, and by the
        rounding of its dtype.

    Raises
    ------
    ValueError
        If an argument is out of range, or an entry is not finite.

    Notes
    -----
    A grid that has both ends as levels would be off by up to :math:`R / (2^b - 1)`. Zero is no level of either.

    Examples
    --------
    >>> import torch
    >>> quantize_subspace(torch.tensor([-5.0, 0.1, 0.6, 1.0]), bits=2, radius=1.0)
    tensor([-0.7500,  0.2500,  0.7500,  0.7500])
    """
    if not isinstance(t, Tensor) or not t.is_floating_point() or not bool(t.isfinite().all()):
        raise ValueError(f"t must be a tensor of finite floating-point numbers; got {t!r}")
    n_cells = 2 ** BITS.check("bits", bits)
    half = POSITIVE.check("radius", radius) / n_cells
    cells = ((t.double() / half + n_cells) / 2).floor().clamp(0, n_cells - 1)
    return ((2 * cells + 1 - n_cells) * half).to(t.dtype)
