"""The scheduler counts epochs and steps and tells the algorithms of every change."""

import pytest

from keras_compress.algorithms import Position
from keras_compress.scheduler import CompressionScheduler


def scheduler():
    seen = []
    return CompressionScheduler(seen.append), seen


def test_it_starts_before_the_first_epoch_and_step():
    counter, seen = scheduler()
    assert (counter.current_epoch, counter.current_step) == (-1, -1)
    assert seen == []


def test_it_counts_and_tells():
    counter, seen = scheduler()
    counter.epoch_step()
    counter.step()
    counter.step()
    counter.epoch_step()
    assert seen == [Position(0, -1), Position(0, 0), Position(0, 1), Position(1, 1)]
    assert counter.position == seen[-1]


@pytest.mark.parametrize(("method", "expected"), [("epoch_step", Position(7, -1)), ("step", Position(-1, 7))])
def test_it_can_be_sent_to_a_number(method, expected):
    counter, seen = scheduler()
    getattr(counter, method)(7)
    assert counter.position == expected
    assert seen == [expected]


def test_its_state_comes_back_silently():
    counter, _ = scheduler()
    counter.epoch_step(3)
    counter.step(40)
    again, seen = scheduler()
    again.load_state(counter.get_state())
    assert again.position == Position(3, 40)
    assert seen == []
    again.step()
    assert again.position == Position(3, 41)


def test_steps_are_counted_anew_in_every_epoch():
    counter, seen = scheduler()
    counter.epoch_step()
    counter.step()
    counter.step()
    counter.epoch_step()
    counter.step()
    counter.epoch_step(9)
    counter.step(40)
    assert [position.step_in_epoch for position in seen] == [-1, 0, 1, -1, 0, -1, 37]


def test_every_position_tells_the_number_of_steps():
    seen = []
    counter = CompressionScheduler(seen.append, steps_per_epoch=5)
    counter.epoch_step()
    counter.steps_per_epoch = 7
    counter.step()
    assert [position.steps_per_epoch for position in seen] == [5, 7]
    assert counter.position.steps_per_epoch == 7


def test_a_position_in_the_middle_of_an_epoch_comes_back():
    counter = CompressionScheduler(lambda position: None, steps_per_epoch=5)
    counter.epoch_step(2)
    for _ in range(3):
        counter.step()
    again, seen = scheduler()
    again.load_state(counter.get_state())
    assert again.position == counter.position
    assert (again.position.step_in_epoch, again.position.steps_per_epoch) == (2, 5)
    again.step()
    assert seen[-1].step_in_epoch == 3


def test_a_state_of_the_first_version_still_loads():
    again = CompressionScheduler(lambda position: None, steps_per_epoch=5)
    again.load_state({"current_epoch": 3, "current_step": 40})
    assert again.position == Position(3, 40)
    assert again.position.step_in_epoch == -1
    assert again.steps_per_epoch == 5


def test_a_state_that_does_not_know_the_number_of_steps_does_not_forget_it():
    unknown, _ = scheduler()
    again = CompressionScheduler(lambda position: None, steps_per_epoch=5)
    again.load_state(unknown.get_state())
    assert again.steps_per_epoch == 5
