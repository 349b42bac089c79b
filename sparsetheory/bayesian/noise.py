"""What the variance of the noise may be: a number, or the word for learning it."""

from typing import Any

from sparsetheory.constraints import Choice, Real

__all__ = ["LEARNED_OR_KNOWN", "VARIANCE", "known_noise"]


class _Variance(Real):
    """A positive number; zero is refused with what to take in its place."""

    def __str__(self) -> str:
        return f"{super().__str__()} (1e-10 * mean(abs(y)**2) for data without noise)"


VARIANCE = _Variance(0.0, closed="neither")
LEARNED_OR_KNOWN = VARIANCE | Choice("learn")


def known_noise(noise_variance: Any) -> float | None:
    """Return a noise variance that is known as a float, and None for one that is learned.

    Parameters
    ----------
    noise_variance : float or "learn"
        Checked.
    """
    return None if isinstance(noise_variance, str) else float(noise_variance)
