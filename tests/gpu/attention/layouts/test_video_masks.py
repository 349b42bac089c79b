import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian import kron_matvec
from sparsetheory.gpu.attention import (
    BandProduct,
    Layout,
    diagonal,
    masked_attention,
    multi_diagonal,
    self_frame,
    stripe,
)

LAYOUTS = st.builds(Layout, st.integers(1, 5), st.integers(1, 6), st.integers(0, 7))
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _with_text(layout, video):
    """The mask of all tokens by its words: text sees and is seen by all."""
    wanted = np.ones((layout.n, layout.n), dtype=bool)
    wanted[layout.text :, layout.text :] = video
    return wanted


@given(LAYOUTS, st.integers(0, 40))
def test_diagonal_is_the_window_of_tokens(layout, w):
    index = np.arange(layout.n_video)
    wanted = abs(index[:, None] - index) <= w
    mask = diagonal(layout, w)
    assert np.array_equal(mask.element_mask().numpy(), _with_text(layout, wanted))
    assert wanted.sum() == BandProduct([(layout.n_video, w)]).count()


@given(LAYOUTS, st.integers(0, 12), st.data())
def test_blocks_of_a_diagonal_are_those_that_meet_the_window(layout, w, data):
    size = data.draw(st.sampled_from([b for b in range(1, layout.n_video + 1) if layout.n_video % b == 0]))
    index = np.arange(layout.n_video)
    met = (abs(index[:, None] - index) <= w).reshape(layout.n_video // size, size, -1, size).any((1, 3))
    wanted = np.kron(met, np.ones((size, size), dtype=bool))
    assert np.array_equal(diagonal(layout, w, block=size).element_mask().numpy(), _with_text(layout, wanted))


@given(LAYOUTS, st.integers(0, 8))
def test_multi_diagonal_is_a_kronecker_product_of_all_frames_and_a_band_of_places(layout, w):
    place = np.arange(layout.n_video) % layout.places
    wanted = abs(place[:, None] - place) <= w
    mask = multi_diagonal(layout, w)
    assert np.array_equal(mask.element_mask().numpy(), _with_text(layout, wanted))
    product = BandProduct([(layout.frames, layout.frames - 1), (layout.places, w)])
    assert np.array_equal(product.dense().numpy(), wanted)
    assert product.count() == wanted.sum()


@given(LAYOUTS)
def test_self_frame_is_a_kronecker_product_of_an_identity_and_ones(layout):
    frame = np.arange(layout.n_video) // layout.places
    wanted = frame[:, None] == frame
    assert np.array_equal(self_frame(layout).element_mask().numpy(), _with_text(layout, wanted))
    product = BandProduct([(layout.frames, 0), (layout.places, layout.places - 1)])
    assert np.array_equal(product.dense().numpy(), wanted)


@given(LAYOUTS, st.data())
def test_a_stripe_is_a_few_columns(layout, data):
    columns = data.draw(st.lists(st.integers(0, layout.n_video - 1), unique=True, min_size=int(layout.text == 0)))
    wanted = np.zeros((layout.n_video, layout.n_video), dtype=bool)
    wanted[:, columns] = True
    mask = stripe(layout, columns)
    assert np.array_equal(mask.element_mask().numpy(), _with_text(layout, wanted))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=3), st.integers(1, 3))
def test_a_product_of_bands_acts_as_the_classical_kronecker_operator(factors, columns):
    product = BandProduct(factors)
    x = np.arange(product.n * columns).reshape(product.n, columns)
    dense = [np.array([[float(abs(i - j) <= w) for j in range(n)] for i in range(n)]) for n, w in factors]
    assert np.array_equal((product @ torch.from_numpy(x)).numpy(), kron_matvec(dense, x.astype(float)))


@given(LAYOUTS)
def test_sparsity_falls_with_the_width(layout):
    for pattern in (diagonal, multi_diagonal):
        densities = [pattern(layout, w).density() for w in range(layout.n_video)]
        assert densities == sorted(densities)
        assert densities[-1] == 1.0


@pytest.mark.parametrize("device", DEVICES)
@given(LAYOUTS, st.integers(0, 3))
def test_attention_place_after_place_is_the_same_attention(device, layout, w):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    q, k, v = torch.randn(3, 2, layout.n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    frames_first = masked_attention(q, k, v, multi_diagonal(layout, w).to(device))
    moved = [layout.to_place_major(x) for x in (q, k, v)]
    # A window over places whose blocks are the frames, in a film of as many frames as there are places.
    index = torch.arange(layout.n_video, device=device) // layout.frames
    kept = torch.ones(layout.n, layout.n, dtype=torch.bool, device=device)
    kept[layout.text :, layout.text :] = (index[:, None] - index).abs() <= w
    places_first = torch.nn.functional.scaled_dot_product_attention(*moved, attn_mask=kept)
    torch.testing.assert_close(layout.to_frame_major(places_first), frames_first)


def test_numbers_of_pairs_at_the_size_of_the_experiment():
    layout = Layout(frames=6, places=49)
    kept = [diagonal(layout, 9), multi_diagonal(layout, 4), stripe(layout, range(5)), diagonal(layout, 4)]
    assert [round(1 - mask.density(), 3) for mask in kept] == [0.936, 0.825, 0.983, 0.97]


def test_a_product_of_bands_stores_no_matrix():
    product = BandProduct([(11, 10), (4080, 100)])
    assert product.count() == 11**2 * (4080 * 201 - 100 * 101)
    ones = product @ torch.ones(product.n, dtype=torch.float64)
    assert int(ones.sum()) == product.count()


def test_bad_arguments_are_named():
    layout = Layout(2, 3, text=4)
    with pytest.raises(ValueError, match=r"n must be text \+ frames \* places = 4 \+ 2 \* 3 = 10; got 9"):
        layout.to_place_major(torch.zeros(1, 9, 2))
    with pytest.raises(ValueError, match=r"n must be text"):
        layout.to_frame_major(torch.zeros(1, 9, 2))
    with pytest.raises(ValueError, match="frames must be an integer from 1"):
        Layout(0, 3)
    with pytest.raises(ValueError, match="w must be an integer from 0"):
        diagonal(layout, -1)
    with pytest.raises(ValueError, match="w must be an integer from 0"):
        multi_diagonal(layout, 1.5)
    with pytest.raises(ValueError, match="block must divide the 6 tokens of the film; got 4"):
        diagonal(layout, 1, block=4)
    with pytest.raises(ValueError, match="columns must be an integer from 0 to 5; got 6"):
        stripe(layout, [6])
    with pytest.raises(ValueError, match="columns must be different"):
        stripe(layout, [1, 1])
    with pytest.raises(ValueError, match="columns must hold at least one token where there is no text"):
        stripe(Layout(2, 3), [])
    with pytest.raises(ValueError, match="factors must hold at least one band"):
        BandProduct([])
    with pytest.raises(ValueError, match="x must have 6 rows; got 5"):
        BandProduct([(2, 0), (3, 0)]) @ torch.zeros(5)
