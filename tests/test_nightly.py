"""What runs at night chooses its environments from the machine and from pyproject.toml."""

import re

from nightly import every_cpu, lowest

HASWELL = "processor : 0\nflags\t\t: fpu sse2 pni sse4_2 avx avx2 fma\nbugs : spectre\n"


def test_blas_kernels_are_those_that_the_processor_can_run():
    found = every_cpu.variants(every_cpu.processor_flags(HASWELL))
    assert list(found) == ["Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "generic"]
    assert found["generic"] == {"OPENBLAS_CORETYPE": "Prescott", "NUMBA_CPU_NAME": "generic"}


def test_an_unknown_processor_runs_generic_code():
    assert list(every_cpu.variants(every_cpu.processor_flags(""))) == ["generic"]


def test_one_failing_variant_fails_the_night(monkeypatch, capsys):
    monkeypatch.setattr(every_cpu, "variants", lambda flags: {"good": {}, "bad": {}})
    monkeypatch.setattr(every_cpu, "run", lambda name, changes, arguments: int(name == "bad"))
    assert every_cpu.main([])
    assert capsys.readouterr().out == "1 of 2 pass; failed: bad\n"


def test_lower_bounds_become_versions(capsys):
    lowest.main(["plots"])
    lines = capsys.readouterr().out.splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lines)
    assert {"typer==0.15.4", "matplotlib==3.9"} <= set(lines)
