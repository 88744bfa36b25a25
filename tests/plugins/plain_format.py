"""A file format of another package: the weights on their grids and the model's own description, in one compressed NumPy file."""

import io
import json

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.data import pack_inputs
from keras_compress.export import Format, StoredWeight
from keras_compress.graph import build, take
from keras_compress.graph.passes.strip import strip


def write(model, path, *, compressed=True):
    """Write what ``strip`` leaves of a model; ``compressed``: with the compression of zip files."""
    plain = build(strip(take(model)))
    arrays = {f"{index} {variable.name}": variable.numpy() for index, variable in enumerate(plain.variables)}
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, description=json.dumps(keras.saving.serialize_keras_object(plain)), **arrays)
    path.write_bytes(buffer.getvalue())
    return path


def stored_weights(path):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "description"}
    return [
        StoredWeight(name, array.astype(np.float32), array.dtype.name, array.nbytes, on_grid=False)
        for name, array in arrays.items()
    ]


def load(path, names, threads):
    with np.load(path) as file:
        model = keras.saving.deserialize_keras_object(json.loads(str(file["description"])))
        arrays = {name: file[name] for name in file.files if name != "description"}
    for variable, name in zip(model.variables, sorted(arrays, key=lambda name: int(name.split()[0])), strict=True):
        variable.assign(arrays[name])

    def run(inputs):
        return [np.asarray(output) for output in tf.nest.flatten(model(pack_inputs(model, inputs), training=False))]

    return run


PLAIN = Format("plain", ".plain", write, stored_weights, load, integers=False, keeps_quantizers=False)
