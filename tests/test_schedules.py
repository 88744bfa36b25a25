"""The curves of the schedules against their formulas in NumPy, over a grid of epochs and parameters."""

import numpy as np
import pytest

from keras_compress.schedules import (
    AdaptiveSchedule,
    ExponentialSchedule,
    MultistepSchedule,
    PolynomialSchedule,
    Schedule,
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
    levels = [PolynomialSchedule(initial, target, target_epoch, power).level(epoch) for epoch in EPOCHS]
    expected = initial + (target - initial) * (1.0 - (1.0 - progress(target_epoch)) ** power)
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("target_epoch", TARGET_EPOCHS)
@pytest.mark.parametrize(("initial", "target"), RAMPS)
@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 3.0])
def test_a_convex_polynomial_follows_its_formula(power, initial, target, target_epoch):
    levels = [PolynomialSchedule(initial, target, target_epoch, power, concave=False).level(epoch) for epoch in EPOCHS]
    expected = initial + (target - initial) * progress(target_epoch) ** power
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-15)


def test_the_default_power_is_that_of_nncf():
    assert PolynomialSchedule(0.0, 0.8, 10).level(5) == pytest.approx(0.8 * (1 - 0.5**0.9))


@pytest.mark.parametrize("target_epoch", TARGET_EPOCHS)
@pytest.mark.parametrize(("initial", "target"), RAMPS)
def test_an_exponential_follows_its_formula(initial, target, target_epoch):
    levels = [ExponentialSchedule(initial, target, target_epoch).level(epoch) for epoch in EPOCHS]
    share = progress(target_epoch)
    expected = 1.0 - (1.0 - initial) ** (1.0 - share) * (1.0 - target) ** share
    np.testing.assert_allclose(levels, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("initial", "target"), RAMPS)
def test_the_kept_share_of_an_exponential_falls_by_one_factor(initial, target):
    kept = np.array([1.0 - ExponentialSchedule(initial, target, 8).level(epoch) for epoch in range(9)])
    np.testing.assert_allclose(kept[1:] / kept[:-1], ((1 - target) / (1 - initial)) ** (1 / 8), rtol=1e-9)


@pytest.mark.parametrize("kind", [PolynomialSchedule, ExponentialSchedule])
@pytest.mark.parametrize("target_epoch", [0, 1, 7])
def test_ramps_start_and_end_exactly_and_never_fall(kind, target_epoch):
    schedule = kind(0.1, 0.7, target_epoch)
    levels = [schedule.level(epoch) for epoch in EPOCHS]
    assert levels[0] == pytest.approx(0.7 if target_epoch == 0 else 0.1, abs=1e-15)
    reached = [level for epoch, level in zip(EPOCHS, levels, strict=True) if epoch >= target_epoch]
    np.testing.assert_allclose(reached, 0.7, rtol=1e-15)
    assert schedule.level(10**9) == levels[-1]
    assert (np.diff(levels) >= -1e-15).all()


@pytest.mark.parametrize(
    ("steps", "levels"),
    [([3], [0.1, 0.5]), ([2, 5, 9], [0.1, 0.3, 0.5, 0.9]), ([0], [0.2, 0.4]), ([], [0.6]), ([0, 1], [0.0, 0.7, 0.2])],
)
def test_multistep_changes_at_its_epochs_and_not_before(steps, levels):
    for epoch in EPOCHS:
        index = int(np.sum(np.asarray(steps) <= epoch))
        assert MultistepSchedule(steps, levels).level(epoch) == levels[index]
    for index, step in enumerate(steps):
        assert MultistepSchedule(steps, levels).level(step) == levels[index + 1]
        assert MultistepSchedule(steps, levels).level(np.nextafter(step, -1)) == levels[index]


@pytest.mark.parametrize("reached", [0.27, 0.2701, 0.3, 0.9])
def test_an_adaptive_level_that_is_met_rises_after_patience(reached):
    assert AdaptiveSchedule(0.0, 0.8).next_level(1, 0.3, reached, 0) == (pytest.approx(0.35), 0)
    patient = AdaptiveSchedule(0.0, 0.8, patience=3)
    assert patient.next_level(5, 0.3, reached, 0) == (0.3, 1)
    assert patient.next_level(6, 0.3, reached, 1) == (0.3, 2)
    assert patient.next_level(7, 0.3, reached, 2) == (pytest.approx(0.35), 0)


@pytest.mark.parametrize("reached", [0.0, 0.2, 0.2699])
def test_an_adaptive_level_that_is_missed_stays(reached):
    assert AdaptiveSchedule(0.0, 0.8).next_level(1, 0.3, reached, 0) == (0.3, 0)
    assert AdaptiveSchedule(0.0, 0.8, patience=3).next_level(1, 0.3, reached, 2) == (0.3, 2)


def test_an_adaptive_level_stops_at_its_final_level():
    schedule = AdaptiveSchedule(0.0, 0.5)
    assert schedule.next_level(9, 0.48, 0.48, 0) == (0.5, 0)
    assert schedule.next_level(9, 0.5, 0.5, 0) == (0.5, 0)


def test_an_adaptive_level_does_not_rise_before_an_epoch_has_passed():
    assert AdaptiveSchedule(0.0, 0.5).next_level(0, 0.1, 0.9, 0) == (0.1, 0)


SCHEDULES = [
    PolynomialSchedule(0.1, 0.7, 5),
    PolynomialSchedule(0.1, 0.7, 5, 3.0, concave=False),
    ExponentialSchedule(0.1, 0.7, 5),
    MultistepSchedule((2, 5), (0.1, 0.4, 0.7)),
    AdaptiveSchedule(0.1, 0.7, patience=2),
]


def test_every_schedule_is_here():
    assert {type(schedule) for schedule in SCHEDULES} == set(Schedule.__subclasses__())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_what_holds_for_every_schedule(schedule):
    """It starts and ends as it says, never falls, is a value, and what was reached moves only what training decides."""
    levels = [schedule.level(epoch) for epoch in np.arange(0, 60, 0.25)]
    assert schedule.initial == 0.1
    assert schedule.final == 0.7
    assert [levels[0], levels[-1]] == pytest.approx([0.1, 0.7])
    assert schedule.level(10**9) == levels[-1]
    assert (np.diff(levels) >= -1e-15).all()
    assert schedule == type(schedule)(**vars(schedule))
    assert hash(schedule) == hash(type(schedule)(**vars(schedule)))
    if schedule.final_epoch is None:
        assert schedule.next_level(3, 0.3, 0.0, 0)[0] == 0.3
    else:
        assert schedule.level(schedule.final_epoch) == pytest.approx(schedule.final)
        assert schedule.level(schedule.final_epoch - 1e-6) < schedule.final
        assert schedule.next_level(3, 0.3, 0.0, 0) == (schedule.level(3), 0)
