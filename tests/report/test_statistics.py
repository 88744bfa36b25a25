"""Statistics read off a compressed model: rows, shares, reasons, as values and as text."""

import json

import pytest

from keras_compress._keras import keras
from tests import zoo


def statistics(make=zoo.convolution, **settings):
    return zoo.compress(make(), **settings)[0].statistics()


def test_a_row_for_every_quantizer_in_the_order_of_the_model():
    rows = [(row.layer, row.weight, row.bits, row.mode, row.ranges, row.signed) for row in statistics().quantizers]
    assert rows == [
        ("image_quantizer", None, 8, "symmetric", 1, True),
        ("conv", "kernel", 8, "symmetric", 4, True),
        ("relu_quantizer", None, 8, "symmetric", 1, False),
        ("out", "kernel", 8, "symmetric", 3, True),
    ]


def test_an_asymmetric_quantizer_is_signed_by_its_range():
    rows = {row.layer: row for row in statistics(preset="mixed").quantizers}
    assert (rows["image_quantizer"].mode, rows["image_quantizer"].signed) == ("asymmetric", True)
    assert rows["relu_quantizer"].signed is False


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 1.0), ({"ignored_scopes": ["out"]}, 108 / 216), ({"ignored_scopes": ["{re}.*"]}, 0.0)],
)
def test_the_share_counts_parameters_of_matrices(settings, share):
    assert statistics(**settings).compressed_share == pytest.approx(share)


def test_layers_without_matrices_have_no_share():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    assert zoo.compress(model)[0].statistics().compressed_share == 0.0


def test_the_dict_is_json_and_the_text_names_every_layer():
    found = statistics(ignored_scopes=["out"])
    assert json.loads(json.dumps(found.to_dict()))["compressed_share"] == found.compressed_share
    for word in ("FULLY_COMPRESSED", "image_quantizer", "conv", "floating point", "out", "outside the scope"):
        assert word in str(found)
    assert str(found) == found.to_str()
