"""Export to OpenVINO's own format: an ``.xml`` file and a ``.bin`` file with weights as integers, one bit where they are binary."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.arguments import flag
from keras_compress.errors import ExportError
from keras_compress.export.dilated_convolutions import dilated_convolutions
from keras_compress.export.factors_of_both_signs import write_signs_apart
from keras_compress.export.foreign_errors import explained, reason_of
from keras_compress.export.format import Format
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.impure_operations import random_numbers
from keras_compress.export.inference_model import inference_model
from keras_compress.export.input_signature import InputShapes, input_signature
from keras_compress.export.openvino_binary import rewrite_binary_convolutions
from keras_compress.export.openvino_conversions import convert_by_way_of_int32
from keras_compress.export.openvino_interface import number_nodes, with_interface
from keras_compress.export.openvino_shared_convolutions import give_shared_convolutions_a_bias
from keras_compress.export.openvino_stacked_weights import keep_stacked_weights_in_float
from keras_compress.export.openvino_wide_depthwise import write_wide_depthwise_convolutions
from keras_compress.export.operation_layer import first_operation, maker_of
from keras_compress.export.registry import register_format
from keras_compress.export.reproducible_graph import make_reproducible, serialized
from keras_compress.export.reversals_as_slices import reversals_as_slices
from keras_compress.export.runtimes.openvino_pair import NOT_YET, OF_NETWORK, OF_WEIGHTS, PLACE, seal
from keras_compress.export.runtimes.openvino_runtime import load, open_file, stored_weights
from keras_compress.files import replacing
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryActivation

__all__ = ["export_openvino"]


def export_openvino(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``model`` as an OpenVINO model.

    Quantized weights are stored as 8-bit integers, weights of binary convolutions as one bit each. OpenVINO runs
    one-bit convolutions only in models whose shapes are fixed; a model that has them gets a batch of one unless told
    otherwise.

    Args:
        model: the compressed model; it is only read.
        path: the ``.xml`` file to write; the ``.bin`` file is written to the same folder.
        input_names, output_names, input_shapes: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        batch_size: a fixed batch; None (default) leaves it open where possible.
        overwrite: whether a ``.bin`` file without an ``.xml`` file, which may be something else, is replaced. Default False; an
            earlier export is replaced anyway.

    Returns:
        The path of the ``.xml`` file.

    Raises:
        ExportError: the ``openvino`` package is missing, or as for the frozen graph.
    """
    try:
        import openvino
        from openvino._offline_transformations import compress_quantize_weights_transformation
    except ImportError:
        raise ExportError("Writing OpenVINO files needs its package: pip install openvino") from None
    overwrite = flag("overwrite", overwrite, ExportError)
    path = Path(path)
    if path.suffix.lower() != ".xml":
        raise ExportError(f"An OpenVINO file ends in '.xml'. Received: '{path.name}'. Change the name.")
    names = tensor_names(model, input_names, output_names)
    signature = input_signature(model, batch_size, input_shapes, names.inputs)
    if any(spec.shape[0] is None for spec in signature) and _has_binary_layers(model):
        batch_size = 1
        warnings.warn(
            "OpenVINO runs one-bit convolutions in models of fixed shape only, so this file takes batches of one. For "
            "others pass batch_size=….",
            stacklevel=2,
        )
    graph_def = freeze(inference_model(model), names, batch_size=batch_size, input_shapes=input_shapes)
    dilated_convolutions(graph_def)
    reversals_as_slices(graph_def)
    write_signs_apart(graph_def)
    make_reproducible(graph_def, names.inputs, names.outputs)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.pb"
        with explained(
            f"OpenVINO cannot convert the model for '{path}'",
            "Write the operations that OpenVINO lacks with others, fix the batch with batch_size=1, or choose another format.",
            [name for name, _ in leaf_layers(model)],
        ):
            graph.write_bytes(serialized(graph_def))
            converted = with_interface(_read(openvino.Core(), graph, graph_def, model), graph_def, names)
        if converted.is_dynamic() is False:
            rewrite_binary_convolutions(converted)
        compress_quantize_weights_transformation(converted)
        keep_stacked_weights_in_float(converted)
        write_wide_depthwise_convolutions(converted)
        give_shared_convolutions_a_bias(converted)
        convert_by_way_of_int32(converted)
        number_nodes(converted)
        converted.set_rt_info("keras_compress", ["framework"])
        converted.set_rt_info(model.name, ["model_info", "model_name"])
        _save(converted, path, overwrite)
    return path


def _read(core: Any, graph: Path, graph_def: tf.compat.v1.GraphDef, model: keras.Model) -> Any:
    """Return the file of a frozen graph as OpenVINO reads it."""
    try:
        return core.read_model(graph)
    except RuntimeError as error:
        random = random_numbers(graph_def)
        missing = {node.op for node in graph_def.node if re.search(rf"operations:.*\b{node.op}\b", str(error))}
        if not random and missing:
            raise ExportError(
                f"{maker_of(first_operation(graph_def, missing), model)} computes with {sorted(missing)}, which OpenVINO does not "
                f"have. Expected: operations that it can convert. Received: {reason_of(error)} Write the layer with other operations, or "
                "choose another format."
            ) from error
        if not random:
            raise
        raise ExportError(
            f"{maker_of(first_operation(graph_def, random), model)} draws random numbers, and OpenVINO does not have the operations "
            f"{sorted(random)}. Expected: a layer that draws in training only. Received: {error}. Draw only if training is true, give the numbers as an "
            "input of the model, or write a '.onnx' file."
        ) from error


def _has_binary_layers(model: keras.Model) -> bool:
    return any(isinstance(layer, BinaryActivation) and bool(layer.active.numpy()) for _, layer in leaf_layers(model))


def _save(converted: Any, path: Path, overwrite: bool) -> None:
    """Write both files, complete and with the digest of the weights in the other one, or none."""
    import openvino

    with (
        replacing(path, beside=[path.with_suffix(".bin")], overwrite=overwrite) as staged,
        explained(
            f"'{path}' cannot be written", "What was there before is unchanged. Make room, or choose another path."
        ),
    ):
        written = staged.with_suffix(".xml")
        converted.set_rt_info(NOT_YET, [*PLACE, OF_WEIGHTS])
        converted.set_rt_info(NOT_YET, [*PLACE, OF_NETWORK])
        openvino.save_model(converted, written, compress_to_fp16=False)
        seal(written)
        written.rename(staged)


register_format(
    Format(
        "openvino",
        ".xml",
        export_openvino,
        stored_weights,
        load,
        open=open_file,
        beside=(".bin",),
        runtime="openvino",
        isolated="openvino_runtime",
    )
)
