"""The command line. Everything heavy is imported by the command that needs it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from sparsetheory import __version__
from sparsetheory.experiments.profile import Profile

__all__ = ["app"]

app = typer.Typer(
    help="The theory of sparsity, running.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

T = TypeVar("T")
Patterns = Annotated[
    list[str] | None, typer.Argument(metavar="[CLAIM]...", help="Names or shell patterns; all by default.")
]


def _fail(message: object) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)


def _checked(function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    except ValueError as error:
        _fail(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sparsetheory {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Reproduce theorems as experiments, check them on instances, and time the kernels."""


@contextmanager
def _backend(dask: str | None) -> Iterator[None]:
    if dask is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        _fail("--dask needs the extra sparsetheory[distributed]")
    from joblib import parallel_config

    try:
        client = Client(dask, timeout="15s")
    except (OSError, ValueError) as error:
        _fail(f"no dask scheduler at {dask}: {error}")
    with client, parallel_config("dask"):
        yield


@app.command()
def reproduce(
    claims: Patterns = None,
    out: Annotated[Path, typer.Option(help="Folder for data, figures and report.html.")] = Path("results"),
    profile: Annotated[Profile, typer.Option(help="How many trials to run.")] = Profile.quick,
    n_jobs: Annotated[int, typer.Option(help="Worker processes; -1 takes every core.")] = -1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all trials.")] = 0,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler; start its workers with --nthreads 1.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished trials of an earlier run.")] = False,
) -> None:
    """Run the sweeps of claims and studies; write data, figures and a report.

    The exit status is 0 only if every verdict holds.
    """
    from sparsetheory.experiments import job
    from sparsetheory.experiments.trial_log import ResumeError
    from sparsetheory.proofs_checks.registry import find_experiments

    selected, studies = _checked(find_experiments, claims or [])
    try:
        with _backend(dask):
            holds = job.reproduce(selected, studies, out=out, profile=profile, seed=seed, n_jobs=n_jobs, resume=resume)
    except ResumeError as error:
        _fail(error)
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. Finished trials are kept in {out / 'data'}; --resume continues.", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if holds else 1)


@app.command()
def check(
    claims: Patterns = None,
    max_examples: Annotated[int, typer.Option(min=1, help="Instances per claim.")] = 100,
) -> None:
    """Search for counterexamples of claims that must hold on every instance.

    The exit status is 0 only if none is found.
    """
    import time

    from sparsetheory.experiments.outcome import check_instances
    from sparsetheory.experiments.tables import verdict_table
    from sparsetheory.proofs_checks import Always
    from sparsetheory.proofs_checks.registry import find_claims

    verdicts = []
    for claim in _checked(find_claims, claims or []):
        if isinstance(claim.verdict, Always):
            started = time.perf_counter()
            judgement = check_instances(claim, max_examples)
            verdicts.append((claim, judgement, time.perf_counter() - started))
        else:
            typer.echo(f"{claim.name} is judged over a sweep: use reproduce")
    Console().print(verdict_table(verdicts))
    raise typer.Exit(0 if all(judgement.holds for _, judgement, _ in verdicts) else 1)


@app.command("list")
def list_claims(claims: Patterns = None) -> None:
    """Show claims: kind of verdict, provenance, source and statement."""
    from sparsetheory.experiments.tables import claim_table
    from sparsetheory.proofs_checks.registry import find_claims

    Console().print(claim_table(_checked(find_claims, claims or [])))


@app.command()
def bench(
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="All by default.")] = None,
) -> None:
    """Run the benchmarks in the folder benchmarks/ of the current directory and print their tables."""
    from subprocess import CalledProcessError

    from sparsetheory.experiments.benchmarks import find_benchmarks, run_benchmark

    for path in _checked(find_benchmarks, Path("benchmarks"), files or []):
        typer.echo(f"{path}\n")
        try:
            typer.echo(run_benchmark(path))
        except CalledProcessError as error:
            typer.echo(f"{error.stdout}\nError: {path} failed with status {error.returncode}", err=True)
            raise typer.Exit(1) from None


@app.command()
def warmup() -> None:
    """Compile every kernel, so that no later run waits for it."""
    from sparsetheory.experiments.warmup import compile_kernels

    for name, seconds in compile_kernels():
        typer.echo(f"{name:<40} {seconds:6.1f} s")
