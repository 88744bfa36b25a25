"""The configuration and its JSON: reading, checking, completing, explaining, and taking over files of other frameworks."""

from keras_compress.config.compression_config import (
    CompressionConfig,
    ConfigLike,
    InputInfo,
    json_schema,
    register_default_init_args,
)
from keras_compress.config.example import config_example
from keras_compress.config.json_file import read_json
from keras_compress.config.keep_in_float import keep_in_float
from keras_compress.config.migration import Migration, migrate

__all__ = [
    "CompressionConfig",
    "ConfigLike",
    "InputInfo",
    "Migration",
    "config_example",
    "json_schema",
    "keep_in_float",
    "migrate",
    "read_json",
    "register_default_init_args",
]
