"""Random draws of this floor: they come from generators on the CPU, so that they are equal on all devices."""

import torch

from sparsetheory.constraints import SIZE

__all__ = ["cpu_generator"]


def cpu_generator(generator: torch.Generator | int | None) -> torch.Generator:
    """Return the generator on the CPU that an argument stands for.

    Parameters
    ----------
    generator : torch.Generator, int or None
        A generator on the CPU, which is returned itself; a seed of a new one; None for the global one of torch.

    Returns
    -------
    torch.Generator

    Raises
    ------
    ValueError
        If it is a generator of another device, or anything else.

    Examples
    --------
    >>> import torch
    >>> torch.equal(torch.randperm(9, generator=cpu_generator(0)), torch.randperm(9, generator=cpu_generator(0)))
    True
    """
    if generator is None:
        return torch.default_generator
    if isinstance(generator, torch.Generator) and generator.device.type == "cpu":
        return generator
    if SIZE.accepts(generator):
        return torch.Generator().manual_seed(SIZE.convert(generator))
    got = f"one on {generator.device}" if isinstance(generator, torch.Generator) else repr(generator)
    raise ValueError(f"generator must be None, an int of at least 0, or a torch.Generator on the CPU; got {got}")
