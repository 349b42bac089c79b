"""How far the states of a low-rank model can be from those of a dense one."""

__all__ = ["StateErrorCertificate", "certify_states"]


class StateErrorCertificate:
    """A bound on the distance of states."""


def certify_states() -> StateErrorCertificate:
    """Return the certificate."""
    raise NotImplementedError
