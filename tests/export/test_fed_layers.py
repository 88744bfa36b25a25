"""Layers of a file that are fed what they read in the model: a right file has no error of its own, a wrong layer has all of it."""

import json

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.layers import FakeQuantize

layers = keras.layers
ENDINGS = (".xml", ".onnx", ".tflite")
DATA = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype("float32")


def convolutions():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="first")(inputs)
    x = skip = layers.ReLU(name="relu")(layers.BatchNormalization(name="normalized")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="second")(x)
    x = layers.Add(name="sum")([x, skip])
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(x))


def attention():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(16, 4, 4, name="patches")(inputs)
    x = layers.Reshape((-1, 16), name="tokens")(x)
    y = layers.LayerNormalization(name="norm")(x)
    x = layers.Add(name="sum")([x, layers.MultiHeadAttention(2, 8, name="attention")(y, y)])
    x = layers.Dense(16, activation="gelu", name="wide")(x)
    return keras.Model(inputs, layers.Dense(4, name="scores")(layers.Flatten(name="flat")(x)))


def shared():
    inputs = keras.Input((12, 12, 3))
    twice = layers.Conv2D(6, 3, padding="same", activation="relu", name="twice")
    x = twice(layers.Conv2D(6, 1, name="one")(inputs))
    y = twice(x)
    return keras.Model(
        inputs, layers.Dense(3, name="scores")(layers.Flatten(name="flat")(layers.Concatenate()([x, y])))
    )


MODELS = {"convolutions": convolutions, "attention": attention, "shared": shared}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a function of a model's name and an ending: the model, and its file."""
    folder, made = tmp_path_factory.mktemp("files"), {}

    def file(name, ending):
        if name not in made:
            keras.utils.set_random_seed(0)
            made[name] = kc.quantize(MODELS[name](), DATA)
        path = folder / f"{name}{ending}"
        if not path.exists():
            kc.export_model(made[name], path, data=DATA)
        return made[name], path

    return file


@pytest.mark.parametrize("name", MODELS)
def test_no_layer_of_a_right_openvino_file_has_an_error_of_its_own(files, name):
    model, path = files(name, ".xml")
    found = kc.compare(model, path, DATA, fed=True)
    measured = {row.layer: row for row in found.rows if row.fed_steps is not None}
    assert set(measured) >= {layer.name for layer in model.layers if isinstance(layer, FakeQuantize)}
    assert len(measured) >= 0.8 * len(found.rows)
    for row in measured.values():
        assert row.fed_steps <= 0.05, row
        assert row.fed_largest <= 1, row


@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
def test_quantizers_of_other_files_are_a_step_off_at_most_where_the_file_has_quantizers_of_its_own(files, ending):
    model, path = files("convolutions", ending)
    found = kc.compare(model, path, DATA, fed=True)
    measured = [row for row in found.rows if row.fed_steps is not None and row.layer.endswith("_quantizer")]
    assert len(measured) >= 3
    for row in measured:
        assert row.fed_steps <= 0.5, row
        assert row.fed_largest <= 2, row


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_error_is_in_the_layer_that_makes_it_and_in_no_other(files, ending):
    model, path = files("convolutions", ending)
    before = {row.layer: row for row in kc.compare(model, path, DATA, fed=True).rows}
    bias = model.get_layer("second").layer.bias
    kept = bias.numpy()
    step = float(np.ptp(keras.Model(model.inputs, model.get_layer("second").output)(DATA[:16]))) / 255
    try:
        bias.assign(kept + 1.3 * step)
        found = kc.compare(model, path, DATA, fed=True)
    finally:
        bias.assign(kept)
    after = {row.layer: row.fed_steps for row in found.rows if row.fed_steps is not None}
    changed = [layer for layer, steps in after.items() if steps > (before[layer].fed_steps or 0) + 0.3]
    assert changed
    assert set(changed) <= {"second", "sum", "sum_quantizer"}  # the layer, or the sum that has it inside
    assert {"pooled_quantizer", "scores"} <= set(after)


def test_nothing_is_fed_unless_it_is_asked_for(files):
    model, path = files("convolutions", ".onnx")
    found = kc.compare(model, path, DATA)
    assert not found.fed
    assert {(row.fed_steps, row.fed_largest) for row in found.rows} == {(None, None)}
    assert "fed" not in str(found).splitlines()[2]


def test_the_table_and_the_json_have_the_errors(files):
    model, path = files("convolutions", ".xml")
    found = kc.compare(model, path, DATA, fed=True)
    assert "fed: steps" in str(found)
    rows = json.loads(json.dumps(found.to_dict()))["rows"]
    assert all({"fed_steps", "fed_largest"} <= set(row) for row in rows)


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_a_fixed_batch_are_fed_too(files, ending, tmp_path):
    model, _ = files("convolutions", ".xml")
    kc.export_model(model, tmp_path / f"one{ending}", batch_size=1, data=DATA[:4])
    found = kc.compare(model, tmp_path / f"one{ending}", DATA, fed=True)
    assert found.samples == 1
    assert (
        max(row.fed_largest for row in found.rows if row.layer.endswith("_quantizer") and row.fed_largest is not None)
        <= 2
    )


def test_the_model_computes_the_same_afterwards(files):
    model, path = files("shared", ".xml")
    before = model(DATA[:4], training=False).numpy()
    calls = [row.layer for row in kc.compare(model, path, DATA, fed=True).rows if row.layer.startswith("twice")]
    assert calls[:1] == ["twice"]
    np.testing.assert_array_equal(model(DATA[:4], training=False).numpy(), before)
