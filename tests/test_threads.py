"""Locks of threads, and settings of the process that are put back by the last thread that needed them."""

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_compress._threads import TurnLock, ignored_warnings, raised_recursion_limit, silent_standard_error


def overlapping(first, second):
    """Enter one context, then another in another thread; leave the first, then the second."""
    entered, left = threading.Event(), threading.Event()

    def other():
        with second():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with first():
        thread.start()
        entered.wait(10)
    left.set()
    thread.join()


def test_the_recursion_limit_is_that_from_before_when_the_last_thread_is_done():
    before = sys.getrecursionlimit()
    overlapping(lambda: raised_recursion_limit(before + 50), lambda: raised_recursion_limit(before + 20))
    assert sys.getrecursionlimit() == before


def test_the_recursion_limit_is_what_the_most_demanding_thread_needs():
    before = sys.getrecursionlimit()
    with raised_recursion_limit(before + 50):
        with raised_recursion_limit(before + 90):
            assert sys.getrecursionlimit() == before + 90
        assert sys.getrecursionlimit() == before + 50
    with pytest.raises(KeyError), raised_recursion_limit(before + 50):
        raise KeyError
    assert sys.getrecursionlimit() == before


def test_warnings_are_ignored_in_one_thread_and_filters_are_those_from_before():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ignored_warnings("of no use"):
            warnings.warn("Of no use here", stacklevel=1)
            warnings.warn("of use", stacklevel=1)
            thread = threading.Thread(target=lambda: warnings.warn("of no use there", stacklevel=1))
            thread.start()
            thread.join()
        overlapping(lambda: ignored_warnings("a"), lambda: ignored_warnings("b"))
        assert warnings.filters == before
    assert [str(warning.message) for warning in caught] == ["of use", "of no use there"]


def test_filters_that_another_thread_exchanges_meanwhile_keep_nothing_of_ours():
    before = list(warnings.filters)
    overlapping(lambda: ignored_warnings("a"), warnings.catch_warnings)
    assert warnings.filters == before
    entered = ignored_warnings("a")
    with warnings.catch_warnings():
        entered.__enter__()
    entered.__exit__(None, None, None)
    assert warnings.filters == before


def test_standard_error_comes_back(capfd):
    with silent_standard_error():
        os.write(2, b"lost")
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


def test_a_lock_is_held_by_one_thread_as_often_as_it_likes():
    lock, inside, most = TurnLock(), [], []

    def turn(_):
        with lock, lock:
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, range(200)))
    assert set(most) == {1}


def test_replicas_of_one_run_hold_a_lock_together_and_others_wait(monkeypatch):
    """TensorFlow gives the threads of the replicas one coordinator."""
    lock, coordinator = TurnLock(), object()
    paused, go_on = threading.Event(), threading.Event()

    def replica():
        threading.current_thread().coord = coordinator
        with lock:
            paused.set()
            go_on.wait(10)

    first = threading.Thread(target=replica)
    first.start()
    paused.wait(10)
    other = threading.Thread(target=lock.__enter__)
    other.start()
    monkeypatch.setattr(threading.current_thread(), "coord", coordinator, raising=False)
    with lock:
        go_on.set()
        first.join(10)
        other.join(0.2)
        assert other.is_alive()
        assert not first.is_alive()
    other.join(10)
    assert not other.is_alive()
