"""Export to a frozen TensorFlow graph: inference only, all variables constants, fake-quantization ops at the quantizers.

OpenVINO and other converters turn those ops into integers. Weights are stored as float32 numbers on their grids; the
file gets small when a runtime converts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_compress._keras import keras
from keras_compress.data import pack_inputs
from keras_compress.errors import ExportError
from keras_compress.export.atomic_file import write_atomically
from keras_compress.graph import build, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.to_float32 import to_float32

__all__ = ["export_frozen_graph", "run_frozen_graph"]


def export_frozen_graph(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Path:
    """Write ``model`` as a binary GraphDef.

    Args:
        model: the compressed model; it is only read.
        path: the file to write.
        input_names, output_names: names of the nodes, in the order of ``model.inputs`` and ``model.outputs``; by default
            the names Keras gives them (with ``_output`` for an output that is an input).
        batch_size: a fixed batch; None (default) leaves it open.

    Returns:
        The path of the file.

    Raises:
        ExportError: a wrong number of names, names that collide, or a path that cannot be written.
    """
    path = Path(path)
    inputs = _names(input_names, model.input_names, "input_names")
    defaults = [f"{name}_output" if name in inputs else name for name in model.output_names]
    outputs = _names(output_names, defaults, "output_names")
    inference_model = build(fix_quantizers(to_float32(take(model))))
    signature = [
        tf.TensorSpec([batch_size or tensor.shape[0], *tensor.shape[1:]], tensor.dtype, name=f"input_{index}")
        for index, tensor in enumerate(model.inputs)
    ]

    @tf.function(input_signature=signature)
    def infer(*tensors):
        return tf.nest.flatten(inference_model(pack_inputs(inference_model, tensors), training=False))

    frozen = convert_variables_to_constants_v2(infer.get_concrete_function())
    graph_def = frozen.graph.as_graph_def()
    renamed = dict(zip((tensor.op.name for tensor in frozen.inputs), inputs, strict=True))
    renamed.update(zip((tensor.op.name for tensor in frozen.outputs), outputs, strict=True))
    _rename(graph_def, renamed)
    write_atomically(path, graph_def.SerializeToString())
    return path


def run_frozen_graph(
    path: str | Path, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], *, optimize: bool = False
) -> list[np.ndarray]:
    """Run a frozen graph with TensorFlow, to see what the file computes.

    Args:
        path: the file.
        inputs: an array by the name of each input node.
        outputs: names of the output nodes.
        optimize: let TensorFlow's graph optimizer rearrange the graph. It changes the last bits of sums, and behind a
            quantizer such a bit can become a whole step. Default False: operation by operation.

    Returns:
        One array per output.
    """
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(Path(path).read_bytes())
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not optimize})
    try:
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        tensors = [imported.graph.get_tensor_by_name(f"{name}:0") for name in (*inputs, *outputs)]
        function = imported.prune(tensors[: len(inputs)], tensors[len(inputs) :])
        return [tensor.numpy() for tensor in function(*map(tf.constant, inputs.values()))]
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def _names(wanted: Sequence[str] | None, default: Sequence[str], key: str) -> list[str]:
    names = list(default if wanted is None else [wanted] if isinstance(wanted, str) else wanted)
    if len(names) != len(default) or len(set(names)) != len(names):
        raise ExportError(
            f"'{key}' takes {len(default)} different names, one for each of {list(default)}. Received: {names}."
        )
    return names


def _rename(graph_def: tf.compat.v1.GraphDef, renamed: dict[str, str]) -> None:
    """Rename nodes in place, and every reference to them."""
    taken = {node.name for node in graph_def.node} - set(renamed)
    for new in renamed.values():
        if new in taken or list(renamed.values()).count(new) > 1:
            raise ExportError(
                f"The name '{new}' belongs to another node of the graph. Choose another input or output name."
            )
    for node in graph_def.node:
        node.name = renamed.get(node.name, node.name)
        for index, reference in enumerate(node.input):
            control = "^" if reference.startswith("^") else ""
            name, colon, port = reference.removeprefix("^").partition(":")
            if name in renamed:
                node.input[index] = control + renamed[name] + colon + port
