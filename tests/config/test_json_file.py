"""read_json: what it allows is tested where configurations are read; here, that any JSON will do."""

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
