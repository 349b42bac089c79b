"""Replace the smooth activations of a model by rectifiers."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch

from torch import nn

from sparsetheory.gpu.activations.prosparse.fatrelu import FATReLU

__all__ = ["relufy"]

# Modules of transformers that compute what those of torch do, or nearly so, have no common class with them.
_THEIRS = "transformers.activations"
_WORDS: dict[type[nn.Module], str] = {nn.GELU: "GELU", nn.SiLU: "SiLU"}


def relufy(
    model: nn.Module,
    old: Sequence[type[nn.Module]] = (nn.SiLU, nn.GELU),
    new: Callable[[], nn.Module] = FATReLU,
    *,
    layers: str | Sequence[str] = "*",
) -> list[str]:
    """Replace activations of a model, in place; it has to be trained further after that.

    Parameters
    ----------
    model : torch.nn.Module
        One of ours, of transformers, or any other whose activations are modules.
    old : sequence of type
        Classes of what is replaced. GELU and SiLU stand for their variants in transformers, too, such as
        ``NewGELUActivation``.
    new : callable
        Makes a new module; each place gets one of its own.
    layers : str or sequence of str
        Names or shell patterns of modules, of which only those that match are replaced, ``"encoder.*"`` for example to
        leave out a head that predicts words.

    Returns
    -------
    list of str
        Names of the modules that were replaced, in the order of the model.

    Raises
    ------
    ValueError
        If there is none, as where a model calls functions: such an activation cannot be reached.

    Notes
    -----
    The configuration of a model of transformers still names its old activation. ``from_pretrained`` builds the model
    from it, so call this function again after loading, or write ``config.hidden_act = "relu"`` before saving.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> model = CharacterDecoder(27, n_layers=1)
    >>> relufy(model)
    ['blocks.0.feed_forward.activation']
    >>> model.blocks[0].feed_forward.activation
    FATReLU(threshold=0)
    """
    patterns = [layers] if isinstance(layers, str) else layers
    found: list[tuple[nn.Module, str, str]] = []
    for parent, module in model.named_modules(remove_duplicate=False):
        for name, child in module._modules.items():
            full = f"{parent}.{name}" if parent else name
            if child is not None and _is_old(child, old) and any(fnmatch(full, pattern) for pattern in patterns):
                found.append((module, name, full))
    if not found:
        names = ", ".join(kind.__name__ for kind in old)
        raise ValueError(f"model must have modules of {names} within it whose names match layers={layers!r}; got none")
    for module, name, _ in found:
        setattr(module, name, new())
    return [full for *_, full in found]


def _is_old(module: nn.Module, old: Sequence[type[nn.Module]]) -> bool:
    if isinstance(module, tuple(old)):
        return True
    # Importing transformers to ask for its classes would take seconds.
    kind = type(module)
    return kind.__module__ == _THEIRS and any(_WORDS[each] in kind.__name__ for each in old if each in _WORDS)
