"""Small white-box transformers for handwritten digits, trained once for each seed and number of steps."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = ["BATCH", "EPS", "LR", "N_TRAIN", "Trained", "digits", "fit"]

# Tokens are patches of 2 x 2 pixels and a class token.
_SIZE, _PATCH, _DIM, _HEADS, _LAYERS = 8, 2, 32, 4, 4
N_TRAIN, BATCH, LR = 1200, 100, 1e-3
# Long steps: networks should leave their start within 30 of them.
_LONG_STEPS = 3e-3
# Distortion of the rates, and how many of the other pictures they are measured on.
EPS, _MEASURED = 0.5, 200


@cache
def digits(seed: int) -> tuple[Any, Any]:
    """Return all digits in a random order, as pictures, and their classes."""
    x, y = shuffled_digits(seed)
    return x.reshape(-1, _SIZE, _SIZE), y


def fit(model: Any, seed: int, n_steps: int) -> Any:
    """Train a network on the first digits of a seed; return it."""
    import torch

    x, y = digits(seed)
    adam = torch.optim.AdamW(model.parameters(), lr=_LONG_STEPS)
    if n_steps:
        core.train(model, x[:N_TRAIN], y[:N_TRAIN], optimizer=adam, n_steps=n_steps, batch_size=BATCH, generator=seed)
    return model.eval()


@cache
def _network(seed: int, n_steps: int, mode: str) -> Any:
    model = representation.Crate(
        _SIZE, _PATCH, dim=_DIM, n_heads=_HEADS, n_layers=_LAYERS, mode=mode, eps=EPS, generator=seed
    )
    return fit(model, seed, n_steps)


@dataclass(frozen=True)
class Trained:
    """A network of a seed after some steps of training."""

    seed: int
    n_steps: int
    mode: str = "code"

    @cached_property
    def model(self) -> Any:
        """The network."""
        with one_thread():
            return _network(self.seed, self.n_steps, self.mode)

    @cached_property
    def accuracy(self) -> float:
        """Accuracy on the digits that no training uses."""
        import torch

        x, y = digits(self.seed)
        with one_thread(), torch.no_grad():
            return core.accuracy(self.model(x[N_TRAIN:]), y[N_TRAIN:])

    @cached_property
    def report(self) -> Any:
        """Rates before and after attention, and sparsity, of each layer."""
        with one_thread():
            return representation.crate_report(self.model, [self.measured], EPS)

    @property
    def measured(self) -> Any:
        """Pictures on which rates are measured."""
        return digits(self.seed)[0][N_TRAIN : N_TRAIN + _MEASURED]

    def report_of(self, mode: str) -> Any:
        """Return the report where attention is replaced by another step in the same subspaces, without training."""
        blocks = list(self.model.blocks)
        before = [block.mode for block in blocks]
        try:
            for block in blocks:
                block.mode = mode
            with one_thread():
                return representation.crate_report(self.model, [self.measured], EPS)
        finally:
            for block, kept in zip(blocks, before, strict=True):
                block.mode = kept
