"""Supports as bytes: both codes by hand, and what is no code."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.bayesian import decode_support, encode_support


def test_runs_are_written_in_the_code_of_elias():
    mask = torch.zeros(40, dtype=torch.bool)
    mask[5:8] = True
    # Off first; then 5, 3 and 32: 00101, 011, 00000100000. With the first value 20 bits.
    bits = "0" + "00101" + "011" + "00000100000"
    assert encode_support(mask) == bytes([2]) + int(bits.ljust(24, "0"), 2).to_bytes(3, "big")


def test_random_supports_are_written_as_bits():
    mask = torch.rand(31, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    code = encode_support(mask)
    assert code[0] == 1
    assert len(code) == 1 + -(-31 * 7 // 8)
    assert torch.equal(decode_support(code, mask.shape), mask)


@pytest.mark.parametrize("shape", [(1,), (0, 3), (3, 5, 3, 3), (1, 2000)])
@pytest.mark.parametrize("value", [True, False])
def test_constant_masks_and_odd_shapes_come_back(shape, value):
    mask = torch.full(shape, value)
    found = decode_support(encode_support(mask), mask.shape)
    assert found.shape == mask.shape
    assert torch.equal(found, mask)


def test_clustered_supports_take_fewer_bytes_than_scattered_ones_of_equal_density():
    clustered = torch.zeros(100, 64, dtype=torch.bool)
    clustered[:, 20:26] = True
    scattered = clustered.flatten()[torch.randperm(6400, generator=torch.Generator().manual_seed(0))]
    # Runs of 6 and gaps of 58 cost 5 + 11 bits a row.
    assert len(encode_support(clustered)) == pytest.approx(200, abs=5)
    assert len(encode_support(scattered)) > 2 * len(encode_support(clustered))


def test_what_is_no_code_of_this_size_is_refused():
    code = encode_support(torch.ones(1000, dtype=torch.bool))
    for wrong, shape in [(code, (999,)), (code, (2000,)), (b"", (3,)), (bytes([9, 1]), (3,)), (bytes([1, 255]), (9,))]:
        with pytest.raises(ValueError, match="code must be that of a mask"):
            decode_support(wrong, shape)
    with pytest.raises(TypeError, match="mask must hold booleans"):
        encode_support(torch.ones(3))


@pytest.mark.parametrize("end", [-1, -2, None])
def test_codes_of_runs_that_end_early_or_late_are_refused(end):
    mask = torch.zeros(500, dtype=torch.bool)
    mask[5:8] = True
    code = encode_support(mask)
    assert code[0] == 2
    wrong = code + bytes([0]) if end is None else code[:end]
    with pytest.raises(ValueError, match="code must be that of a mask"):
        decode_support(wrong, mask.shape)


def test_codes_with_a_byte_more_are_refused_and_none_is_longer_than_bits():
    rng = np.random.default_rng(1)
    kinds = set()
    for size in range(1, 120):
        mask = torch.from_numpy(rng.random(size) < rng.choice([0.02, 0.2, 0.5]))
        code = encode_support(mask)
        kinds.add(code[0])
        assert len(code) <= 1 + -(-size // 8)
        assert torch.equal(decode_support(code, (size,)), mask)
        with pytest.raises(ValueError, match="code must be that of a mask"):
            decode_support(code + bytes([0]), (size,))
    assert kinds == {1, 2}


def test_a_run_that_is_cut_is_no_shorter_run():
    mask = torch.zeros(508, dtype=torch.bool)
    mask[5:8] = True
    # Runs of 5, 3 and 500 take 26 bits; of the last, 24 bits leave 125.
    with pytest.raises(ValueError, match="code must be that of a mask"):
        decode_support(encode_support(mask)[:-1], (133,))


def test_any_bytes_are_a_mask_or_refused():
    rng = np.random.default_rng(0)
    n_masks = 0
    for _ in range(500):
        size = int(rng.integers(0, 60))
        code = bytes([int(rng.integers(4))]) + rng.bytes(int(rng.integers(0, 9)))
        try:
            found = decode_support(code, (size,))
        except ValueError:
            continue
        n_masks += 1
        assert found.shape == (size,)
        assert torch.equal(decode_support(encode_support(found), (size,)), found)
    assert n_masks > 20
