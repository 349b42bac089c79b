"""What tests look at in a run."""

from dataclasses import replace


def numbers(result):
    return [(row.value, row.trial, row.seed, row.measurement) for row in result.rows]


def interrupt_after(count):
    seen = []

    def progress(row):
        seen.append(row)
        if len(seen) == count:
            raise KeyboardInterrupt

    return progress


def counting(claim):
    calls = []

    def evaluate(instance):
        calls.append(instance)
        return claim.evaluate(instance)

    return replace(claim, evaluate=evaluate), calls
