"""Charging users for the message of a collection."""

import math
from typing import Any

import numpy as np

from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.gradient_schema import GradientSchema
from sparsetheory.privacy.device.schema import GAUSSIAN, LDPSchema

__all__ = ["charge"]


def charge(ledger: PrivacyLedger, schema: LDPSchema | GradientSchema, users: Any) -> None:
    """Charge users for one message each, all or none of them.

    Parameters
    ----------
    ledger : PrivacyLedger
    schema : LDPSchema or GradientSchema
        The collection; its fingerprint is the name of the campaign, also of all its rounds.
    users : array-like of int
        Integers in [0, 2^64). A ledger holds signed ones of 64 bits, and keeps those from 2^63 on as their digits.

    Raises
    ------
    BudgetExceededError
        If a user has spoken in this collection, is named twice, or would exceed the budget.
    """
    users, campaign = _in_ledger(users), schema.fingerprint.hex()
    if isinstance(schema, LDPSchema) and schema.mechanism in GAUSSIAN:
        releases = gaussian_releases(schema)
        mu = math.sqrt(sum(release.mu**2 for release in releases))
        distance = sum(release.total_variation for release in releases)
        ledger.charge(users, mu=mu, total_variation=distance, campaign=campaign)
    else:
        ledger.charge(users, eps=schema.eps, campaign=campaign)


def _in_ledger(users: Any) -> Any:
    if not isinstance(users, np.ndarray) or users.dtype.kind != "u":
        return users
    if not np.any(users >= 2**63):
        return users.astype(np.int64)
    return [user if user < 2**63 else str(user) for user in users.tolist()]
