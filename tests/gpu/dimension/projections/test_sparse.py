"""Sparse projections: where their entries are, what is there, and how they are packed."""

import pytest
import torch

from sparsetheory.gpu.dimension import DenseProjection, SparseProjection
from sparsetheory.gpu.dimension.projections.sign_entries import _taken, draw_entries
from sparsetheory.gpu.dimension.projections.sparse import _MOST_COLUMNS
from sparsetheory.numba_kernels.projections.signs import BAND_BITS

SIZES = [5000, 4096, 1, 4097, 30]


def by_hand(sizes, d, seed):
    """The matrix whose entries are drawn, divided by the lengths of its columns."""
    rows, columns, negative = draw_entries(sizes, d, torch.Generator().manual_seed(seed))
    rates = torch.cat([torch.full((n,), n**-0.5, dtype=torch.float64) for n in sizes])
    matrix = torch.zeros(sum(sizes), d, dtype=torch.float64)
    matrix[rows, columns] = (1 - 2 * negative) / rates[rows].sqrt()
    return matrix / matrix.norm(dim=0)


@pytest.mark.parametrize("sizes", [SIZES, [1], [2, 1, 1], [9000], [3] * 40])
def test_it_is_the_matrix_of_its_entries(sizes):
    d, D = min(6, sum(sizes)), sum(sizes)
    P = SparseProjection(d, D, sizes=sizes, generator=1, dtype=torch.float64)
    matrix = by_hand(sizes, d, 1)
    torch.testing.assert_close(P.to_dense(), matrix)
    assert P.nnz == int(matrix.count_nonzero())
    g = torch.randn(3, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(P.adjoint(g), g @ matrix)


def test_the_form_for_devices_is_the_kernel(monkeypatch):
    given = {"sizes": SIZES, "dtype": torch.float64}
    packed = SparseProjection(50, sum(SIZES), **given)
    # So many columns that their number does not fit beside a row and a sign.
    monkeypatch.setattr("sparsetheory.gpu.dimension.projections.sparse._MOST_COLUMNS", 1)
    wide = SparseProjection(50, sum(SIZES), **given)
    assert packed.codes.dtype == torch.int32
    assert wide.codes.dtype == torch.int64
    generator = torch.Generator().manual_seed(0)
    t = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    g = torch.randn(2, sum(SIZES), dtype=torch.float64, generator=generator)
    torch.testing.assert_close(wide.apply(t), packed.apply(t))
    torch.testing.assert_close(wide.adjoint(g), packed.adjoint(g))


def test_places_are_taken_at_the_rate_of_their_tensor():
    d = 400
    P = SparseProjection(d, sum(SIZES), sizes=SIZES, dtype=torch.float64)
    matrix, first = P.to_dense(), 0
    for n in SIZES:
        part = matrix[first : first + n]
        expected, deviation = n**0.5 * d, (n**0.5 * (1 - n**-0.5) * d) ** 0.5
        assert abs(int(part.count_nonzero()) - expected) <= 5 * deviation
        assert abs(float(part.sign().sum())) <= 5 * expected**0.5
        first += n
    # In a column, entries of a tensor are as large as the fourth root of its size tells.
    large, small = (matrix[a:b].abs().amax(dim=0) for a, b in ((0, 5000), (9096, 9097)))
    torch.testing.assert_close(large / small, torch.full((d,), 5000**0.25, dtype=torch.float64))


def test_an_entry_fits_into_31_bits():
    # Its row in a band, its sign, and its column.
    assert 2 * _MOST_COLUMNS << BAND_BITS == 2**31


@pytest.mark.parametrize("spare", [6, -20])
def test_gaps_are_drawn_in_as_many_rounds_as_needed(spare, monkeypatch):
    monkeypatch.setattr("sparsetheory.gpu.dimension.projections.sign_entries._SPARE", spare)
    n, rate = 40_000, 0.01
    counts = torch.zeros(n)
    for seed in range(50):
        places = _taken(n, rate, torch.Generator().manual_seed(seed))
        assert bool((places.diff() > 0).all())
        assert int(places[0]) >= 0
        assert int(places[-1]) < n
        counts[places] += 1
    # Each hundredth of the range gets its share of the 20 000 places.
    shares = counts.view(100, -1).sum(dim=1)
    assert float((shares - 200).abs().max()) < 5.5 * (200 * 0.99) ** 0.5
    assert abs(float(shares.sum()) - 20_000) < 5 * (20_000 * 0.99) ** 0.5


@pytest.mark.parametrize("spare", [6, -1000])
def test_the_first_place_may_be_taken_and_the_last(spare, monkeypatch):
    # With so few spare gaps they are drawn one by one, and a round may end anywhere.
    monkeypatch.setattr("sparsetheory.gpu.dimension.projections.sign_entries._SPARE", spare)
    found = [_taken(4, 0.5, torch.Generator().manual_seed(seed)).tolist() for seed in range(400)]
    taken = torch.tensor([[place in places for place in range(4)] for places in found]).double().mean(dim=0)
    assert float((taken - 0.5).abs().max()) < 5 * 0.5 / 20


def test_empty_columns_are_drawn_again():
    empty = 0
    for seed in range(60):
        places = _taken(16 * 16, 0.25, torch.Generator().manual_seed(seed)) % 16
        empty += int((torch.bincount(places, minlength=16) == 0).sum())
        norms = SparseProjection(16, 16, generator=seed).column_norms()
        torch.testing.assert_close(norms, torch.ones(16))
    assert empty > 0  # by chance alone: one column in a hundred


def test_columns_that_are_drawn_again_keep_the_rates_of_their_tensors(monkeypatch):
    monkeypatch.setattr(
        "sparsetheory.gpu.dimension.projections.sign_entries._taken", lambda *_: torch.empty(0, dtype=torch.int64)
    )
    sizes, d = [4, 10_000], 400
    rows, columns, _ = draw_entries(sizes, d, torch.Generator().manual_seed(0))
    assert bool((rows.diff() >= 0).all())
    assert len(torch.unique(columns)) == d
    for found, n in ((int((rows < 4).sum()), 4), (int((rows >= 4).sum()), 10_000)):
        assert abs(found - d * n**0.5) <= 5 * (d * n**0.5) ** 0.5


def test_one_probability_for_all_is_the_default():
    whole = SparseProjection(5, 4810, generator=2).to_dense()
    assert torch.equal(SparseProjection(5, 4810, sizes=[4810], generator=2).to_dense(), whole)
    parts = SparseProjection(5, 4810, sizes=[4096, 64, 640, 10], generator=2).to_dense()
    assert not torch.equal(parts, whole)
    # A tensor of 10 entries has many more of them taken than its share of all.
    assert int(parts[-10:].count_nonzero()) > 4 * max(1, int(whole[-10:].count_nonzero()))


@pytest.mark.parametrize("sizes", [[10, 9], [], [20, 0], [10.0, 10], [-1, 21]])
def test_sizes_must_sum_to_the_features(sizes):
    with pytest.raises(ValueError, match="sizes must"):
        SparseProjection(2, 20, sizes=sizes)


def test_a_state_with_lost_entries_is_an_error():
    P = SparseProjection(5, 100)
    state = P.state_dict()
    with pytest.raises(ValueError, match="codes of state must have"):
        P.load_state_dict({**state, "codes": state["codes"][1:]})


def test_a_state_of_other_sizes_or_columns_is_an_error():
    state = SparseProjection(5, 110, sizes=[100, 10]).state_dict()
    with pytest.raises(ValueError, match=r"codes of state must be those of 5 columns and sizes \(10, 100\)"):
        SparseProjection(5, 110, sizes=[10, 100]).load_state_dict(state)
    with pytest.raises(ValueError, match="codes of state must be those of 4 columns"):
        SparseProjection(4, 110, sizes=[100, 10]).load_state_dict({**state, "factors": state["factors"][:4]})
    ends = torch.stack((state["ends"][1] + 1, state["ends"][1]))
    with pytest.raises(ValueError, match="ends of state must not decrease"):
        SparseProjection(5, 110, sizes=[100, 10]).load_state_dict({**state, "ends": ends})
    whole = SparseProjection(5, 100)
    codes = whole.codes.clone()
    codes[0] += 100 - int(codes[0]) % 4096  # one row too far
    with pytest.raises(ValueError, match="codes of state must be those of 5 columns"):
        whole.load_state_dict({**whole.state_dict(), "codes": codes})
    # All places are there in these sizes, too; only what their entries are worth is another.
    state = SparseProjection(20, 110, sizes=[109, 1]).state_dict()
    state = {**state, "codes": state["codes"][state["codes"] % 4096 < 50]}
    state["ends"] = torch.tensor([len(state["codes"]), len(state["codes"])])
    with pytest.raises(ValueError, match="factors of state must make columns of length 1"):
        SparseProjection(20, 110, sizes=[50, 60]).load_state_dict(state)


def test_variance_matches_that_of_the_dense_kind():
    # Both have columns of length one: the mean square of an entry is 1 / D.
    t = torch.randn(200, 30, generator=torch.Generator().manual_seed(0))
    for kind in (DenseProjection, SparseProjection):
        squares = kind(30, 2000).apply(t).square().sum(dim=1) / t.square().sum(dim=1)
        assert abs(float(squares.mean()) - 1) < 0.05
