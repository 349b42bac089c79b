"""Claims about training on connections: it is what training of dense weights under masks is, and respects symmetry."""

from typing import Any

import numpy as np

from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer
from sparsetheory.gpu.dynamic.feature_selection.training import Gradients, draw_active
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.problems import Problem, problems
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, BoolArray, IndexArray

_ROUNDING = 1e-12
_DECAY = 1e-3


def _dense_gradients(case: Problem, active: BoolArray, *, silent_backwards: bool) -> list[AnyArray]:
    """Return the gradients of half the squared error by automatic differentiation, at the connections, and of biases.

    Where `silent_backwards` is false, silent units pass errors back as if they had spoken.
    """
    import torch

    encoder, decoder = case.layers()
    x, noisy, speaking = tensor(case.data[0]), tensor(case.data[1]), tensor(active.T.astype(np.float64))
    weights = [tensor(layer.matrix().toarray()).requires_grad_() for layer in (encoder, decoder)]
    biases = [tensor(layer.bias).requires_grad_() for layer in (encoder, decoder)]
    raw = torch.sigmoid(noisy @ weights[0].T + biases[0])
    hidden = raw * speaking if silent_backwards else raw + (raw * (speaking - 1)).detach()
    loss = ((hidden @ weights[1].T + biases[1] - x) ** 2).sum() / 2
    dense = [array(g) for g in torch.autograd.grad(loss, [*weights, *biases])]
    places = encoder.positions, decoder.positions
    return [*(g.ravel()[at] for g, at in zip(dense[:2], places, strict=True)), *dense[2:]]


def _differentiated(case: Problem, *, silent_backwards: bool = True) -> Measurement:
    """Compare gradients on the connections with those of dense weights, of which the others are not looked at."""
    encoder, decoder = case.layers()
    rng = np.random.default_rng([case.rng_seed, 3])
    active = draw_active(rng, (case.n_hidden, case.n_samples), case.dropout)
    ours = Gradients(encoder, decoder, case.n_samples)
    ours.add(*case.data, np.arange(case.n_samples), active)
    found = ours.of_encoder, ours.of_decoder, ours.of_encoder_bias, ours.of_decoder_bias
    expected = _dense_gradients(case, active, silent_backwards=silent_backwards)
    scale = max(1.0, *(float(np.abs(part).max(initial=0.0)) for part in expected))
    off = max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(found, expected, strict=True))
    return Measurement(off, 0.0, scale)


sparse_gradient = Claim(
    name="dynamic_sparsity.sparse_gradient",
    summary="Gradients on the connections alone are those of dense weights by automatic differentiation.",
    statement=r"\left(\nabla_{W} \tfrac12 \|W_2 (s \odot \sigma(W_1 \tilde x + b_1)) + b_2 - x\|^2\right)_S"
    r" = (\delta\, a^\top)_S",
    source=Source.ours("sampled products in the place of dense ones"),
    verdict=Always(_ROUNDING),
    instances=problems,
    evaluate=_differentiated,
    near_miss=lambda case: _differentiated(case, silent_backwards=False),
)


def _reordered(layer: SparseLayer, rows: IndexArray, columns: IndexArray) -> SparseLayer:
    """Return a layer whose row i is row ``rows[i]`` of the given one, and likewise its columns."""
    where = np.argsort(rows), np.argsort(columns)
    i, j = np.divmod(layer.positions, layer.shape[1])
    layer.bias[:] = layer.bias[rows]
    return layer.rewired(where[0][i] * layer.shape[1] + where[1][j], layer.values, layer.velocity)


def _symmetric(case: Problem) -> Measurement:
    """Compare strengths after training with those of the same problem in another order, reordered.

    Features and hidden units are exchanged with all that belongs to them. Units fall silent by their place, so none
    does.
    """
    rng = np.random.default_rng([case.rng_seed, 3])
    features, units = rng.permutation(case.n_features), rng.permutation(case.n_hidden)
    encoder, decoder = case.layers()
    case.train(encoder, decoder, *case.data)
    others = case.layers()
    other, second = _reordered(others[0], units, features), _reordered(others[1], features, units)
    case.train(other, second, *(part[:, features] for part in case.data))
    off = np.abs(other.strengths - encoder.strengths[features]).max()
    off = max(off, np.abs(second.strengths - decoder.strengths[units]).max())
    return Measurement(float(off), 0.0, scale=float(max(1.0, encoder.strengths.max())))


def _scale_free(case: Problem) -> Measurement:
    """Expect strengths to be the same where a column is in another unit."""
    encoder, decoder = case.layers()
    case.train(encoder, decoder, *case.data)
    others, units = case.layers(), np.where(np.arange(case.n_features) == 0, 3.0, 1.0)
    case.train(*others, *(part * units for part in case.data))
    off = np.abs(others[0].strengths - encoder.strengths).max()
    return Measurement(float(off), 0.0, scale=float(max(1.0, encoder.strengths.max())))


strength_symmetry = Claim(
    name="dynamic_sparsity.strength_symmetry",
    summary="Strengths do not depend on the order of features or hidden units, but they do on the unit of a feature.",
    statement=r"s(X P, P W_1 Q) = s(X, W_1)\, P \quad \text{for permutations } P, Q",
    source=Source.ours("symmetry of training on connections"),
    verdict=Always(1e-10),
    instances=lambda: problems((0.0,)),
    evaluate=_symmetric,
    near_miss=_scale_free,
)


def _decayed(case: Problem, per_step: float) -> Measurement:
    """Compare weights of a feature that is zero, also with noise, with those that decay alone does not explain."""
    encoder, decoder = case.layers()
    before = encoder.values.copy()
    own = encoder.indices == 0
    mask: Any = np.arange(case.n_features) > 0
    case.train(encoder, decoder, *(part * mask for part in case.data), n_epochs=1)
    n_steps = -(-case.n_samples // case.steps.batch_size)
    expected = before[own] * (1 - per_step) ** n_steps
    off = float(np.abs(encoder.values[own] - expected).max(initial=0.0))
    return Measurement(off, 0.0, scale=float(np.abs(before[own]).max(initial=1e-300)))


constant_feature = Claim(
    name="dynamic_sparsity.constant_feature",
    summary="Weights of a feature that is always zero decay, by a share in each step that has no learning rate.",
    statement=r"\tilde x_{\cdot i} = 0 \ \Rightarrow\ w_{ji}(t) = (1 - \lambda)^t\, w_{ji}(0)",
    source=Source.ours("a standardised constant, without noise"),
    verdict=Always(1e-13),
    instances=problems,
    evaluate=lambda case: _decayed(case, _DECAY),
    # What most optimisers call weight decay is multiplied by the learning rate.
    near_miss=lambda case: _decayed(case, _DECAY * case.steps.learning_rate),
)
