"""Products that skip rows: equal to the dense ones, rows left unread, and when they are dense after all."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from sparsetheory.gpu.activations import (
    FATReLU,
    SkippingGatedFFN,
    gated_product,
    measure_crossing,
    skipping_product,
)
from sparsetheory.gpu.activations import skipping as module
from sparsetheory.gpu.core.models import GatedFFN
from sparsetheory.numba_kernels.activations import row_skipping

# Sums of up to 100 products of order 1, in another order.
CLOSE = {torch.float32: 2e-4, torch.float64: 1e-12}


def _sparse(*shape, share, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    return x.masked_fill(torch.rand(shape, generator=generator) >= share, 0)


@pytest.fixture
def kernels(monkeypatch):
    """Count the products that kernels have formed."""
    formed = []
    for name in ("multiply_active", "multiply_gated"):
        kernel = getattr(row_skipping, name)

        def counted(*args, kernel=kernel):
            done = kernel(*args)
            formed.append(done)
            return done

        monkeypatch.setattr(module, name, counted)
    return formed


@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 64), (100, 33), (20, 5000)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_products_are_the_dense_ones(kernels, dtype, shape, share):
    table = _sparse(*shape, share=1.0, dtype=dtype, seed=1)
    for lead in ((), (1,), (2, 3)):
        # One of a batch is compared with the smaller crossing of a batch.
        x = _sparse(*lead, shape[0], share=share, dtype=dtype)
        y = skipping_product(x, table, crossing=1.0)
        assert y.shape == (*lead, shape[1])
        assert y.dtype == dtype
        assert torch.allclose(y, x @ table, rtol=0.0, atol=CLOSE[dtype])
    assert kernels[:2] == [True, True]


@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize(("width", "hidden"), [(1, 1), (5, 7), (33, 50), (64, 96)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_gated_products_are_the_dense_ones(kernels, dtype, width, hidden, share):
    up, down = (_sparse(hidden, width, share=1.0, dtype=dtype, seed=seed) for seed in (1, 2))
    for lead in ((), (3,)):
        x, gates = (
            _sparse(*lead, n, share=a, dtype=dtype, seed=s) for n, a, s in ((width, 1.0, 3), (hidden, share, 4))
        )
        before = gates.clone()
        y = gated_product(gates, x, up, down, crossing=1.0)
        expected = (gates * (x @ up.T)) @ down
        assert torch.allclose(y, expected, rtol=0.0, atol=20 * CLOSE[dtype])
        assert torch.equal(gates, before)
    assert kernels[0]


def test_rows_of_zeros_are_not_read():
    x = torch.tensor([[0.0, 2.0, -0.0], [0.0, 0.0, 1.0]])
    table = torch.tensor([[torch.nan, torch.inf], [1.0, 2.0], [3.0, 4.0]])
    assert skipping_product(x, table, crossing=1.0).tolist() == [[2.0, 4.0], [3.0, 4.0]]
    assert skipping_product(x, table, crossing=0.0).isnan().any()


def test_nan_is_active():
    assert skipping_product(torch.tensor([torch.nan, 0.0]), torch.ones(2, 3), crossing=1.0).isnan().all()


def test_the_crossing_decides(kernels):
    table, x = torch.ones(10, 4), torch.zeros(10)
    x[:5] = 1
    skipping_product(x, table, crossing=0.5)
    skipping_product(x, table, crossing=0.49)
    # Of four tokens half the share may be active.
    skipping_product(x.expand(4, 10), table, crossing=0.9)
    skipping_product(x.expand(4, 10), table, crossing=1.0)
    assert kernels == [True, False, False, True]


def test_the_default_does_not_skip_in_small_matrices(kernels):
    x = torch.zeros(1024)
    skipping_product(x, torch.ones(1024, 511))
    skipping_product(x, torch.ones(1024, 512))
    assert kernels == [False, True]


def test_gradients_other_types_and_orders_are_dense(kernels):
    table, x = torch.randn(6, 4), _sparse(6, share=0.3, dtype=torch.float32)
    wanting = x.clone().requires_grad_()
    skipping_product(wanting, table, crossing=1.0).sum().backward()
    assert torch.allclose(wanting.grad, table.sum(1))
    assert skipping_product(x.half(), table.half(), crossing=1.0).dtype == torch.float16
    assert skipping_product(x.bfloat16(), table.bfloat16(), crossing=1.0).dtype == torch.bfloat16
    skipping_product(x, torch.randn(4, 6).T, crossing=1.0)
    rows = torch.func.vmap(lambda row: skipping_product(row, table, crossing=1.0))(x.expand(3, 6))
    assert torch.allclose(rows, (x @ table).expand(3, 4))
    assert not kernels
    with torch.no_grad():
        skipping_product(wanting, table, crossing=1.0)
    assert kernels == [True]


def test_without_tokens_or_features():
    assert skipping_product(torch.ones(0, 3), torch.ones(3, 2), crossing=1.0).shape == (0, 2)
    assert skipping_product(torch.ones(2, 0), torch.ones(0, 2), crossing=1.0).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_inputs_out_of_order_are_copied(kernels):
    x, table = _sparse(6, 3, share=0.5).T, _sparse(6, 4, share=1.0, seed=1)
    assert torch.allclose(skipping_product(x, table, crossing=1.0), x @ table, rtol=0.0, atol=1e-12)
    assert kernels == [True]


def test_a_network_skips_what_its_gates_drop(device):
    dense = GatedFFN(16, 40, activation="relu").to(device)
    x = torch.randn(5, 16, device=device)
    for crossing in (0.0, 1.0, None):
        assert torch.allclose(SkippingGatedFFN.from_dense(dense, crossing=crossing)(x), dense(x), atol=1e-5)
    dense.activation = FATReLU(0.3)
    assert torch.allclose(SkippingGatedFFN.from_dense(dense, crossing=1.0)(x), dense(x), atol=1e-5)


def test_the_network_of_llama():
    transformers = pytest.importorskip("transformers")
    from transformers.models.llama.modeling_llama import LlamaMLP

    sizes = {"hidden_size": 8, "intermediate_size": 24, "num_attention_heads": 2}
    dense = LlamaMLP(transformers.LlamaConfig(**sizes, hidden_act="relu"))
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        assert torch.allclose(SkippingGatedFFN.from_dense(dense, crossing=1.0)(x), dense(x), atol=1e-5)


def test_wrong_networks_are_named():
    with pytest.raises(ValueError, match="network must have layers gate, up and down without biases"):
        SkippingGatedFFN.from_dense(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"gate, up and down must have shapes .*; got \(3, 2\), \(3, 2\), \(3, 2\)"):
        SkippingGatedFFN(*[torch.ones(3, 2)] * 3, nn.ReLU())
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or torch\.float64"):
        measure_crossing(8, 8, dtype=torch.float16)


def test_the_crossing_is_measured_once():
    first = measure_crossing(512, 256, repeats=3)
    assert 0.0 <= first <= 1.0
    assert measure_crossing(512, 256, repeats=3) == first


@pytest.mark.parametrize(
    ("gates", "x", "up", "down"),
    [
        ((8,), (20,), (8, 10), (8, 10)),
        ((2,), (3, 4), (2, 4), (2, 4)),
        ((3, 2), (4,), (2, 4), (2, 4)),
        ((5,), (4,), (6, 4), (6, 4)),
        ((6,), (4,), (6, 4), (5, 4)),
        ((), (4,), (6, 4), (6, 4)),
    ],
)
def test_shapes_that_do_not_fit_are_named_before_memory_is_read(gates, x, up, down):
    with pytest.raises(ValueError, match="gates, x, up and down must have shapes"):
        gated_product(*(torch.ones(shape) for shape in (gates, x, up, down)), crossing=1.0)


def test_under_autocast_the_type_is_that_of_the_dense_product(kernels):
    x, table = _sparse(6, share=0.5, dtype=torch.float32), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert skipping_product(x, table, crossing=1.0).dtype == (x @ table).dtype == torch.bfloat16
    assert not kernels


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_forward_derivatives_are_not_lost():
    x, table = _sparse(6, share=0.5), _sparse(6, 4, share=1.0, seed=1)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangent = forward_ad.unpack_dual(skipping_product(dual, table, crossing=1.0)).tangent
    assert torch.allclose(tangent, table.sum(0), rtol=0.0, atol=1e-12)


def test_gates_are_left_as_they_are(kernels):
    gates, x = _sparse(2, 6, share=0.5), _sparse(2, 4, share=1.0)
    before = gates.clone()
    gated_product(gates, x, torch.ones(6, 4).double(), torch.ones(6, 4).double(), crossing=1.0)
    assert torch.equal(gates, before)


def test_strips_longer_than_the_cache_keep_their_borders():
    n_out = 3 * row_skipping._STRIP_BYTES // 8 + 5
    table = np.arange(9.0 * n_out).reshape(9, n_out)
    x = torch.arange(1.0, 10.0, dtype=torch.float64)
    assert np.array_equal(skipping_product(x, torch.from_numpy(table), crossing=1.0).numpy(), x.numpy() @ table)
