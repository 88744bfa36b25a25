"""The smallest member of every family in tf_keras.applications goes through everything; `make zoo` tries all members."""

import pytest

from benchmarks.zoo import FAMILIES, all_models, try_model

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


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stock_architecture_goes_through_everything(name):
    row = try_model(name)
    assert row.compressed == 1.0
    assert row.reloaded
    assert row.difference <= 1e-5
    assert row.integer >= 0.99
