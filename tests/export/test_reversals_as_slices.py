"""A reversal written as a slice moves every value where the reversal moved it, and a convolution behind it stays in integers."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.reversals_as_slices import reversals_as_slices
from tests.export.openvino_files import samples
from tests.export.test_tflite_weights import graph_of, run
from tests.levels import levels

layers = keras.layers
VALUES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def operations(graph):
    return [node.op for node in graph.node]


@pytest.mark.parametrize("shape", [(2, 3, 4), (None, None, 4)])
@pytest.mark.parametrize("axes", [[0, 1], [1, -1], [0, 1, 2]])
def test_the_numbers_are_those_of_the_reversal(axes, shape):
    graph = graph_of(lambda x: tf.reverse(x, axes), shape)
    [source] = [node.name for node in graph.node if node.op == "Placeholder"]
    output = graph.node[-1].name
    reversals_as_slices(graph)
    assert "ReverseV2" not in operations(graph)
    [received] = run(graph, {source: VALUES}, [output])
    np.testing.assert_array_equal(received, np.flip(VALUES, axes))


def test_a_reversal_along_one_axis_is_replaced_behind_a_quantizer_only():
    for steps, left in ((lambda x: x, 1), (lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0), 0)):
        graph = graph_of(lambda x, steps=steps: tf.reverse(steps(x), [1]), (2, 3, 4))
        reversals_as_slices(graph)
        assert operations(graph).count("ReverseV2") == left


#: Operators that turn images, in front of a convolution.
TURNS = {
    "along an axis": lambda x: tf.reverse(x, [2]),
    "along two axes": lambda x: tf.reverse(x, [1, -1]),
    "beside itself": lambda x: tf.concat([x, tf.reverse(x, [1])], -1),
    "twice": lambda x: tf.reverse(tf.reverse(x, [1]), [2]),
    "a mirrored image": tf.image.flip_left_right,
    "an image upside down": tf.image.flip_up_down,
    "a turned image": tf.image.rot90,
    "a slice": lambda x: x[:, :, ::-1],
    "a roll": lambda x: tf.roll(x, 1, 2),
    "chosen columns": lambda x: tf.gather(x, [3, 1, 0, 2, 5], axis=2),
}
FORMATS = {".xml": 50, ".tflite": 30, ".onnx": 30}
CASES = [(turn, ending) for turn in TURNS for ending in FORMATS]


@pytest.mark.parametrize(
    "case", levels(CASES, first=[("along an axis", ".xml"), ("along an axis", ".tflite"), ("along two axes", ".xml")])
)
def test_a_convolution_behind_it_is_in_integers(case, tmp_path):
    turn, ending = case
    inputs = keras.Input((8, 8, 3))
    x = TURNS[turn](layers.Conv2D(4, 3, padding="same", activation="relu", name="before")(inputs))
    data = samples((8, 8, 3))
    model = kc.quantize(keras.Model(inputs, layers.Conv2D(4, 3, name="behind")(x)), data)
    options = {} if ending == ".xml" else {"calibration_data": data}
    report = kc.export_model(model, tmp_path / f"m{ending}", data=data, **options)
    assert report.comparison.sqnr > FORMATS[ending]
    assert {weight.stored_as for weight in report.weights} == {"int8"}
