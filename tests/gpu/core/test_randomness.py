import pytest
import torch

from sparsetheory.gpu.core.randomness import cpu_generator


def test_seeds_generators_and_the_global_one():
    draws = [torch.randperm(50, generator=cpu_generator(seed)).tolist() for seed in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]
    own = torch.Generator()
    assert cpu_generator(own) is own
    torch.manual_seed(5)
    first = torch.rand(3, generator=cpu_generator(None))
    torch.manual_seed(5)
    assert torch.equal(first, torch.rand(3))


@pytest.mark.parametrize("bad", [-1, True, 1.5, "0", torch.tensor(1)])
def test_bad_input(bad):
    with pytest.raises(ValueError, match=r"generator must be None, an int of at least 0, or a torch\.Generator"):
        cpu_generator(bad)
