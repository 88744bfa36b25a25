"""The share of zeros in the weights of a compressed model: in Keras, after reloading, stripped, and in exported files."""

import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
import tensorflow as tf
import tf_keras as keras

from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, SparsityMask


def zeros_everywhere(controller):
    """Return the share of zeros among the masked weights by place."""
    model = controller.model
    shapes = sorted(weight.shape for weight in _masked(model))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        reloaded = keras.models.load_model(Path(folder) / "model.keras")
        graph = tf.compat.v1.GraphDef.FromString(controller.export_model(Path(folder) / "model.pb").path.read_bytes())
        converted = ov.Core().read_model(controller.export_model(Path(folder) / "model.xml").path)
        constants = [op for op in converted.get_ordered_ops() if op.get_type_name() == "Constant"]
        integers = [op.get_data() for op in constants if op.get_element_type() in (ov.Type.i8, ov.Type.f32)]
    places = {
        "Keras": _masked(model),
        "reloaded": _masked(reloaded),
        "stripped": [weight for layer in controller.strip().layers for weight in layer.get_weights()],
        "frozen graph": [
            tf.make_ndarray(node.attr["value"].tensor) for node in graph.node if node.op == "Const" and _rank(node) > 1
        ],
        "OpenVINO": integers,
    }
    return {place: _share(arrays, shapes) for place, arrays in places.items()}


def _masked(model):
    return [
        layer.compressed_weight(path).numpy()
        for _, layer in leaf_layers(model)
        if isinstance(layer, CompressedLayer)
        for path, op in layer.operations
        if isinstance(op, SparsityMask)
    ]


def _rank(node):
    return len(node.attr["value"].tensor.tensor_shape.dim)


def _share(arrays, shapes):
    """Count zeros in the arrays that have the sizes of ``shapes``, whatever the order of their axes."""
    wanted = [sorted(size for size in shape if size > 1) for shape in shapes]
    found = []
    for array in arrays:
        sizes = sorted(size for size in array.shape if size > 1)
        if sizes in wanted:
            wanted.remove(sizes)
            found.append(array)
    if wanted:
        raise LookupError(f"no array of the sizes {wanted}")
    return sum(int(np.sum(array == 0)) for array in found) / sum(array.size for array in found)
