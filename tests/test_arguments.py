"""Arguments are returned in their plain form, or refused with their name, what was expected and what was received."""

import pathlib

import numpy as np
import pytest

from keras_compress.arguments import (
    checked_names,
    checked_path,
    choice,
    flag,
    function,
    mapping,
    number,
    text,
    whole_number,
    wrong,
)
from keras_compress.errors import ConfigError, ExportError, short_repr


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: whole_number("n", np.int64(3), 1), 3),
        (lambda: number("n", np.float32(0.5), 0, 1), 0.5),
        (lambda: number("n", 2), 2.0),
        (lambda: flag("n", np.True_), True),
        (lambda: choice("n", "a", ("a", "b")), "a"),
        (lambda: text("n", "größe"), "größe"),
        (lambda: function("n", len), len),
        (lambda: mapping("n", {"a": 1}), {"a": 1}),
        (lambda: checked_names("n", "größe"), ["größe"]),
        (lambda: checked_names("n", ("a", "b")), ["a", "b"]),
        (lambda: checked_path("n", "a/b.pb"), pathlib.Path("a/b.pb")),
    ],
)
def test_what_is_right_is_returned_in_its_plain_form(made, expected):
    value = made()
    assert value == expected
    assert type(value) is type(expected) or isinstance(expected, pathlib.Path)


@pytest.mark.parametrize(
    "refused",
    [
        *(lambda value=value: whole_number("name", value, 1, 9) for value in (True, 0, 10, 1.0, "x", None, 10**5000)),
        *(
            lambda value=value: number("name", value, 0, 1)
            for value in (True, -1, 2, "x", None, np.nan, np.inf, 1j, 10**5000)
        ),
        *(lambda value=value: flag("name", value) for value in (0, 1, "yes", None, [])),
        *(lambda value=value: choice("name", value, ("a", "b")) for value in ("c", None, [], ["a"], b"a", 1)),
        *(lambda value=value: text("name", value) for value in ("", None, b"a", 1)),
        *(lambda value=value: function("name", value) for value in ("len", None, 1)),
        *(lambda value=value: mapping("name", value) for value in ([], {1: 2}, None, "a")),
        *(
            lambda value=value: checked_names("name", value)
            for value in (1, ["a", 1], [""], [" a"], "a\nb", "a\0", {"a"}, None)
        ),
        *(
            lambda value=value: checked_path("name", value)
            for value in (1, None, b"a", "", " ", "a\0b", "n" * 5000, "\ud800")
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(refused):
    with pytest.raises(ConfigError, match=r"Wrong value for 'name'.*\. Expected: .+\. Received: .+\. \S"):
        refused()


def test_the_kind_of_the_error_and_the_nearest_word_are_told():
    with pytest.raises(ExportError, match=r"Expected: 'uint8', 'int8'\. Received: 'uint'\. Did you mean 'uint8'"):
        choice("type", "uint", ("uint8", "int8"), ExportError)


def test_a_path_has_to_exist_where_a_file_is_read(tmp_path):
    file = tmp_path / "file"
    with pytest.raises(ExportError, match=r"does not exist\. Expected"):
        checked_path("path", file, ExportError, exists=True)
    file.write_text("")
    assert checked_path("path", file, exists=True) == file
    with pytest.raises(ConfigError, match="a file is in the place of a folder"):
        checked_path("path", file / "inside")
    with pytest.raises(ConfigError, match="too long"):
        checked_path("path", tmp_path / ("n" * 300))


class WithoutText:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "made", [WithoutText, lambda: [WithoutText()], lambda: 10**5000, lambda: {"a": WithoutText()}, lambda: "n" * 10_000]
)
def test_every_value_can_be_shown(made):
    value = made()
    assert 0 < len(short_repr(value)) < 500
    assert "Received: " in str(wrong("name", "a", value))
