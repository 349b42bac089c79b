"""Training of a denoising autoencoder with one hidden layer, in time and memory of its connections."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer
from sparsetheory.numba_kernels.sparse_autoencoder.batches import gather_columns
from sparsetheory.numba_kernels.sparse_autoencoder.gradients import add_sampled_products, momentum_step
from sparsetheory.numba_kernels.sparse_autoencoder.products import block_width, multiply, multiply_transposed
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["Gradients", "Steps", "draw_active", "train_epoch"]

_LINE_BYTES = 64
_LEVELS = 2**16


@dataclass(frozen=True)
class Steps:
    """How batches are drawn and weights move.

    Parameters
    ----------
    batch_size : int
    learning_rate, momentum, weight_decay : float
        ``v = momentum v - learning_rate g`` and ``w = w + v - weight_decay w``.
    dropout : float
        Share of the hidden units that are silent for each sample, in [0, 1). The others are not scaled.
    """

    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    dropout: float


def _aligned(rows: int, columns: int, dtype: DTypeLike) -> FloatArray:
    """Return a matrix that begins at a cache line: a vector that straddles two lines is loaded twice."""
    size = rows * columns * np.dtype(dtype).itemsize
    memory = np.zeros(size + _LINE_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE_BYTES
    return memory[start : start + size].view(dtype).reshape(rows, columns)


def _activate(z: FloatArray) -> None:
    """Replace z by its sigmoid, ``(1 + tanh(z / 2)) / 2``, which never overflows."""
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5


class Gradients:
    """Sums over samples of the gradients of both layers, and the room to compute them in.

    Besides these, each of the size of what it is the gradient of, memory is one block of samples for each neuron.

    Parameters
    ----------
    encoder, decoder : SparseLayer
        From inputs to hidden units, and back.
    batch_size : int
        Samples at a time, at most; see :func:`~sparsetheory.numba_kernels.sparse_autoencoder.products.block_width`.
    """

    def __init__(self, encoder: SparseLayer, decoder: SparseLayer, batch_size: int) -> None:
        self.encoder, self.decoder = encoder, decoder
        (n_hidden, n_features), dtype = encoder.shape, encoder.values.dtype
        self.width = block_width(batch_size, max(n_hidden, n_features), dtype.itemsize)
        self._noisy, self._clean, self._error = (_aligned(n_features, self.width, dtype) for _ in range(3))
        self._hidden, self._back = (_aligned(n_hidden, self.width, dtype) for _ in range(2))
        self._ones = np.ones(self.width, dtype=dtype)
        self.of_encoder, self.of_decoder = np.zeros_like(encoder.values), np.zeros_like(decoder.values)
        self.of_encoder_bias, self.of_decoder_bias = np.zeros_like(encoder.bias), np.zeros_like(decoder.bias)

    def add(self, X: FloatArray, noisy: FloatArray, rows: Int64Array, active: BoolArray | None) -> float:
        """Add the gradients of half the squared error of some samples.

        Parameters
        ----------
        X, noisy : ndarray of shape (n_samples, n_features)
            What the network shall return, and what it sees; contiguous.
        rows : ndarray of int64
            The samples.
        active : ndarray of bool of shape (n_hidden, len(rows)), optional
            Which hidden units are not silent.

        Returns
        -------
        float
            Sum of the squared errors.
        """
        total = 0.0
        for start in range(0, rows.size, self.width):
            block = rows[start : start + self.width]
            total += self._add_block(X, noisy, block, None if active is None else active[:, start : start + block.size])
        return total

    def _add_block(self, X: FloatArray, noisy: FloatArray, rows: Int64Array, active: BoolArray | None) -> float:
        """Go forward and back with a block of samples, the columns of all activations.

        With inputs x~, hidden units ``h = s * sigmoid(W1 x~ + b1)``, silent where s = 0, and outputs
        ``y = W2 h + b2``, the error is ``d = y - x`` and that of hidden units ``e = (W2' d) * h * (1 - h)``: where a
        unit is silent h is zero, and so is e. The gradients are ``d h'`` and ``e x~'`` at the connections.
        """
        n, n_features = self.width, X.shape[1]
        first = self.encoder.indptr, self.encoder.indices
        second = self.decoder.indptr, self.decoder.indices
        x, y, d, h, e = (part.reshape(-1) for part in (self._noisy, self._clean, self._error, self._hidden, self._back))
        gather_columns(noisy.reshape(-1), n_features, rows, n, x)
        gather_columns(X.reshape(-1), n_features, rows, n, y)
        multiply(*first, self.encoder.values, self.encoder.bias, x, n, h)
        _activate(h)
        if active is not None:
            self._hidden[:, : rows.size] *= active
        multiply(*second, self.decoder.values, self.decoder.bias, h, n, d)
        d -= y
        # Columns that fill up the block have no error, so whatever is in them adds nothing to any gradient.
        self._error[:, rows.size :] = 0
        add_sampled_products(*second, d, h, n, self.of_decoder)
        self.of_decoder_bias += self._error @ self._ones
        e[:] = 0
        multiply_transposed(*second, self.decoder.values, d, n, e)
        e *= h
        h -= 1
        e *= h
        # The product is that with h - 1.
        np.negative(e, out=e)
        add_sampled_products(*first, e, x, n, self.of_encoder)
        self.of_encoder_bias += self._back @ self._ones
        return float(d @ d)

    def step(self, n_samples: int, steps: Steps) -> None:
        """Move weights and biases by the mean gradient of a batch, and forget the gradients."""
        rates = steps.learning_rate / n_samples, steps.momentum, steps.weight_decay
        rate, momentum, decay = (self.of_encoder.dtype.type(value) for value in rates)
        for layer, weights, bias in (
            (self.encoder, self.of_encoder, self.of_encoder_bias),
            (self.decoder, self.of_decoder, self.of_decoder_bias),
        ):
            momentum_step(layer.values, layer.velocity, weights, rate, momentum, decay)
            momentum_step(layer.bias, layer.bias_velocity, bias, rate, momentum, decay)


def draw_active(rng: np.random.Generator, shape: tuple[int, int], dropout: float) -> BoolArray:
    """Draw which hidden units are not silent; the share of those that are is right within 1e-5.

    Sixteen bits for each, which is three fifths of the time that a number in single precision takes. Drawing takes a
    fifth of an epoch.
    """
    return np.asarray(rng.integers(_LEVELS, size=shape, dtype=np.uint16) >= np.uint16(dropout * _LEVELS))


def train_epoch(
    encoder: SparseLayer,
    decoder: SparseLayer,
    X: FloatArray,
    noisy: FloatArray,
    steps: Steps,
    rng: np.random.Generator,
) -> float:
    """Train both layers in place on all samples once, in a new order; the last batch takes what is left.

    Parameters
    ----------
    encoder, decoder : SparseLayer
        Of the precision of the data.
    X, noisy : ndarray of shape (n_samples, n_features)
        What the network shall return, and what it sees; contiguous.
    steps : Steps
    rng : Generator

    Returns
    -------
    float
        Mean of the squared errors, of all samples and features, in the course of the epoch.

    Notes
    -----
    ``4 (nnz of the encoder) + 6 (nnz of the decoder)`` operations for each sample, and one drawn number for each hidden
    unit and sample.
    """
    order = rng.permutation(len(X))
    gradients = Gradients(encoder, decoder, min(steps.batch_size, len(X)))
    total = 0.0
    for start in range(0, len(X), steps.batch_size):
        rows = order[start : start + steps.batch_size]
        active = None
        if steps.dropout > 0:
            active = draw_active(rng, (encoder.shape[0], rows.size), steps.dropout)
        total += gradients.add(X, noisy, rows, active)
        gradients.step(rows.size, steps)
    return total / X.size
