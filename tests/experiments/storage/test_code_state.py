"""A function's fingerprint follows its code and nothing else."""

import subprocess
import sys
from functools import partial

from sparsetheory.experiments.storage.code_state import code_hash, function_hash


def _adds(offset):
    return lambda x: x + offset


class _Holder:
    def method(self, x):
        return x


def test_equal_code_has_equal_fingerprints():
    assert function_hash(_adds(1)) == function_hash(_adds(1))
    assert function_hash(_Holder().method) == function_hash(_Holder().method)
    assert function_hash(partial(_adds, 1)) == function_hash(partial(_adds, 1))


def test_other_code_constants_or_closures_have_other_fingerprints():
    functions = [
        lambda x: x,
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x: x in {1, 2},
        _adds(1),
        _adds(2),
        lambda x, y=1: x,
        partial(_adds, 1),
        partial(_adds, 2),
        partial(_adds, offset=1),
        _Holder().method,
    ]
    assert len({function_hash(function) for function in functions}) == len(functions)


def test_what_a_closure_collects_does_not_matter():
    def counting(calls):
        return lambda x: calls.append(x)

    assert function_hash(counting([])) == function_hash(counting([1, 2]))


def test_recursion_ends():
    def forever(x):
        return forever(x)

    assert len(function_hash(forever)) == 12


def test_fingerprints_are_the_same_in_every_process(tmp_path):
    code = (
        "from sparsetheory.experiments.storage.code_state import *\n"
        "from sparsetheory.experiments.display.plots import plot_result\n"
        "print(code_hash(), function_hash(plot_result, lambda x: x in {'a', 'b', 'c'}))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].startswith(code_hash())
