"""Training steps of Bayesian sparse networks: one thread, the fastest steps count, one swap in 100 steps.

Run ``python benchmarks/bayesian_networks.py``; ``--quick`` cuts the number of steps, ``--only PART`` runs one part,
``--json FILE`` also writes one JSON line per row. The peer is dense variational inference without masks, written in a
few lines of torch; the task names the ratio of nominal operations, which dense products under a mask cannot reach.
"""

from _timing import Row, run_parts

from sparsetheory.proofs_checks.bayesian_networks.groups.timed_steps import SIZES, step_costs


def bench_steps(quick: bool) -> list[Row]:
    """Compare steps on a subspace with dense ones."""
    rows = []
    for density in (0.05, 0.1):
        dense, *others = step_costs(density, 10 if quick else 200, 2 if quick else 20)
        for cost in others:
            nominal = dense.operations / cost.operations
            task = f"{'-'.join(map(str, SIZES))}, {cost.name}, {density:.0%}; nominal {nominal:.1f}"
            rows.append(Row(task, "dense variational inference", cost.seconds, dense.seconds))
    return rows


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    run_parts("Training steps of Bayesian sparse networks", __doc__, {"steps": bench_steps})
