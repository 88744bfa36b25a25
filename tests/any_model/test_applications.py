"""The smallest member of every family in tf_keras.applications goes through everything; `make zoo` tries all members."""

import pytest

from benchmarks.zoo import FAMILIES, all_models, compress_and_export, run_file
from keras_compress._keras import keras

FAMILY_NAMES = [
    "VGG",
    "ResNet",
    "MobileNet",
    "Inception",
    "Xception",
    "DenseNet",
    "EfficientNet",
    "RegNetX",
    "RegNetY",
    "NASNet",
    "ConvNeXt",
]


def test_every_family_is_tried():
    assert [name for name in all_models() if not name.startswith(tuple(FAMILY_NAMES))] == []
    assert all(any(name.startswith(family) for name in FAMILIES) for family in FAMILY_NAMES)


@pytest.mark.whole
@pytest.mark.extended
@pytest.mark.parametrize("name", FAMILIES)
def test_a_stock_architecture_goes_through_everything(name, tmp_path):
    keras.backend.clear_session()
    share, reloaded = compress_and_export(name, tmp_path)
    difference, _, integer = run_file(tmp_path)
    assert share == 1.0
    assert reloaded
    assert difference <= 1e-5
    assert integer >= 0.99
