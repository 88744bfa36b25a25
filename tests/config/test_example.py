"""config_example: valid, complete, and explained."""

import re

import pytest

from keras_compress import CompressionConfig, ConfigError
from keras_compress.algorithms import registered_algorithms
from keras_compress.config.example import config_example
from keras_compress.config.keys import reason_ignored


def read(text, tmp_path):
    path = tmp_path / "example.json"
    path.write_text(text, encoding="utf-8")
    return CompressionConfig.from_json(path)


@pytest.mark.parametrize(
    "names", [*([name] for name in registered_algorithms()), ["magnitude_sparsity", "quantization"]]
)
def test_it_is_the_default_configuration(names, tmp_path):
    expected = CompressionConfig.from_dict({"compression": [{"algorithm": name} for name in names]})
    assert read(config_example(names), tmp_path) == expected


@pytest.mark.parametrize("name", registered_algorithms())
def test_it_has_every_key_that_has_an_effect_and_no_other(name):
    keys = set(re.findall(r'^ {12}"(\w+)"', config_example([name]), re.MULTILINE))
    fields = {"algorithm", *registered_algorithms()[name].model_fields}
    assert keys == {key for key in fields if reason_ignored(name, key) is None}


def test_comments_say_what_keys_mean():
    lines = config_example(["magnitude_sparsity"]).splitlines()
    number = next(number for number, line in enumerate(lines) if '"weight_importance"' in line)
    assert "magnitude over the L2 norm" in lines[number - 1]
    assert lines[number - 1].strip().startswith("// ")
    assert not [line for line in lines if "``" in line or ":class:" in line or len(line) > 120]


def test_an_unknown_algorithm_is_an_error():
    with pytest.raises(ConfigError, match=r"Did you mean 'quantization'\?"):
        config_example(["quantisation"])


@pytest.mark.parametrize("name", registered_algorithms())
def test_every_key_has_its_comment(name):
    lines = [line.strip() for line in config_example([name]).splitlines()]
    keys = [number for number, line in enumerate(lines) if line.startswith('"') and '"algorithm": ' not in line]
    assert [lines[number] for number in keys if not lines[number - 1].startswith("// ")] == []
