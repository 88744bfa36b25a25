"""What a runtime needs beyond quantized inputs of its integer operations, planned so that it is calibrated and trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

from keras_compress._keras import serialize
from keras_compress.graph import Edit, GraphNode, InsertLayer, LayerRole, ModelGraph, ModelSnapshot, apply_edits
from keras_compress.graph.passes.quantize_outputs import activations_apart, missing_grids, output_quantizer
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize, SymmetricFakeQuantize

__all__ = ["TargetRuntime", "needs_quantized_outputs", "prepared_for", "rounds_biases", "with_quantized_outputs"]

TargetRuntime = Literal["openvino", "onnxruntime", "tflite", "tensorrt"]

#: Runtimes that compute from grid to grid: the outputs of convolutions need a range, in ``tflite`` those of all products.
_FROM_GRID_TO_GRID = ("onnxruntime", "tflite", "tensorrt")
#: Biases are int32, in steps of the input's times the kernel's.
_WITH_INTEGER_BIASES = ("onnxruntime", "tflite")


def needs_quantized_outputs(runtimes: Sequence[str]) -> bool:
    """Return whether one of the runtimes computes from grid to grid.

    Example:
        >>> needs_quantized_outputs(["openvino"]), needs_quantized_outputs(["openvino", "tflite"])
        (False, True)
    """
    return any(runtime in _FROM_GRID_TO_GRID for runtime in runtimes)


def rounds_biases(runtimes: Sequence[str]) -> bool:
    """Return whether one of the runtimes holds biases as integers.

    Example:
        >>> rounds_biases(["onnxruntime"]), rounds_biases(["openvino", "tensorrt"])
        (True, False)
    """
    return any(runtime in _WITH_INTEGER_BIASES for runtime in runtimes)


def prepared_for(runtimes: Sequence[str], snapshot: ModelSnapshot, touched: Callable[[str], bool]) -> ModelSnapshot:
    """Return the model with activation functions behind their layers where runtimes need a quantizer in between.

    Args:
        runtimes: the target runtimes.
        snapshot: a model that is not compressed.
        touched: whether the layer at a path may be quantized.
    """

    def computes(_: ModelGraph, node: GraphNode) -> bool:
        return node.spec.role is LayerRole.COMPUTE and touched(node.ref.layer)

    return activations_apart(snapshot, computes) if needs_quantized_outputs(runtimes) else snapshot


def with_quantized_outputs(runtimes: Sequence[str], snapshot: ModelSnapshot, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return the edits of a plan, and those that give every integer operation an output on a grid, if a runtime needs that.

    Args:
        runtimes: the target runtimes.
        snapshot: the model that the edits are for.
        edits: what quantizes weights and activations.
    """
    if not needs_quantized_outputs(runtimes):
        return tuple(edits)
    graph = ModelGraph(apply_edits(snapshot, edits))
    of_all_products = "tflite" in runtimes
    groups, shared = missing_grids(graph, of_matrix_products=of_all_products, into_recurrent_layers=of_all_products)
    planned = [_with_readers(edit, shared) if isinstance(edit, InsertLayer) else edit for edit in edits]
    taken = {path for path, _ in graph.layers()}
    for sources, readers in groups:
        prefix, path = output_quantizer(graph, sources[0], taken)
        bounds = [graph.producer(source).spec.activation.bounds for source in sources]
        op = _quantizer(path[len(prefix) :], bounds, symmetric="tensorrt" in runtimes)
        planned.append(InsertLayer(prefix, serialize(op), sources, readers))
    return tuple(planned)


def _with_readers(edit: InsertLayer, shared) -> InsertLayer:
    readers = [reader for (reader, tensor), quantizer in shared.items() if quantizer.layer == edit.path]
    return dataclasses.replace(edit, consumers=tuple(dict.fromkeys([*edit.consumers, *readers])))


def _quantizer(name: str, bounds: Sequence[tuple[float, float]], *, symmetric: bool) -> FakeQuantize:
    """Return a quantizer of eight bits: runtimes hold outputs in them, however few the bits of other activations are."""
    if symmetric:
        return SymmetricFakeQuantize(8, signed=True, name=name)
    if all(low >= 0 for low, _ in bounds):
        return SymmetricFakeQuantize(8, signed=False, name=name)
    return AsymmetricFakeQuantize(8, name=name)
