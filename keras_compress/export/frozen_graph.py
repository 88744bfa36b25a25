"""Export to a frozen TensorFlow graph: inference only, all variables constants, fake-quantization ops at the quantizers.

OpenVINO and other converters turn those ops into integers. Weights are stored as float32 numbers on their grids; the
file gets small when a runtime converts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    _FunctionConverterDataInEager,
    _replace_variables_by_constants,
)

from keras_compress._keras import keras
from keras_compress._tracing import autograph_in_layers
from keras_compress.arguments import checked_names
from keras_compress.data import pack_inputs
from keras_compress.errors import ExportError
from keras_compress.export.factors_of_both_signs import write_signs_apart
from keras_compress.export.fixed_reshapes import fix_reshapes
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames, in_batches_of
from keras_compress.export.graph_def import keep_needed, stored_in_graph
from keras_compress.export.graph_editing import node_name, shapes_in
from keras_compress.export.graph_function import graph_function, graph_optimizer
from keras_compress.export.image_patches import write_patches_as_moves
from keras_compress.export.impure_operations import leave_out_assignments
from keras_compress.export.inference_model import inference_model
from keras_compress.export.input_signature import InputShapes, input_signature
from keras_compress.export.normalization_variance import write_reciprocal_square_roots_apart
from keras_compress.export.refused_operations import refuse_tables_and_strings
from keras_compress.export.registry import register_format
from keras_compress.export.reproducible_graph import make_reproducible, serialized
from keras_compress.export.runtimes.run import in_float_type
from keras_compress.export.stacked_products import join_reshaped_products
from keras_compress.files import write_file
from keras_compress.safe_mode import refuse_programs_in_graph

#: What TensorFlow takes for the name of a node.
_NODE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")

__all__ = [
    "export_frozen_graph",
    "freeze",
    "inference_function",
    "run_frozen_graph",
    "tensor_names",
]


def export_frozen_graph(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
) -> Path:
    """Write ``model`` as a binary GraphDef.

    Args:
        model: the compressed model; it is only read.
        path: the file to write.
        input_names, output_names: names of the nodes, in the order of ``model.inputs`` and ``model.outputs``; by
            default the names Keras gives them (with ``_output`` for an output that is an input).
        batch_size: a fixed batch; None (default) leaves it open.
        input_shapes: fixed sizes for inputs whose sizes are open, as
            :func:`~keras_compress.export.input_signature.input_signature` takes them.

    Returns:
        The path of the file.

    Raises:
        ExportError: a shape that an input cannot have, a wrong number of names, names that collide, or a path that cannot be written.
    """
    names = tensor_names(model, input_names, output_names)
    options: dict[str, Any] = {"batch_size": batch_size, "input_shapes": input_shapes, "allow_strings": True}
    graph = freeze(inference_model(model), names, **options)
    write_reciprocal_square_roots_apart(graph)
    write_signs_apart(graph)
    make_reproducible(graph, names.inputs, names.outputs)
    return write_file(path, serialized(graph))


def tensor_names(
    model: keras.Model, input_names: Sequence[str] | None = None, output_names: Sequence[str] | None = None
) -> TensorNames:
    """Return the names asked for, by default those Keras gives, with ``_output`` for an output that is an input.

    Args:
        model: the model.
        input_names, output_names: in the order of its inputs and outputs. Default: Keras' names.

    Raises:
        ExportError: not as many names as there are tensors, or one of them twice.
    """
    inputs = _names(input_names, model.input_names, "input_names")
    defaults = [f"{name}_output" if name in inputs else name for name in model.output_names]
    return TensorNames(inputs, _names(output_names, defaults, "output_names"))


def freeze(
    model: keras.Model,
    names: TensorNames,
    *,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
    lower_control_flow: bool = True,
    join_products: bool = True,
    allow_strings: bool = False,
) -> tf.compat.v1.GraphDef:
    """Return the graph of a model at inference, with all variables as constants.

    Args:
        model: a model for inference, see :mod:`~keras_compress.export.inference_model`.
        names: of the input and output nodes.
        batch_size: a fixed batch; None (default) leaves it open.
        input_shapes: fixed sizes, as in :func:`export_frozen_graph`.
        lower_control_flow: write loops in TensorFlow 1's way instead of as functions. Default True.
        join_products: write products between two reshapes as one operation, see
            :mod:`~keras_compress.export.stacked_products`. Default True.
        allow_strings: whether the format can hold strings. Default False.

    Raises:
        ExportError: a name belongs to another node, a layer assigns a variable at inference, or looks something up in a table.
    """
    signature = input_signature(model, batch_size, input_shapes, names.inputs)
    function = inference_function(model, signature).get_concrete_function()
    refuse_tables_and_strings(model, function.graph, strings=not allow_strings)
    inputs = [tensor.op.name for tensor in function.inputs[: len(names.inputs)]]
    outputs = [tensor.op.name for tensor in function.outputs]
    graph_def = _with_constants(function, lower_control_flow)
    leave_out_assignments(model, function, graph_def)

    shape_of = shapes_in(function.graph)
    write_patches_as_moves(graph_def, shape_of)
    if join_products:
        join_reshaped_products(graph_def, shape_of)
    fix_reshapes(graph_def, shape_of, _shapes_by_batch(model, signature))
    keep_needed(graph_def, [*inputs, *outputs])
    _rename(graph_def, dict(zip([*inputs, *outputs], [*names.inputs, *names.outputs], strict=True)))
    return graph_def


def _shapes_by_batch(
    model: keras.Model, signature: Sequence[tf.TensorSpec]
) -> Callable[[int], Callable[[str], tf.TensorShape]] | None:
    """Return what tells the shapes of the graph of a model for a batch of so many samples; None if the batch is fixed."""
    if not all(spec.shape.rank and spec.shape[0] is None for spec in signature):
        return None

    def of_batch(batch: int) -> Callable[[str], tf.TensorShape]:
        fixed = [tf.TensorSpec([batch, *spec.shape[1:]], spec.dtype, spec.name) for spec in signature]
        try:
            return shapes_in(inference_function(model, fixed).get_concrete_function().graph)
        except Exception:  # a model may not take every number of samples; then nothing is known
            return lambda _: tf.TensorShape(None)

    return of_batch


def _with_constants(function: Any, lower_control_flow: bool) -> tf.compat.v1.GraphDef:
    """Return the graph of a function, its variables as constants.

    The first half of TensorFlow's ``convert_variables_to_constants_v2``: the second makes a function of the graph
    again, for which it holds the constants six times more.
    """
    data = _FunctionConverterDataInEager(
        func=function, lower_control_flow=lower_control_flow, aggressive_inlining=False
    )
    return _replace_variables_by_constants(converter_data=data)[0]


def inference_function(model: keras.Model, signature: Sequence[tf.TensorSpec] | None = None) -> Any:
    """Return a ``tf.function`` from the flat inputs of a model to the list of its outputs.

    Args:
        model: a model for inference.
        signature: shape and type of its inputs. Default: those of the model.
    """
    signature = input_signature(model) if signature is None else signature

    @tf.function(input_signature=signature, autograph=False)
    def infer(*tensors):
        with autograph_in_layers():
            return tf.nest.flatten(model(pack_inputs(model, tensors), training=False))

    return infer


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
    run = _load(Path(path), TensorNames(tuple(inputs), tuple(outputs)), 0, optimize=optimize)
    return run(list(inputs.values()))


def _load(path: Path, names: TensorNames | None, threads: int, *, optimize: bool = False) -> Run:
    graph_def = tf.compat.v1.GraphDef.FromString(Path(path).read_bytes())
    refuse_programs_in_graph(graph_def, f"'{path}'")
    names = names or _names_of(graph_def)
    function = graph_function(graph_def, names.inputs, names.outputs)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with graph_optimizer(optimize):
            given = zip(arrays, function.inputs, strict=True)
            tensors = [tf.constant(in_float_type(array, tensor.dtype.as_numpy_dtype)) for array, tensor in given]
            return [tensor.numpy() for tensor in function(*tensors)]

    sizes = {
        dims[0].size for node in graph_def.node if node.name in names.inputs and (dims := node.attr["shape"].shape.dim)
    }
    size = max(sizes, default=-1)
    return in_batches_of(size, run) if size > 0 else run


def _names_of(graph_def: tf.compat.v1.GraphDef) -> TensorNames:
    """Return the inputs of a graph, and the nodes that nothing reads."""
    read = {node_name(reference) for node in graph_def.node for reference in node.input}
    inputs = tuple(node.name for node in graph_def.node if node.op == "Placeholder")
    ends = (node for node in graph_def.node if node.name not in read and node.op not in ("NoOp", "Placeholder"))
    return TensorNames(inputs, tuple(node.name for node in ends))


def _stored_weights(path: Path) -> list[StoredWeight]:
    return stored_in_graph(tf.compat.v1.GraphDef.FromString(Path(path).read_bytes()))


def _names(wanted: Sequence[str] | None, default: Sequence[str], key: str) -> tuple[str, ...]:
    names = tuple(default if wanted is None else checked_names(key, wanted, ExportError))
    refused = [] if wanted is None else [name for name in names if not _NODE.fullmatch(name)]
    if refused:
        raise ExportError(
            f"'{key}' holds {refused[0]!r}, which is no name that TensorFlow takes. Expected: letters, digits, '_', '-', '.' and '/', a "
            f"letter or digit first. Received: {list(names)}. Choose another name."
        )
    if len(names) != len(default) or len(set(names)) != len(names):
        raise ExportError(
            f"'{key}' takes {len(default)} different names, one for each of {list(default)}. Received: {list(names)}."
        )
    return names


def _rename(graph_def: tf.compat.v1.GraphDef, renamed: dict[str, str]) -> None:
    """Rename nodes in place, and every reference to them."""
    taken = {node.name for node in graph_def.node} - set(renamed)
    for new in renamed.values():
        if new in taken or list(renamed.values()).count(new) > 1:
            raise ExportError(
                f"The name '{new}' belongs to another node of the graph. Expected: names of their own in 'input_names' and "
                f"'output_names'. Received: {sorted(renamed.values())}. Choose another input or output name."
            )
    for node in graph_def.node:
        node.name = renamed.get(node.name, node.name)
        for index, reference in enumerate(node.input):
            control = "^" if reference.startswith("^") else ""
            name, colon, port = reference.removeprefix("^").partition(":")
            if name in renamed:
                node.input[index] = control + renamed[name] + colon + port


register_format(Format("frozen_graph", ".pb", export_frozen_graph, _stored_weights, _load, integers=False))
