"""Charging users for the message of a collection."""

import math
from typing import Any

from sparsetheory.privacy.accounting.ledger import PrivacyLedger
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.schema import GAUSSIAN, LDPSchema

__all__ = ["charge"]


def charge(ledger: PrivacyLedger, schema: LDPSchema, users: Any) -> None:
    """Charge users for one message each, all or none of them.

    Parameters
    ----------
    ledger : PrivacyLedger
    schema : LDPSchema
        The collection; its fingerprint is the name of the campaign.
    users : array-like of int

    Raises
    ------
    BudgetExceededError
        If a user has spoken in this collection, is named twice, or would exceed the budget.
    """
    campaign = schema.fingerprint.hex()
    if schema.mechanism in GAUSSIAN:
        mu = math.sqrt(sum(release.mu**2 for release in gaussian_releases(schema)))
        ledger.charge(users, mu=mu, campaign=campaign)
    else:
        ledger.charge(users, eps=schema.eps, campaign=campaign)
