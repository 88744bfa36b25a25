"""The levels of the suite: nothing is in none, and what is left out of the first ones is what was meant."""

import itertools

import pytest

from tests.levels import (
    FEWEST_OF_ALL,
    LONGEST,
    MOST,
    OF_NEW_TESTS,
    SECONDS,
    SECONDS_OF_ALL,
    extended,
    leave_to_the_last,
    leave_to_the_second,
    levels,
)


class Item:
    """Stands for a collected test."""

    def __init__(self, nodeid, *markers):
        self.nodeid = nodeid
        self.markers = list(markers)

    def get_closest_marker(self, name):
        return next((marker for marker in self.markers if marker.name == name), None)

    def add_marker(self, marker):
        self.markers.append(marker)


def first_level(items, **seconds):
    leave_to_the_second(items, {f"tests/test_{module}.py::test_a": value for module, value in seconds.items()})
    return [item.nodeid for item in items if item.get_closest_marker("extended") is None]


def of_all(items, seconds=None):
    """Return the names of the extended cases that `make test-all` takes."""
    leave_to_the_last(items, {} if seconds is None else {"tests/test_x.py::test_a": seconds})
    extended_ones = [item for item in items if item.get_closest_marker("extended") is not None]
    return [item.nodeid for item in extended_ones if item.get_closest_marker("every") is None]


def cases(count, module="x", *markers):
    return [Item(f"tests/test_{module}.py::test_a[{number}]", *markers) for number in range(count)]


@pytest.mark.parametrize(
    ("seconds", "room"), [(0.0, MOST), (SECONDS / MOST, MOST), (SECONDS / 2, 2), (SECONDS, 1), (LONGEST, 1)]
)
def test_as_many_cases_as_a_second_has_room_for(seconds, room):
    assert len(first_level(cases(20), x=seconds)) == room
    assert len(first_level(cases(room), x=seconds)) == room


def test_what_takes_long_is_left_out_unless_it_is_marked():
    assert first_level([*cases(1), *cases(9)], x=LONGEST + 0.1) == []
    marked = cases(9, "x", pytest.mark.first.mark)
    assert first_level(marked, x=LONGEST + 0.1) == [marked[0].nodeid]


def test_of_a_test_without_a_known_duration_two_cases_are_taken():
    assert len(first_level(cases(20))) == OF_NEW_TESTS


@pytest.mark.parametrize("count", [MOST + 1, 20, 100])
def test_of_many_cases_some_are_from_the_first_to_the_last(count):
    kept = [int(name[name.index("[") + 1 : -1]) for name in first_level(cases(count), x=0.0)]
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert max(after - before for before, after in itertools.pairwise(kept)) <= count / (MOST - 1) + 1


def test_cases_of_different_tests_and_cases_left_out_by_name_are_not_counted_together():
    items = [*cases(MOST, "x"), *cases(MOST, "y"), *cases(9, "x", extended.mark)]
    assert len(first_level(items, x=0.0, y=0.0)) == 2 * MOST


def test_cases_named_first_are_not_marked_and_a_name_that_is_none_is_an_error():
    assert [bool(case.marks) for case in levels(["a", "b", "c"], first=["b"])] == [True, False, True]
    with pytest.raises(ValueError, match="d"):
        levels(["a", "b", "c"], first=["d"])


@pytest.mark.parametrize(
    ("seconds", "kept"), [(SECONDS_OF_ALL / 20, 20), (SECONDS_OF_ALL, FEWEST_OF_ALL), (60.0, FEWEST_OF_ALL), (0.0, 50)]
)
def test_of_the_second_level_as_many_cases_are_taken_as_there_is_room_for(seconds, kept):
    names = of_all(cases(50, "x", extended.mark), seconds)
    assert len(names) == kept
    assert (names[0], names[-1]) == ("tests/test_x.py::test_a[0]", "tests/test_x.py::test_a[49]")


def test_a_test_marked_whole_and_one_without_a_known_duration_are_taken_with_all_cases():
    assert len(of_all(cases(50, "x", extended.mark, pytest.mark.whole.mark), 60.0)) == 50
    assert len(of_all(cases(50, "y", extended.mark))) == 50


def test_cases_of_the_first_level_are_in_no_other():
    items = [*cases(9), *cases(9, "x", extended.mark)]
    assert len(of_all(items, 60.0)) == FEWEST_OF_ALL
    assert [item.get_closest_marker("every") for item in items[:9]] == [None] * 9
