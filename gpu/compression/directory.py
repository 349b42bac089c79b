"""A model folder in the layout of Hugging Face in, a compressed one out; needs the extra ``hf``."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.compression.page import write_page
from sparsetheory.gpu.compression.report import CompressionReport
from sparsetheory.gpu.compression.run import compress
from sparsetheory.gpu.core.models.text import TextModel, quiet_transformers

__all__ = ["compress_directory", "load_directory", "read_texts"]

# Weights are written anew, and an index of old ones would mislead.
_WEIGHT_FILES = (".bin", ".safetensors", ".index.json", ".h5", ".msgpack", ".gguf", ".onnx", ".pt", ".pth", ".ot")
_KEPT = "checkpoint"


def compress_directory(
    model_dir: str | Path,
    calibration: Sequence[str],
    plan: Any,
    out: str | Path,
    *,
    held_out: Sequence[str] | None = None,
    max_length: int = 128,
    batch_size: int = 8,
    sequential: bool = True,
    resume: bool = False,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> CompressionReport:
    """Compress the model of a folder and write it to another one, with a report.

    Nothing in `model_dir` is changed. `out` gets the model, all files that belong to it, ``report.html`` with a table
    and a figure, ``report.json``, and the folder ``checkpoint`` with finished layers.

    Parameters
    ----------
    model_dir : str or Path
        With ``config.json``, weights, and a tokenizer.
    calibration : sequence of str
        Texts.
    plan : str, Pattern, PlanStep, or sequence of PlanStep or tuple
        See :func:`compress`.
    out : str or Path
        Another folder; it is made where it is missing, and must be empty unless `resume` is set.
    held_out : sequence of str, optional
        Fresh texts, on which errors are reported, too.
    max_length : int
        Tokens of a text that are used.
    batch_size : int
        Texts that run together.
    sequential, resume, n_jobs, verbose
        See :func:`compress`.

    Returns
    -------
    CompressionReport

    Raises
    ------
    ImportError
        If transformers is missing.
    ValueError
        If `out` is `model_dir` or inside it, or is not empty; there are no texts; or :func:`compress` refuses the plan.
    FileNotFoundError
        If `model_dir` is no model folder.
    """
    source, target = _checked_folders(Path(model_dir), Path(out), resume)
    loaded = load_directory(source)
    settings = {"max_length": COUNT.check("max_length", max_length), "batch_size": batch_size}
    batches = loaded.batches(_by_length(calibration, "calibration"), **settings)
    fresh = None if held_out is None else loaded.batches(_by_length(held_out, "held_out"), **settings)
    judged = fresh or batches
    target.mkdir(parents=True, exist_ok=True)
    report = compress(
        loaded.model,
        batches,
        plan,
        held_out=fresh,
        evaluate=(lambda each: {"perplexity": _perplexity(each, judged)}) if _is_causal(loaded.model) else None,
        sequential=sequential,
        checkpoint=target / _KEPT,
        resume=resume,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    _copy_companions(source, target)
    with quiet_transformers():
        report.model.save_pretrained(target)  # type: ignore[operator]
    write_page(report, target, title=source.name)
    return report


def load_directory(folder: str | Path) -> TextModel:
    """Return the model of a folder, of the class that its configuration names and in its own dtype, and its tokenizer.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    TextModel
        In evaluation mode, on the CPU.

    Raises
    ------
    ImportError
        If transformers is missing.
    FileNotFoundError
        If there is no ``config.json``.
    ValueError
        If the configuration names no class that transformers has, or weights or tokenizer cannot be read.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"model_dir must hold a config.json, as saved by transformers; got {folder}")
    name = _class_name(folder / "config.json")
    with quiet_transformers() as transformers:
        kind = getattr(transformers, name, None)
        if not isinstance(kind, type) or not issubclass(kind, nn.Module):
            raise ValueError(f"config.json must name a model class of transformers under architectures; got {name!r}")
        # What a damaged file raises is up to the reader of its format.
        with _explained(f"the weights in {folder} cannot be read"):
            model: nn.Module = getattr(transformers, name).from_pretrained(folder, dtype="auto", local_files_only=True)
        with _explained(f"model_dir must hold a tokenizer that transformers can read; got {folder}"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # Without its files, some classes make a tokenizer that knows no word.
        if len(tokenizer) <= len(tokenizer.all_special_tokens):
            raise ValueError(f"model_dir must hold a tokenizer with words; got {folder}, whose one knows none")
    return TextModel(model.eval(), tokenizer)


@contextmanager
def _explained(words: str) -> Iterator[None]:
    """Turn any error into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{words}: {first}") from error


def _class_name(path: Path) -> str:
    """Return the name of the model class that a configuration gives."""
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("architectures")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"config.json must be a JSON object; {path} is none") from error
    if not isinstance(names, list) or not names:
        raise ValueError(f"config.json must list a class of transformers under architectures; got {names!r}")
    return str(names[0])


def read_texts(path: str | Path) -> list[str]:
    """Return the texts of a file.

    Parameters
    ----------
    path : str or Path
        One text per line; where the name ends with ``.jsonl``, one object per line with the text under ``"text"``.
        Empty lines do not count.

    Returns
    -------
    list of str
        As :func:`compress_directory` takes them.

    Raises
    ------
    ValueError
        If there is no text, the file is not in UTF-8, or a line is no such object.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8; got {error}") from error
    texts = [line for line in lines if line]
    if path.suffix == ".jsonl":
        try:
            texts = [str(json.loads(line)["text"]) for line in texts]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'every line of {path} must be an object with "text"; got {error}') from error
    if not texts:
        raise ValueError(f"{path} must hold at least 1 text; got none")
    return texts


def _by_length(texts: Sequence[str], name: str) -> list[str]:
    """Return texts in the order of their lengths, so that those of a batch need little padding."""
    if not texts:
        raise ValueError(f"{name} must hold at least 1 text; got none")
    return sorted(texts, key=len)


def _checked_folders(source: Path, target: Path, resume: bool) -> tuple[Path, Path]:
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise ValueError(f"out must lie outside of the model folder {source}; got {target}")
    if target.exists() and not target.is_dir():
        raise ValueError(f"out must be a folder; got the file {target}")
    others = [path.name for path in target.iterdir()] if target.is_dir() else []
    if others and not resume:
        raise ValueError(f"out must be empty unless resume is set; {target} holds {', '.join(sorted(others)[:3])}")
    return source, target


def _copy_companions(source: Path, target: Path) -> None:
    """Copy what belongs to a model beside its weights: tokenizer, configuration of pooling, licence."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and not path.name.endswith(_WEIGHT_FILES) and ".git" not in inside.parts:
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)


def _is_causal(model: nn.Module) -> bool:
    return type(model).__name__.endswith("ForCausalLM")


def _perplexity(model: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> float:
    """Return the perplexity of all tokens but the first of each text; NaN where there are no others."""
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            logits = model(**batch).logits[:, :-1].float()
            wanted = batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
            loss += float(torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="sum"))
            tokens += int((wanted != -100).sum())
    return float(torch.tensor(loss / tokens).exp()) if tokens else float("nan")
