"""The two levels of the suite: nothing is in neither, and what is left out of the first is what was meant."""

import itertools

import pytest

from tests.levels import CASES, extend_all_but_a_few, extended, levels


class Item:
    """Stands for a collected test."""

    def __init__(self, nodeid, *markers):
        self.nodeid = nodeid
        self.markers = list(markers)

    def get_closest_marker(self, name):
        return next((marker for marker in self.markers if marker.name == name), None)

    def add_marker(self, marker):
        self.markers.append(marker)


def first_level(items):
    extend_all_but_a_few(items)
    return [item.nodeid for item in items if item.get_closest_marker("extended") is None]


def test_few_cases_are_all_in_the_first_level():
    items = [Item(f"tests/test_x.py::test_a[{number}]") for number in range(CASES)]
    assert first_level(items) == [item.nodeid for item in items]


@pytest.mark.parametrize("count", [CASES + 1, 20, 100])
def test_of_many_cases_some_are_from_the_first_to_the_last(count):
    items = [Item(f"tests/test_x.py::test_a[{number}]") for number in range(count)]
    kept = [int(name[name.index("[") + 1 : -1]) for name in first_level(items)]
    assert len(kept) == CASES
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert max(after - before for before, after in itertools.pairwise(kept)) <= count / (CASES - 1) + 1


def test_cases_of_different_tests_and_cases_left_out_by_name_are_not_counted_together():
    items = [Item(f"tests/test_{module}.py::test_a[{number}]") for module in "xy" for number in range(CASES)]
    items += [Item(f"tests/test_x.py::test_a[left out {number}]", extended.mark) for number in range(9)]
    assert len(first_level(items)) == 2 * CASES


def test_cases_named_first_are_not_marked_and_a_name_that_is_none_is_an_error():
    assert [bool(case.marks) for case in levels(["a", "b", "c"], first=["b"])] == [True, False, True]
    with pytest.raises(ValueError, match="d"):
        levels(["a", "b", "c"], first=["d"])
