"""Models from files, folders and functions, and what is said about those that cannot be read."""

import argparse
import json
import zipfile

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.errors import CompressionError, UnsupportedModelError
from keras_compress_cli.command import UsageError
from keras_compress_cli.model_file import inputs_of, read_model


def read(source, *, trust=False, modules=()):
    return read_model(source, argparse.Namespace(trust=trust, modules=list(modules)))


@pytest.mark.parametrize("path", ["m.keras", "m.h5", "m"])
def test_every_kind_of_file(path, folder):
    keras.models.load_model("model.keras").save(path)
    samples = np.load("samples.npy")
    expected = keras.models.load_model("model.keras").predict(samples, verbose=0)
    np.testing.assert_allclose(read(path).predict(samples, verbose=0), expected, rtol=1e-5)


def test_python_code_in_a_file_is_run_only_if_it_is_trusted(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    path = str(tmp_path / "lambda.keras")
    model.save(path)
    with pytest.raises(CompressionError, match="pass --trust"):
        read(path)
    assert read(path, trust=True).predict(np.zeros((1, 2)), verbose=0).tolist() == [[1.0, 1.0]]


def test_layers_of_ones_own_come_from_a_module(tmp_path, monkeypatch):
    (tmp_path / "own_layers.py").write_text(
        "from keras_compress._keras import keras\n"
        "@keras.saving.register_keras_serializable('own')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs * 2\n"
    )

    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    registered = keras.saving.register_keras_serializable("own")(Twice)
    path = str(tmp_path / "own.h5")
    keras.Sequential([keras.Input((2,)), registered()]).save(path)
    keras.saving.get_custom_objects().pop("own>Twice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CompressionError, match="pass --import"):
        read(path)
    try:
        assert read(path, modules=["own_layers"]).predict(np.ones((1, 2)), verbose=0).tolist() == [[2.0, 2.0]]
    finally:
        keras.saving.get_custom_objects().pop("own>Twice")
    with pytest.raises(UsageError, match="--import nowhere"):
        read(path, modules=["nowhere"])


def test_a_file_of_another_keras_is_recognized(tmp_path):
    path = tmp_path / "new.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", json.dumps({"module": "keras", "class_name": "Nothing", "config": {}}))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(CompressionError, match=r"saved by Keras 3\.5\.0"):
        read(str(path))


def test_there_is_no_model():
    with pytest.raises(UsageError, match=r"There is no model 'none\.keras'"):
        read("none.keras")


def test_a_model_without_inputs_is_refused_with_the_remedy():
    with pytest.raises(UnsupportedModelError, match="is not built"):
        inputs_of(keras.Sequential([keras.layers.Dense(2)]))
