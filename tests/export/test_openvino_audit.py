"""The audit of an .xml file finds the integers of weights that are smaller than the orders of axes beside them."""

import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo

layers = keras.layers

SMALL = {
    "Conv3D, a group for each channel": (lambda: layers.Conv3D(4, 1, groups=4), (5, 5, 5, 4)),
    "Conv3D, one channel for each of two groups": (lambda: layers.Conv3D(2, 1, groups=2), (3, 3, 3, 2)),
    "Conv2D, a group for each channel": (lambda: layers.Conv2D(3, 1, groups=3), (5, 5, 3)),
    "Conv1D, a group for each channel": (lambda: layers.Conv1D(2, 1, groups=2), (5, 2)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(1), (5, 5, 2)),
    "Conv3D on one channel": (lambda: layers.Conv3D(2, 1), (3, 3, 3, 1)),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(1, 1), (3, 3, 3, 2)),
    "Conv1D": (lambda: layers.Conv1D(1, 1), (5, 1)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_weights_of_few_numbers_are_found(kind, tmp_path):
    make, shape = SMALL[kind]
    model = keras.Sequential([keras.Input(shape), make()])
    data = zoo.samples(model, 16)
    report = kc.export_model(kc.quantize(model, data), tmp_path / "model.xml", data=data)
    assert report.faults == []
    assert [row.stored_as for row in report.weights] == ["int8"]
    assert report.comparison.sqnr >= 100
