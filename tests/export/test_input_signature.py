"""Fixed shapes of inputs, in every format that has a place for them."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from keras_compress.export.input_signature import input_signature
from keras_compress.export.registry import format_options, registered_formats

layers = keras.layers
FILES = {form.name: f"model{form.suffix}" for form in registered_formats().values()}
FIXING = [name for name, file in FILES.items() if "input_shapes" in format_options(file, name)]


def images(count=16, size=8):
    return np.random.default_rng(1).normal(size=(count, size, size, 3)).astype(np.float32)


def open_sizes():
    """Functional: images of any height and width."""
    keras.utils.set_random_seed(2)
    x = keras.Input((None, None, 3), name="x")
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(x, layers.Dense(3)(y))


@pytest.fixture(scope="module")
def compressed():
    return kc.quantize(open_sizes(), images())


def calibrated(name):
    return {"calibration_data": images()} if "calibration_data" in format_options(FILES[name], name) else {}


def test_every_format_with_a_signature_takes_shapes():
    assert set(FIXING) == set(FILES) - {"keras", "h5"}


@pytest.mark.parametrize("name", FIXING)
def test_open_sizes_can_be_fixed(name, compressed, tmp_path):
    report = kc.export_model(
        compressed, tmp_path / FILES[name], name, data=images(), input_shapes={"x": (8, 8, 3)}, **calibrated(name)
    )
    assert report.problems == []
    assert report.comparison.sqnr >= 35


@pytest.mark.parametrize(
    "shape", [(8, 8, 3), (1, 8, 8, 3), (None, 8, 8, 3), [8, 8, None], {"x": (8, 8, 3)}, {"picture": (8, 8, 3)}]
)
def test_ways_to_write_a_shape(shape):
    [spec] = input_signature(open_sizes(), input_shapes=shape, names=["picture"])
    assert spec.shape[1:] == (8, 8, 3)
    assert spec.shape[0] == (1 if shape == (1, 8, 8, 3) else None)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3), (8, -1, 3), 8, "xyz", (1, 1, 8, 8, 3)])
def test_a_shape_that_an_input_cannot_have_is_refused(shape):
    with pytest.raises(ExportError, match=r"'input_shapes' does not fit input 'x' of shape \(None, None, None, 3\)"):
        input_signature(open_sizes(), input_shapes=shape)


def test_shapes_of_no_input_are_refused():
    with pytest.raises(ExportError, match=r"no use for 'y'.*\['x'\]"):
        input_signature(open_sizes(), input_shapes={"y": (8, 8, 3)})
    a, b = keras.Input((None, 2), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], [layers.Dense(1)(a), layers.Dense(1)(b)])
    with pytest.raises(ExportError, match=r"a dict from their names.*\['a', 'b'\]"):
        input_signature(model, input_shapes=(5, 2))
    shapes = [spec.shape for spec in input_signature(model, 4, {"a": (5, 2)})]
    assert shapes == [(4, 5, 2), (4, 3)]


def test_a_batch_that_contradicts_the_shape_is_refused():
    with pytest.raises(ExportError, match="does not fit"):
        input_signature(open_sizes(), 2, (1, 8, 8, 3))


def test_tensorflow_lite_names_the_option_that_fixes_open_sizes(compressed, tmp_path):
    with pytest.raises(ExportError, match=r"'x' \(-1, -1, -1, 3\) have open sizes.*input_shapes="):
        kc.export_model(compressed, tmp_path / "model.tflite", calibration_data=images())


# Shapes that are computed from an open batch

RESHAPED = {
    "reshape": (lambda x: layers.Conv1D(4, 3)(layers.Reshape((-1, 8))(x)), (16, 8)),
    "rows": (lambda x: layers.Conv1D(4, 3)(layers.Reshape((-1, 4))(x)), (8, 8)),
    "image": (lambda x: layers.Conv2D(4, 3)(layers.Reshape((-1, 6, 2))(x)), (72,)),
    "operator": (lambda x: layers.Conv1D(4, 3)(tf.reshape(x, (-1, 8, 4))), (32,)),
    "flatten": (lambda x: layers.Dense(4)(layers.Flatten()(layers.Reshape((-1, 2))(x))), (8,)),
}


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("kind", RESHAPED)
def test_a_reshape_with_an_open_batch_leaves_the_layer_behind_it_in_integers(kind, suffix, tmp_path):
    keras.utils.set_random_seed(2)
    make, shape = RESHAPED[kind]
    x = keras.Input(shape)
    data = np.random.default_rng(1).normal(size=(16, *shape)).astype(np.float32)
    model = kc.quantize(keras.Model(x, make(x)), data)
    report = kc.export_model(model, tmp_path / f"m{suffix}", calibration_data=data, data=data)
    assert report.problems == []
    assert {row.stored_as for row in report.weights} == {"int8"}
    assert suffix == ".onnx" or {row.runs_in_integers for row in report.weights} == {True}
    assert report.comparison.sqnr >= 35
