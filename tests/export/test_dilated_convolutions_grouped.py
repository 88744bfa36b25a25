"""Convolutions of several groups with a dilation: one operation in OpenVINO and TensorFlow Lite, in integers and right."""

import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests.export.openvino_files import samples
from tests.levels import levels

layers = keras.layers


def convolution(axes=2, kernel=3, **options):
    return getattr(layers, f"Conv{axes}D")(8, kernel, groups=2, name="grouped", **options)


SAME = {"padding": "same"}
#: By name the layer, the shape of its input and sizes for what is open there.
LAYERS = {
    "filled up": (lambda: convolution(dilation_rate=2, **SAME), (12, 12, 8), (12, 12, 8)),
    "not filled up": (lambda: convolution(dilation_rate=(2, 3)), (13, 15, 8), (13, 15, 8)),
    "an even kernel": (lambda: convolution(kernel=(2, 4), dilation_rate=(1, 2), **SAME), (9, 11, 8), (9, 11, 8)),
    "open sizes": (lambda: convolution(dilation_rate=2, **SAME), (None, None, 8), (11, 14, 8)),
    "one axis": (lambda: convolution(1, dilation_rate=2, **SAME), (12, 8), (12, 8)),
    "causal": (lambda: convolution(1, dilation_rate=4, padding="causal"), (13, 8), (13, 8)),
    "volumes": (lambda: convolution(3, dilation_rate=2, **SAME), (8, 8, 8, 4), (8, 8, 8, 4)),
    "at each step": (
        lambda: layers.TimeDistributed(layers.Conv2D(8, 3, groups=2, dilation_rate=2, **SAME), name="grouped"),
        (3, 12, 12, 8),
        (3, 12, 12, 8),
    ),
    "without a dilation": (lambda: convolution(**SAME), (12, 12, 8), (12, 12, 8)),
}
FORMATS = {".xml": 50, ".tflite": 30, ".onnx": 30}
CASES = [(case, ending) for case in LAYERS for ending in FORMATS if (case, ending) != ("volumes", ".tflite")]


@pytest.mark.parametrize(
    "case", levels(CASES, first=[("filled up", ".xml"), ("open sizes", ".xml"), ("causal", ".tflite")])
)
def test_it_is_stored_in_integers_and_right(case, tmp_path):
    name, ending = case
    make, shape, sizes = LAYERS[name]
    inputs = keras.Input(shape)
    model = kc.quantize(keras.Model(inputs, layers.Dense(3, name="last")(make()(inputs))), samples(sizes))
    options = {} if ending == ".xml" else {"calibration_data": samples(sizes)}
    report = kc.export_model(model, tmp_path / f"m{ending}", data=samples(sizes, seed=2), **options)
    assert report.comparison.sqnr > FORMATS[ending]
    assert {weight.stored_as for weight in report.weights} == {"int8"}
