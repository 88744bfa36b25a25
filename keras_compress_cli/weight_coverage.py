"""weight_coverage: by what each weight of a compressed model is compressed, read off the model itself."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import BinaryWeight, CompressedLayer, FakeQuantize, WeightOp
from keras_compress.reports import Coverage, CoverageRow

__all__ = ["weight_coverage"]


def weight_coverage(model: keras.Model) -> Coverage:
    """Return the coverage of a compressed model that came without its controller, so why a weight is left alone is unknown."""
    rows = []
    for path, layer in leaf_layers(model):
        if isinstance(layer, WeightOp):
            continue
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        by: dict[str, list[str]] = {}
        for weight, op in layer.operations if isinstance(layer, CompressedLayer) else ():
            by.setdefault(weight, []).append(_described(op))
        for weight, variable in named_variables(inner).items():
            if len(variable.shape) < 2 or not variable.dtype.is_floating or weight.endswith("bias"):
                continue
            compressed_by = ", ".join(by.get(weight, []))
            size = variable.shape.num_elements()
            rows.append(CoverageRow(path, type(inner).__name__, weight, size, compressed_by, "", bool(compressed_by)))
    return Coverage(tuple(rows))


def _described(op: WeightOp) -> str:
    if isinstance(op, FakeQuantize):
        return f"quantization: {op.num_bits} bits"
    return "binarization" if isinstance(op, BinaryWeight) else "sparsity"
