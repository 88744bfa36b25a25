"""A patch changes what it names in a configuration, and nothing else."""

import numpy as np
import pytest

from keras_compress.config import CompressionConfig
from keras_compress.data import Dataset
from keras_compress.diagnosis.config_patch import patched

BEFORE = {
    "compression": [
        {"algorithm": "magnitude_sparsity", "ignored_scopes": ["a"]},
        {
            "algorithm": "quantization",
            "ignored_scopes": "b",
            "scope_overrides": {"activations": {"c": {"min": 0.0, "max": 1.0}, "d": {"bits": 4}}},
        },
    ],
    "target_device": "CPU",
}


def after(patch):
    return patched(CompressionConfig.from_dict(BEFORE), "quantization", patch).to_dict()["compression"][1]


@pytest.mark.parametrize(
    ("patch", "key", "value"),
    [
        ({"ignored_scopes": ["e", "b"]}, "ignored_scopes", ["b", "e"]),
        ({"weights": {"per_channel": True}}, "weights", {"per_channel": True}),
        (
            {"scope_overrides": {"activations": {"c": {"min": None, "max": None}}}},
            "scope_overrides",
            {"activations": {"c": {}, "d": {"bits": 4}}},
        ),
        (
            {"scope_overrides": {"weights": {"f": {"bits": 8}}}},
            "scope_overrides",
            {"activations": {"c": {"min": 0.0, "max": 1.0}, "d": {"bits": 4}}, "weights": {"f": {"bits": 8}}},
        ),
    ],
)
def test_what_it_names_changes(patch, key, value):
    found = after(patch)
    assert found[key] == value
    assert {k: v for k, v in found.items() if k != key} == {k: v for k, v in after({}).items() if k != key}


def test_everything_else_stays():
    data = Dataset(np.zeros((3, 2), np.float32))
    config = CompressionConfig.from_dict(BEFORE).with_init_data(data)
    changed = patched(config, "quantization", {"ignored_scopes": ["e"]})
    assert changed.init_data is data
    assert changed.target_device == "CPU"
    assert changed.compression[0] == config.compression[0]
    assert config == CompressionConfig.from_dict(BEFORE)
