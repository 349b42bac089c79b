"""Reference figures of what the mechanisms cost against each other."""

import math

import pytest

from sparsetheory.privacy import LDPSchema
from sparsetheory.privacy.collection.noise import release_noise
from sparsetheory.proofs_checks.local_privacy.mechanisms import users_saved

RADIUS, CLIP_Y = math.sqrt(100) + 2.5, 3 * math.sqrt(1.25)


def noise_of(mechanism, eps, weight=1.0):
    return release_noise(
        LDPSchema(
            mechanism=mechanism,
            eps=eps,
            delta=1e-6 if mechanism in ("paper", "gauss_tight") else 0.0,
            n_features=100,
            clip_x=RADIUS,
            clip_entries=3.0 if mechanism == "paper" else None,
            clip_y=CLIP_Y,
            response_weight=weight,
        )
    )


@pytest.mark.parametrize(
    ("mechanism", "eps", "second", "cross"),
    [
        ("sphere_joint", 0.5, 72, 207),
        ("sphere_joint", 1.0, 64, 185),
        ("sketch", 0.5, 57, 88),
        ("sketch", 1.0, 51, 78),
    ],
)
def test_users_saved_against_the_recipe_for_a_hundred_features(mechanism, eps, second, cross):
    weight = math.sqrt(CLIP_Y / RADIUS) if mechanism == "sketch" else 1.0
    saved = users_saved(noise_of(mechanism, eps, weight), noise_of("paper", eps))
    assert [round(times) for times in saved] == [second, cross]


def test_calibration_alone_saves_an_order_of_magnitude():
    second, cross = users_saved(noise_of("gauss_tight", 1.0), noise_of("paper", 1.0))
    # 13.2 and 19.0 for an equal split of the budget between two messages; jointly the product is larger.
    assert second * cross > 13.2 * 19.0
    assert second > 10
    assert cross > 30
