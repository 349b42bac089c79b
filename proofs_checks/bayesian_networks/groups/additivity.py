"""Claims about the price of a whole unit of weights in the evidence bound, and about its gain."""

import numpy as np

from sparsetheory.proofs_checks.bayesian_networks.groups.linear_layers import FittedLayer, LayerCase, layer_cases
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Means come from a linear system of at most six unknowns, and bounds from sums of at most a hundred terms.
_ROUNDING = 1e-11


def _prices(layer: FittedLayer, unit: str, shared: bool) -> Float64Array:
    import torch

    from sparsetheory.gpu.bayesian import unit_price

    mean, std, hessian = (torch.from_numpy(part) for part in (layer.mean, layer.std, layer.hessian))
    found = unit_price(mean, std, prior_std=layer.prior, units=unit, curvature=hessian if shared else None)
    return np.asarray(found.flatten())


def _price_error(case: LayerCase, unit: str, shared: bool) -> Measurement:
    layer = case.fit(unit)
    active, falls = layer.falls(unit)
    errors = np.abs(_prices(layer, unit, shared)[active] - falls)
    return Measurement.worst(errors, 0.0, scale=layer.scale)


column_prices = Claim(
    name="bayesian_networks.column_prices",
    summary="Removing all weights of one input costs the sum of their Savage-Dickey prices, exactly.",
    statement=r"\mathrm{ELBO}(A) - \mathrm{ELBO}(A \setminus G) "
    r"= \sum_{i \in G} \frac{\mu_i^2}{2 \sigma_i^2} - \ln\frac{\sigma_p}{\sigma_i},\quad "
    r"G = \text{column},\ q_i \text{ best for the others}",
    source=Source.ours("prices of weights that share no curvature add up"),
    verdict=Always(_ROUNDING),
    instances=layer_cases,
    evaluate=lambda case: _price_error(case, "columns", shared=False),
    # The weights of one output meet in the same errors: their prices do not add up.
    near_miss=lambda case: _price_error(case, "rows", shared=False),
)

row_prices = Claim(
    name="bayesian_networks.row_prices",
    summary="Removing an output's weights costs their prices and half the quadratic form of what they share.",
    statement=r"\mathrm{ELBO}(A) - \mathrm{ELBO}(A \setminus G) = \sum_{i \in G} \left(\frac{\mu_i^2}{2 \sigma_i^2} "
    r"- \ln\frac{\sigma_p}{\sigma_i}\right) + \frac{1}{2} \sum_{i \ne j \in G} h_{ij} \mu_i \mu_j",
    source=Source.ours("price of a group whose factors are best one by one"),
    verdict=Always(_ROUNDING),
    instances=layer_cases,
    evaluate=lambda case: _price_error(case, "rows", shared=True),
    near_miss=lambda case: _price_error(case, "rows", shared=False),
)


def _gain_error(case: LayerCase, per_sample: bool) -> Measurement:
    import torch

    from sparsetheory.gpu.bayesian import unit_gain

    layer = case.fit("columns")
    gradient = layer.gradient()
    curvature = np.broadcast_to(np.diag(layer.hessian), gradient.shape).copy()
    unit = case.n_samples + 1 if per_sample else 1
    found = unit_gain(
        torch.from_numpy(gradient / unit), torch.from_numpy(curvature / unit), prior_std=layer.prior, units="columns"
    )
    before, rises = layer.bound(layer.mask, layer.mean), []
    absent = np.flatnonzero(~layer.mask.any(0))
    for column in absent:
        joined, mean = layer.mask.copy(), layer.mean.copy()
        joined[:, column] = True
        mean[:, column] = -gradient[:, column] * layer.std[:, column] ** 2
        rises.append(layer.bound(joined, mean) - before)
    errors = np.abs(np.asarray(found.flatten())[absent] - np.array(rises))
    return Measurement.worst(errors, 0.0, scale=layer.scale)


column_gains = Claim(
    name="bayesian_networks.column_gains",
    summary="Adding all weights of one input gains the sum of the gains of single weights, exactly.",
    statement=r"\max_{q_G} \mathrm{ELBO}(A \cup G) - \mathrm{ELBO}(A) "
    r"= \sum_{i \in G} \frac{g_i^2}{2 (h_i + \sigma_p^{-2})} - \frac{1}{2} \ln(1 + \sigma_p^2 h_i)",
    source=Source.ours("gains of weights that share no curvature add up"),
    verdict=Always(_ROUNDING),
    instances=layer_cases,
    evaluate=lambda case: _gain_error(case, per_sample=False),
    # Gradients and curvatures of the mean loss are no nats.
    near_miss=lambda case: _gain_error(case, per_sample=True),
)
