"""The curves of the schedules against their formulas in NumPy, over a grid of epochs and parameters."""

import numpy as np
import pytest

from keras_compress.schedules import (
    adaptive_level,
    exponential_level,
    multistep_level,
    polynomial_level,
)

EPOCHS = np.arange(0, 14, 0.25)
RAMPS = [(0.0, 0.8), (0.1, 0.1), (0.3, 0.95), (0.0, 0.999), (0.05, 0.5)]
TARGET_EPOCHS = [1, 3, 10]


def progress(target_epoch):
    return np.clip(EPOCHS / target_epoch, 0.0, 1.0)


@pytest.mark.parametrize("target_epoch", TARGET_EPOCHS)
@pytest.mark.parametrize(("initial", "target"), RAMPS)
@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 3.0])
def test_a_concave_polynomial_follows_its_formula(power, initial, target, target_epoch):
    levels = [polynomial_level(epoch, initial, target, target_epoch, power) for epoch in EPOCHS]
    expected = initial + (target - initial) * (1.0 - (1.0 - progress(target_epoch)) ** power)
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("target_epoch", TARGET_EPOCHS)
@pytest.mark.parametrize(("initial", "target"), RAMPS)
@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 3.0])
def test_a_convex_polynomial_follows_its_formula(power, initial, target, target_epoch):
    levels = [polynomial_level(epoch, initial, target, target_epoch, power, concave=False) for epoch in EPOCHS]
    expected = initial + (target - initial) * progress(target_epoch) ** power
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-15)


def test_the_default_power_is_that_of_nncf():
    assert polynomial_level(5, 0.0, 0.8, 10) == pytest.approx(0.8 * (1 - 0.5**0.9))


@pytest.mark.parametrize("target_epoch", TARGET_EPOCHS)
@pytest.mark.parametrize(("initial", "target"), RAMPS)
def test_an_exponential_follows_its_formula(initial, target, target_epoch):
    levels = [exponential_level(epoch, initial, target, target_epoch) for epoch in EPOCHS]
    share = progress(target_epoch)
    expected = 1.0 - (1.0 - initial) ** (1.0 - share) * (1.0 - target) ** share
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("initial", "target"), RAMPS)
def test_the_kept_share_of_an_exponential_falls_by_one_factor(initial, target):
    kept = np.array([1.0 - exponential_level(epoch, initial, target, 8) for epoch in range(9)])
    np.testing.assert_allclose(kept[1:] / kept[:-1], ((1 - target) / (1 - initial)) ** (1 / 8), rtol=1e-9)


@pytest.mark.parametrize("schedule", [polynomial_level, exponential_level])
@pytest.mark.parametrize("target_epoch", [0, 1, 7])
def test_ramps_start_and_end_exactly_and_never_fall(schedule, target_epoch):
    levels = [schedule(epoch, 0.1, 0.7, target_epoch) for epoch in EPOCHS]
    assert levels[0] == pytest.approx(0.7 if target_epoch == 0 else 0.1, abs=1e-15)
    reached = [level for epoch, level in zip(EPOCHS, levels, strict=True) if epoch >= target_epoch]
    np.testing.assert_allclose(reached, 0.7, rtol=1e-15)
    assert schedule(10**9, 0.1, 0.7, target_epoch) == levels[-1]
    assert (np.diff(levels) >= -1e-15).all()


@pytest.mark.parametrize(
    ("steps", "levels"),
    [([3], [0.1, 0.5]), ([2, 5, 9], [0.1, 0.3, 0.5, 0.9]), ([0], [0.2, 0.4]), ([], [0.6]), ([0, 1], [0.0, 0.7, 0.2])],
)
def test_multistep_changes_at_its_epochs_and_not_before(steps, levels):
    for epoch in EPOCHS:
        index = int(np.sum(np.asarray(steps) <= epoch))
        assert multistep_level(epoch, steps, levels) == levels[index]
    for index, step in enumerate(steps):
        assert multistep_level(step, steps, levels) == levels[index + 1]
        assert multistep_level(np.nextafter(step, -1), steps, levels) == levels[index]


@pytest.mark.parametrize("reached", [0.27, 0.2701, 0.3, 0.9])
def test_an_adaptive_level_that_is_met_rises_after_patience(reached):
    assert adaptive_level(0.3, reached, epochs_met=0, patience=1, target=0.8) == (pytest.approx(0.35), 0)
    assert adaptive_level(0.3, reached, epochs_met=0, patience=3, target=0.8) == (0.3, 1)
    assert adaptive_level(0.3, reached, epochs_met=1, patience=3, target=0.8) == (0.3, 2)
    assert adaptive_level(0.3, reached, epochs_met=2, patience=3, target=0.8) == (pytest.approx(0.35), 0)


@pytest.mark.parametrize("reached", [0.0, 0.2, 0.2699])
def test_an_adaptive_level_that_is_missed_stays(reached):
    assert adaptive_level(0.3, reached, epochs_met=0, patience=1, target=0.8) == (0.3, 0)
    assert adaptive_level(0.3, reached, epochs_met=2, patience=3, target=0.8) == (0.3, 2)


def test_an_adaptive_level_stops_at_its_target():
    assert adaptive_level(0.48, 0.48, epochs_met=0, patience=1, target=0.5) == (0.5, 0)
    assert adaptive_level(0.5, 0.5, epochs_met=0, patience=1, target=0.5) == (0.5, 0)
