"""Weights of stacks of matrices in OpenVINO models: one matrix per position or head, stored as integers, computed in float.

OpenVINO computes a product of integers with such a weight and applies the scales of its channels in the same kernel,
which reads them where there are none. A weight whose scale stands first is no quantized weight to it: the runtime
multiplies it out when it loads the file. The numbers in the file stay integers, and the audit says that the layer runs in float.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from keras_compress.export.dataflow import source_node

__all__ = ["keep_stacked_weights_in_float"]

_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")


def keep_stacked_weights_in_float(model: Any) -> None:
    """Put the scales of weights that are stacks of matrices first, in place.

    Args:
        model: an ``openvino.Model``, its weights stored as integers.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Multiply" and _is_dequantization(node) and any(_products_of_stacks(node)):
            values, scale = (node.input(index).get_source_output() for index in (0, 1))
            node.input(0).replace_source_output(scale)
            node.input(1).replace_source_output(values)
    model.validate_nodes_and_infer_types()


def _is_dequantization(node: Any) -> bool:
    """Whether a multiplication gives integers that are stored their scale: ``(convert(q) - z) * scale``."""
    values, scale = source_node(node, 0), source_node(node, 1)
    if values.get_type_name() == "Subtract":
        values = source_node(values, 0)
    if values.get_type_name() != "Convert" or scale.get_type_name() != "Constant":
        return False
    return source_node(values, 0).get_type_name() == "Constant"


def _products_of_stacks(node: Any) -> Iterator[bool]:
    """Yield for every reader of a weight, behind what moves it, whether it multiplies one matrix per position."""
    for target in node.output(0).get_target_inputs():
        reader, shape = target.get_node(), list(node.get_output_shape(0))
        kind = reader.get_type_name()
        if kind in _MOVES and reader.get_output_partial_shape(0).is_static:
            yield from _products_of_stacks(reader)
        elif kind == "MatMul":
            yield math.prod(shape[:-2]) > 1
        elif kind == "Einsum":
            yield _has_common_axis(reader.get_equation(), target.get_index())


def _has_common_axis(equation: str, index: int) -> bool:
    """Whether a letter of an operand of an einsum is in another operand and in the result, as the positions of ``abc,bcd->abd``."""
    operands, _, result = equation.replace(" ", "").partition("->")
    letters = operands.split(",")
    others = set("".join(letters[:index] + letters[index + 1 :]))
    return bool(set(letters[index]) & others & set(result))
