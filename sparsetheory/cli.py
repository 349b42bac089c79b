"""The command line. Everything heavy is imported by the command that needs it."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import typer

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
Workers = Annotated[int, typer.Option(help="Worker processes; -1 takes every core.")]
_STATUS = "Exit status: 0 every verdict holds, 1 a claim fails, 2 something could not run"


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems and containers send, ends a run as Ctrl-C does."""


def _raise_terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


@contextmanager
def _interruptible(advice: str) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop the workers, say what is kept, and exit with 128 plus the signal."""
    before = None
    with suppress(ValueError):  # signals reach the main thread alone
        before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    except KeyboardInterrupt as error:
        terminated = isinstance(error, _Terminated)
        typer.echo(f"{'Terminated' if terminated else 'Interrupted'}. {advice}", err=True)
        raise typer.Exit(143 if terminated else 130) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


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
    from sparsetheory.experiments.display.terminal import speak_plainly

    speak_plainly()


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


@app.command(epilog=f"{_STATUS} (bad input, folder, worker, missing extra), 130 or 143 interrupted.")
def reproduce(
    claims: Patterns = None,
    out: Annotated[Path, typer.Option(help="Folder for data, figures and report.html.")] = Path("results"),
    profile: Annotated[Profile, typer.Option(help="How many trials to run.")] = Profile.quick,
    n_jobs: Workers = -1,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of all trials; other than 0 it also draws other instances.")
    ] = 0,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler; start its workers with --nthreads 1.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished trials of an earlier run.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where a claim is undecided.")] = False,
) -> None:
    """Run the sweeps of claims and studies; write data, figures and a report.

    Results of an earlier run with another profile, seed or code are moved to the folder "earlier", never replaced.
    A claim is undecided where its trials neither prove nor refute it, and not run where an extra is missing.
    """
    from sparsetheory.constraints import JOBS
    from sparsetheory.experiments import job
    from sparsetheory.experiments.schedule import WorkerDiedError
    from sparsetheory.experiments.storage.files import FolderError
    from sparsetheory.experiments.storage.trial_log import ResumeError
    from sparsetheory.proofs_checks.registry import find_experiments

    selected, studies = _checked(find_experiments, claims or [])
    kept = f"Finished trials are kept in {out / 'data'}; --resume continues."
    _checked(JOBS.check, "n_jobs", n_jobs)
    options: dict[str, Any] = {"profile": profile, "seed": seed, "n_jobs": n_jobs, "resume": resume}
    with _interruptible(kept), _one_line_warnings():
        try:
            with _backend(dask):
                findings = job.reproduce(selected, studies, out=out, **options)
        except (ResumeError, FolderError) as error:
            _fail(error)
        except WorkerDiedError as error:
            _fail(f"{error}. {kept}")
    raise typer.Exit(findings.status(strict))


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Print warnings about damaged files as one line each, and none about workers that are replaced."""
    import warnings

    from sparsetheory.experiments.storage.trial_log import DamagedLog

    def show(message: Warning | str, category: type[Warning], *where: Any, **further: Any) -> None:
        if issubclass(category, DamagedLog):
            typer.echo(f"Warning: {message}", err=True)
        else:
            usual(message, category, *where, **further)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        # Workers that have grown are replaced; no work is lost.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        yield


@app.command(epilog=f"{_STATUS} or nothing was checked.")
def check(
    claims: Patterns = None,
    max_examples: Annotated[int, typer.Option(min=1, help="Instances per claim.")] = 100,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draw the instances of this seed instead of those that are always drawn.")
    ] = None,
    n_jobs: Workers = -1,
) -> None:
    """Search for counterexamples of claims that must hold on every instance."""
    from sparsetheory.constraints import JOBS
    from sparsetheory.experiments.check_job import check_claims
    from sparsetheory.experiments.display.tables import summary_line, verdict_table
    from sparsetheory.experiments.display.terminal import make_console
    from sparsetheory.experiments.schedule import WorkerDiedError
    from sparsetheory.proofs_checks import Always, State
    from sparsetheory.proofs_checks.registry import find_claims

    selected = _checked(find_claims, claims or [])
    for claim in selected:
        if not isinstance(claim.verdict, Always):
            typer.echo(f"{claim.name} is judged over a sweep: use reproduce")
    checkable = [claim for claim in selected if isinstance(claim.verdict, Always)]
    if not checkable:
        _fail("0 claims checked: none of them is judged on instances")
    _checked(JOBS.check, "n_jobs", n_jobs)
    with _interruptible("Nothing is kept."):
        try:
            verdicts = check_claims(checkable, max_examples, seed, n_jobs)
        except WorkerDiedError as error:
            _fail(error)
    console = make_console()
    console.print(verdict_table(verdicts))
    states = {state: [claim.name for claim, judgement, _ in verdicts if judgement.state is state] for state in State}
    console.print(summary_line(states.__getitem__), soft_wrap=True)
    raise typer.Exit(1 if states[State.FAILS] else 2 if states[State.NOT_RUN] else 0)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@app.command("list")
def list_claims(
    claims: Patterns = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line each, separated by tabs; so it is in a pipe, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Show claims and studies: kind of verdict, provenance, source and statement."""
    from sparsetheory.experiments.display.tables import claim_table, describe
    from sparsetheory.experiments.display.terminal import make_console
    from sparsetheory.proofs_checks.registry import find_experiments

    found, studies = _checked(find_experiments, claims or [])
    entries = [describe(claim) for claim in found] + [describe(study) for study in studies]
    if as_json:
        import json

        typer.echo(json.dumps(entries, indent=1))
    elif plain or not _is_terminal():
        for entry in entries:
            typer.echo("\t".join(" ".join(text.split()) for text in entry.values()))
    else:
        make_console().print(claim_table(entries))


@app.command()
def show(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The name of one claim.")],
    out: Annotated[Path, typer.Option(help="Folder with the results of earlier runs.")] = Path("results"),
) -> None:
    """Show one claim: its statement, why it holds, the near miss that must fail, and the last result."""
    from sparsetheory.experiments.display.claim_page import claim_page
    from sparsetheory.experiments.display.terminal import make_console
    from sparsetheory.experiments.storage.records import ClaimRecord, read_records
    from sparsetheory.proofs_checks.registry import find_claims

    found = _checked(find_claims, [claim])
    if len(found) > 1:
        _fail(f"{claim!r} matches {len(found)} claims: {', '.join(each.name for each in found)}")
    record = read_records(out).get(found[0].name)
    make_console().print(claim_page(found[0], record if isinstance(record, ClaimRecord) else None))


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


Globs = Annotated[list[str] | None, typer.Option(help="Names of layers or shell patterns; may be repeated.")]


@app.command(epilog="Exit status: 0 done, 2 bad input, folder or missing extra, 130 or 143 interrupted.")
def compress(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="Folder as saved by transformers.")],
    calibration: Annotated[Path, typer.Option(help='Texts: one per line, or .jsonl with "text".')],
    out: Annotated[Path, typer.Option(help="New folder for the model and report.html.")],
    pattern: Annotated[str, typer.Option(help="2:4, 50%, 50%/tensor, 4x2:4 or 4x50%.")] = "2:4",
    method: Annotated[str, typer.Option(help="How masks and weights are found.")] = "swap",
    layers: Globs = None,
    exclude: Globs = None,
    held_out: Annotated[Path | None, typer.Option(help="Fresh texts, for errors on data not calibrated on.")] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Tokens of a text that are used.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that run together.")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the finished layers in --out.")] = False,
    n_jobs: Annotated[int, typer.Option(help="Threads; -1 takes every core.")] = -1,
) -> None:
    """Compress a model folder layer by layer; write the model, a report and certificates to a new folder.

    By default the linear layers of all repeated blocks are compressed. MODEL_DIR stays as it is.
    """
    try:
        from sparsetheory.gpu import PlanStep, compress_directory, read_texts
        from sparsetheory.gpu.compression.table import layer_table
    except ImportError as error:
        from sparsetheory.experiments.extras import explain_missing

        _fail(explain_missing(error))
    from sparsetheory.experiments.display.terminal import make_console
    from sparsetheory.experiments.storage.files import FolderError

    with _interruptible(f"Finished layers are kept in {out}; --resume continues."), _one_line_warnings():
        try:
            dense = [PlanStep(exclude, None)] if exclude else []
            report = compress_directory(
                model_dir,
                read_texts(calibration),
                [*dense, PlanStep(layers or None, pattern, method)],
                out,
                held_out=read_texts(held_out) if held_out else None,
                max_length=max_length,
                batch_size=batch_size,
                resume=resume,
                n_jobs=n_jobs,
                verbose=True,
            )
        except (ValueError, ImportError, OSError, FolderError) as error:
            _fail(error)
    make_console().print(layer_table(report))
    for name, value in report.summary().items():
        typer.echo(f"{name}: {value}")
    typer.echo(f"Report: {out / 'report.html'}")


@app.command()
def methods() -> None:
    """Show the methods of the torch floor: source, what each needs, and the patterns it can produce."""
    try:
        from sparsetheory.gpu.methods import method_table
    except ImportError as error:
        from sparsetheory.experiments.extras import explain_missing

        _fail(explain_missing(error))
    from rich.markdown import Markdown

    from sparsetheory.experiments.display.terminal import make_console

    if _is_terminal():
        make_console().print(Markdown(method_table()))
    else:
        typer.echo(method_table())
