"""read_json: what it allows is tested where configurations are read; here, that any JSON will do."""

import time

import pytest

from keras_compress import ConfigError
from keras_compress.config.json_file import read_json


def test_any_json_is_returned_as_it_is(tmp_path):
    path = tmp_path / "values.json"
    path.write_text('[1, "// text", {"a": null,},] // done')
    assert read_json(path) == [1, "// text", {"a": None}]


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *('"' + '\\"' * 300_000, '{"a": "' + '\\"' * 300_000, '"' + "\\\\" * 300_000 + "\\", '"\\' * 100_000),
        *("/*" * 300_000, "/* *" * 100_000, "[1" + ", " * 300_000, "," + " " * 600_000, '"' * 300_001),
    ],
)
def test_what_is_not_closed_is_read_once(text, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError, match="is not JSON"):
        read_json(path)
    assert time.process_time() - started < 10


def test_a_number_that_is_too_long_is_an_error(tmp_path):
    (tmp_path / "long.json").write_text('{"a": ' + "1" * 6000 + "}")
    with pytest.raises(ConfigError, match=r"is not JSON: .*digits"):
        read_json(tmp_path / "long.json")


@pytest.mark.parametrize("path", [b"a.json", None, 5, "a\0.json", "\ud800.json", ["a.json"], ""])
def test_a_path_that_is_none_is_an_error(path):
    with pytest.raises(ConfigError, match="Expected: a path"):
        read_json(path)


def test_a_comment_that_is_not_closed_is_none(tmp_path):
    (tmp_path / "open.json").write_text("[1] /* never closed")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_json(tmp_path / "open.json")
    (tmp_path / "closed.json").write_text('[1, "a // b /* c", /* closed */ 2, // end\n]')
    assert read_json(tmp_path / "closed.json") == [1, "a // b /* c", 2]
