"""Claims about sparse products: what they are equal to, and up to which rounding."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import kernels
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import FloatArray

_SEEDS = st.integers(0, 2**32 - 1)
# Unit roundoff of single precision.
_UNIT = 2.0**-24
_PAPER = "Elsen, Dukhan, Gale, Simonyan (2020), Fast Sparse ConvNets"


@dataclass(frozen=True, eq=False)
class Product:
    """Sparse weights in single precision, channels as rows, a bias, and bounds of the result."""

    W: FloatArray
    X: FloatArray
    bias: FloatArray
    lower: float = -np.inf
    upper: float = np.inf

    def sparse(self, block: int = 1, reverse: bool = False) -> FloatArray:
        """Return the result of a kernel; `reverse` turns the rows of each block round."""
        rows = kernels.pack_rows(tensor(self.W), block=block)
        indptr, indices, values = array(rows.indptr), array(rows.indices), array(rows.values)
        if reverse:
            inside = 4 * int(indptr[rows.n_blocks])
            values = np.concatenate([values[:inside].reshape(-1, 4)[:, ::-1].ravel(), values[inside:]])
        product = kernels.spmm_block4 if block == 4 else kernels.spmm_chw
        return product(indptr, indices, values, self.X, self.bias, lower=self.lower, upper=self.upper).astype(float)

    def dense(self) -> FloatArray:
        """Return the clamped dense result, in double precision."""
        return np.clip(self.unclamped(), self.lower, self.upper)

    def unclamped(self) -> FloatArray:
        """Return the dense result."""
        return self.W.astype(float) @ self.X.astype(float) + self.bias.astype(float)[:, None]

    def rounding(self) -> FloatArray:
        """Return what the sum of each entry may round by: its terms, times one unit for each operation on them.

        A sum of n products and a bias, in any order and with or without fused operations, errs by at most
        ``(n + 1) u / (1 - (n + 1) u)`` times the sum of the absolute values. The clamp brings numbers no further apart.
        """
        n = (self.W != 0).sum(1, keepdims=True) + 1
        scale = np.abs(self.W.astype(float)) @ np.abs(self.X.astype(float)) + np.abs(self.bias.astype(float))[:, None]
        return n * _UNIT / (1 - n * _UNIT) * scale


def _draw(rng: np.random.Generator, columns: float, m: int = 11, n: int = 70, density: float = 0.3) -> Product:
    k = int(columns)
    W = rng.standard_normal((m, k)) * 10.0 ** rng.uniform(-2, 2, (m, 1)) * (rng.random((m, k)) < density)
    X, bias = rng.standard_normal((k, n)), rng.standard_normal(m)
    lower, upper = rng.choice([-np.inf, -1.0, 0.0]), rng.choice([0.5, 6.0, np.inf])
    return Product(W.astype(np.float32), X.astype(np.float32), bias.astype(np.float32), float(lower), float(upper))


@st.composite
def _products(draw: st.DrawFn) -> Product:
    rng = np.random.default_rng(draw(_SEEDS))
    columns, m, n = draw(st.integers(1, 40)), draw(st.integers(1, 13)), draw(st.integers(1, 100))
    return _draw(rng, columns, m, n, draw(st.sampled_from([0.0, 0.1, 0.4, 1.0])))


def _to_dense(p: Product) -> Measurement:
    """Compare the worst entry with what its terms may round to."""
    return Measurement.worst(np.abs(p.sparse() - p.dense()), p.rounding(), scale=1.0)


def _relative_to_the_result(p: Product) -> Measurement:
    """Allow a relative error of each entry, as if no terms cancelled."""
    error, n = np.abs(p.sparse() - p.dense()), (p.W != 0).sum(1, keepdims=True) + 1
    return Measurement.worst(error, n * _UNIT / (1 - n * _UNIT) * np.abs(p.dense()), scale=1.0)


_COLUMNS = Sweep(
    axis="columns of the matrix",
    values=(4, 16, 64, 256, 1024),
    draw=_draw,
    trials=20,
    quick_trials=3,
    log="xy",
    measured_label="worst error of an entry",
    bound_label="what its terms may round to",
    y_label="difference",
)

dense_product = Claim(
    name="sparse_kernels.dense_product",
    summary="Every entry of the sparse product is that of the dense one, up to the rounding of the terms of its sum.",
    statement=r"|\widehat{y}_{ip} - y_{ip}| \le \gamma_{n_i + 1} \big((|W| |X|)_{ip} + |b_i|\big),"
    r" \quad \gamma_n = \frac{n u}{1 - n u}",
    source=Source.classic("Higham (2002), Accuracy and Stability of Numerical Algorithms", "inner products, 3.1"),
    verdict=Always(rtol=0.0),
    instances=_products,
    evaluate=_to_dense,
    near_miss=_relative_to_the_result,
    sweep=_COLUMNS,
)


def _blocks(p: Product, reverse: bool = False) -> Measurement:
    """Compare both kernels; each has its own rounding."""
    return Measurement.worst(np.abs(p.sparse(4, reverse) - p.sparse()), 2 * p.rounding(), scale=1.0)


block_rows = Claim(
    name="sparse_kernels.block_rows",
    summary="Four rows at a time give what each row gives by itself, whatever the number of rows.",
    statement=r"|\widehat{y}^{(4)}_{ip} - \widehat{y}^{(1)}_{ip}|"
    r" \le 2 \gamma_{n_i + 1} \big((|W| |X|)_{ip} + |b_i|\big)",
    source=Source(_PAPER, "kernels for blocks of output channels", "1911.09723"),
    verdict=Always(rtol=0.0),
    instances=_products,
    evaluate=_blocks,
    near_miss=lambda p: _blocks(p, reverse=True),
    sweep=_COLUMNS,
)


def _empty(p: Product) -> Measurement:
    """Compare rows without weights, of both kernels, with the clamped bias."""
    empty = replace(p, W=np.where(np.arange(len(p.W))[:, None] % 3 == 0, 0, p.W))
    expected = np.clip(p.bias[::3].astype(float), p.lower, p.upper)[:, None]
    errors = [np.abs(empty.sparse(block)[::3] - expected).max() for block in (1, 4)]
    return Measurement(float(max(errors)), 0.0, scale=1.0)


def _clamp_forgotten(p: Product) -> Measurement:
    """Expect the bias itself."""
    result = replace(p, W=np.zeros_like(p.W)).sparse()
    return Measurement(float(np.abs(result - p.bias.astype(float)[:, None]).max()), 0.0, scale=1.0)


empty_rows = Claim(
    name="sparse_kernels.empty_rows",
    summary="A row without weights gives its clamped bias at every position, exactly.",
    statement=r"W_{i\cdot} = 0 \implies \widehat{y}_{ip} = \min(\max(b_i, l), u)",
    source=Source(_PAPER, "sums begin with the bias and end with the clamp", "1911.09723"),
    verdict=Always(rtol=0.0),
    instances=_products,
    evaluate=_empty,
    near_miss=_clamp_forgotten,
)


def _order(p: Product) -> np.ndarray:
    return np.random.default_rng(p.W.size).permutation(p.W.shape[1])


def _permuted(p: Product) -> Measurement:
    """Permute the columns of the matrix and the channels alike."""
    order = _order(p)
    other = replace(p, W=p.W[:, order], X=p.X[order])
    return Measurement.worst(np.abs(other.sparse() - p.sparse()), 2 * p.rounding(), scale=1.0)


def _permuted_back(p: Product) -> Measurement:
    """Permute the channels by the inverse permutation."""
    order = _order(p)
    other = replace(p, W=p.W[:, order], X=p.X[np.argsort(order)])
    return Measurement.worst(np.abs(other.sparse() - p.sparse()), 2 * p.rounding(), scale=1.0)


permuted_channels = Claim(
    name="sparse_kernels.permuted_channels",
    summary="The order of the channels does not matter, if columns and channels are in the same one.",
    statement=r"(W P^{\mathsf T})(P X) = W X",
    source=Source.classic("linear algebra", "permutation matrices are orthogonal"),
    verdict=Always(rtol=0.0),
    instances=_products,
    evaluate=_permuted,
    near_miss=_permuted_back,
)


def _parts(p: Product) -> tuple[Product, Product, Product]:
    """Return a product without bounds, and two whose weights sum to its."""
    rng = np.random.default_rng(p.W.size)
    first, none = rng.random(p.W.shape) < 0.5, np.zeros_like(p.bias)
    whole = replace(p, lower=-np.inf, upper=np.inf)
    return whole, replace(whole, W=p.W * first), replace(whole, W=p.W * ~first, bias=none)


def _linear(p: Product) -> Measurement:
    """Add the products with two parts of the weights; the bias belongs to one of them."""
    whole, first, second = _parts(p)
    error = np.abs(first.sparse() + second.sparse() - whole.sparse())
    return Measurement.worst(error, 2 * whole.rounding(), scale=1.0)


def _bias_twice(p: Product) -> Measurement:
    """Give both parts the bias."""
    whole, first, second = _parts(p)
    error = np.abs(first.sparse() + replace(second, bias=p.bias).sparse() - whole.sparse())
    return Measurement.worst(error, 2 * whole.rounding(), scale=1.0)


linear_in_weights = Claim(
    name="sparse_kernels.linear_in_weights",
    summary="Products with two parts of the weights sum to the product with all of them.",
    statement=r"(W_1 + W_2) X + b = (W_1 X + b) + W_2 X",
    source=Source.classic("linear algebra", "distributive law"),
    verdict=Always(rtol=0.0),
    instances=_products,
    evaluate=_linear,
    near_miss=_bias_twice,
)
