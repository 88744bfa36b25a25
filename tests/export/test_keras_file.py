"""Keras files load in a process of stock Keras, with the weights of the stripped model."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ExportError
from keras_compress._keras import keras
from tests import zoo

SUFFIXES = [".keras", ".h5"]

#: Loads every file of a folder in a process that cannot import this package; writes weights and outputs.
PROGRAM = """
import pathlib, sys
sys.modules["keras_compress"] = None
import numpy as np, tensorflow as tf, tf_keras
for inputs in sorted(pathlib.Path(sys.argv[1]).glob("*.in.npz")):
    name = inputs.name.removesuffix(".in.npz")
    model = tf_keras.models.load_model(inputs.parent / name, compile=False)
    arrays = [tf.constant(array) for array in np.load(inputs).values()]
    outputs = model(tf.nest.pack_sequence_as(model.input, arrays), training=False)
    arrays = {f"weight_{i}": array for i, array in enumerate(model.get_weights())}
    arrays |= {f"output_{i}": tensor.numpy() for i, tensor in enumerate(tf.nest.flatten(outputs))}
    np.savez(inputs.parent / f"{name}.out.npz", **arrays)
"""


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


@pytest.mark.extended
def test_stock_keras_loads_the_weights_of_the_stripped_model_in_a_process_of_its_own(tmp_path):
    stripped = {}
    for kind in ("nested", "recurrent", "odd_convolutions"):
        controller, _ = zoo.compressed_once(kind)
        for suffix in SUFFIXES:
            name = kind + suffix
            controller.export_model(tmp_path / name)
            stripped[name] = controller.strip()
            arrays = tf.nest.flatten(zoo.samples(stripped[name]))
            np.savez(tmp_path / f"{name}.in.npz", **{f"a{i}": array for i, array in enumerate(arrays)})
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, capture_output=True, cwd=tmp_path)
    for name, model in stripped.items():
        received = np.load(tmp_path / f"{name}.out.npz")
        weights = model.get_weights()
        assert sum(key.startswith("weight") for key in received) == len(weights) > 0
        for index, array in enumerate(weights):
            np.testing.assert_array_equal(received[f"weight_{index}"], array)
        for index, array in enumerate(zoo.predict(model, zoo.samples(model))):
            np.testing.assert_allclose(received[f"output_{index}"], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_lie_on_their_grids_and_layers_are_stock_ones(suffix, tmp_path):
    controller, _ = zoo.compress(zoo.convolution(), weights={"bits": 4})
    report = controller.export_model(tmp_path / f"model{suffix}")
    loaded = keras.models.load_model(report.path, compile=False)
    assert [type(layer).__module__.split(".")[0] for layer in loaded.layers] == ["tf_keras"] * len(loaded.layers)
    for name in ("conv", "out"):
        kernel = loaded.get_layer(name).kernel.numpy()
        for channel in np.moveaxis(kernel, -1, 0):
            assert 2 < len(np.unique(channel)) <= 15
    assert {row.stored_as for row in report.weights} == {"float32"}
    assert max(row.levels for row in report.weights) <= 15


@pytest.mark.parametrize(("save_format", "name"), [("keras", "model.h5"), ("h5", "model.keras"), ("keras", "model")])
def test_a_wrong_suffix_is_an_export_error(save_format, name, controller, tmp_path):
    suffix = rf"\.{save_format}"
    with pytest.raises(ExportError, match=rf"ends in '{suffix}'.*'{name}'"):
        controller.export_model(tmp_path / name, save_format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_old_files_are_replaced_or_stay(suffix, controller, tmp_path, monkeypatch):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(ExportError, match=r"no space left.*unchanged"):
            controller.export_model(path)
    assert path.read_bytes() == b"old"
    controller.export_model(path)
    assert keras.models.load_model(path, compile=False).name == "dense_net"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_has_no_options(suffix, controller, tmp_path):
    with pytest.raises(ExportError, match=r"has no option 'batch_size'.*\[\]"):
        controller.export_model(tmp_path / f"model{suffix}", batch_size=1)
    assert list(tmp_path.iterdir()) == []
