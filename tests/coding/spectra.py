"""The slope of power spectra."""

from itertools import pairwise

import numpy as np


def spectral_slope(image, low=0.02, high=0.25):
    """Slope of log power against log frequency, mean power in 15 rings, windowed against the jump at the border."""
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1]))
    edges = np.geomspace(low, high, 16)
    rings = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges)]
    return np.polyfit(np.log((edges[1:] * edges[:-1]) ** 0.5), np.log([power[ring].mean() for ring in rings]), 1)[0]
