"""Tables as text: aligned, numbers to the right, no spaces at the ends of lines."""

import pytest

from keras_compress.reports.table import format_table


def test_columns_are_as_wide_as_they_need_to_be():
    lines = format_table(["name", "n"], [["a", 5], ["longer", 1234]]).splitlines()
    assert lines == ["name       n", "------  ----", "a          5", "longer  1234"]


@pytest.mark.parametrize("rows", [[], [["x", "y"]]])
def test_text_is_aligned_to_the_left_and_lines_end_clean(rows):
    lines = format_table(["first", "second"], rows).splitlines()
    assert lines[0] == "first  second"
    assert all(line == line.rstrip() for line in lines)
