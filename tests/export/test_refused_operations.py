"""Tables and strings: a SavedModel holds them and runs; other formats refuse before they write, and name the layer."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras

layers = keras.layers
NUMBERS = [".onnx", ".xml", ".tflite"]


def behind(first, x):
    y = layers.Flatten()(layers.Embedding(6, 4)(first(x)))
    return keras.Model(x, layers.Dense(3)(y))


def words():
    first = layers.StringLookup(vocabulary=["a", "b", "c"], name="first")
    return behind(first, keras.Input((1,), dtype="string", name="x")), np.array([["a"], ["b"], ["c"], ["zz"]])


def numbers():
    first = layers.IntegerLookup(vocabulary=[10, 20, 30], name="first")
    return behind(first, keras.Input((1,), dtype="int64", name="x")), np.array([[10], [20], [30], [7]])


def text():
    first = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4, name="first")
    return behind(first, keras.Input((), dtype="string", name="x")), np.array(["a b", "b", "b a", "zz"])


def hashed():
    first = layers.Hashing(5, name="first")
    return behind(first, keras.Input((1,), dtype="string", name="x")), np.array([["a"], ["b"], ["c"], ["zz"]])


def nested():
    inner, x = words()
    outer = keras.Input((1,), dtype="string", name="x")
    return keras.Model(outer, layers.Dense(2)(inner(outer))), x


@pytest.mark.parametrize("make", [words, numbers, text, hashed, nested])
def test_a_saved_model_holds_tables_and_strings(make, tmp_path):
    model, x = make()
    quantized = kc.quantize(model, x)
    report = kc.export_model(quantized, tmp_path / "saved", data=x)
    assert report.problems == []
    assert report.comparison.sqnr >= 100
    signature = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    [found] = signature(x=tf.constant(x)).values()
    np.testing.assert_allclose(found, quantized(tf.constant(x)), rtol=1e-6)


@pytest.mark.parametrize("make", [words, numbers, text, hashed, nested])
@pytest.mark.parametrize("suffix", [".pb", *NUMBERS])
def test_other_formats_refuse_before_they_write(suffix, make, tmp_path):
    model, x = make()
    quantized = kc.quantize(model, x)
    path = tmp_path / f"model{suffix}"
    if make is hashed and suffix == ".pb":  # a graph of TensorFlow holds strings, and no tables
        assert kc.export_model(quantized, path, data=x).comparison.sqnr >= 100
        return
    path.write_bytes(b"old")
    with pytest.raises(ExportError, match=r"'(model/|model_\d+/)?first' .*SavedModel"):
        kc.export_model(quantized, path)
    assert path.read_bytes() == b"old"


def alone():
    return keras.Sequential([keras.Input((4, 4, 4, 4)), layers.Conv3D(4, 1, groups=2, name="grouped")])


def held():
    inputs = keras.Input((3, 4, 4, 4, 2))
    steps = layers.TimeDistributed(layers.Conv3D(2, 2, groups=2), name="grouped")(inputs)
    return keras.Model(inputs, layers.Flatten()(steps))


def inside():
    inner = keras.Sequential([keras.Input((4, 4, 4, 4)), layers.Conv3D(8, 2, groups=4, name="grouped")], name="inner")
    inputs = keras.Input((4, 4, 4, 4))
    return keras.Model(inputs, layers.GlobalAveragePooling3D()(inner(inputs)))


@pytest.mark.parametrize("make", [alone, held, inside])
def test_convolutions_of_volumes_in_groups_are_refused_by_name(make, tmp_path):
    model = make()
    with pytest.raises(
        ExportError, match=r"'.*grouped' is a convolution of volumes.*Expected.*groups=1\. Received: groups=\d"
    ):
        kc.export_model(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
    kc.export_model(model, tmp_path / "model.onnx", data=np.ones((4, *model.input_shape[1:]), np.float32))
