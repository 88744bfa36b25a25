"""Coverage: for every weight of a model, by what it is compressed, or why it is not.

It is computed from the graph and the edits alone, without building the compressed model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from keras_compress.algorithms import OUTSIDE, PREPROCESSING, SkippedWeight
from keras_compress.graph import Edit, InsertLayer, LayerRole, ModelGraph, NodeRef, TensorRef, WrapWeight
from keras_compress.graph.identity import is_operation
from keras_compress.graph.operator_constants import operator_constants
from keras_compress.layers import AsymmetricFakeQuantize
from keras_compress.reports.formatting import format_table

__all__ = [
    "ARITHMETIC_IN_FLOAT",
    "ASYMMETRIC_IN_FLOAT",
    "CONSTANT",
    "INPUT_NOT_QUANTIZED",
    "Coverage",
    "CoverageRow",
    "coverage_of",
]

#: Why a layer with compressed weights computes in floating point.
ARITHMETIC_IN_FLOAT = "its weights are compressed, its arithmetic stays in floating point"
ASYMMETRIC_IN_FLOAT = "OpenVINO computes with asymmetric weights in floating point"
#: Why what an operator computes with is not compressed.
CONSTANT = (
    "a constant of an operator, which is no weight of a layer; make it the kernel of a Dense or convolutional layer"
)
INPUT_NOT_QUANTIZED = "its input is not quantized, so it computes in floating point"


@dataclass(frozen=True)
class CoverageRow:
    """One weight of rank 2 or more that is not a bias, or a constant that an operator computes with.

    Attributes:
        layer: path of the layer, as ``"backbone/conv1"``.
        class_name: class of the layer.
        weight: dotted path of the weight.
        parameters: number of its elements.
        compressed_by: what compresses it, as ``"quantization: 8 bits"``; empty if nothing does.
        reason: why nothing does, or a limitation of what does.
        explained: False if the weight stays in floating point without anybody having asked for it.
    """

    layer: str
    class_name: str
    weight: str
    parameters: int
    compressed_by: str
    reason: str
    explained: bool


@dataclass(frozen=True)
class Coverage:
    """The weights of a model in the order of its layers. ``print`` shows a table; iterates over the rows."""

    rows: tuple[CoverageRow, ...]

    def __iter__(self) -> Iterator[CoverageRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def compressed_share(self) -> float:
        """Share of the parameters that are compressed, in [0, 1]."""
        total = sum(row.parameters for row in self.rows)
        return sum(row.parameters for row in self.rows if row.compressed_by) / total if total else 0.0

    @property
    def unexplained(self) -> tuple[CoverageRow, ...]:
        """The weights that stay in floating point although no scope asked for it."""
        return tuple(row for row in self.rows if not row.explained)

    def to_dict(self) -> dict:
        """Return the coverage as JSON-able values."""
        return {"compressed_share": self.compressed_share, "weights": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        rows = [
            [row.layer, row.class_name, row.weight, row.parameters, row.compressed_by or "float", row.reason]
            for row in self.rows
        ]
        table = format_table(["layer", "class", "weight", "parameters", "compressed by", "note"], rows)
        return f"{self.compressed_share:.1%} of the weights are compressed\n\n{table}"


def coverage_of(
    graph: ModelGraph,
    edits: Sequence[tuple[str, Sequence[Edit]]],
    skipped: Iterable[SkippedWeight] = (),
    outside: Iterable[str] = (),
) -> Coverage:
    """Return the coverage of a model.

    Args:
        graph: the uncompressed model.
        edits: for each algorithm its name and its edits.
        skipped: weights that an algorithm could have compressed and left alone, with the reason.
        outside: paths of layers that no algorithm may touch.
    """
    by: dict[tuple[str, str], list[str]] = {}
    for name, part in edits:
        for edit in part:
            if isinstance(edit, WrapWeight):
                bits = edit.op["config"].get("num_bits")
                by.setdefault((edit.layer, edit.weight), []).append(name + (f": {bits} bits" if bits else ""))
    inserts = [edit for _, part in edits for edit in part if isinstance(edit, InsertLayer)]
    asymmetric = {
        (edit.layer, edit.weight)
        for _, part in edits
        for edit in part
        if isinstance(edit, WrapWeight) and is_operation(edit.op, AsymmetricFakeQuantize)
    }
    computing_in_float = _layers_computing_in_float(graph, inserts)
    untouchable = set(outside)
    reasons = {(weight.layer, weight.weight): weight.reason for weight in skipped}
    rows = []
    for path, node in graph.layers():
        for weight, array in graph.snapshot.weights.get(path, {}).items():
            if array.ndim < 2 or array.dtype.kind not in "fV" or weight.endswith("bias"):
                continue
            compressed_by, reason = ", ".join(by.get((path, weight), [])), reasons.get((path, weight), "")
            if not reason and path in untouchable:
                reason = OUTSIDE
            explained = bool(compressed_by or reason not in ("", PREPROCESSING))
            if compressed_by and path in computing_in_float:
                reason = computing_in_float[path]
            elif (path, weight) in asymmetric:
                reason = f"stored as integers, but {ASYMMETRIC_IN_FLOAT}"
            elif not reason and not compressed_by:
                reason = (
                    f"no rule for this weight of layers of class {node.class_name}; add one with register_layer_spec"
                )
            rows.append(
                CoverageRow(path, node.class_name, weight, math.prod(array.shape), compressed_by, reason, explained)
            )
    rows += [
        CoverageRow(
            node.ref.layer,
            node.class_name,
            argument,
            math.prod(shape),
            "",
            OUTSIDE if node.ref.layer in untouchable else CONSTANT,
            node.ref.layer in untouchable,
        )
        for node, argument, shape in operator_constants(graph)
    ]
    return Coverage(tuple(rows))


def _layers_computing_in_float(graph: ModelGraph, inserts: Sequence[InsertLayer]) -> dict[str, str]:
    """Return the layers that compute in floating point although their weights may be compressed, and why."""
    quantized = {(source, consumer) for edit in inserts for source in edit.sources for consumer in edit.consumers}

    def is_on_grid(tensor: TensorRef, consumer: NodeRef) -> bool:
        if (tensor, consumer) in quantized:
            return True
        producer = graph.producer(tensor)
        moved = [inner for inner in producer.inputs if graph.is_activation(inner)]
        return producer.spec.moves_values and bool(moved) and all(is_on_grid(inner, producer.ref) for inner in moved)

    reasons: dict[str, str] = {}
    for node in graph.nodes.values():
        path = node.ref.layer
        if node.spec.role is not LayerRole.COMPUTE:
            reasons[path] = ARITHMETIC_IN_FLOAT
        elif node.is_a("SeparableConv1D", "SeparableConv2D"):
            reasons[path] = "it cannot be split, and between its two convolutions values are in floating point"
        elif inserts and not all(is_on_grid(tensor, node.ref) for tensor in node.inputs):
            reasons[path] = INPUT_NOT_QUANTIZED
    return reasons
