"""How strongly a neuron is connected, which says how much it matters to those that it is connected to."""

from typing import Any

from sparsetheory.constraints import Integer

__all__ = ["neuron_strength"]

_AXIS = Integer(0, 1)


def neuron_strength(W: Any, axis: int = 0) -> Any:
    """Return the sums of the sizes of the weights of every neuron.

    Parameters
    ----------
    W : array, Tensor or sparse array of shape (n_out, n_in)
        Weights of a layer, one row per output and one column per input.
    axis : {0, 1}
        The axis over which sums go: 0 for the strengths of the inputs, 1 for those of the outputs.

    Returns
    -------
    ndarray or Tensor of shape (n_in,) or (n_out,)
        In the precision of the weights; of a tensor on its device.

    Raises
    ------
    ValueError
        If W is not a matrix, or `axis` is neither 0 nor 1.

    References
    ----------
    Atashgahi, Sokar, van der Lee, Mocanu, Mocanu, Veldhuis and Pechenizkiy, Quick and robust feature selection: the
    strength of energy-efficient sparse training for autoencoders, Machine Learning 111, 2022, arXiv:2012.00560.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.gpu.dynamic import neuron_strength
    >>> W = np.array([[1.0, 0.0, -2.0], [0.0, 0.0, 3.0]])
    >>> neuron_strength(W), neuron_strength(W, axis=1)
    (array([1., 0., 5.]), array([3., 3.]))
    """
    axis = _AXIS.check("axis", axis)
    if len(getattr(W, "shape", ())) != 2:
        raise ValueError(f"W must be a matrix; got {getattr(W, 'shape', type(W).__name__)}")
    sums = abs(W).sum(axis=axis)
    # The matrices of scipy return a matrix of one row or column.
    return sums.A1 if hasattr(sums, "A1") else sums
