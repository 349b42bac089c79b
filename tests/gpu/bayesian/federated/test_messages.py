"""Messages: sums, averages by hand, bytes, storage, and two processes that reduce instead of merge."""

import io
import itertools
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from sparsetheory.gpu.bayesian import ClientMessage, MessageSum, ServerMessage, encode_support, merge_messages

WORKERS = 2


def _message(seed, n_samples=None, round=2):
    draws = torch.Generator().manual_seed(seed)
    values = {
        "0.weight": torch.randn(7, generator=draws),
        "0.rho": torch.randn(7, generator=draws) - 3,
        "0.bias": torch.randn(3, generator=draws),
    }
    return ClientMessage(round, 10 * seed + 3 if n_samples is None else n_samples, values)


def test_all_orders_and_partial_sums_give_the_same_bits():
    messages = [_message(seed) for seed in range(4)]
    totals = [merge_messages(order) for order in itertools.permutations(messages)]
    totals.append(merge_messages([merge_messages(messages[2:]), messages[0], merge_messages(messages[1:2])]))
    for total in totals[1:]:
        assert total.n_messages == 4
        assert total.n_samples == totals[0].n_samples
        assert all(torch.equal(total.terms[name], term) for name, term in totals[0].terms.items())


def test_averages_of_parameters_are_weighted_by_samples():
    messages = [_message(seed) for seed in (1, 2)]
    found = merge_messages(messages).mean()
    for name in found:
        expected = (13 * messages[0].values[name].double() + 23 * messages[1].values[name].double()) / 36
        torch.testing.assert_close(found[name], expected, rtol=1e-15, atol=1e-15)


def test_natural_averages_are_products_of_normal_densities():
    messages = [_message(seed) for seed in (1, 2)]
    found = merge_messages(messages, average="natural").mean()
    # A grid of points: the logarithm of the product is quadratic, with the mean and deviation that were found.
    means = torch.stack([message.values["0.weight"].double() for message in messages])
    stds = torch.stack([torch.log1p(message.values["0.rho"].double().exp()) for message in messages])
    shares = torch.tensor([13.0, 23.0], dtype=torch.float64)[:, None] / 36
    std = torch.log1p(found["0.rho"].exp())

    def log_product(x):
        return -(shares * (x - means) ** 2 / (2 * stds**2)).sum(0)

    centre, step = found["0.weight"], 0.1
    torch.testing.assert_close(log_product(centre + step), log_product(centre - step), rtol=1e-9, atol=1e-9)
    second = (log_product(centre + step) - 2 * log_product(centre) + log_product(centre - step)) / step**2
    torch.testing.assert_close(-second, std**-2, rtol=1e-9, atol=0)
    bias = (13 * messages[0].values["0.bias"].double() + 23 * messages[1].values["0.bias"].double()) / 36
    torch.testing.assert_close(found["0.bias"], bias, rtol=1e-14, atol=1e-14)


def test_equal_clients_are_their_own_average():
    messages = [_message(5, n) for n in (1, 100)]
    found = merge_messages(messages, average="natural").mean()
    for name, value in messages[0].values.items():
        torch.testing.assert_close(found[name].float(), value, rtol=1e-6, atol=1e-6)


def test_bytes_are_those_of_values_headers_and_codes_of_supports():
    mask = torch.zeros(5, 40, dtype=torch.bool)
    mask[:, 3:20] = True
    values = {"weight": torch.zeros(85), "rho": torch.zeros(85), "bias": torch.zeros(5, dtype=torch.float64)}
    assert ServerMessage(0, values, {"weight": mask}).n_bytes == 16 + 4 * 170 + 8 * 5 + len(encode_support(mask))
    assert ClientMessage(0, 3, values).n_bytes == 16 + 4 * 170 + 8 * 5


def test_messages_and_sums_come_back_from_files_of_plain_tensors():
    message = _message(3)
    for one in (message, MessageSum.of(message, average="natural")):
        stored = io.BytesIO()
        torch.save(one.state_dict(), stored)
        stored.seek(0)
        again = type(one).from_state_dict(torch.load(stored, weights_only=True))
        assert (again.round, again.n_samples) == (2, 33)
        assert torch.equal(
            merge_messages([again], average="parameters" if one is message else "natural").mean()["0.rho"],
            merge_messages([one], average="parameters" if one is message else "natural").mean()["0.rho"],
        )


def test_what_does_not_belong_together_is_refused():
    first = MessageSum.of(_message(1))
    with pytest.raises(ValueError, match=r"got round 2, 'parameters' and round 3, 'parameters'"):
        first.merge(MessageSum.of(_message(1, round=3)))
    with pytest.raises(ValueError, match="of one round and one average"):
        first.merge(MessageSum.of(_message(1), average="natural"))
    other = ClientMessage(2, 1, {**_message(1).values, "0.rho": torch.zeros(6)})
    with pytest.raises(ValueError, match="about the same support"):
        merge_messages([first, other])
    with pytest.raises(ValueError, match="at least 1; got none"):
        merge_messages([])
    with pytest.raises(ValueError, match="average='natural'"):
        merge_messages([first], average="natural")
    with pytest.raises(ValueError, match="n_samples"):
        MessageSum.of(_message(1, 0))
    with pytest.raises(ValueError, match="finite"):
        MessageSum.of(ClientMessage(0, 1, {"weight": torch.tensor([float("nan")])}))


def _worker(folder, rank):
    """Merge the messages of one process, and reduce the sums of all."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORKERS)
    try:
        mine = merge_messages([_message(seed) for seed in range(5) if seed % WORKERS == rank]).state_dict()
        for tensor in (mine["counts"], *mine["terms"].values()):
            dist.all_reduce(tensor)
        torch.save(mine, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package")
def test_two_processes_that_reduce_have_the_sum_of_all(tmp_path):
    commands = [[sys.executable, __file__, str(tmp_path), str(rank)] for rank in range(WORKERS)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    merged = merge_messages([_message(seed) for seed in range(5)])
    for rank in range(WORKERS):
        reduced = MessageSum.from_state_dict(torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        assert reduced.n_samples == merged.n_samples
        assert all(torch.equal(value, merged.mean()[name]) for name, value in reduced.mean().items())


if __name__ == "__main__":
    _worker(sys.argv[1], int(sys.argv[2]))
