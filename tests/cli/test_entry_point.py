"""Entry points: found, or explained."""

import os

import pytest

from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import import_function, is_entry_point


@pytest.mark.parametrize("text", ["os:getcwd", "os.path:join", "a_b.c:d.e"])
def test_what_is_one(text):
    assert is_entry_point(text)


@pytest.mark.parametrize("text", ["model.keras", "C:\\model", "folder/a:b", ":b", "a:", "a:b:c", "1:2"])
def test_what_is_none(text):
    assert not is_entry_point(text)


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").write_text("")
    assert not is_entry_point("a:b")


def test_functions_are_found():
    assert import_function("os.path:join") is os.path.join
    assert import_function("os:path.join") is os.path.join


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("os", "names no function"),
        ("no_such_module:f", "There is no module 'no_such_module'"),
        ("os.no_such_module:f", "There is no module"),
        ("os:no_such_function", "has no 'no_such_function'"),
        ("os:sep", "is no function but a str"),
    ],
)
def test_what_is_not_found_is_explained(text, message):
    with pytest.raises(UsageError, match=message):
        import_function(text)


def test_a_module_that_misses_another_is_not_taken_for_missing(tmp_path, monkeypatch):
    (tmp_path / "needs_another.py").write_text("import one_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="one_that_is_missing"):
        import_function("needs_another:f")
