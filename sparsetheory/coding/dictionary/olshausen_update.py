"""The dictionary step of Olshausen and Field, with the settings published for l1, l0, l1/2 and CEL0."""

from typing import Any

import numpy as np

from sparsetheory.constraints import Choice
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import CEL0, make_penalty
from sparsetheory.typing import FloatArray

__all__ = ["gradient_step", "published_settings", "published_step"]


# Atoms shorter than this are divided by it, as published.
_SHORTEST = 1e-8
# Rentzeperis and others (2023), code of December 2022: strengths in their convention, where those of hard and half
# thresholding are twice ours.
_PUBLISHED = {"l1": 0.41, "l0": 0.013 / 2, "lq": 0.13 / 2, "cel0": 0.45}


def gradient_step(atoms: FloatArray, codes: FloatArray, signals: FloatArray, learning_rate: float) -> FloatArray:
    r"""Return the atoms after one gradient step on the squared error summed over a batch, and normalisation.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        Unit rows.
    codes : ndarray of shape (n_samples, n_atoms)
        Of the signals.
    signals : ndarray of shape (n_samples, n_features)
        Batch.
    learning_rate : float
        Rate :math:`\eta`. The step lowers the error before normalisation while :math:`\eta \lambda_{max}(C^T C) < 2`,
        and C'C grows with the batch.

    Returns
    -------
    ndarray of shape (n_atoms, n_features)

    Notes
    -----
    ``4 n_samples n_atoms n_features`` operations. The update is that of Olshausen and Field (1996), as in the code of
    Rentzeperis, Calatroni, Perrinet and Prandi (2023).

    Examples
    --------
    >>> import numpy as np
    >>> gradient_step(np.array([[1.0, 0.0]]), np.array([[2.0]]), np.array([[2.0, 0.5]]), learning_rate=0.75)
    array([[0.8, 0.6]])
    """
    moved = atoms + atoms.dtype.type(learning_rate) * (codes.T @ (signals - codes @ atoms))
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), _SHORTEST)


def published_step(penalty: Penalty) -> float:
    """Return the step of the inner loop that is published for 500 atoms: 0.1 for CEL0, 0.01 for the others."""
    return 0.1 if isinstance(penalty, CEL0) else 0.01


def published_settings(penalty: str) -> dict[str, Any]:
    r"""Return the arguments of :class:`LqDictionaryLearning` with which the authors learned 500 atoms of 256 pixels.

    Parameters
    ----------
    penalty : {"l1", "l0", "lq", "cel0"}
        "lq" stands for the power 1/2.

    Returns
    -------
    dict
        Keyword arguments. Their hard and half thresholding are the operators of half their strength in the convention
        of :mod:`sparsetheory.penalties.separable`, so theirs is halved for "l0" and "lq".

    Raises
    ------
    ValueError
        If nothing is published for the penalty.

    Notes
    -----
    The source is the code that goes with Rentzeperis, Calatroni, Perrinet and Prandi (2023). For more atoms they tuned
    alpha and the rates anew.

    Examples
    --------
    >>> settings = published_settings("l0")
    >>> settings["alpha"], settings["step"], settings["batch_size"]
    (0.0065, 0.01, 250)
    """
    Choice(*_PUBLISHED).check("penalty", penalty)
    q, alpha = (0.5 if penalty == "lq" else None), _PUBLISHED[penalty]
    shape: dict[str, Any] = {} if q is None else {"q": q}
    return {
        "n_components": 500,
        "penalty": penalty,
        "alpha": alpha,
        "q": q,
        "update": "olshausen",
        "learning_rate": 0.01,
        "step": published_step(make_penalty(penalty, alpha, **shape)),
        "batch_size": 250,
        "n_batches": 4000,
        "stop_rule": "published",
        "init": "gaussian",
        "reseed": False,
    }
