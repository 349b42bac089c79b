"""Small encoders trained on patches of pictures, and what linear heads make of their features."""

import copy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["DIGITS", "DigitsRun", "Run", "Setting", "digits_run", "head_accuracy", "hidden", "patches_of"]

_BATCH, _SIZE = 128, 8


@dataclass(frozen=True)
class Setting:
    """Sizes of an experiment; half of the patches are visible."""

    width: int
    n_features: int
    n_groups: int
    n_latents: int
    n_steps: int
    batch_size: int = _BATCH
    lr: float = 3e-3


DIGITS = Setting(width=32, n_features=16, n_groups=4, n_latents=32, n_steps=150, lr=5e-3)


def patches_of(images: Any, side: int) -> Any:
    """Cut pictures of shape (n, height, width) into square patches, as rows of pixels: (n, n_patches, side^2)."""
    n, height, width = images.shape
    cut = images.reshape(n, height // side, side, width // side, side)
    return cut.transpose(2, 3).reshape(n, -1, side * side)


def head_accuracy(train: tuple[Any, IndexArray], test: tuple[Any, IndexArray]) -> float:
    """Return the accuracy of a linear head on features of unit standard deviation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    rows = [np.asarray(part, dtype=np.float64) for part in (train[0], test[0])]
    return float(head.fit(rows[0], train[1]).score(rows[1], test[1]))


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model, and its encoder before training.

    Parameters
    ----------
    model, start : Module
    losses : ndarray of shape (n_steps,)
    """

    model: Any
    start: Any
    losses: Float64Array

    @classmethod
    def on(
        cls, patches: Any, setting: Setting, alpha: float, seed: int, *, standardise: bool = True, decay: Any = None
    ) -> "Run":
        """Train on patches of shape (n, n_patches, pixels)."""
        import torch
        from torch import nn

        source = torch.Generator().manual_seed(seed)
        pixels, n_patches = patches.shape[2], patches.shape[1]
        encoder = nn.Sequential(
            nn.Linear(pixels, setting.width), nn.GELU(), nn.Linear(setting.width, setting.n_features)
        )
        core.models.initialise(encoder, "lecun_uniform", source)
        groups = np.arange(setting.n_features).reshape(setting.n_groups, -1).tolist()
        model = representation.SparseJEPA(
            encoder,
            groups,
            alpha,
            decay or core.Linear(0.996, setting.n_steps, 1.0),
            n_patches=n_patches,
            n_latents=setting.n_latents,
            standardise=standardise,
            generator=source,
        )
        start = copy.deepcopy(model.target_encoder)
        optimizer = torch.optim.AdamW(model.trained_parameters(), lr=setting.lr)
        representation.JEPAController(optimizer, model)
        losses = []
        with one_thread():
            for _ in range(setting.n_steps):
                rows = torch.randint(len(patches), (setting.batch_size,), generator=source)
                context, target = hidden(setting.batch_size, n_patches, source)
                optimizer.zero_grad()
                found = model(patches[rows], context, target)
                found.loss.backward()
                optimizer.step()
                losses.append(found.loss.item())
        return cls(model.eval(), start, np.array(losses))

    @property
    def zero_columns(self) -> float:
        """Share of the columns that are zero."""
        return 1.0 - float(self.model.incidence().float().mean())

    def features(self, patches: Any, *, trained: bool = True, pooled: bool = False) -> Any:
        """Return features of whole pictures: those of all patches side by side, or their mean."""
        import torch

        with torch.no_grad():
            found = (self.model.target_encoder if trained else self.start)(patches)
        return found.mean(1) if pooled else found.flatten(1)

    def latents(self, patches: Any) -> Any:
        """Return the latents for each patch as the target, given half of the others, side by side."""
        import torch

        return torch.cat(self._latents(patches), 1)

    def stacked_latents(self, patches: Any) -> Any:
        """Return the latents for all targets below each other."""
        import torch

        return torch.cat(self._latents(patches))

    def _latents(self, patches: Any) -> list[Any]:
        import torch

        n, n_patches = patches.shape[:2]
        found = []
        for target in range(n_patches):
            context = torch.zeros(n, n_patches, dtype=torch.bool)
            context[:, [(target + move) % n_patches for move in range(1, n_patches // 2 + 1)]] = True
            with torch.no_grad():
                found.append(self.model.latents(patches, context, torch.full((n,), target)))
        return found


def hidden(n: int, n_patches: int, generator: Any) -> tuple[Any, Any]:
    """Draw which half of the patches is visible, and a hidden one to predict, for every sample."""
    import torch

    order = torch.rand(n, n_patches, generator=generator).argsort(1)
    context = torch.zeros(n, n_patches, dtype=torch.bool)
    context.scatter_(1, order[:, : n_patches // 2], value=True)
    return context, order[:, n_patches // 2]


@dataclass(frozen=True)
class DigitsRun:
    """A run on quadrants of digits, and heads on its features."""

    alpha: float
    seed: int
    standardise: bool = True

    @property
    def data(self) -> tuple[Any, IndexArray, int]:
        """Quadrants, classes, and how many come first to train on."""
        return _digits(self.seed)

    @cached_property
    def run(self) -> Run:
        """The run."""
        x, _, count = self.data
        return Run.on(x[:count], DIGITS, self.alpha, self.seed, standardise=self.standardise)

    def head(self, features: Any) -> float:
        """Return the accuracy of a head on features of all digits."""
        _, y, count = self.data
        return head_accuracy((features[:count], y[:count]), (features[count:], y[count:]))


@cache
def _digits(seed: int) -> tuple[Any, IndexArray, int]:
    x, y = shuffled_digits(seed)
    return patches_of(x.reshape(-1, _SIZE, _SIZE), _SIZE // 2), np.asarray(y), 2 * len(y) // 3


@cache
def digits_run(alpha: float, seed: int, standardise: bool = True) -> DigitsRun:
    """Return a run on digits, once."""
    return DigitsRun(alpha, seed, standardise)
