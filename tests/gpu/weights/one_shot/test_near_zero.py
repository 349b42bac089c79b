import pytest
import torch

from sparsetheory.gpu.weights import near_zero_fraction, near_zero_jump


def test_thresholds_are_relative_to_the_spread_of_each_tensor(device):
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(200_000, generator=generator, dtype=torch.float64).to(device)
    found = near_zero_fraction({"a": normal, "b": 1e-6 * normal.float()}, [0.0, 0.01, 0.1, 1.0])
    # Shares of a normal distribution within so many standard deviations.
    wanted = torch.tensor([0.0, 0.00798, 0.07966, 0.68269], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, atol=0.004, rtol=0)


def test_zeros_always_count_and_the_mean_does_not_matter():
    assert near_zero_fraction({"w": torch.zeros(4)}, [0.0, 1e-3]).tolist() == [1.0, 1.0]
    assert near_zero_fraction({"w": torch.tensor([5.0, 5.0, 0.0])}, [0.0]).item() == pytest.approx(1 / 3)


def test_an_entry_at_the_bound_is_not_below_it():
    assert near_zero_fraction({"w": torch.tensor([1.0, -1.0])}, [1.0, 1.5]).tolist() == [0.0, 1.0]


def test_tensors_count_by_their_entries():
    params = {"a": torch.zeros(3), "b": torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])}
    assert near_zero_fraction(params, [1e-4]).item() == pytest.approx(3 / 8)


def test_the_jump_is_the_largest_rise():
    shares = [0.0, 0.1, 0.1, 0.7, 0.5]
    checkpoints = []
    for share in shares:
        w = torch.ones(10)
        w[: round(10 * share)] = 1e-7
        w[-1] = -1.0
        checkpoints.append({"w": w})
    found = near_zero_jump(iter(checkpoints), [1e-5, 1e-3])
    torch.testing.assert_close(found.fractions[:, 1], torch.tensor(shares, dtype=torch.float64))
    assert found.steps.tolist() == [3, 3]
    assert found.jumps.tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: near_zero_fraction({}), "params must hold at least one entry"),
        (lambda: near_zero_fraction({"w": torch.ones(2)}, [-1.0]), "thresholds must be"),
        (lambda: near_zero_jump([{"w": torch.ones(2)}]), "checkpoints must be at least 2; got 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
