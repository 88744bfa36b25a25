"""Tensors inside of files are read so that the file computes what it computes without: else the file ends with them."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.runtimes import onnx_runtime, openvino_runtime, tflite_runtime
from keras_compress.export.runtimes.probing import agree, probed

layers = keras.layers
END = [np.float32([1.0, 2.0, 3.0])]
DATA = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
#: For each runtime the function that runs a file which is asked for tensors, and where the outputs of the file are in its result.
RUNTIMES = {".xml": openvino_runtime, ".onnx": onnx_runtime, ".tflite": tflite_runtime}


@pytest.mark.parametrize("count", [1, 2, 7, 16])
@pytest.mark.parametrize("changing", [(), (0,), (3, 4), (6,)])
@pytest.mark.parametrize("how", ["other outputs", "an error"])
def test_whatever_changes_the_outputs_is_read_alone(count, changing, how):
    names = [f"t{at}" for at in range(count)]
    bad = {f"t{at}" for at in changing} & set(names)

    def beside(part):
        if bad & set(part) and how == "an error":
            raise RuntimeError("it does not compile")
        return [END[0] * (1 - 0.5 * bool(bad & set(part)))], {name: f"{name} beside" for name in part}

    values, cut = probed(names, END, beside, lambda name: f"{name} alone")
    assert set(cut) == bad
    assert values == {name: f"{name} {'alone' if name in bad else 'beside'}" for name in names}


def test_what_cannot_be_read_in_either_way_is_left_out():
    def fails(*_):
        raise RuntimeError("it does not compile")

    assert probed(["a", "b"], END, fails, fails) == ({}, [])


def test_roundings_to_the_other_side_are_no_other_outputs():
    one = np.random.default_rng(0).normal(size=(16, 10)).astype("float32")
    assert agree([one], [one + 0.005])
    assert not agree([one], [one + 0.1])
    assert not agree([one], [np.full_like(one, np.nan)])
    assert agree([np.arange(100)], [np.arange(100)])
    assert not agree([np.arange(100)], [np.zeros(100, int)])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="one")(inputs)
    x = layers.Conv2D(4, 3, activation="relu", name="two")(x)
    model = kc.quantize(keras.Model(inputs, layers.Dense(3, name="scores")(layers.Flatten()(x))), DATA)
    folder = tmp_path_factory.mktemp("network")
    for ending in RUNTIMES:
        kc.export_model(model, folder / f"model{ending}", data=DATA)
    return model, folder


@pytest.mark.parametrize("ending", RUNTIMES)
def test_no_tensor_of_an_ordinary_file_needs_a_cut(network, ending):
    inside = RUNTIMES[ending].tensors(network[1] / f"model{ending}", None, [DATA[:4]])
    assert inside.samples == 4
    assert inside.cut == ()
    assert len(inside.tensors) >= 5


@pytest.mark.parametrize("ending", RUNTIMES)
def test_a_tensor_that_changes_the_outputs_where_it_is_asked_for_is_read_from_a_file_that_ends_there(
    network, ending, monkeypatch
):
    runtime, path = RUNTIMES[ending], network[1] / f"model{ending}"
    right = dict(runtime.tensors(path, None, [DATA[:4]]).tensors)
    planted = list(right)[len(right) // 2]
    own = runtime.probed

    def disturbed(names, outputs, beside, alone):
        def other(part):
            found, values = beside(part)
            return [one * (1 + (planted in part)) for one in found], values

        return own(names, outputs, other, alone)

    monkeypatch.setattr(runtime, "probed", disturbed)
    inside = runtime.tensors(path, None, [DATA[:4]])
    assert inside.cut == (planted,)
    found = dict(inside.tensors)
    assert set(found) == set(right)
    for name, value in found.items():
        scale = max(np.abs(right[name]).max(), 1e-6)
        np.testing.assert_allclose(value / scale, right[name] / scale, atol=0.02, err_msg=name)
