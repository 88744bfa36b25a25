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
