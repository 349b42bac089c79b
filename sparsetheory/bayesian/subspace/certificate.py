"""Evidence that no exchange of columns raises the bound, recomputed from raw data."""

from sparsetheory.certificates import Certificate

__all__ = ["SubspaceVICertificate"]


class SubspaceVICertificate(Certificate):
    """No single exchange of columns gains more than the tolerance."""
